"""The chains from end to end in a copy of the repository, and with injected faults: the exit code tells of them."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from runtime.owned import Owned
from test_tipc.chains import _bench_cases, _trainings, benchmark_train, compare_losses, refuse_unoffered
from test_tipc.config import ConfigError, read_config
from test_tipc.prepare import dataset_of, prepare, videos_of
from test_tipc.session import StepError
from test_tipc.steps import export_numbers, inference_check, training_numbers
from tests.test_tipc.public_readers import benchmark, extracted_losses, has_succeeded, report, status_lines, uploaded

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("alignment", "configs", "datasets", "deploy", "engine", "models", "runtime", "tasks", "test_tipc", "weights")
SCRIPTS = ("train.py", "test.py", "predict.py")
# One setting of each kind, on CPU.
SMALL = {
    4: "gpu_list:-1", 5: "--device:cpu", 6: "--amp:none", 7: "--max_epochs:2", 9: "--batch_size:8",
    42: "--enable_mkldnn:True", 43: "--cpu_threads:1", 44: "--batch_size:2", 46: "--precision:fp32",
}  # fmt: skip


def copy_repository(target):
    for room in ROOMS:
        left_out = shutil.ignore_patterns("__pycache__", "build", "data", "output") if room == "test_tipc" else None
        shutil.copytree(ROOT / room, target / room, ignore=left_out or shutil.ignore_patterns("__pycache__"))
    for script in SCRIPTS:
        shutil.copy(ROOT / script, target / script)
    return target


def bash(tree, script, *argv):
    """(exit code, printed text) of a script in a copy of the repository."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "VIRTUAL_ENV": "set"}
    done = subprocess.run(
        ["bash", f"test_tipc/{script}.sh", *map(str, argv)], cwd=tree, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def results(tree, mode, model="tsm"):
    record = json.loads((tree / "test_tipc" / "output" / model / mode / "results.json").read_text())
    return record["passed"], {step["name"]: step for step in record["steps"]}


def config_of(tree, form="train_infer_python", model="tsm"):
    return tree / "test_tipc" / "configs" / model / f"{form}.txt"


@pytest.fixture(scope="module")
def small(tmp_path_factory, motion_videos):
    """A copy with TSM's config made small, and a trained model for the modes that begin with one; not to be changed."""
    tree = copy_repository(tmp_path_factory.mktemp("tipc") / "tree")
    path = config_of(tree)
    rows = path.read_text().splitlines()
    path.write_text("\n".join(SMALL.get(number, row) for number, row in enumerate(rows, start=1)) + "\n")
    code, said = bash(tree, "prepare", path, "whole_infer", motion_videos)
    assert code == 0, said
    return tree


@pytest.fixture
def tree(small, tmp_path):
    """A copy of `small` to inject a fault into."""
    return Path(shutil.copytree(small, tmp_path / "tree", symlinks=True))


def inject(path, before, after):
    text = path.read_text()
    assert text.count(before) == 1, f"{path.name} has changed: inject the fault elsewhere"
    path.write_text(text.replace(before, after))


# ---------------------------------------------------------------------------------------------------------------------
# From end to end


@pytest.mark.whole
def test_the_two_commands_of_paddlemvf(tmp_path):
    tree = copy_repository(tmp_path / "clone")
    argv = ("test_tipc/configs/mvf/train_infer_python.txt", "lite_train_lite_infer")
    code, said = bash(tree, "prepare", *argv)
    assert code == 0, said
    code, said = bash(tree, "test_train_inference_python", *argv)
    assert code == 0, said
    passed, steps = results(tree, argv[1], "mvf")
    assert passed
    assert {"train, 1 process on CPU", "train, 2 processes on CPU"} <= set(steps)
    assert [name for name, step in steps.items() if step["status"] == "skipped" and "amp float16" in name]
    log = (tree / "test_tipc" / "output" / "mvf" / argv[1] / "results_python.log").read_text()
    assert (
        len(re.findall(r"^\033\[33m Run successfully with command - mvf - python .* - \S+\.log!  \033\[0m$", log, re.M))
        >= 24
    )
    assert "Run failed" not in log
    lines = status_lines(tree / "test_tipc" / "output")
    assert has_succeeded(lines)
    assert all(len(line.split(" - ")) == 4 for line in lines)
    stages = {(model, stage) for _, model, stage in report(lines)}
    assert stages == {("mvf", "train"), ("mvf", "inference")}
    trained = (
        tree / "test_tipc" / "output" / "mvf" / argv[1] / "norm_train_gpus_-1_autocast_none" / "train.log"
    ).read_text()
    assert len(extracted_losses(trained)) == 16
    exact = [step["numbers"] for name, step in steps.items() if name.endswith("precision fp32")]
    assert {(numbers["videos"], numbers["same_top1"]) for numbers in exact} == {(8, 8)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "form", "mode", "needed"),
    [
        pytest.param(
            *("test_train_inference_python", "train_infer_python", "klquant_whole_infer", "quantization"),
            marks=pytest.mark.whole,
        ),
        ("test_train_dy2static_python", "train_infer_python", "lite_train_lite_infer", "the first losses are equal"),
        ("benchmark_train", "train_infer_python", "benchmark_train", "benchmark, batch 8, fp32, 1 process"),
        pytest.param(
            *("test_paddle2onnx", "paddle2onnx_infer_python", "paddle2onnx_infer", "inference, onnxruntime"),
            marks=pytest.mark.whole,
        ),
        *(
            pytest.param(
                *(f"test_paddle2{name}", f"paddle2{name}_infer_python", f"paddle2{name}_infer", f"inference, {name}"),
                marks=pytest.mark.whole,
            )
            for name in ("mnn", "ncnn")
        ),
        ("test_serving_infer_python", "serving_infer_python", "serving_infer", "server"),
    ],
)
def test_every_other_chain(script, form, mode, needed, small):
    if mode == "klquant_whole_infer" or mode.startswith("paddle2"):
        pytest.importorskip("paddle2onnx")
    code, said = bash(small, script, config_of(small, form), mode)
    assert code == 0, said
    passed, steps = results(small, f"dy2static_{mode}" if "dy2static" in script else mode)
    assert passed
    assert steps[needed]["status"] == "passed"
    for step in steps.values():
        if step["name"].startswith("benchmark") and step["log"]:
            speed, loss = benchmark((small / step["log"]).read_text())
            assert speed > 0
            assert float(loss) > 0


