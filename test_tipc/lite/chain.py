"""Paddle Lite: the graph of Paddle 2 becomes `.nb` for x86 and for ARM, and that for x86 is run.

Source: test_lite_arm_cpu_cpp.sh of PaddleOCR and PaddleClas, which runs on a phone and compares nothing.
"""

from __future__ import annotations

import platform

from deploy.artifact import LEGACY_FOLDER
from test_tipc.config import Config
from test_tipc.programs import comparable, run_program
from test_tipc.session import Session
from test_tipc.toolchains import TOOLCHAINS

TARGETS = ("x86", "arm")


def inference_lite(config: Config, mode: str, session: Session) -> None:
    """Converts for both, runs what this machine can."""
    if platform.machine() != "x86_64":
        session.skip(mode, f"Paddle Lite has no wheel for {platform.machine()}")
        return
    artifact = comparable(config, mode, session)
    if artifact is None:
        return
    for target in TARGETS:
        model = session.folder / f"inference_{target}.nb"
        converter = TOOLCHAINS[config.form].folder / "bin" / "paddle_lite_opt"
        argv = [
            str(converter), f"--model_file={artifact / LEGACY_FOLDER / 'inference.pdmodel'}",
            f"--param_file={artifact / LEGACY_FOLDER / 'inference.pdiparams'}",
            f"--optimize_out={model.with_suffix('')}", f"--valid_targets={target}",
        ]  # fmt: skip
        converted = session.run(f"conversion, {target}", argv, session.folder / f"lite_opt_{target}.log", [model])
        if target == "x86" and converted.passed:
            run_program(config, session, "inference, x86", model, "lite_infer_x86_precision_fp32_batchsize_1")
