"""Runs every chain on every config, by the commands that one would type; writes README.md's table and `results/`.

bash test_tipc/certify.sh [FOLDER_OF_CONFIGS...]
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from runtime import command
from runtime.errors import UserError
from runtime.lock import locked
from runtime.owned import Owned
from test_tipc.report import read_results, write_results, write_table
from test_tipc.session import ALL_SKIPPED, FAILED, OUTPUT, PASSED, SKIPPED

CONFIGS = Path("test_tipc/configs")
# Script, config file, mode; what the small data serve first.
RUNS = (
    ("test_train_inference_python", "train_infer_python", "lite_train_lite_infer"),
    ("test_train_dy2static_python", "train_infer_python", "lite_train_lite_infer"),
    ("benchmark_train", "train_infer_python", "benchmark_train"),
    ("test_train_inference_python", "train_fleet_infer_python", "lite_train_lite_infer"),
    ("test_train_inference_python", "train_infer_python", "lite_train_whole_infer"),
    ("test_train_inference_python", "train_infer_python", "whole_train_whole_infer"),
    ("test_train_inference_python", "train_infer_python", "whole_infer"),
    ("test_train_inference_python", "train_infer_python", "klquant_whole_infer"),
    ("test_paddle2onnx", "paddle2onnx_infer_python", "paddle2onnx_infer"),
    ("test_serving_infer_python", "serving_infer_python", "serving_infer"),
    ("test_inference_cpp", "inference_cpp", "cpp_infer"),
    ("test_inference_lite", "inference_lite", "paddlelite_infer"),
    ("test_inference_node", "inference_node", "node_infer"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs them; the exit code is 1 if any chain failed, or none passed."""
    parser = command.parser(__doc__)
    parser.add_argument("configs", nargs="*", type=Path, help=f"folders of configs (default: those in {CONFIGS})")
    args = parser.parse_args(argv)
    rows = []
    for folder in map(config_folder, args.configs or sorted(path for path in CONFIGS.iterdir() if path.is_dir())):
        for results in sorted((OUTPUT / folder.name).glob("*/")):
            with locked(results.with_name(f".{results.name}.lock"), f"{results} is being written by another run"):
                Owned(results).remove_all(is_held=True)  # results of an earlier run are not of this one
        for script, config, mode in RUNS:
            argv = [str(folder / f"{config}.txt"), mode]
            started = time.perf_counter()
            code = run("prepare", argv) or run(script, argv)
            verdict = {0: PASSED, ALL_SKIPPED: SKIPPED}.get(code, FAILED.upper())
            rows.append((verdict, folder.name, script, config, mode, time.perf_counter() - started))
    command.say("")
    for verdict, model, script, config, mode, seconds in rows:
        command.say(f"{verdict:9}{model:18}{script:30}{config:27}{mode:26}{seconds:6.0f} s")
    command.say(f"{sum(seconds for *_, seconds in rows):.0f} s in all")
    records = read_results()
    write_table(records)
    write_results(records)
    verdicts = {verdict for verdict, *_ in rows}
    return int(PASSED not in verdicts or FAILED.upper() in verdicts)


def config_folder(path: Path) -> Path:
    """The folder by its own name; raises UserError for one without configs."""
    folder = path.resolve()
    missing = [config for _, config, _ in RUNS if not (folder / f"{config}.txt").is_file()]
    if missing:
        raise UserError(f"{path} is no folder of configs: it has no {missing[0]}.txt")
    return Path(os.path.relpath(folder))


def run(script: str, argv: Sequence[str]) -> int:
    """The exit code of a script of this folder."""
    line = ["bash", f"test_tipc/{script}.sh", *argv]
    command.say("", f"$ {' '.join(line)}")
    return subprocess.run(line, check=False).returncode


if __name__ == "__main__":
    with command.clear_errors():
        sys.exit(main())