@pytest.mark.whole
@pytest.mark.parametrize(
    ("script", "form", "mode", "needed"),
    [
        (
            "test_train_inference_python",
            "train_fleet_infer_python",
            "lite_train_lite_infer",
            "2 nodes learn what 1 does",
        ),
        ("test_inference_cpp", "inference_cpp", "cpp_infer", "inference, pdmodel"),
        ("test_inference_lite", "inference_lite", "paddlelite_infer", "inference, x86"),
        ("test_inference_node", "inference_node", "node_infer", "inference, onnxruntime-node"),
    ],
)
def test_the_chains_that_need_more_tools(script, form, mode, needed, tree, motion_videos):
    argv = (config_of(tree, form), mode)
    code, said = bash(tree, "prepare", *argv, motion_videos)
    assert code == 0, said
    code, said = bash(tree, script, *argv)
    if code == 77:
        pytest.skip(said[said.index("  skipped: ") :].strip())
    assert code == 0, said
    passed, steps = results(tree, f"fleet_{mode}" if "fleet" in form else mode)
    assert passed
    assert steps[needed]["status"] == "passed"
    assert has_succeeded(status_lines(tree / "test_tipc" / "output"))
    assert uploaded(tree / "test_tipc" / "output") == (form in ("inference_cpp", "inference_lite"))


