"""The steps that chains are made of: each runs a command of the repository and judges what it left."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, TypeVar

from deploy.formats import FORMATS
from deploy.parity import OTHER_PIXELS
from runtime.cpu import has_bf16
from runtime.records import read_lines, read_record
from test_tipc.compare_results import compare_files, read_predictions
from test_tipc.config import Config, ConfigError, read_config
from test_tipc.prepare import videos_of
from test_tipc.session import Session, StepError

PREDICTIONS = "ground_truth.log"
Certificate = TypeVar("Certificate", bound="Record")


class Figures(TypedDict):
    """What `export.json` says of every graph."""

    max_difference: float
    allowed: float
    relative: float
    top1: float


class Parity(Figures, total=False):
    """What it says of one that may give maps."""

    other_pixels: float


class Record(TypedDict):
    """What `export.json` says of every artifact."""

    files: dict[str, str]


class Exported(Record):
    """What it says of one by deploy.export."""

    parity: dict[str, Parity]


class Quantized(Record):
    """What it says of one by deploy.quantize: a figure of precisions, by its name, among others."""

    quantization: dict[str, Any]


class Training(NamedTuple):
    """One training of a config: cards of an entry of gpu_list, the device, a precision, the command, and its nodes."""

    gpus: str
    device: str
    amp: str
    command: list[str]
    nodes: int = 1

    @property
    def is_mixed(self) -> bool:
        """Whether it computes in mixed precision."""
        return self.amp not in ("", "null", "none", "fp32")

    @property
    def processes(self) -> int:
        """Of all nodes."""
        return self.nodes * len(self.gpus.split(","))

    @property
    def title(self) -> str:
        """For the name of its step."""
        where = "CPU" if self.gpus.startswith("-1") else f"GPU {self.gpus}"
        nodes = f", {self.nodes} nodes" * (self.nodes > 1)
        amp = f", amp {self.amp}" * self.is_mixed
        return f"{self.processes} process{'es' * (self.processes > 1)} on {where}{nodes}{amp}"


def train(
    session: Session, config: Config, mode: str, folder: Path, training: Training, title: str = ""
) -> Path | None:
    """Trains; returns the weights, or None if there are none to go on with. `title` is instead of the training's."""
    gpus, device, amp, command, nodes = training
    name = f"train, {title or training.title}"
    if training.is_mixed and gpus.startswith("-1"):
        session.skip(name, f"{amp} needs a GPU: on CPU Paddle computes in float32 all the same")
        return None
    run = folder / "run"
    epochs = config.by_mode("epochs", mode)
    batch_size = config.by_mode("batch_size", mode)
    argv = [*launch(config, gpus, folder, nodes), *config.training(command, run, epochs, batch_size, device, amp)]
    weights = run / config.need("train_model_name")
    outputs = [weights, run / "recipe.json", run / "metrics.jsonl", run / "train.log"]
    step = session.run(
        name,
        argv,
        folder / "train.log",
        outputs,
        lambda: training_numbers(run, epochs, config.metric),
        environment=cards(gpus),
    )
    return weights if step.passed else None


def launch(config: Config, gpus: str, folder: Path, nodes: int = 1) -> list[str]:
    """The argv in front of a training script: Python, and Paddle's launcher for several processes, or several nodes."""
    python, entries = config.need("python"), gpus.split(",")
    if nodes > 1:
        each = ["--nodes", str(nodes), "--nproc_per_node", str(len(entries)), "--log_dir", str(folder / "launch")]
        return [python, "-m", "test_tipc.fleet", *each, "--"]
    if len(entries) == 1:
        return [python]
    place = ["--nproc_per_node", str(len(entries))] if gpus.startswith("-1") else ["--gpus", gpus]
    return [python, "-m", "paddle.distributed.launch", *place, "--log_dir", str(folder / "launch")]


def cards(gpus: str) -> dict[str, str]:
    """The environment of a training on one card; the launcher sees to several."""
    return {"CUDA_VISIBLE_DEVICES": gpus} if gpus.isdigit() else {}


