"""The three commands from end to end, on the embedded data set in small."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest

from configs import Recipe, get_preset
from datasets.decode import open_source
from models import from_recipe
from tests.commands.small_runs import ROOT, SMALL, train_flags
from weights import read_file


@pytest.fixture(scope="module")
def trained(tmp_path_factory, motion_videos):
    """A finished run of three epochs, made by the command in a process of its own."""
    run = tmp_path_factory.mktemp("run") / "tsm"
    flags = train_flags(motion_videos, run, "--max_epochs", 3, "--precise_bn_epochs", 2, "--precise_bn_batches", 3)
    done = subprocess.run([sys.executable, "train.py", *flags], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return run, done.stdout


def test_train_prints_its_plan_and_tipcs_lines(trained):
    run, out = trained
    assert re.search(r"model +tsm_tiny, [\d,]+ trainable parameters, 8 classes", out)
    assert "rate      0.0125 (0.05 at batch 16, scaled to 4)" in out
    line = (
        r"\[TRAIN\] epoch: \[2/3\], batch_id: 2, train step: 10, loss: \d+\.\d{6} lr: 0\.\d{6} acc: \d\.\d{3}, "
        r"avg_reader_cost: [\d.]+ sec, avg_batch_cost: [\d.]+ sec, avg_samples: 4, avg_ips: [\d.]+ images/sec, "
        r"ips: [\d.]+ images/sec, ETA \d\d:\d\d:\d\d\n"
    )
    assert re.search(line, out)
    assert re.search(r"\[EVAL\] epoch=3\n\nEvaluating top_k_accuracy ...\n\ntop1_acc\t[\d.]+\ntop5_acc\t", out)
    assert (run / "train.log").read_text() in out
    assert "Precise BatchNorm over 3 batches" in out


def test_train_leaves_a_whole_run_directory(trained):
    run, _ = trained
    files = {path.name for path in run.glob("[!.]*")}
    assert files == {
        "best.pdparams", "last.pdparams", "last.pdopt", "state.json", "recipe.json", "classes.txt", "metrics.jsonl",
        "train.log",
    }  # fmt: skip
    assert Recipe.from_json(run / "recipe.json").network.num_classes == 8
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [event["epoch"] for event in events] == [1, 2, 3]
    assert len((run / "classes.txt").read_text().splitlines()) == 8


def test_a_finished_run_is_not_overwritten(trained, motion_videos, command):
    run, _ = trained
    before = (run / "last.pdparams").read_bytes()
    code, _ = command("train.py", *train_flags(motion_videos, run))
    assert code == f"error: {run} holds a run already: add --resume, or choose another --output_dir"
    assert (run / "last.pdparams").read_bytes() == before


@pytest.mark.parametrize("views", ["full", "quick"])
def test_test_reports(trained, motion_videos, command, tmp_path, views):
    run, _ = trained
    code, out = command(
        "test.py", "--dataset_root", motion_videos, "--pretrained", run / "best.pdparams", "--views", views,
        "--output_dir", tmp_path, "--num_workers", 0, "--threads", 1, "--test_crops", "three", "--test_clips", 2,
        "--short_side", 40,
    )  # fmt: skip
    assert code == 0
    record = json.loads((tmp_path / "test.json").read_text())
    assert record["view"] == ("6x8x3x32x32" if views == "full" else "1x8x3x32x32")
    assert f"top1_acc\t{record['top1_acc']:.4f}" in out
    assert f"mean_class_accuracy: {record['mean_acc']:.4f}" in out
    assert np.sum(record["confusion"]) == record["samples"] == 16
    rows = list(csv.DictReader((tmp_path / "per_class.csv").read_text().splitlines()))
    assert [int(row["samples"]) for row in rows] == [2] * 8
    assert sum(int(row["correct"]) for row in rows) == round(record["top1_acc"] * 16)
    assert (tmp_path / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "report.html").read_text()
    assert "training loss" in page
    assert page.count("data:image/webp") == 2 * min(12, 16 - round(16 * record["top1_acc"]))
    assert [result[1] for result in record["results"]] == sorted(result[1] for result in record["results"])
    assert sum(result[1] == result[2] for result in record["results"]) == round(16 * record["top1_acc"])


def test_quick_test_equals_the_evaluation_of_the_best_epoch(trained, motion_videos, command, tmp_path):
    run, _ = trained
    command(
        "test.py", "--dataset_root", motion_videos, "--pretrained", run / "best.pdparams", "--views", "quick",
        "--output_dir", tmp_path, "--num_workers", 0, "--threads", 1,
    )  # fmt: skip
    best = max(json.loads(line)["top1_acc"] for line in (run / "metrics.jsonl").read_text().splitlines())
    assert json.loads((tmp_path / "test.json").read_text())["top1_acc"] == best


def test_predict_names_the_class(trained, motion_videos, command):
    run, _ = trained
    video = sorted((motion_videos / "val" / "moving_left").iterdir())[0]
    code, out = command("predict.py", "--video", video, "--pretrained", run / "best.pdparams", "--threads", 1)
    assert code == 0
    top = re.match(r"Top1 class:(\w+) prob:(0\.\d{6}|1\.000000)\n", out)
    lines = re.findall(r"^  (\d)\. (\w+) ([\d.]+)$", out, flags=re.M)
    assert top
    assert lines[0] == ("1", *top.groups())
    assert len(lines) == 5
    assert top[1] in (run / "classes.txt").read_text().split()
    assert [float(p) for *_, p in lines] == sorted((float(p) for *_, p in lines), reverse=True)


def test_predict_takes_a_folder_of_frames_and_a_file_of_names(trained, motion_videos, command, tmp_path):
    run, _ = trained
    video = sorted((motion_videos / "val" / "moving_left").iterdir())[0]
    with open_source(str(video)) as source:
        for index, frame in enumerate(source.read(range(source.num_frames)), start=1):
            (tmp_path / "frames").mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / "frames" / f"img_{index:05}.png"), frame[..., ::-1])
    names = tmp_path / "names.json"
    names.write_text(json.dumps({str(label): f"name {label}" for label in range(8)}))
    flags = ("--pretrained", run / "best.pdparams", "--threads", 1, "--classes", names)
    from_video, from_frames = (command("predict.py", "--video", path, *flags) for path in (video, tmp_path / "frames"))
    assert from_video == from_frames
    assert from_video[1].startswith("Top1 class:name ")


def test_paddlemvf_layout_of_frame_folders(motion_videos, command, tmp_path):
    """Its lists and folders, with its flags; a space in a path, and frames that a list counts."""
    root = tmp_path / "ucf 101"
    for subset in ("train", "val"):
        lines = []
        for label, folder in enumerate(sorted((motion_videos / subset).iterdir())):
            for video in sorted(folder.iterdir())[:2]:
                name = f"{folder.name}/{subset} {video.stem}"
                lines.append(f"{name} {write_frames(video, root / 'rawframes' / name)} {label}")
        (root / f"ucf101_{subset}_split_2_rawframes.txt").write_text("\n".join(lines) + "\n")
    flags = ("--dataset_root", root, "--split", 2, "--threads", 1)
    code, out = command(
        "train.py", *flags, *SMALL, "--batch_size", 2, "--max_epochs", 1, "--log_iters", 1, "--seed", 7,
        "--num_workers", 0, "--output_dir", tmp_path / "run",
    )  # fmt: skip
    assert code == 0, code
    assert "data      16 training and 16 validation videos" in out
    assert out.count("[TRAIN] epoch: [1/1]") == 8
    code, out = command("test.py", *flags, "--pretrained", tmp_path / "run" / "best.pdparams", "--num_workers", 0)
    assert code == 0, code
    assert "mean_class_accuracy: " in out
    code, _ = command("train.py", "--dataset_root", root, "--split", 3, "--output_dir", tmp_path / "other")
    assert code.startswith("error: ")
    assert "3" in code
    assert "2" in code


def write_frames(video, folder):
    folder.mkdir(parents=True)
    with open_source(str(video)) as source:
        for index, frame in enumerate(source.read(range(source.num_frames)), start=1):
            cv2.imwrite(str(folder / f"img_{index:05}.jpg"), frame[..., ::-1])
        return source.num_frames


def test_fine_tuning_starts_from_the_weights(trained, motion_videos, command, tmp_path):
    run, _ = trained
    code, out = command(
        "train.py", *train_flags(motion_videos, tmp_path / "run", "--max_epochs", 1, "--warmup_epochs", 0),
        "--lr", 1e-9, "--pretrained", run / "last.pdparams",
    )  # fmt: skip
    assert code == 0, out
    assert re.search(r"weights +\S+: \d+ tensors loaded \(layout ours\)\n", out)
    before, after = read_file(run / "last.pdparams"), read_file(tmp_path / "run" / "last.pdparams")
    for name, value in before.items():
        if "_mean" not in name and "_variance" not in name:
            np.testing.assert_allclose(after[name], value, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("checkpoint_iters", "kept"), [pytest.param(0, 0, marks=pytest.mark.whole), (2, 3)])
def test_a_killed_run_resumes_to_the_same_bits(motion_videos, tmp_path, checkpoint_iters, kept):
    """SIGKILL in the middle of the second epoch; weights, momentum and metrics equal the run that was not killed."""
    more = (
        "--max_epochs", 3, "--checkpoint_iters", checkpoint_iters, "--log_iters", 1, "--dropout", 0.5, "--mixup_alpha",
        0.2, "--accumulate", 3, "--flip", 0.5, "--ema_decay", 0.8,
    )  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([sys.executable, "train.py", *train_flags(motion_videos, whole, *more)], cwd=ROOT, check=True)
    process = subprocess.Popen([sys.executable, "train.py", *train_flags(motion_videos, killed, *more)], cwd=ROOT)
    wait_for_line(killed / "train.log", "[TRAIN] epoch: [2/3], batch_id: 5")
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    state = json.loads((killed / "state.json").read_text())
    assert (state["epoch"], state["batch"]) == (1, kept)
    resume = [sys.executable, "train.py", *train_flags(motion_videos, killed, *more), "--resume", "auto"]
    subprocess.run(resume, cwd=ROOT, check=True)
    assert (killed / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    for name in ("last.pdparams", "last.pdopt", "best.pdparams"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_run_directory_belongs_to_one_process(motion_videos, tmp_path):
    """The second process ends at once; the kernel takes the lock from a process that is killed."""
    run = tmp_path / "run"
    more = ("--max_epochs", 2, "--checkpoint_iters", 1, "--log_iters", 1)
    first = subprocess.Popen([sys.executable, "train.py", *train_flags(motion_videos, run, *more)], cwd=ROOT)
    wait_for_line(run / "train.log", "[TRAIN] epoch: [1/2], batch_id: 2")
    first.send_signal(signal.SIGSTOP)
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    resume = [sys.executable, "train.py", "--output_dir", str(run), "--resume", "--num_workers", "0", "--threads", "1"]
    second = subprocess.run(resume, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    first.kill()
    first.wait()
    assert second.returncode == 1
    holder = f"process {first.pid} on {os.uname().nodename}"
    assert second.stderr == (
        f"error: another process trains in {run} ({holder}): wait for it, or end it; if it is gone, remove "
        f"{run}/.actionalign/lock\n"
    )
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    subprocess.run(resume, cwd=ROOT, check=True)


def wait_for_line(path, start, seconds=120):
    for _ in range(seconds * 50):
        if path.is_file() and start in path.read_text():
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} never said {start}")


def test_resume_keeps_the_recipe(trained, command):
    run, _ = trained
    code, _ = command("train.py", "--output_dir", run, "--resume", "--lr", 0.5)
    assert code == "error: --resume keeps the recipe of the run: leave out --preset and every flag that differs"
    code, _ = command("train.py", "--resume")
    assert code.startswith("error: --resume needs --output_dir")


def test_a_run_ends_when_its_patience_is_over(motion_videos, command, tmp_path):
    flags = train_flags(
        motion_videos, tmp_path / "run", "--max_epochs", 6, "--warmup_epochs", 0, "--lr", 1e-9, "--patience", 1
    )
    code, out = command("train.py", *flags, "--resume", "auto")  # which begins it
    assert code == 0
    best = json.loads((tmp_path / "run" / "state.json").read_text())["best_epoch"]
    epochs = len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert epochs == best + 1 < 6
    assert f"stopped: no epoch was better than epoch {best} (patience)" in out
    code, out = command("train.py", *flags, "--resume", "auto")
    assert code == 0
    assert "stopped: " in out
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == epochs
    code, _ = command("train.py", *flags[:-4], "--lr", 0.5, "--resume", "auto")
    assert code.startswith(f"error: the run in {tmp_path}/run has lr 1e-09, now it is 0.5: name another")


def test_resume_wants_the_runs_own_data_and_weights(trained, command, tmp_path, motion_videos):
    run, _ = trained
    code, _ = command("train.py", "--output_dir", run, "--resume", "--pretrained", run / "last.pdparams")
    assert code.startswith("error: --resume goes on with the run's own weights")
    names = (run / "classes.txt").read_bytes()
    shutil.copytree(motion_videos, tmp_path / "data")
    next((tmp_path / "data" / "train" / "moving_left").iterdir()).unlink()
    code, _ = command("train.py", "--output_dir", run, "--resume", "--dataset_root", tmp_path / "data")
    assert code.startswith("error: the train videos in")
    assert "are not those of the run" in code
    assert (run / "classes.txt").read_bytes() == names


def test_a_run_with_relative_paths_names_no_other(motion_videos, command, tmp_path):
    shutil.copytree(motion_videos, tmp_path / "before" / "data")
    run = tmp_path / "before" / "run"
    flags = train_flags(tmp_path / "before" / "data", run, "--max_epochs", 1, "--relative_paths")
    assert command("train.py", *flags)[0] == 0
    state = (run / "state.json").read_text()
    assert json.loads(state)["provenance"]["dataset_root"] == "../data"
    assert str(tmp_path) not in state
    (tmp_path / "before").rename(tmp_path / "after")  # moved as a whole, it goes on
    assert command("train.py", "--output_dir", tmp_path / "after" / "run", "--resume", "--num_workers", 0)[0] == 0


def test_resume_finds_the_lists_of_the_run(motion_videos, command, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(motion_videos, data)
    videos = sorted((data / "train").rglob("*.mp4"))
    lines = [f"{path.relative_to(data)} {index % 8}" for index, path in enumerate(videos)]
    (data / "mine.txt").write_text("\n".join(lines))
    flags = train_flags(data, tmp_path / "run", "--max_epochs", 1, "--train_list", "mine.txt", "--val_list", "mine.txt")
    assert command("train.py", *flags)[0] == 0
    assert command("train.py", "--output_dir", tmp_path / "run", "--resume", "--num_workers", 0)[0] == 0


def test_validation_labels_are_checked_before_training(motion_videos, command, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(motion_videos / "train", data / "all")
    videos = sorted((data / "all").rglob("*.mp4"))
    for name, classes in (("train.txt", 3), ("val.txt", 4)):
        lines = [f"{path.relative_to(data)} {index % classes}" for index, path in enumerate(videos)]
        (data / name).write_text("\n".join(lines))
    code, _ = command("train.py", *train_flags(data, tmp_path / "run", "--max_epochs", 1))
    assert code.startswith("error: ")
    assert "val.txt:4" in code


def test_classes_of_another_data_set_are_noticed(trained, motion_videos, command, tmp_path):
    run, _ = trained
    shutil.copytree(motion_videos, tmp_path / "data")
    for subset in ("train", "val"):
        (tmp_path / "data" / subset / "moving_left").rename(tmp_path / "data" / subset / "zzz")
    names = (tmp_path / "data" / "classes.txt").read_text().replace("moving_left\n", "") + "zzz\n"
    (tmp_path / "data" / "classes.txt").write_text(names)
    code, _ = command("test.py", "--dataset_root", tmp_path / "data", "--pretrained", run / "best.pdparams")
    assert re.match(r"error: .*val has class zzz, which the weights do not know: test on their own data set", code)


def test_a_val_folder_needs_no_folder_of_every_class(trained, motion_videos, command, tmp_path):
    """The labels are those of the weights, so that each video has the scores and the answer that it has in a whole."""
    run, _ = trained
    data = tmp_path / "data"
    shutil.copytree(motion_videos / "val", data / "val")
    shutil.rmtree(data / "val" / "moving_left")
    (data / "val" / "turning_clockwise" / "notes.txt").touch()
    flags = ("--pretrained", run / "best.pdparams", "--num_workers", 0, "--threads", 1)
    rows = {}
    for root in (motion_videos, data):
        report = tmp_path / root.name
        code, out = command("test.py", "--dataset_root", root, "--output_dir", report, *flags)
        assert (code, out.count("left out  1 of the files in ")) == (0, int(root == data))
        rows[root] = list(csv.DictReader((report / "per_class.csv").read_text().splitlines()))
    assert [row for row in rows[data] if row["samples"] != "0"] == [
        row for row in rows[motion_videos] if "moving_left" not in row.values()
    ]
    (run / "classes.txt").rename(tmp_path / "classes.txt")
    code, _ = command("test.py", "--dataset_root", data, *flags, "--output_dir", tmp_path / "none")
    (tmp_path / "classes.txt").rename(run / "classes.txt")
    assert re.match(r"error: the model has 8 classes, but .* has 7 class folders: .*; to test, name all classes", code)


def test_naming_the_runs_own_model_keeps_its_recipe(trained, motion_videos, command, tmp_path):
    run, _ = trained
    flags = ("--dataset_root", motion_videos, "--pretrained", run / "best.pdparams", "--num_workers", 0, "--threads", 1)
    _, out = command("test.py", *flags, "--output_dir", tmp_path, "--model", "tsm_tiny", "--short_side", 50)
    assert "1x8x3x32x32" in out


def test_an_engine_leaves_one_note_on_the_terminal(trained, motion_videos, tmp_path):
    """Paddle's core remarks on each process that makes a static graph; that is not for the user."""
    run, _ = trained
    flags = ("--dataset_root", motion_videos, "--pretrained", run / "best.pdparams", "--output_dir", tmp_path)
    engine = ("--engine", "paddle", "--num_workers", 0, "--threads", 1)
    command = [sys.executable, "test.py", *map(str, flags + engine)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("note: computed by paddle in fp32; ")


# ---------------------------------------------------------------------------------------------------------------------
# Bad input: one clear line, exit code 1, nothing lost


def test_exit_code_and_one_line_of_a_real_process(tmp_path):
    flags = ["--dataset_root", str(tmp_path / "none"), "--output_dir", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "train.py", *flags], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert str(tmp_path / "none") in done.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--flip_pairs", "0-50"), "flip_pairs must be below num_classes (8)"),
        (("--split", 4), "split must be 1, 2 or 3, got 4"),
        (("--model", "tsm_r51"), "tsm_r51"),
        (("--amp", "float16"), "--amp float16 needs a GPU"),
        (("--device", "gpu:0"), "no GPU to use"),
        (("--pretrained", "none.pdparams"), "there is no weight file none.pdparams"),
        (("--num_classes", 3), "the model has 3 classes, but"),
        (("--train_list", "none.txt"), "none.txt"),
        (("--crop_size", 48), "crop_size must be short_side (40) at most, got 48"),
        (("--batch_size", 64), "batch_size 64 is more than the 32 training videos"),
    ],
)
def test_train_refuses_bad_flags(motion_videos, command, tmp_path, flags, message):
    code, _ = command("train.py", *train_flags(motion_videos, tmp_path / "run"), *flags)
    assert isinstance(code, str)
    assert code.startswith("error: ")
    assert message in code
    assert "\n" not in code
    assert not (tmp_path / "run" / "state.json").exists()


