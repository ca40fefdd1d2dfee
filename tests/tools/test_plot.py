"""The curves of a run: a picture with its numbers, in a font that has its words."""

import json

import matplotlib.axes
import pytest

from runtime.errors import UserError
from tools import plot

EPOCHS = [
    {"epoch": n, "loss": 2.0 / n, "train_acc": 0.2 * n, "top1_acc": 0.1 * n, "lr": 0.1, "mean_class_acc": 0.5}
    for n in (1, 2, 3)
]


@pytest.fixture
def run(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in EPOCHS))
    return tmp_path


def test_the_lines_are_those_of_the_run(run, monkeypatch, capsys):
    drawn = []
    real = matplotlib.axes.Axes.plot
    monkeypatch.setattr(matplotlib.axes.Axes, "plot", lambda *a, **k: drawn.append(a[1:3]) or real(*a, **k))
    for _ in range(2):  # the second picture replaces the first
        plot.main([str(run)])
    assert drawn[:3] == [([1, 2, 3], [epoch[key] for epoch in EPOCHS]) for key in ("loss", "train_acc", "top1_acc")]
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.splitlines()[0] == f"{run}/curves.png: 3 epochs, best top-1 30.0%"


def test_a_run_over_pictures_has_its_own_figure(tmp_path, monkeypatch, capsys):
    epochs = [{"epoch": n, "loss": 1.0, "train_acc": 0.5, "miou": 0.1 * n} for n in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    drawn = []
    real = matplotlib.axes.Axes.plot
    monkeypatch.setattr(
        matplotlib.axes.Axes, "plot", lambda *a, **k: drawn.append((a[2], k.get("label", ""))) or real(*a, **k)
    )
    plot.main([str(tmp_path)])
    assert (drawn[2][0], drawn[2][1].endswith("validation mIoU")) == ([0.1, 0.2], True)
    assert capsys.readouterr().out.endswith("2 epochs, best mIoU 20.0%\n")


def test_a_run_without_a_known_figure_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1, "loss": 1.0, "train_acc": 0.5, "other": 0.5}\n')
    with pytest.raises(UserError, match="none of top1_acc, miou is in each epoch"):
        plot.main([str(tmp_path)])


@pytest.mark.parametrize("families", [["DejaVu Sans"], []])
def test_without_a_chinese_font_the_words_are_english(monkeypatch, families):
    titles = []
    real = matplotlib.axes.Axes.set_title
    monkeypatch.setattr(matplotlib.axes.Axes, "set_title", lambda *a, **k: titles.append(a[1]) or real(*a, **k))
    monkeypatch.setattr("tasks.fonts.families_for", lambda texts: families)
    if families:
        with pytest.warns(UserWarning, match="missing from font"):  # the stand-in has none of them
            plot.draw({"run": EPOCHS}, "top1_acc")
        assert titles == ["训练损失 training loss"]
    else:
        plot.draw({"run": EPOCHS}, "top1_acc")
        assert titles == ["training loss"]


def test_a_run_without_an_epoch_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*metrics\.jsonl"):
        plot.main([str(tmp_path)])
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(UserError, match="holds no epoch yet"):
        plot.main([str(tmp_path)])


def test_several_runs_stand_in_one_picture(tmp_path, monkeypatch, capsys):
    drawn = []
    real = matplotlib.axes.Axes.plot
    monkeypatch.setattr(
        matplotlib.axes.Axes, "plot", lambda *a, **k: drawn.append((k.get("label"), a[2])) or real(*a, **k)
    )
    runs = []
    for name, part in (("one", EPOCHS[:2]), ("two", EPOCHS)):
        runs.append(tmp_path / name)
        runs[-1].mkdir()
        (runs[-1] / "metrics.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in part))
    with pytest.raises(UserError, match="add --output"):
        plot.main([*map(str, runs)])
    plot.main([*map(str, runs), "--output", str(tmp_path / "both.png")])
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.splitlines() == [
        "one: 2 epochs, best top-1 20.0%",
        "two: 3 epochs, best top-1 30.0%",
    ]
    labels = [label for label, _ in drawn if label]
    assert [label.split(":")[0] for label in labels] == ["one", "one", "two", "two"]
    assert [values for label, values in drawn if label][3] == [epoch["top1_acc"] for epoch in EPOCHS]
