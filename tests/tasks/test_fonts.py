"""Class names in a picture are drawn in a font that has them."""

import csv

import matplotlib.font_manager
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from tasks.classification_report import write_report
from tasks.fonts import families_for
from tasks.outcome import Outcome
from tasks.report_page import Beside

CHINESE = ["行走", "打斗"]


def write_font(path, family, characters):
    """A font in which each of some characters is a square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 700), (700, 700), (700, 0)):
        pen.lineTo(corner)
    pen.closePath()
    glyphs = {".notdef": TTGlyphPen(None).glyph(), **{f"uni{ord(c):04X}": pen.glyph() for c in characters}}
    builder = FontBuilder(1000)
    builder.setupGlyphOrder(list(glyphs))
    builder.setupCharacterMap({ord(c): f"uni{ord(c):04X}" for c in characters})
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (800, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return str(path)


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Puts fonts in the place of those that are installed: a function of family=characters."""

    def install(**fonts):
        paths = [write_font(tmp_path / f"{family}.ttf", family, characters) for family, characters in fonts.items()]
        (tmp_path / "broken.ttf").write_bytes(b"no font")
        monkeypatch.setattr(matplotlib.font_manager, "findSystemFonts", lambda: [str(tmp_path / "broken.ttf"), *paths])

    monkeypatch.setattr(
        matplotlib.font_manager.fontManager, "ttflist", list(matplotlib.font_manager.fontManager.ttflist)
    )
    return install


def test_a_font_is_taken_that_has_all_characters(installed):
    installed(Half="行走", Whole="行走打斗", Other="abc")
    assert families_for(["walking", "déjà vu"]) == ["DejaVu Sans"]
    assert families_for([*CHINESE, "fight"]) == ["DejaVu Sans", "Whole"]
    assert families_for(["行"]) == ["DejaVu Sans", "Half"]
    assert families_for(["行한"]) == []


@pytest.mark.parametrize("fonts", [{"Whole": "行走打斗"}, {}])
def test_the_matrix_shows_names_or_says_why_it_shows_labels(installed, fonts, tmp_path, capsys):
    """A character without a glyph is a warning of matplotlib's, which here is an error."""
    installed(**fonts)
    scores = np.eye(3)[[0, 1, 2]]
    names = [*CHINESE, "a$_{x$"]
    outcome = Outcome(scores, np.arange(3), ["a", "b", "c"], names)
    write_report(tmp_path, outcome, {"top1_acc": 1.0, "top5_acc": 1.0, "mean_acc": 1.0}, Beside(), None)
    assert (tmp_path / "confusion_matrix.png").stat().st_size > 1000
    rows = list(csv.DictReader((tmp_path / "per_class.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["class"] for row in rows] == names
    said = capsys.readouterr().err
    assert ("confusion_matrix.png shows labels" in said) == (not fonts)
    assert ("apt-get install fonts-wqy-microhei" in said) == (not fonts)
