"""Prepares what a chain needs: `python -m test_tipc.prepare CONFIG MODE [DATASET_ROOT]`.

- `test_tipc/data/<model>`: the data set. The embedded one, small for `lite_train_*`, or the third argument, or what the
  variable TIPC_DATASET names.
- `test_tipc/data/<model>_clips`: videos of its validation split, as many of each class, for the inference chains.
- The trained model of line 37, for modes that begin with one: trained here unless it is there.
- `test_tipc/build/<name>`: what the chains of Paddle Lite and Node download, by pip and npm; others download nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from configs import cli
from datasets import load_annotation
from runtime import command
from runtime.errors import UserError
from runtime.owned import ForeignError, Owned
from runtime.records import read_record
from tasks import Task, task_of
from test_tipc.config import MODES, Config, ConfigError, read_config
from test_tipc.processes import call
from test_tipc.toolchains import TOOLCHAINS, install

DATA = Path("test_tipc/data")
LITE, WHOLE = (64, 16), (320, 80)  # samples to train with and to validate with
VIDEOS = {"lite": 1, "whole": 4}  # and to infer of each class, as far as there are that many
UNCLASSED = 8  # times as many where samples have no class
TRAINED_BY = "whole_train_whole_infer"  # the mode whose numbers train a model for modes that begin with one
BENCHMARKS = ("benchmark_train", "dynamic_", "dynamicTostatic_")  # how the modes of benchmark_train.sh begin
STAMP = "prepared.json"


class Prepared(TypedDict):
    """What stands beside a prepared data set."""

    mode: str
    size: str
    clips: int


def dataset_of(config: Config, mode: str) -> Path:
    """The prepared data set of a config; raises ConfigError if it is absent, or embedded and of another size."""
    root = DATA / config["model_name"]
    command = f"bash test_tipc/prepare.sh {config.path} {mode}"
    stamp = DATA / f"{root.name}.json"
    if not stamp.is_file() or not root.is_dir():
        raise ConfigError(f"{root} is not prepared: {command}")
    prepared = read_record(stamp, Prepared, ConfigError, f": {command}")
    if "dataset" not in prepared and (prepared["size"], prepared["clips"]) != (_size(mode), _videos(mode)):
        raise ConfigError(f"{root} is prepared for {prepared['mode']}: {command}")
    return root


def videos_of(config: Config) -> list[str]:
    """The videos of the config's input line: those in the folder that it names, or the one file.

    Raises:
        ConfigError: Nothing is there.
    """
    path = Path(config.need("input"))
    children = sorted(path.iterdir()) if path.is_dir() else [path] * path.exists()
    found = [str(child) for child in children if not child.name.startswith(".")]
    if not found:
        raise config.error("input", f"{path} holds no video: bash test_tipc/prepare.sh {config.path} MODE")
    return found


def _size(mode: str) -> str:
    """`lite` or `whole`: how much data a mode takes."""
    return "lite" if mode.startswith(("lite", *BENCHMARKS)) else "whole"


def _videos(mode: str) -> int:
    """How many videos of each class a mode infers."""
    return VIDEOS["whole" if "whole_infer" in mode else _size(mode)]


def prepare(config: Config, mode: str, dataset: str = "") -> None:
    """Writes data, videos and, where the mode begins with one, a trained model.

    Raises:
        UserError: The data set cannot be read, or the training fails.
    """
    if config.form == "train_params" and mode not in MODES and not mode.startswith(BENCHMARKS):
        raise ConfigError(f"mode must be one of {', '.join(MODES)} or benchmark_train, got {mode}")
    root = DATA / config["model_name"]
    stamp: dict[str, Any] = {"mode": mode, "size": _size(mode), "clips": _videos(mode)}
    if root.parent != DATA:
        raise config.error("model_name", f"{root.name!r} must be the name of a folder in {DATA}")
    with Owned(DATA).locked(f"another process prepares {DATA}"):
        _prepare_data(root, stamp, task_of_config(config), dataset)
        if not mode.startswith(("lite", TRAINED_BY, *BENCHMARKS)):
            _train(config, root, str(root.resolve()))
        if config.form in TOOLCHAINS:
            install(config.form)


def task_of_config(config: Config) -> Task:
    """The task of the network that a config, or the training beside it, names."""
    if config.form != "train_params":
        config = read_config(config.path.with_name("train_infer_python.txt"), "train_params")
    parser = argparse.ArgumentParser(allow_abbrev=False)
    cli.add_recipe_flags(parser)
    flags, _ = parser.parse_known_args(config.trainer("norm_train"))
    return task_of(cli.asked(flags).recipe())


def _prepare_data(root: Path, stamp: dict[str, Any], task: Task, dataset: str) -> None:
    owned = Owned(DATA)
    owned.remove([f"{root.name}.json"])  # what is there is no longer what it says
    train, val = LITE if stamp["size"] == "lite" else WHOLE
    if dataset:
        source = Path(dataset).absolute()
        if not source.is_dir():
            raise UserError(f"{dataset} is no folder: name the root of a data set")
        stamp["dataset"] = str(source)
    else:
        source = task.draw_dataset(DATA / f"{task.example}_{stamp['size']}", train, val).absolute()
    owned.link(root.name, source)
    count = _link_videos(DATA / f"{root.name}_clips", task, source, stamp["clips"])
    owned.write({f"{root.name}.json": (json.dumps(stamp) + "\n").encode()})
    command.say(f"{root}: {source}", f"{root}_clips: {count} videos")


def _link_videos(folder: Path, task: Task, source: Path, per_class: int) -> int:
    """Links to the first validation videos of each class, or to as many pictures as if there were UNCLASSED of them."""
    Owned(folder).remove_all()
    owned = Owned.create_private(folder)
    seen: Counter[int] = Counter()
    for entry in load_annotation(str(source), "val", 1, 0, "", targets=task.targets).entries:
        label, most = (entry.target, per_class) if task.targets.in_class_folders else (0, UNCLASSED * per_class)
        if seen[label] < most:
            seen[label] += 1
            path = Path(entry.path).absolute()
            (folder / f"{label:03}_{seen[label]:02}_{path.name}").symlink_to(path)
    owned.seal()
    return seen.total()


def _train(config: Config, root: Path, source: str) -> None:
    """Trains the model of line 37, unless it is there for the same data; a model that was put there is kept."""
    if config.form != "train_params":
        config = read_config(config.path.with_name("train_infer_python.txt"), "train_params")
    weights = Path(config.need("infer_model"))
    run, stamp = weights.parent, weights.parent / STAMP
    epochs, batch_size = (config.by_mode(name, TRAINED_BY) for name in ("epochs", "batch_size"))
    device = config.first("device")
    argv = [
        config.need("python"), *config.training(config.trainer("norm_train"), run, epochs, batch_size, device)
    ]  # fmt: skip
    made: dict[str, Any] = {"command": argv, "dataset": source, "finished": True}
    ours = stamp.is_file()
    if weights.is_file() and (not ours or read_record(stamp, Any) == made):
        command.say(f"{weights}: is there")
        return
    try:
        Owned(run).remove_all()
    except ForeignError as error:
        what = "is of other data or settings" if weights.is_file() else f"is there without {weights.name}: put it there"
        raise config.error("infer_model", f"{run} {what}; {error}") from error
    Owned(run).write({STAMP: (json.dumps(made | {"finished": False}) + "\n").encode()})
    command.say(f"{weights}: training it", f"$ {shlex.join(argv)}")
    code = call(argv)
    if code or not weights.is_file():
        raise UserError(f"the training of {weights} ended with exit code {code}" + " and did not make it" * (not code))
    Owned(run).write({STAMP: (json.dumps(made) + "\n").encode()})


def main(argv: Sequence[str] | None = None) -> None:
    """Prepares."""
    parser = command.parser(__doc__)
    parser.add_argument("config", help="config file")
    parser.add_argument("mode", help="mode that the chain will be run in")
    parser.add_argument(
        "dataset", nargs="?", default=os.environ.get("TIPC_DATASET", ""), help="root of a real data set"
    )
    args = parser.parse_args(argv)
    prepare(read_config(args.config), args.mode, args.dataset)


if __name__ == "__main__":
    with command.clear_errors():
        main()
