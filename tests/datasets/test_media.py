"""Which files are videos and frames, and which of them a name stands for."""

import os
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from av.format import ContainerFormat

from configs.suffixes import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from datasets import find_videos
from datasets.decode import open_source
from datasets.media import Names
from datasets.targets import DataError
from datasets.video import CONTAINERS
from tests.datasets.media import moving_frames, write_frames, write_video
from tools.prepare.media import frames_in, videos_in

# What FFmpeg calls files that hold sound, subtitles or one picture, though a container of videos could be in them.
NO_VIDEOS = {"avif", "heic", "heif", "isma", "m4a", "m4b", "mka", "mks", "mpo", "ra", "wma"}


def touch(root: Path, *names: str) -> list[str]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return [str(root / name) for name in names]


def declared(container: str) -> set[str]:
    """Suffixes that FFmpeg's demuxer and muxer name."""
    found: set[str] = set()
    for mode in "rw":
        try:
            found |= set(ContainerFormat(container, mode).extensions)
        except ValueError:  # it only reads, or only writes it
            continue
    return found


def test_every_suffix_that_ffmpeg_gives_a_container_of_videos_is_one():
    names = set().union(*map(declared, CONTAINERS))
    assert {f".{name}" for name in names - NO_VIDEOS} <= set(VIDEO_SUFFIXES)
    assert not {f".{name}" for name in NO_VIDEOS} & set(VIDEO_SUFFIXES)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in VIDEO_SUFFIXES + PICTURE_SUFFIXES)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".ts", "libx264"), (".MTS", "libx264"), (".m2ts", "libx264"), (".3gp", "mpeg4"), (".VOB", "mpeg2video"),
        (".asf", "mpeg4"), (".mxf", "mpeg2video"), (".mpg", "mpeg1video"), (".nut", "mpeg4"), (".H264", "libx264"),
        (".y4m", "wrapped_avframe"), (".mkv", "mpeg4"),
    ],
)  # fmt: skip
def test_files_of_such_suffixes_are_found_and_read(tmp_path, suffix, codec):
    path = tmp_path / "class" / f"clip{suffix}"
    write_video(path, codec=codec, count=3)
    assert find_videos([str(tmp_path)]) == [str(path)]
    assert videos_in(tmp_path).paths() == [f"class/clip{suffix}"]
    with open_source(str(path)) as source:
        assert source.num_frames == 3


def test_a_folder_stands_for_its_videos(tmp_path):
    touch(tmp_path, "a.avi", "b.TS", "cover_1.jpg", "frames/img_00001.TIF", "frames/img_00002.TIF", "notes/readme.txt")
    touch(tmp_path, ".hidden/c.mp4", "frames/._img_00001.jpg", "._a.avi", "notes/Thumbs.db", "no_number.gif")
    found = [str(tmp_path / name) for name in ("a.avi", "b.TS", "frames", "no_number.gif")]
    assert find_videos([str(tmp_path)]) == found
    assert find_videos([str(tmp_path / "notes"), "x.mp4"]) == [str(tmp_path / "notes"), "x.mp4"]
    assert frames_in(tmp_path).paths() == ["", "frames"]


def test_gifs_are_videos_if_they_move_and_frames_if_they_do_not(tmp_path):
    frames = [PIL.Image.fromarray(frame) for frame in moving_frames(3, 24, 40)]
    for name in ("moving", "still"):
        (tmp_path / name).mkdir()
        for number, frame in enumerate(frames):
            others = frames[1:] if name == "moving" else []
            frame.save(tmp_path / name / f"{number}.gif", save_all=bool(others), append_images=others)
    moving = [str(tmp_path / "moving" / f"{number}.gif") for number in range(3)]
    assert find_videos([str(tmp_path)]) == [*moving, str(tmp_path / "still")]
    with open_source(str(tmp_path / "still")) as source:
        assert source.num_frames == 3


def test_names_that_a_program_might_take_for_something_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["-clip", "12:30:05", "file:x", "http:/x", "a*[1]?"]
    for name in names:
        write_frames(Path(name), count=2)
    assert find_videos(names) == names
    assert find_videos(["."]) == sorted(str(Path(name)) for name in names)
    for name in names:
        with open_source(name) as source:
            assert np.array_equal(source.read([0])[0], cv2.imread(f"./{name}/img_00001.jpg")[..., ::-1])


def test_a_name_in_another_normal_form_or_of_windows_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "Cafe\u0301/a.mp4", "b/c.mp4", "b/\u1ebf.mp4", "d/e\u0302\u0301.mp4", "d/\u00ea\u0301.mp4")
    found = "Cafe\u0301/a.mp4"
    assert find_videos(["Caf\u00e9/a.mp4", r"b\c.mp4", "Caf\u00e9\\a.mp4", "Caf\u00e9"]) == [
        found,
        "b/c.mp4",
        found,
        found,
    ]
    assert find_videos(["b/e\u0302\u0301.mp4"]) == ["b/\u1ebf.mp4"]
    assert find_videos(["caf\u00e9/a.mp4", r"b\d.mp4", "\0"]) == ["caf\u00e9/a.mp4", r"b\d.mp4", "\0"]
    with pytest.raises(DataError, match=r"d has 2 names that differ in Unicode's normal form alone"):
        find_videos(["d/\u1ebf.mp4"])


def test_a_folder_is_listed_once_however_many_names_are_looked_up(tmp_path, monkeypatch):
    touch(tmp_path, *(f"e\u0301{i}.mp4" for i in range(20)))
    names, listed, listdir = Names(), [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(folder) or listdir(folder))
    assert all(names.find(str(tmp_path), f"\u00e9{i}.mp4") for i in range(20))
    assert names.find(str(tmp_path), "absent.mp4") is None
    assert listed == [str(tmp_path)]
