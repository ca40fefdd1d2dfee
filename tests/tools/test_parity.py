"""The table of networks and engines: a figure each, or what an engine cannot do; else the command fails."""

import pytest

from deploy.engines import ENGINES
from deploy.formats import FORMATS
from deploy.parity import ParityError
from runtime.errors import UserError
from tools import parity


@pytest.mark.whole
def test_a_network_has_a_figure_of_every_engine(capsys):
    parity.main(["--models", "tsn_tiny"])
    name, clips, *cells = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].strip("|").split("|")]
    assert (name, clips) == ("tsn_tiny", "8 x 64²")
    for kind, cell in zip(ENGINES.values(), cells, strict=True):
        assert cell == "not installed" if FORMATS[kind.formats[0]].lack else float(cell) < 1e-4


def test_a_refusal_stands_in_its_place(monkeypatch, capsys):
    def refuse(function, *arguments):
        if function is parity.bench_infer.export:
            raise UserError("layer4: it has no such operator")

    monkeypatch.setattr(parity.measure, "in_process", refuse)
    parity.main(["--models", "tsn_tiny"])
    assert "| refused: layer4: it has no such operator |" in capsys.readouterr().out


def test_a_difference_is_no_refusal(monkeypatch):
    def differ(function, *arguments):
        if function is parity.bench_infer.export:
            raise ParityError("mnn differs from the trained model by 1")

    monkeypatch.setattr(parity.measure, "in_process", differ)
    with pytest.raises(UserError, match="mnn differs from the trained model by 1"):
        parity.main(["--models", "tsn_tiny"])


def test_a_figure_that_is_missing_is_an_error(monkeypatch):
    monkeypatch.setattr(parity.measure, "in_process", lambda *_: None)
    monkeypatch.setattr(parity, "_figures", lambda job: {})
    with pytest.raises(UserError, match="no figure of tsn_tiny in onnxruntime, tsn_tiny in openvino"):
        parity.main(["--models", "tsn_tiny"])