def training_numbers(run: Path, epochs: str, metric: str = "top1_acc") -> dict[str, Any]:
    """Losses and the metric of a training; raises StepError if a loss is not finite or an epoch is missing."""
    losses = read_losses(run / "train.log")
    events = read_lines(run / "metrics.jsonl", dict[str, Any], StepError)  # which refuses NaN
    accuracy = [event[metric] for event in events if isinstance(event.get(metric), float | int)]
    if not all(map(math.isfinite, losses)):
        raise StepError(f"a loss in {run} is not finite")
    if not losses or (epochs and len(accuracy) != int(epochs)):
        raise StepError(
            f"{run} tells of {len(accuracy)} epochs and {len(losses)} losses, {epochs} epochs were asked for"
        )
    return {"first_loss": losses[0], "last_loss": losses[-1], "epochs": len(accuracy), metric: max(accuracy)}


def read_losses(log: Path) -> list[float]:
    """The losses in the lines of a training, in their order."""
    return [float(loss) for loss in re.findall(r"^\[TRAIN\].* loss: (\S+)", log.read_text(encoding="utf-8"), re.M)]


def evaluate(session: Session, config: Config, mode: str, folder: Path, weights: Path) -> None:
    """Tests weights on the validation set; its accuracy must be what the config asks of the mode."""
    if not config["eval"]:
        session.skip("evaluation", "line 24 of the config names no command for it")
        return
    argv = [config.need("python"), *config.argv("eval"), *config.flag("eval_weights", str(weights))]
    log = folder / "eval.log"
    needed, metric = float(config.by_mode("accuracy", mode) or 0), config.metric

    def check() -> dict[str, Any]:
        found = re.search(rf"^{metric}: (\S+)$", log.read_text(encoding="utf-8"), re.M)
        accuracy = float(found[1]) if found else math.nan
        if not needed <= accuracy <= 1:
            raise StepError(f"{metric} is {accuracy:.4f}, {mode} needs {needed:g}")
        return {metric: accuracy, "needed": needed}

    session.run("evaluation", argv, log, check=check)


def infer_exported(
    session: Session, config: Config, folder: Path, weights: Path, command: list[str], rows: bool = True
) -> Path | None:
    """Exports weights, predicts with the trained model as ground truth, and infers with every setting of the config.

    Returns:
        The artifact, or None if it was not made or there is no ground truth to compare it with.
    """
    exported = export(session, config, folder, weights, command)
    truth = exported and ground_truth(session, config, folder, weights)
    if not (exported and truth):
        last = session.steps[-1]
        session.skip("inference", f"there is nothing to infer with: {last.name} {last.status}")
        return None
    if rows:
        infer_all(session, config, folder, exported)
    return exported


def export(session: Session, config: Config, folder: Path, weights: Path, command: list[str]) -> Path | None:
    """Exports weights; returns the artifact, or None if it is not certified."""
    target = folder / "inference"
    argv = [
        config.need("python"), *command, *config.flag("export_weights", str(weights)),
        *config.flag("export_dir", str(target)),
    ]  # fmt: skip
    outputs = [target / name for name in ("export.json", "recipe.json", "classes.txt")]
    if lack := _lack(argv):
        session.skip("export", lack)
        return None
    step = session.run("export", argv, folder / "export.log", outputs, lambda: export_numbers(target))
    return target if step.passed else None


def _lack(argv: Sequence[str]) -> str:
    """What a graph format among the words of a command lacks here, as a sentence; empty if none lacks anything."""
    return next(filter(None, (FORMATS[word].lack for word in argv if word in FORMATS)), "")


def read_certificate(target: Path, kind: type[Certificate]) -> Certificate:
    """The record of an artifact; raises StepError if it certifies no file, or one that is not there."""
    record: Certificate = read_record(target / "export.json", kind, StepError)
    missing = [name for name in record["files"] if not (target / name).is_file()]
    if missing or not record["files"]:
        raise StepError(f"{target}/export.json certifies nothing, or files that are not there: {missing}")
    return record


