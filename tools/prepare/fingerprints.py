"""Near duplicates among videos, by perceptual hashes of a few frames of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.limits import Limits

if TYPE_CHECKING:
    import numpy as np

FRAMES = 8  # of each video
RADIUS = 6  # bits of 64 in which two pictures of the same may differ
CONTRAST = 4.0  # standard deviation below which a picture, such as a black one, is like any other


@dataclass(frozen=True)
class Look:
    """What a few frames of a video show: number of frames, hashes uint8 [n, 8]; or why it does not decode."""

    num_frames: int
    hashes: np.ndarray | None
    error: str = ""


def look_at(path: str, num_frames: int | None, limits: Limits) -> Look:
    """Decodes FRAMES frames of a video or of a folder of frames, the first and the last among them.

    Args:
        path: Of the file or folder.
        num_frames: That a list promises, or None.
        limits: What it may cost.
    """
    import numpy as np

    from datasets.decode import DecodeError, open_source

    try:
        with open_source(path, num_frames, limits) as source:
            wanted = np.unique(np.linspace(0, source.num_frames - 1, FRAMES).astype(int))
            return Look(source.num_frames, hashes_of(source.read(wanted)))
    except DecodeError as error:
        return Look(0, None, str(error))


def hashes_of(frames: np.ndarray) -> np.ndarray:
    """Difference hashes: whether the brightness rises from each of 9 x 8 cells to the one on its right.

    Args:
        frames: uint8 [T, H, W, 3] RGB.

    Returns:
        uint8 [n, 8], n <= T: pictures without contrast have none.

    Source: N. Krawetz, "Kind of Like That", hackerfactor.com, 2013.
    """
    import cv2
    import numpy as np

    found = []
    for frame in frames:
        cells = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
        if cells.std() >= CONTRAST:
            found.append(np.packbits(cells[:, 1:] > cells[:, :-1]))
    return np.array(found, np.uint8).reshape(-1, 8)


def near_duplicates(left: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> Iterator[tuple[int, int]]:
    """Pairs of videos, one of each side, of which half of the frames of the left one are near to some of the right one.

    Args:
        left, right: Hashes of each video, uint8 [n, 8].

    Yields:
        (index on the left, index on the right), sorted.
    """
    import cv2
    import numpy as np

    owners = np.repeat(np.arange(len(right)), [len(hashes) for hashes in right])
    if not len(owners):
        return
    matcher = cv2.BFMatcher(cv2.NORM_HAMMING)
    table = np.concatenate(list(right))
    for index, hashes in enumerate(left):
        if len(hashes):
            matched = [
                {int(owners[match.trainIdx]) for match in matches}
                for matches in matcher.radiusMatch(hashes, table, RADIUS + 0.5)
            ]
            hits = np.bincount([owner for one in matched for owner in one], minlength=1)
            yield from ((index, int(owner)) for owner in np.flatnonzero(hits * 2 >= max(2, len(hashes))))
