"""A layout as a newcomer would add it: this file, and an entry in `weights.layouts.LAYOUTS`."""

from __future__ import annotations

from weights.layout import TORCH, Fields, Layout
from weights.tables import head


def _built_in(fields: Fields) -> Fields:
    return {"shift_direction": "online"} if fields["model"] == "tsm_tiny" else {}


def _refuses(fields: Fields) -> str:
    return "has no network of eight frames" if fields["num_segments"] == 8 else ""


def _protocol_of(origin: str) -> Fields:
    return {"sampling": "dense"} if "everywhere" in origin else {}


LAYOUT = Layout(
    TORCH,
    ((head("verdict"), ("backbone.{shifted}", "trunk.{shifted}")),),
    wraps=True,
    key="toys",
    left_out={r"batteries\.\w+": "not included"},
    network={"shift_direction": "online"},
    protocol={"short_side": 40, "crop_size": 32, "test_size": 32},
    network_in_name=(r"_every(?P<shift_div>\d)_",),
    protocol_in_name=(r"_of(?P<num_segments>\d+)",),
    protocol_of=_protocol_of,
    built_in=_built_in,
    refuses=_refuses,
    refuses_file=lambda name: "is a doll" if "doll" in name else "",
    unused=lambda name, _: "a decoration" if name.startswith("backbone.layer1.9.") else "",
)
