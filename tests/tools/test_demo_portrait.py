"""The demo of masks, in small: its commands run, its claim is held against what it reaches."""

import json

import pytest

from runtime.errors import UserError
from tools import demo_portrait


@pytest.mark.whole
def test_it_trains_tests_and_draws(tmp_path, monkeypatch, capfd):
    """With two epochs of few pictures, which reach less than what the demo shows, and say so."""
    plain = demo_portrait.write_figures
    monkeypatch.setattr(demo_portrait, "write_figures", lambda root: plain(root, train=8, val=2, size=64))
    run = demo_portrait.run_script
    monkeypatch.setattr(
        demo_portrait, "run_script",
        lambda script, *flags: run(script, *flags, *(("--max_epochs", 1) if script == "train.py" else ())),
    )  # fmt: skip
    with pytest.raises(UserError, match=r"the network reaches 0\.\d+, and 0.85 is what this demo shows"):
        demo_portrait.main(["--output_dir", str(tmp_path)])
    assert json.loads((tmp_path / "unet/test/test.json").read_text())["samples"] == 2
    assert (tmp_path / "composed_0.mp4").stat().st_size > 1000
    said = capfd.readouterr().out
    assert "8 training and 2 validation pictures" in said
    assert "sample    1x3x64x64 (views x RGB x height x width)\n" in said
