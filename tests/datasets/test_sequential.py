"""Frames of a film one after the other: those of `VideoFile`, at their times, in a memory that does not grow."""

import itertools

import numpy as np
import pytest

from configs.limits import Limits
from datasets.decode import DecodeError, open_source
from datasets.sequential import SequentialFile
from tests.datasets.media import write_video


def test_frames_are_those_of_a_video_file_at_their_times(tmp_path):
    path = str(write_video(tmp_path / "a.mp4", codec="libx264", count=20))
    film = SequentialFile(path)
    with open_source(path) as source:
        expected = source.read(range(20))
        assert (film.num_frames, film.fps) == (20, source.fps)
    frames = list(film.frames())
    np.testing.assert_array_equal([frame.image for frame in frames], expected)
    np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(20) / film.fps, atol=1e-6)


def test_a_film_whose_end_is_missing_is_read_as_far_as_it_goes(tmp_path):
    """Nothing in such a file says how long it was."""
    path = write_video(tmp_path / "a.ts", codec="libx264", count=40)
    whole = [frame.image for frame in SequentialFile(str(path)).frames()]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 188 // 2 * 188])
    film = SequentialFile(str(path))
    frames = [frame.image for frame in film.frames()]
    assert 10 < len(frames) < 40
    np.testing.assert_array_equal(frames[:10], whole[:10])


def test_a_damaged_frame_is_an_error_where_it_is_wanted(tmp_path):
    path = write_video(tmp_path / "a.mp4", codec="libx264", count=20)
    content = bytearray(path.read_bytes())
    begin = content.index(b"mdat") + 1000
    content[begin : begin + 400] = bytes(400)
    path.write_bytes(bytes(content))
    frames = SequentialFile(str(path)).frames()
    with pytest.raises(DecodeError, match=r"a\.mp4"):
        list(frames)


def test_what_is_no_video_is_named(tmp_path):
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(DecodeError, match=r"a\.mp4 is no readable video"):
        SequentialFile(str(tmp_path / "a.mp4"))
    path = str(write_video(tmp_path / "b.mp4", codec="libx264"))
    with pytest.raises(DecodeError, match="pixels in a frame"):
        next(SequentialFile(path, Limits(max_frame_pixels=10)).frames())


def test_only_what_is_wanted_is_converted(tmp_path, monkeypatch):
    converted = []
    monkeypatch.setattr("datasets.video._upright", lambda frame, *rest: converted.append(frame.pts) or np.zeros(1))
    path = str(write_video(tmp_path / "a.mp4", codec="libx264", count=30))
    frames = SequentialFile(path).frames(lambda number: number in (3, 7))
    assert [frame.number for frame in itertools.islice(frames, 30) if frame.image is not None] == [3, 7]
    assert len(converted) == 2
