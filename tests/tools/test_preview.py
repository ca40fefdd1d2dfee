"""A preview is what browsers play, of the size and at the speed that it should have."""

import av
import cv2
import numpy as np
import pytest

from datasets.annotation import DataError
from datasets.demo import encode_video
from tools import preview


def looked_at(path):
    """Codec, pixel format, size, rate and frames of a video."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return stream.codec_context.name, stream.pix_fmt, (stream.height, stream.width), stream.average_rate, frames


def test_a_video_keeps_its_speed_and_pictures(tmp_path):
    frames = np.full((25, 300, 406, 3), 30, np.uint8)
    frames[10:, :150] = 220
    encode_video(tmp_path / "a.mp4", frames)
    for _ in range(2):  # the second replaces the first
        preview.main([str(tmp_path / "a.mp4"), str(tmp_path / "out" / "preview.mp4")])
    codec, pixels, size, rate, shown = looked_at(tmp_path / "out" / "preview.mp4")
    assert (codec, pixels, size, rate, len(shown)) == ("h264", "yuv420p", (240, 324), 10, 25)
    assert [int(frame[60, 160].mean() > 128) for frame in shown] == [0] * 10 + [1] * 15
    assert all(frame[200, 160].mean() < 60 for frame in shown)


def test_a_folder_of_frames_with_odd_sides_and_only_its_beginning(tmp_path, monkeypatch):
    monkeypatch.setattr(preview, "SECONDS", 1)
    for i in range(30):
        cv2.imwrite(str(tmp_path / f"img_{i + 1:05}.jpg"), np.full((61, 45, 3), 8 * i, np.uint8))
    (tmp_path / "preview.mp4").write_bytes(preview.encode(tmp_path))
    _, _, size, rate, shown = looked_at(tmp_path / "preview.mp4")
    assert (size, rate, len(shown)) == ((60, 44), 25, 25)
    assert shown[20].mean() == pytest.approx(160, abs=8)


def test_what_is_no_video_is_named(tmp_path):
    (tmp_path / "a.mp4").write_text("text")
    with pytest.raises(DataError, match=r"a\.mp4 is no readable video"):
        preview.main([str(tmp_path / "a.mp4"), str(tmp_path / "preview.mp4")])
    assert not (tmp_path / "preview.mp4").exists()