def export_numbers(target: Path) -> dict[str, Any]:
    """What the certificate of an artifact says; raises StepError if it certifies nothing or not enough."""
    record = read_certificate(target, Exported)
    if not record["parity"]:
        raise StepError(f"{target}/export.json certifies nothing about its graphs")
    for engine, figures in record["parity"].items():
        if not figures["max_difference"] <= figures["allowed"]:
            raise StepError(f"{engine} is off by {figures['max_difference']:.1e}, {figures['allowed']:.1e} is allowed")
        if 1 - figures["top1"] > (OTHER_PIXELS if "other_pixels" in figures else 0):
            raise StepError(f"top-1 agreement of {engine} with the trained model is {figures['top1']:.0%}")
    return {f"{engine}_relative": figures["relative"] for engine, figures in record["parity"].items()}


def ground_truth(session: Session, config: Config, folder: Path, weights: Path) -> Path | None:
    """The log of predict.py on the videos with the trained weights; None if it does not predict each of them."""
    videos = videos_of(config)
    log = folder / PREDICTIONS
    argv = [
        config.need("python"), *config.argv("ground_truth"), *config.flag("export_weights", str(weights)),
        *config.flag("input", *videos),
    ]  # fmt: skip

    def check() -> dict[str, Any]:
        count = len(read_predictions(log))
        if count != len(videos):
            raise StepError(f"{count} predictions for {len(videos)} videos")
        return {"clips": count}

    return log if session.run("ground truth", argv, log, check=check).passed else None


def infer_all(session: Session, config: Config, folder: Path, artifact: Path, int8: bool = False) -> None:
    """Inference with every setting of the config that the device has, each compared with the ground truth."""
    reasons = set()
    for setting in _settings(config, int8):
        log = folder / f"{setting.pop('log')}.log"
        reason = _impossible(setting)
        if reason:
            if reason not in reasons:
                session.skip(f"inference, {setting['precision']}", reason)
            reasons.add(reason)
            continue
        name = ", ".join(["inference", *(f"{_NAMES[key]} {value}" for key, value in setting.items() if value)])
        argv = [
            config.need("python"), *config.argv("inference"),
            *(text for key, value in setting.items() for text in config.flag(key, value)),
            *config.flag("model_file", str(artifact)), *config.flag("params_file", config["params_file"]),
            *config.flag("benchmark", config["benchmark"]), *config.flag("input", *videos_of(config)),
        ]  # fmt: skip
        timed = setting["precision"] if config["benchmark"] == "True" else ""
        session.run(name, argv, log, check=inference_check(folder / PREDICTIONS, log, timed))


# Our names of flags, in the name of a step.
_NAMES = {
    "use_gpu": "GPU", "mkldnn": "oneDNN", "cpu_threads": "threads", "infer_batch_size": "batch",
    "precision": "precision",
}  # fmt: skip


def _settings(config: Config, int8: bool) -> Iterator[dict[str, str]]:
    """Our names of flags -> values, and `log`, the name that TIPC gives the log."""
    precisions = ["int8"] if int8 else config.choices("precision") or ["fp32"]
    threads, sizes = config.choices("cpu_threads") or [""], config.choices("infer_batch_size") or ["1"]
    for use_gpu in config.choices("use_gpu") or [""]:
        if use_gpu == "True":
            for precision, size in product(precisions, sizes) if not int8 else ():
                yield {
                    "use_gpu": use_gpu, "precision": precision, "infer_batch_size": size,
                    "log": f"python_infer_gpu_usetrt_False_precision_{precision}_batchsize_{size}",
                }  # fmt: skip
            continue
        onednn = [""] if int8 else config.choices("mkldnn") or [""]
        for mkldnn, count, size, precision in product(onednn, threads, sizes, precisions):
            name = f"usemkldnn_{mkldnn or 'null'}_threads_{count or 'null'}_precision_{precision}_batchsize_{size}"
            yield {
                "use_gpu": use_gpu, "mkldnn": mkldnn, "cpu_threads": count, "infer_batch_size": size,
                "precision": precision, "log": f"python_infer_cpu_{name}",
            }  # fmt: skip


