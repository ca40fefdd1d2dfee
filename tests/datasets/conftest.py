"""Fixtures of this room."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.recipe import Recipe
from tests.datasets.media import write_frames, write_video


@pytest.fixture
def tiny_recipe() -> Recipe:
    """Four single frames of 32 x 32: every sample is small and quick."""
    return Recipe.of(
        num_segments=4, clip_len=1, frame_interval=1, sampling="mmaction1", test_clips=1,
        short_side=40, crop_size=32, test_size=40, test_crops="three", batch_size=4,
    )  # fmt: skip


@pytest.fixture(scope="session")
def media_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of ten entries with `train.txt`, whose entry 4 is no video; seven videos, two frame folders."""
    root = tmp_path_factory.mktemp("media")
    lines = []
    for i in range(10):
        name = f"clip {i}" if i in (2, 7) else f"clip {i}.mp4"
        if i in (2, 7):
            write_frames(root / name, seed=i)
            lines.append(f"{name} 12 {i % 3}")
        elif i == 4:
            (root / name).write_bytes(b"this is no video")
            lines.append(f"{name} {i % 3}")
        else:
            write_video(root / name, count=20 + i, seed=i, g="8")
            lines.append(f"{name} {i % 3}")
    (root / "train.txt").write_text("\n".join(lines) + "\n")
    (root / "val.txt").write_text("\n".join(line for i, line in enumerate(lines) if i != 4) + "\n")
    return root