@pytest.mark.whole
def test_the_program_in_cpp_refuses_what_it_cannot_read(tree, motion_videos):
    argv = (config_of(tree, "inference_cpp"), "cpp_infer")
    assert bash(tree, "prepare", *argv, motion_videos)[0] == 0
    code, said = bash(tree, "test_inference_cpp", *argv)
    if code == 77:
        pytest.skip(said[said.index("  skipped: ") :].strip())
    output = tree / "test_tipc" / "output" / "tsm" / "cpp_infer"
    clips = np.load(output / "clips.npy")
    wrong = {"absent": None, "truncated": clips, "doubles": clips.astype(float), "Fortran": np.asfortranarray(clips)}
    for name, values in wrong.items():
        path = tree / f"{name}.npy"
        if values is not None:
            np.save(path, values)
        if name == "truncated":
            path.write_bytes(path.read_bytes()[:-4])
        done = subprocess.run(
            ["test_tipc/build/cpp/infer", f"--model_dir={output}/inference", f"--clips={path}", "--output=out.npy"],
            cwd=tree, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, "error: " in done.stderr, name in done.stderr) == (1, True, True), done.stderr
        assert not (tree / "out.npy").exists()


# ---------------------------------------------------------------------------------------------------------------------
# Injected faults


def test_a_fault_in_training_is_named(tree):
    inject(
        tree / "tasks" / "cross_entropy.py", "return -(target * F.log_softmax(logits, axis=1)).sum(axis=1).mean()",
        "return (target * F.log_softmax(logits, axis=1)).sum(axis=1).mean().log()",
    )  # fmt: skip
    code, said = bash(tree, "test_train_inference_python", config_of(tree), "lite_train_lite_infer")
    assert code == 1, said
    assert "failed: train, 1 process on CPU: exit code 1: error: the loss is nan" in said
    passed, steps = results(tree, "lite_train_lite_infer")
    assert not passed
    assert [step["status"] for step in steps.values()] == ["failed", "skipped"]


@pytest.mark.parametrize(
    ("script", "form", "mode"),
    [
        ("test_paddle2onnx", "paddle2onnx_infer_python", "paddle2onnx_infer"),
        ("test_train_inference_python", "train_infer_python", "whole_infer"),
    ],
)
def test_without_the_converter_of_a_format_there_is_nothing_to_judge(script, form, mode, tree):
    inject(tree / "deploy" / "formats.py", '("paddle2onnx",)', '("no_such_converter",)')
    code, said = bash(tree, script, config_of(tree, form), mode)
    assert code == 77, said
    assert said.count("ONNX needs no_such_converter: pip install -r requirements-deploy.txt") == 2
    _, steps = results(tree, mode)
    assert {step["status"] for step in steps.values()} == {"skipped"}


def test_a_fault_in_export_is_named(tree):
    pytest.importorskip("paddle2onnx")
    save = "paddle.jit.save(model, stem, input_spec=signature.arguments(specs))"
    spoil = "weights = model.parameters()[0]\n        weights.set_value(weights * 1.01)\n        "
    inject(tree / "deploy" / "writers" / "paddle.py", save, spoil + save)
    code, said = bash(tree, "test_train_inference_python", config_of(tree), "whole_infer")
    assert code == 1, said
    assert re.search("failed: export: exit code 1: error: paddle differs from the trained model by", said)
    _, steps = results(tree, "whole_infer")
    assert {name: step["status"] for name, step in steps.items()} == {
        "export": "failed", "inference": "skipped",
    }  # fmt: skip


@pytest.mark.whole
def test_a_fault_in_inference_is_named_and_hides_no_other_step(tree):
    pytest.importorskip("paddle2onnx")
    right = "task_of(dataset.recipe).scores(engine, batch.clips, dataset.recipe)"
    wrong = f"(lambda scores: scores if len(scores) == 1 else np.roll(scores, 1, axis=0))({right})"
    inject(tree / "deploy" / "infer.py", right, wrong)
    config = config_of(tree)
    config.write_text(config.read_text().replace("--batch_size:2\n", "--batch_size:1|2\n"))
    code, said = bash(tree, "test_train_inference_python", config, "whole_infer")
    assert code == 1, said
    assert re.search(r"failed: inference, .*batch 2, precision fp32: video \d+: ", said)
    _, steps = results(tree, "whole_infer")
    verdicts = {re.sub(r".*(batch \d).*", r"\1", name): step["status"] for name, step in steps.items()}
    assert verdicts == {"export": "passed", "ground truth": "passed", "batch 1": "passed", "batch 2": "failed"}


