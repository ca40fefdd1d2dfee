"""Runs every chain on every config, by the commands that one would type; writes README.md's table and `results/`.

bash test_tipc/certify.sh [FOLDER_OF_CONFIGS...]
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from runtime import command
from runtime.errors import UserError
from runtime.lock import locked
from runtime.owned import Owned
from test_tipc.config import read_config
from test_tipc.processes import call
from test_tipc.report import read_results, write_results, write_table
from test_tipc.session import ALL_SKIPPED, FAILED, OUTPUT, PASSED, SKIPPED, Session, results_name

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
    ("test_paddle2mnn", "paddle2mnn_infer_python", "paddle2mnn_infer"),
    ("test_paddle2ncnn", "paddle2ncnn_infer_python", "paddle2ncnn_infer"),
    ("test_serving_infer_python", "serving_infer_python", "serving_infer"),
    ("test_inference_cpp", "inference_cpp", "cpp_infer"),
    ("test_inference_lite", "inference_lite", "paddlelite_infer"),
    ("test_inference_node", "inference_node", "node_infer"),
)

# A model may have no such config: Paddle Lite does not convolve over clips, a server takes no pictures.
WITHOUT = ("inference_lite", "serving_infer_python")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs them; the exit code is 1 if any chain failed, or none passed."""
    parser = command.parser(__doc__)
    parser.add_argument("configs", nargs="*", type=Path, help=f"folders of configs (default: those in {CONFIGS})")
    args = parser.parse_args(argv)
    rows = []
    for folder in map(config_folder, args.configs or sorted(path for path in CONFIGS.iterdir() if path.is_dir())):
        for results in sorted(filter(Path.is_dir, (OUTPUT / folder.name).glob("*"))):
            with locked(results.with_name(f".{results.name}.lock"), f"{results} is being written by another run"):
                Owned(results).remove_all(is_held=True)  # results of an earlier run are not of this one
        for script, config, mode in RUNS:
            if config in WITHOUT and not (folder / f"{config}.txt").is_file():
                continue
            started = time.perf_counter()
            verdict = certify(folder, script, config, mode)
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


def certify(folder: Path, script: str, config: str, mode: str) -> str:
    """Prepares a chain and runs it; returns its verdict, and leaves one for the table in any case."""
    path = folder / f"{config}.txt"
    argv = [str(path), mode]
    code = run(ran := "prepare", argv) or run(ran := script, argv)
    name = results_name(mode, "dy2static" in script, ";" in read_config(path)["gpu_list"])
    if ran == script and (OUTPUT / folder.name / name / "results.json").is_file():
        return {0: PASSED, ALL_SKIPPED: SKIPPED}.get(code, FAILED.upper())
    session = Session(folder.name, name)  # for a chain that has not come to its end, or to its beginning
    session.fail(ran, f"exit code {code}")
    session.finish()
    return FAILED.upper()


def config_folder(path: Path) -> Path:
    """The folder by its own name; raises UserError for one without configs, or with those of another model."""
    folder = path.resolve()
    for config in dict.fromkeys(config for _, config, _ in RUNS):
        file = folder / f"{config}.txt"
        if config in WITHOUT and not file.is_file():
            continue
        if not file.is_file():
            raise UserError(f"{path} is no folder of configs: it has no {file.name}")
        if (model := read_config(file)["model_name"]) != folder.name:  # its results could not be found
            raise UserError(f"{file}: model_name is {model}: it must be {folder.name}, as the folder")
    return Path(os.path.relpath(folder))


def run(script: str, argv: Sequence[str]) -> int:
    """The exit code of a script of this folder."""
    line = ["bash", f"test_tipc/{script}.sh", *argv]
    command.say("", f"$ {' '.join(line)}")
    return call(line)


if __name__ == "__main__":
    with command.clear_errors():
        sys.exit(main())
