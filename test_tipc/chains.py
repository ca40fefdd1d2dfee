"""The chains: `python -m test_tipc.chains CHAIN CONFIG [MODE]`, one for each of TIPC's scripts."""

from __future__ import annotations

import http.client
import re
import shutil
import sys
import traceback
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from runtime import command
from runtime.errors import UserError
from runtime.owned import digest_of
from test_tipc.config import CONVERSIONS, MODES, Config, ConfigError, read_config
from test_tipc.cpp.chain import inference_cpp
from test_tipc.lite.chain import inference_lite
from test_tipc.node.chain import inference_node
from test_tipc.prepare import dataset_of, videos_of
from test_tipc.session import FAILED, Session, StepError, results_name
from test_tipc.steps import (
    PREDICTIONS,
    Training,
    cards,
    converted,
    evaluate,
    infer_all,
    infer_exported,
    inference_check,
    launch,
    quantize,
    read_losses,
    train,
    trained_weights,
)

STATIC_RTOL = 1e-4  # of the first losses, static graph against dygraph
# As in PaddleVideo. Later ones drift apart: a deep network that begins from nothing multiplies rounding in each step.
FIRST_LOSSES = 3
TIMEOUT_S = 3600.0  # seconds that a step may take
# Lines of the forms that no chain here looks at.
UNOFFERED = (
    "pact_train", "fpgm_train", "distill_train", "fpgm_export", "distill_export", "export1", "export2", "inference_dir",
    "infer_quant", "tensorrt", "save_log", "opset", "checker", "client_dir", "serving_dir",
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# The basic chain: train, evaluate, export, infer


def train_inference(config: Config, mode: str, session: Session) -> None:
    """Every training of the config, each followed by its evaluation, export and inference; or those of a given model.

    Source: test_train_inference_python.sh of PaddleOCR and PaddleVideo, in the same order.
    """
    if mode not in ("whole_infer", "klquant_whole_infer"):
        runs: dict[tuple[Any, ...], Path] = {}
        for name, training in list(_trainings(config)):  # all are read before the first is run
            folder = session.folder / name
            weights = train(session, config, mode, folder, training)
            if weights:
                _note_nodes(session, training, weights, runs)
                evaluate(session, config, mode, folder, weights)
                infer_exported(session, config, folder, weights, config.argv("norm_export"))
            elif session.steps[-1].status == FAILED:
                session.skip("evaluation, export, inference", f"there is nothing to go on with: {name} failed")
        return
    weights = trained_weights(config, "infer_model", mode)
    exported = infer_exported(
        session, config, session.folder, weights, config.argv("infer_export"), rows=mode == "whole_infer"
    )
    if mode == "klquant_whole_infer" and exported:
        quantized = quantize(session, config, exported)
        if quantized:
            infer_all(session, config, session.folder, quantized, int8=True)
        else:
            session.skip("inference int8", "there is nothing to infer with: the quantization failed")


def _note_nodes(session: Session, training: Training, weights: Path, runs: dict[tuple[Any, ...], Path]) -> None:
    """Notes the weights of one node, or compares those of several with them: as many processes learn the same.

    Source: test_train_inference_python.sh of PaddleVideo with a config of several nodes; it compares nothing.
    """
    key = (training.processes, training.device, training.amp, *training.command)
    if training.nodes == 1:
        runs[key] = weights
    elif key in runs:
        session.judge(f"{training.nodes} nodes learn what 1 does", lambda: compare_nodes(runs[key], weights))
    else:
        why = f"no entry of gpu_list before it has trained with {training.processes} processes on one node"
        session.fail(f"{training.nodes} nodes learn what 1 does", why)


def compare_nodes(one: Path, several: Path) -> dict[str, Any]:
    """Compares the losses and the weights of two runs; raises StepError unless they are the same to the bit."""
    expected, found = (read_losses(weights.with_name("train.log")) for weights in (one, several))
    if expected != found or digest_of(one) != digest_of(several):
        raise StepError(f"losses begin {found[:FIRST_LOSSES]} with several nodes, {expected[:FIRST_LOSSES]} with one")
    return {"nodes_losses": len(found), "nodes_difference": 0.0}


def _trainings(config: Config) -> Iterator[tuple[str, Training]]:
    """Each training and the name that TIPC gives its folder."""
    entries, devices = config.choices("gpu_list"), config.choices("device") or [""]
    if len(devices) not in (1, len(entries)):
        raise config.error("device", f"{len(devices)} values for the {len(entries)} entries of gpu_list")
    places = zip(entries, devices if len(devices) > 1 else devices * len(entries), strict=True)
    for (entry, device), amp, trainer in product(places, config.choices("amp") or [""], config.choices("trainer")):
        addresses, _, gpus = entry.rpartition(";")
        nodes = len(addresses.split(","))
        name = f"{trainer}_gpus_{gpus}_autocast_{amp or 'null'}{f'_nodes_{nodes}' * (nodes > 1)}"
        yield name, Training(gpus, device, amp, config.trainer(trainer), nodes)


# ---------------------------------------------------------------------------------------------------------------------
# Static graphs in training, speed of training


def dy2static(config: Config, mode: str, session: Session) -> None:
    """Trains twice, in dygraph and through a static graph: the first losses must be the same.

    Source: test_train_dy2static_python.sh of PaddleVideo, which compares the first three as text.
    """
    extra, command = config.argv("to_static"), config.trainer("norm_train")
    if not extra:
        config.need("to_static")
    device = config.first("device")
    gpus = config.first("gpu_list").split(",")[0]
    for kind, argv in (("dygraph", command), ("static graph", [*command, *extra])):
        folder = session.folder / kind.split()[0]
        if not train(session, config, mode, folder, Training(gpus, device, "", argv), kind):
            return
    runs = [session.folder / kind / "run" / "train.log" for kind in ("dygraph", "static")]
    session.judge("the first losses are equal", lambda: compare_losses(*map(read_losses, runs)))


def compare_losses(expected: Sequence[float], found: Sequence[float]) -> dict[str, Any]:
    """Compares the first losses of two trainings; raises StepError if they differ, or say too little to tell."""
    if len(expected) != len(found) or len(set(expected[:FIRST_LOSSES])) < FIRST_LOSSES:
        raise StepError(f"{len(expected)} and {len(found)} losses; {FIRST_LOSSES} different ones are needed at least")
    differences = [abs(a - b) / abs(a) if a else abs(b) for a, b in zip(expected, found, strict=True)]
    first = differences[:FIRST_LOSSES]
    if not all(difference <= STATIC_RTOL for difference in first):  # as it stands, so that NaN fails
        raise StepError(f"the first {FIRST_LOSSES} losses differ by {max(first):.1e}, {STATIC_RTOL:g} is allowed")
    return {"losses": FIRST_LOSSES, "first_difference": max(first), "difference_of_all": max(differences)}


def benchmark_train(config: Config, mode: str, session: Session) -> None:
    """Clips a second of the training, for each batch size and precision of the config.

    Source: benchmark_train.sh of PaddleVideo, with its third argument, such as `dynamicTostatic_bs8_fp32_DP_N1C2`.
    """
    static, sizes, precisions, processes = _bench_cases(config, mode)
    if config["bench_profiler"]:
        session.skip("profiler", f"{config['bench_profiler']}: no profiler is offered here")
    for size, precision, count in product(sizes, precisions, processes):
        label = f"benchmark, batch {size}, {precision}, {count} process{'es' * (count > 1)}{', static graph' * static}"
        entry = config.first("gpu_list").split(",")[0]
        gpus = ",".join(["-1"] * count if entry == "-1" else map(str, range(count)))
        if precision != "fp32" and entry == "-1":
            session.skip(label, f"{precision} needs a GPU: on CPU Paddle computes in float32 all the same")
            continue
        folder = session.folder / re.sub(r"\W+", "_", label)
        log = folder / "train.log"
        amp = {"fp16": "float16", "bf16": "bfloat16"}.get(precision, "")
        graph = config.argv("to_static") if static else []
        device = config.first("device")
        command = [*config.trainer("norm_train"), *graph, f"--max_iters={config.need('bench_iters')}"]
        training = config.training(command, folder / "run", config["bench_epoch"], size, device, amp)
        argv = [*launch(config, gpus, folder), *training]
        flags = dict(flag.split("=", 1) for flag in config["bench_flags"].split(";") if flag)
        session.run(label, argv, log, check=_speed_check(log), environment={**flags, **cards(gpus)})


def _bench_cases(config: Config, params: str) -> tuple[bool, list[str], list[str], list[int]]:
    """Static graph or not, batch sizes, precisions, numbers of processes."""
    config.need("bench_iters")
    found = re.fullmatch(r"(dynamic|dynamicTostatic)_bs(\d+)_(fp32|fp16|bf16)_DP_N1C(\d+)", params)
    if found:
        return found[1] == "dynamicTostatic", [found[2]], [found[3]], [int(found[4])]
    if params != "benchmark_train":
        raise ConfigError(f"{params!r} must be benchmark_train, or such as dynamic_bs8_fp32_DP_N1C1 (one node)")
    return False, config.choices("bench_batch_size"), config.choices("bench_precision"), [1]


def _speed_check(log: Path) -> Callable[[], dict[str, Any]]:
    def check() -> dict[str, Any]:
        found = re.findall(r"^benchmark:.* avg_ips: ([\d.]+)", log.read_text(encoding="utf-8"), re.M)
        if len(found) != 1 or not float(found[0]) > 0:
            raise StepError("the log has no line `benchmark: ... avg_ips: N` with N above 0")
        return {"avg_ips": float(found[0])}

    return check


# ---------------------------------------------------------------------------------------------------------------------
# Chains that begin with a trained model


def conversion(config: Config, mode: str, session: Session) -> None:
    """Converts a trained model to ONNX, MNN or ncnn and infers with every engine of the config's line 12.

    Source: test_paddle2onnx.sh of PaddleVideo.
    """
    artifact = converted(config, session, "converter", "save_file")
    if artifact is None:
        session.skip("inference", "there is nothing to infer with")
        return
    for engine in config.choices("config") or [""]:
        log = session.folder / f"python_infer_{engine or mode}_precision_fp32.log"
        argv = [
            config.need("python"), *config.argv("inference"), *config.flag("config", engine),
            *config.flag("onnx_file", str(artifact)), *config.flag("input", *videos_of(config)),
        ]  # fmt: skip
        session.run(f"inference, {engine}", argv, log, check=inference_check(session.folder / PREDICTIONS, log))


def serving(config: Config, mode: str, session: Session) -> None:
    """Exports a trained model, starts the server, waits until it is ready, sends it videos, and ends it.

    Source: test_serving_infer_python.sh of PaddleVideo.
    """
    artifact = converted(config, session, "trans_model", "server_dir")
    if artifact is None:
        session.skip("server", "there is nothing to serve")
        return
    log, answers = session.folder / "python_server.log", session.folder / "python_server_infer_precision_fp32.log"
    argv = [config.need("python"), *config.argv("web_service"), "--model_dir", str(artifact)]
    with session.server("server", argv, log, lambda: _is_healthy(_url(log))) as server:
        if server.passed:
            argv = [
                config.need("python"), *config.argv("pipline"), "--url", _url(log),
                *config.flag("input", *videos_of(config)),
            ]  # fmt: skip
            session.run("client", argv, answers, check=inference_check(session.folder / PREDICTIONS, answers))
        else:
            session.skip("client", "the server is not ready")


def _url(log: Path) -> str:
    """Where the server says that it listens; empty until it does."""
    found = re.search(r"^serving .* on (http://\S+)$", log.read_text(encoding="utf-8"), re.M)
    return found[1] if found else ""


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return answer.status == 200
    except (ValueError, OSError, http.client.HTTPException):  # ValueError: no URL yet
        return False


# ---------------------------------------------------------------------------------------------------------------------
# The command

# chain -> its function, the form of its config, its modes of which the first is taken where none is given
CHAINS: dict[str, tuple[Callable[[Config, str, Session], None], str, tuple[str, ...]]] = {
    "train_inference": (train_inference, "train_params", MODES),
    "dy2static": (dy2static, "train_params", MODES[:3]),
    "benchmark_train": (benchmark_train, "train_params", ("benchmark_train",)),
    **{f"paddle2{name}": (conversion, f"paddle2{name}_params", (f"paddle2{name}_infer",)) for name in CONVERSIONS},
    "serving": (serving, "serving_params", ("serving_infer",)),
    "inference_cpp": (inference_cpp, "cpp_infer_params", ("cpp_infer",)),
    "inference_lite": (inference_lite, "lite_infer_params", ("paddlelite_infer",)),
    "inference_node": (inference_node, "node_infer_params", ("node_infer",)),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a chain; the exit code is that of `Session.finish`."""
    parser = command.parser(__doc__)
    parser.add_argument("chain", choices=tuple(CHAINS))
    parser.add_argument("config", help="config file")
    parser.add_argument("mode", nargs="?", default="", help=f"of train_inference: {', '.join(MODES)}")
    parser.add_argument("params", nargs="?", default="", help="of benchmark_train: such as dynamic_bs8_fp32_DP_N1C1")
    args = parser.parse_args(argv)
    function, form, modes = CHAINS[args.chain]
    config = read_config(args.config, form)
    mode = args.mode or ("" if args.chain == "train_inference" else modes[0])
    if mode not in modes:
        raise ConfigError(f"mode must be one of {', '.join(modes)}, got {mode or 'none'}")
    if args.params and args.chain != "benchmark_train":
        raise ConfigError(f"{args.params!r} is one argument too many: line 5 of the config says where to compute")
    mode = args.params or mode
    if args.chain == "benchmark_train":
        _bench_cases(config, mode)
    if shutil.which(config.need("python")) is None:
        raise config.error("python", f"{config['python']} is not to be found")
    refuse_unoffered(config, args.chain)
    dataset_of(config, mode)
    # A whole training may take days; anything else that takes an hour hangs.
    timeout_s = None if mode.startswith("whole_train") else TIMEOUT_S
    name = results_name(mode, args.chain == "dy2static", ";" in config["gpu_list"])
    session = Session(config["model_name"], name, timeout_s)
    try:
        function(config, mode, session)
    except UserError as error:
        session.fail("config", str(error))
    except Exception as error:  # a mistake of ours: what has run so far is kept
        traceback.print_exc()
        session.fail("chain", f"{type(error).__name__}: {error}")
    return session.finish()


def refuse_unoffered(config: Config, chain: str = "train_inference") -> None:
    """Raises ConfigError for a line of TIPC that asks for what there is not here, instead of passing over it."""
    if ";" in config["gpu_list"] and chain != "train_inference":
        raise config.error("gpu_list", f"several nodes are for test_train_inference_python.sh, not for {chain}")
    for name in UNOFFERED:
        if name in config.lines and config[name] not in ("", "False"):
            line = config.lines[name]
            raise config.error(name, f"{line.key} is not offered here, so it cannot be {line.value}: it must be null")
    if "int8" in config.choices("precision"):
        raise config.error("precision", "int8 is the mode klquant_whole_infer: leave it out here")


if __name__ == "__main__":
    with command.clear_errors():
        sys.exit(main())