def test_a_line_that_a_step_cannot_do_without_fails_the_chain(tree):
    config = config_of(tree)
    config.write_text(re.sub(r"\ntop1_acc:.*", "\ntop1_acc:whole_train_whole_infer=0.5", config.read_text()))
    code, said = bash(tree, "test_train_inference_python", config, "lite_train_lite_infer")
    assert code == 1, said
    assert "names no value for the mode lite_train_lite_infer" in said
    assert results(tree, "lite_train_lite_infer")[1]["config"]["status"] == "failed"


@pytest.mark.whole
def test_a_taken_port_is_named(tree):
    config = config_of(tree, "serving_infer_python")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config.write_text(config.read_text().replace("--port 0", f"--port {port}"))
        code, said = bash(tree, "test_serving_infer_python", config)
    assert code == 1, said
    assert f"failed: server: exit code 1: error: port {port} of 127.0.0.1 is taken" in said
    assert results(tree, "serving_infer")[1]["client"]["status"] == "skipped"


# ---------------------------------------------------------------------------------------------------------------------
# What is refused before anything runs


def test_a_chain_needs_its_preparation(tmp_path):
    tree = copy_repository(tmp_path / "tree")
    for script, form, mode in (
        ("test_train_inference_python", "train_infer_python", "whole_infer"),
        ("test_serving_infer_python", "serving_infer_python", "serving_infer"),
    ):
        code, said = bash(tree, script, config_of(tree, form), mode)
        assert code == 1
        assert re.search(rf"error: .* is not prepared: bash test_tipc/prepare\.sh .*{form}\.txt {mode}", said)
    for script in ("prepare", "test_train_inference_python"):
        code, said = bash(tree, script, config_of(tree), "lite_train_lite")
        assert (code, "mode must be one of lite_train_lite_infer" in said) == (1, True)
    code, said = bash(tree, "test_train_inference_python", config_of(tree, "serving_infer_python"), "whole_infer")
    assert (code, "line 1: must be =====train_params=====" in said) == (1, True)


def test_a_wrong_mode_empties_no_folder(tree):
    output = tree / "test_tipc" / "output" / "tsm" / "whole_infer"
    output.mkdir(parents=True, exist_ok=True)
    (output / "results.json").write_text("{}")
    for script, form, argv in (
        ("benchmark_train", "train_infer_python", ["whole_infer"]),
        ("benchmark_train", "train_infer_python", ["benchmark_train", "../whole_infer"]),
        ("test_serving_infer_python", "serving_infer_python", ["whole_infer"]),
        ("test_paddle2onnx", "paddle2onnx_infer_python", [".."]),
        ("test_train_dy2static_python", "train_infer_python", ["whole_infer"]),
        ("test_train_inference_python", "train_infer_python", ["whole_infer", "gpu"]),
    ):
        code, said = bash(tree, script, config_of(tree, form), *argv)
        assert code == 1, said
        assert said.startswith("error: ")
        assert (output / "results.json").read_text() == "{}"


def test_another_size_of_data_is_another_preparation(tree):
    config = config_of(tree)
    assert bash(tree, "prepare", config, "lite_train_lite_infer")[0] == 0
    code, said = bash(tree, "test_train_inference_python", config, "lite_train_whole_infer")
    assert code == 1
    assert "is prepared for lite_train_lite_infer: bash test_tipc/prepare.sh" in said


def test_a_training_that_was_broken_off_is_not_taken_for_a_model(tree, motion_videos):
    stamp = tree / "test_tipc" / "data" / "tsm_released" / "prepared.json"
    begun = json.dumps(json.loads(stamp.read_text()) | {"finished": False})
    Owned(stamp.parent).write({stamp.name: begun.encode()})
    code, said = bash(tree, "prepare", config_of(tree), "whole_infer", motion_videos)
    assert (code, "best.pdparams: training it" in said) == (0, True), said
    assert json.loads(stamp.read_text())["finished"]
    code, said = bash(tree, "prepare", config_of(tree), "whole_infer", motion_videos)
    assert (code, "best.pdparams: is there" in said) == (0, True), said