def test_train_needs_a_data_set(command):
    code, _ = command("train.py")
    assert code.startswith("error: --dataset_root is missing")


def test_an_output_directory_that_cannot_be_written(motion_videos, command, tmp_path):
    (tmp_path / "file").touch()
    code, _ = command("train.py", *train_flags(motion_videos, tmp_path / "file" / "run"))
    assert code.startswith("error: cannot write to --output_dir")


def test_a_loss_that_is_not_finite_stops_the_run_and_says_where(motion_videos, command, tmp_path):
    code, _ = command(
        "train.py", *train_flags(motion_videos, tmp_path / "run", "--lr", 1e30, "--warmup_epochs", 0, "--clip_norm", 0)
    )
    assert re.match(r"error: the loss is (nan|inf) in epoch \d+, batch \d+ \(lr .*\.mp4.*lower --lr", code)


def test_samples_that_do_not_decode_are_counted_logged_and_capped(motion_videos, command, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(motion_videos, data)
    broken = sorted((data / "train" / "moving_left").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:300])
    (broken.parent / "notes.txt").touch()
    flags = train_flags(data, tmp_path / "capped", "--max_epochs", 1, "--warmup_epochs", 0)
    code, _ = command("train.py", *flags)
    assert re.match(
        r"error: 1 of 32 training samples do not decode, --max_bad_samples 0.01 allows 0.32; the last: ", code
    )
    assert broken.name in code
    flags = train_flags(data, tmp_path / "run", "--max_epochs", 2, "--warmup_epochs", 0, "--max_bad_samples", 0.1)
    code, out = command("train.py", *flags)
    assert code == 0
    assert out.count("[SKIPPED]") == 2
    assert out.count("left out  1 of the files in ") == out.count("moving_left/notes.txt\n") == 1
    events = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [event["bad_samples"] for event in events] == [1, 1]


