"""Switches off what dependencies would report of their user; called before they are imported.

Sources: ONNX Runtime, `docs/Privacy.md` (ORT_DISABLE_TELEMETRY; its builds for Linux report since 1.29, and keep a
number of the device under ~/.cache/Microsoft). OpenVINO, "OpenVINO Telemetry" (its switch is a file in the home folder,
which is the user's to write) and `openvino/tools/ovc/telemetry_utils.py` (where the package `openvino_telemetry` is not
to be had, a stub that sends nothing takes its place). Ray, "Usage stats collection" (RAY_USAGE_STATS_ENABLED).
"""

from __future__ import annotations

import os
import sys


def switch_off() -> None:
    """Lets ONNX Runtime, OpenVINO and Ray report nothing, unless the environment says otherwise."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: the import fails