def test_a_benchmark_report_must_be_of_the_precision_that_was_asked_for(tmp_path):
    truth = "Top1 class:a prob:0.9\n  1. a 0.9\n  2. b 0.1\nTop1 class:b prob:0.8\n  1. b 0.8\n  2. a 0.2\n"
    (tmp_path / "truth.log").write_text(truth)
    log = tmp_path / "python_infer_precision_bf16.log"
    log.write_text(f"root INFO: precision: fp32\nroot INFO: inference_time(ms): 2.5\n{truth}")
    with pytest.raises(StepError, match="the log tells of precision fp32, not of bf16"):
        inference_check(tmp_path / "truth.log", log, "bf16")()
    assert inference_check(tmp_path / "truth.log", log, "fp32")()["inference_ms"] == 2.5


def test_a_folder_without_the_trained_model_is_not_removed(tree, motion_videos):
    run = tree / "test_tipc" / "data" / "tsm_released"
    (run / "prepared.json").unlink()
    (run / "best.pdparams").rename(run / "mine.pdparams")
    code, said = bash(tree, "prepare", config_of(tree), "whole_infer", motion_videos)
    assert code == 1
    assert re.search(r"error: .*line 37: .*tsm_released is there without best\.pdparams: put it there; .*mine", said)
    assert (run / "mine.pdparams").is_file()


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (17, "pact_train:slim.py", "line 17: pact_train is not offered here, so it cannot be slim.py: it must be null"),
        (39, "infer_quant:True", "line 39: infer_quant is not offered here, so it cannot be True"),
        (45, "--use_tensorrt:False|True", "line 45: --use_tensorrt is not offered here"),
        (46, "--precision:fp32|int8", "line 46: int8 is the mode klquant_whole_infer"),
        (56, "--profiler_options:null", ""),
    ],
)
def test_what_is_not_offered_is_refused_not_passed_over(line, text, message, tmp_path):
    rows = (ROOT / "test_tipc" / "configs" / "mvf" / "train_infer_python.txt").read_text().splitlines()
    rows[line - 1] = text
    (tmp_path / "config.txt").write_text("\n".join(rows))
    config = read_config(tmp_path / "config.txt")
    if message:
        with pytest.raises(ConfigError, match=re.escape(message)):
            refuse_unoffered(config)
    else:
        refuse_unoffered(config)


def test_several_nodes_are_for_the_basic_chain():
    config = read_config(ROOT / "test_tipc" / "configs" / "mvf" / "train_fleet_infer_python.txt")
    refuse_unoffered(config)
    with pytest.raises(
        ConfigError, match=r"line 4: several nodes are for test_train_inference_python\.sh, not for dy2s"
    ):
        refuse_unoffered(config, "dy2static")
    names = {name: (training.title, training.nodes) for name, training in _trainings(config)}
    assert names == {
        "norm_train_gpus_-1,-1_autocast_null": ("2 processes on CPU", 1),
        "norm_train_gpus_-1_autocast_null_nodes_2": ("2 processes on CPU, 2 nodes", 2),
    }


# ---------------------------------------------------------------------------------------------------------------------
# Numbers that do not hold although the command ended with 0


@pytest.fixture
def run_directory(tmp_path):
    def make(losses, epochs=1, accuracy=0.5):
        lines = [f"[TRAIN] epoch: [1/1], batch_id: 1, loss: {loss} lr: 0.1\n" for loss in losses]
        (tmp_path / "train.log").write_text("".join(lines))
        event = json.dumps({"epoch": 1, "loss": 1.0, "top1_acc": accuracy})
        (tmp_path / "metrics.jsonl").write_text(f"{event}\n" * epochs)
        return tmp_path

    return make


