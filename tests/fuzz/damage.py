"""What happens to files on their way: bytes change, go, come twice, or say something extreme."""

from __future__ import annotations

import numpy as np


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """The content with one to four changes of random kinds."""
    out = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        if not out:
            break
        place = int(rng.integers(0, len(out)))
        # Headers matter more than what is in them: half of the changes are near the ends.
        if rng.random() < 0.5:
            place = (
                int(rng.integers(0, min(len(out), 512))) if rng.random() < 0.7 else max(0, len(out) - 1 - place % 512)
            )
        _CHANGES[int(rng.integers(0, len(_CHANGES)))](out, place, rng)
    return bytes(out)


def _flip(out: bytearray, place: int, rng: np.random.Generator) -> None:
    out[place] ^= 1 << int(rng.integers(0, 8))


def _overwrite(out: bytearray, place: int, rng: np.random.Generator) -> None:
    count = int(rng.integers(1, 64))
    out[place : place + count] = rng.integers(0, 256, len(out[place : place + count]), dtype=np.uint8).tobytes()


def _cut(out: bytearray, place: int, rng: np.random.Generator) -> None:
    del out[place:]


def _remove(out: bytearray, place: int, rng: np.random.Generator) -> None:
    del out[place : place + int(rng.integers(1, 300))]


def _repeat(out: bytearray, place: int, rng: np.random.Generator) -> None:
    piece = out[place : place + int(rng.integers(1, 300))]
    out[place:place] = piece * int(rng.integers(1, 8))


def _swap(out: bytearray, place: int, rng: np.random.Generator) -> None:
    """Two blocks of up to 4 KiB change places, as sectors of a disk may."""
    size = min(int(2 ** rng.integers(4, 13)), len(out) // 2)
    other = int(rng.integers(0, len(out) - size + 1))
    first, second = sorted((min(place, len(out) - size), other))
    if second - first >= size:
        out[first : first + size], out[second : second + size] = out[second : second + size], out[first : first + size]


def _extreme(out: bytearray, place: int, rng: np.random.Generator) -> None:
    """A number of one to eight bytes that is 0, 1, the largest or the smallest, in either order of bytes."""
    width = int(rng.choice([1, 2, 4, 8]))
    number = int(rng.choice([0, 1, 2, 2**7, 2**15, 2**31 - 1, 2**32 - 1, 2**63 - 1])) & (256**width - 1)
    out[place : place + width] = number.to_bytes(width, "little" if rng.random() < 0.5 else "big")


_CHANGES = (_flip, _overwrite, _cut, _remove, _repeat, _swap, _extreme)
