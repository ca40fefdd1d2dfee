"""Finds fonts that have what class names are written in: matplotlib's own has no Chinese, Japanese or Korean."""

from __future__ import annotations

from collections.abc import Iterable

OWN = "DejaVu Sans"  # matplotlib's
WAY_OUT = "apt-get install fonts-wqy-microhei, or a font's .ttf in ~/.fonts"


def families_for(texts: Iterable[str]) -> list[str]:
    """Families of fonts that have every character of some texts between them, for matplotlib's `family`.

    Returns:
        matplotlib's own and, where that is not enough, one that is installed; empty if none has the rest.
    """
    from matplotlib.font_manager import findfont, findSystemFonts, fontManager

    missing = {ord(character) for text in texts for character in text} - _characters(findfont(OWN))
    if not missing:
        return [OWN]
    for path in sorted(findSystemFonts(), key=lambda path: ("regular" not in path.lower(), path)):
        if missing <= _characters(path):
            fontManager.addfont(path)  # matplotlib lists fonts once, and this one may be newer
            return [OWN, fontManager.ttflist[-1].name]
    return []


def _characters(path: str) -> set[int]:
    """What a font can draw; nothing if it cannot be read, or is of pictures of one size."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        return set(font.get_charmap()) if font.scalable else set()
    except (OSError, RuntimeError):
        return set()