def test_losses_must_be_finite_and_epochs_all_there(run_directory):
    assert training_numbers(run_directory([2.0, 1.5]), "1")["last_loss"] == 1.5
    for losses in ([2.0, "nan"], ["inf"]):
        with pytest.raises(StepError, match="is not finite"):
            training_numbers(run_directory(losses), "1")
    with pytest.raises(StepError, match=r"metrics\.jsonl is damaged \(NaN is no number of JSON\)"):
        training_numbers(run_directory([1.0], 1, float("nan")), "1")
    for losses, epochs in (([], 1), ([1.0], 0), ([1.0], 2)):
        with pytest.raises(StepError, match="epochs were asked for"):
            training_numbers(run_directory(losses, epochs), "1")
    with pytest.raises(StepError, match="tells of 0 epochs"):  # with another figure than the one that is asked for
        training_numbers(run_directory([1.0]), "1", "miou")


def test_a_certificate_must_certify(tmp_path):
    good = {"max_difference": 5e-6, "allowed": 1e-4, "relative": 1e-6, "top1": 1.0}
    (tmp_path / "inference.json").touch()

    def judge(parity, files=("inference.json",)):
        (tmp_path / "export.json").write_text(json.dumps({"files": dict.fromkeys(files, ""), "parity": parity}))
        return export_numbers(tmp_path)

    assert judge({"paddle": good}) == {"paddle_relative": 1e-6}
    for parity, files in (({}, ["inference.json"]), ({"paddle": good}, []), ({"paddle": good}, ["inference.onnx"])):
        with pytest.raises(StepError, match="certifies nothing"):
            judge(parity, files)
    for bad, message in (
        ({"max_difference": 1e-3}, "openvino is off by 1.0e-03, 1.0e-04 is allowed"),
        ({"max_difference": float("nan")}, "export.json is damaged (NaN is no number of JSON)"),
        ({"top1": 0.5}, "top-1 agreement of openvino with the trained model is 50%"),
    ):
        with pytest.raises(StepError, match=re.escape(message)):
            judge({"paddle": good, "openvino": good | bad})
    assert judge({"paddle": good | {"top1": 0.9995, "other_pixels": 0.0005}}) == {"paddle_relative": 1e-6}
    with pytest.raises(StepError, match="top-1 agreement of paddle with the trained model is 99%"):
        judge({"paddle": good | {"top1": 0.99, "other_pixels": 0.01}})


def test_a_network_of_masks_is_given_pictures(tmp_path, monkeypatch):
    config = read_config(Path("test_tipc/configs/unet/train_infer_python.txt").resolve())
    monkeypatch.chdir(tmp_path)
    prepare(config, "lite_train_lite_infer")
    assert (config.metric, dataset_of(config, "lite_train_lite_infer").name) == ("miou", "unet")
    assert [Path(path).suffix for path in videos_of(config)] == [".jpg"] * 8
    for subset, count in (("train", 64), ("val", 16)):
        masks = Path("test_tipc/data/unet", subset, "masks").iterdir()
        assert len(list(masks)) == count


def test_the_first_losses_must_be_equal_and_tell_something():
    losses = [2.0, 1.9, 1.8, 1.7]
    assert compare_losses(losses, [*losses[:3], 1.6])["first_difference"] == 0
    for other in ([2.0, 1.9, 1.801, 1.7], [2.0, 1.9, float("nan"), 1.7]):
        with pytest.raises(StepError, match="the first 3 losses differ"):
            compare_losses(losses, other)
    for one, other in ((losses, losses[:3]), (losses[:2], losses[:2]), ([2.0] * 4, [2.0] * 4)):
        with pytest.raises(StepError, match="different ones are needed"):
            compare_losses(one, other)


def test_benchmark_reads_paddlevideos_argument():
    config = read_config(ROOT / "test_tipc" / "configs" / "mvf" / "train_infer_python.txt")
    with pytest.raises(ConfigError, match="'dynamic_bs8' must be benchmark_train, or such as dynamic_bs8_fp32_DP_N1C1"):
        benchmark_train(config, "dynamic_bs8", None)
    assert _bench_cases(config, "dynamicTostatic_bs4_fp16_DP_N1C2") == (True, ["4"], ["fp16"], [2])
    assert _bench_cases(config, "benchmark_train") == (False, ["8"], ["fp32", "fp16"], [1])