def test_a_sample_that_does_not_decode_ends_a_test(trained, motion_videos, command, tmp_path):
    run, _ = trained
    shutil.copytree(motion_videos, tmp_path / "data")
    broken = sorted((tmp_path / "data" / "val" / "moving_left").iterdir())[1]
    broken.write_bytes(broken.read_bytes()[:300])
    code, _ = command(
        "test.py", "--dataset_root", tmp_path / "data", "--pretrained", run / "best.pdparams", "--num_workers", 1,
        "--output_dir", tmp_path / "report", "--threads", 1,
    )  # fmt: skip
    assert code.startswith("error: ")
    assert broken.name in code
    assert not list((tmp_path / "report").iterdir())


def save_model(path, recipe):
    paddle.save(from_recipe(recipe).state_dict(), str(path))
    return path


def test_a_checkpoint_of_another_class_count_or_model(trained, motion_videos, command, tmp_path):
    run, _ = trained
    flags = ("--dataset_root", motion_videos, "--threads", 1, "--num_workers", 0)
    code, _ = command("test.py", *flags, "--pretrained", run / "best.pdparams", "--num_classes", 5)
    assert "best.pdparams has 8 classes, the recipe 5" in code
    code, _ = command("test.py", *flags, "--pretrained", run / "best.pdparams", "--model", "mvf_tiny")
    assert code.startswith("error: ")
    assert "does not fit the model: the file lacks" in code
    other = save_model(tmp_path / "other.pdparams", get_preset("demo_tsm").with_(num_classes=5))
    code, _ = command("test.py", *flags, "--pretrained", other, "--preset", "demo_tsm")
    assert "the model has 5 classes, but" in code