def _impossible(setting: dict[str, str]) -> str:
    """Why a setting has nothing to be tested, or nothing."""
    if setting["precision"] == "bf16" and setting.get("use_gpu") != "True":
        if setting.get("mkldnn") == "False":
            return "bf16 on CPU is oneDNN's"
        if not has_bf16():
            return "this CPU has no bf16"
    return ""


def inference_check(truth: Path, log: Path, precision: str = "") -> Callable[[], dict[str, Any]]:
    """A check of the predictions in a log, and, if `precision` is given, of its benchmark report, which names it."""

    def check() -> dict[str, Any]:
        agreement = compare_files(truth, log)
        numbers = {**vars(agreement)}
        if precision:
            text = log.read_text(encoding="utf-8")
            found = re.search(r"inference_time\(ms\): ([\d.]+)", text)
            if not found:
                raise StepError("the log has no benchmark report: inference_time(ms) is missing")
            computed = re.findall(r"\bprecision: (\w+)", text)
            if set(computed) != {precision}:
                raise StepError(f"the log tells of precision {', '.join(computed) or 'nothing'}, not of {precision}")
            numbers["inference_ms"] = float(found[1])
        return numbers

    return check


def trained_weights(config: Config, name: str, mode: str) -> Path:
    """The weights of a trained model that a line names; raises ConfigError if they are not there."""
    weights = Path(config.need(name))
    if not weights.is_file():
        raise ConfigError(f"{weights} is absent: bash test_tipc/prepare.sh {config.path} {mode} makes it")
    return weights


def converted(config: Config, session: Session, tool: str, target: str) -> Path | None:
    """The artifact of the trained model that a config starts from, with the ground truth beside; None if a step fails.

    Args:
        tool, target: Names of the lines that hold the command, and the flag of the folder that it writes.
    """
    weights, artifact = trained_weights(config, "model_dir", session.mode), session.folder / "inference"
    trained = read_config(config.path.with_name("train_infer_python.txt"), "train_params")
    argv = [
        config.need("python"), *config.argv(tool), *config.flag("model_dir", str(weights)),
        *config.flag(target, str(artifact)),
    ]  # fmt: skip
    if lack := _lack(argv):
        session.skip("conversion", lack)
        return None
    log, outputs = session.folder / "conversion.log", [artifact / "export.json"]
    step = session.run("conversion", argv, log, outputs, lambda: export_numbers(artifact))
    return artifact if step.passed and ground_truth(session, trained, session.folder, weights) else None


def quantize(session: Session, config: Config, exported: Path) -> Path | None:
    """Makes int8 of an artifact; its accuracy must not fall by more than the config allows."""
    target = session.folder / "inference_int8"
    allowed, metric = float(config.need("int8_drop")), config.metric
    argv = [
        config.need("python"), *config.argv("quant_export"), *config.flag("model_file", str(exported)),
        *config.flag("export_dir", str(target)),
    ]  # fmt: skip

    def check() -> dict[str, Any]:
        accuracy = read_certificate(target, Quantized)["quantization"].get(metric)
        if not accuracy:
            raise StepError(f"{target}/export.json says nothing of {metric}")
        if not accuracy["fp32"] - accuracy["int8"] <= allowed:
            raise StepError(
                f"{metric} falls from {accuracy['fp32']:.4f} to {accuracy['int8']:.4f}, {allowed:g} is allowed"
            )
        return {f"{precision}_{metric}": accuracy[precision] for precision in ("fp32", "int8")}

    outputs = [target / "export.json"]
    return target if session.run("quantization", argv, session.folder / "quantize.log", outputs, check).passed else None
