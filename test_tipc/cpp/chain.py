"""C++: a program against the headers and libraries in Paddle's wheel, built by CMake, runs both graphs of Paddle.

Source: test_inference_cpp.sh of PaddleVideo, which downloads a library of its own for it.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from deploy.artifact import LEGACY_FOLDER
from runtime.owned import Owned
from test_tipc.config import Config
from test_tipc.programs import comparable, run_program
from test_tipc.session import Session
from test_tipc.toolchains import TOOLCHAINS


def inference_cpp(config: Config, mode: str, session: Session) -> None:
    """Builds test_tipc/cpp and runs it on the graphs of Paddle 3 and 2."""
    if reason := _lack_of_python():
        session.skip(mode, reason)
        return
    artifact = comparable(config, mode, session)
    if artifact is None:
        return
    if not _build(session):
        session.skip("inference", "the program is not built")
        return
    for form, folder in (("json", artifact), ("pdmodel", artifact / LEGACY_FOLDER)):
        run_program(config, session, f"inference, {form}", folder, f"cpp_infer_cpu_{form}_precision_fp32_batchsize_1")


def _lack_of_python() -> str:
    """What this Python lacks that the program is built with; empty if nothing."""
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return f"{sys.executable} has no shared libpython, which Paddle's library needs"
    header = Path(sysconfig.get_path("include"), "Python.h")
    return "" if header.is_file() else f"{header} is not there, which python3-dev has, or python3-devel"


def _build(session: Session) -> bool:
    """Whether the program is there, of these sources and this Paddle."""
    folder = TOOLCHAINS["cpp_infer_params"].folder
    if not Owned(folder).is_marked:
        Owned.create_private(folder)
    configure = ["cmake", "-S", "test_tipc/cpp", "-B", str(folder), f"-DPython3_EXECUTABLE={sys.executable}"]
    return (
        session.run("configure", configure, session.folder / "configure.log").passed
        and session.run("build", ["cmake", "--build", str(folder)], session.folder / "build.log").passed
    )