@pytest.mark.parametrize("script", ["test.py", "predict.py", "train.py"])
def test_a_corrupt_checkpoint_is_refused(trained, motion_videos, command, tmp_path, script):
    run, _ = trained
    damaged = tmp_path / "best.pdparams"
    damaged.write_bytes((run / "best.pdparams").read_bytes()[:5000])
    flags = {
        "test.py": ("--dataset_root", motion_videos), "predict.py": ("--video", next(motion_videos.rglob("*.mp4"))),
        "train.py": train_flags(motion_videos, tmp_path / "run"),
    }[script]  # fmt: skip
    code, _ = command(script, *flags, "--pretrained", damaged)
    assert code.startswith(f"error: {damaged} is not a whole weight file")


def test_a_video_that_is_not_there_or_not_a_video(trained, command, tmp_path):
    run, _ = trained
    code, _ = command("predict.py", "--video", tmp_path / "none.mp4", "--pretrained", run / "best.pdparams")
    assert code.startswith("error: ")
    assert "none.mp4" in code
    (tmp_path / "text.mp4").write_text("not a video")
    code, _ = command("predict.py", "--video", tmp_path / "text.mp4", "--pretrained", run / "best.pdparams")
    assert "text.mp4" in code


def test_names_that_are_not_as_many_as_the_classes(trained, command, tmp_path, motion_videos):
    run, _ = trained
    (tmp_path / "names.txt").write_text("one\ntwo\n")
    video = next(motion_videos.rglob("*.mp4"))
    flags = ("--video", video, "--pretrained", run / "best.pdparams", "--classes", tmp_path / "names.txt")
    code, _ = command("predict.py", *flags)
    assert "names 2 classes where" in code


def test_a_worker_that_dies_is_one_error(motion_videos, tmp_path):
    """The operating system ends a worker, for instance for want of memory: the run stops and says so."""
    flags = train_flags(motion_videos, tmp_path / "run", "--max_epochs", 50, "--log_iters", 1)
    process = subprocess.Popen(
        [sys.executable, "train.py", *flags], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    wait_for_line(tmp_path / "run" / "train.log", "[TRAIN] epoch: [1/50], batch_id: 2")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [int(pid) for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
    assert workers
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert re.fullmatch(r"error: loader worker 0 .* ended by signal SIGKILL; is there enough memory\?\n", err)
