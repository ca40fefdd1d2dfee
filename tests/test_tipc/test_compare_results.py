"""Predictions against the ground truth: what differs fails, and so does what cannot be compared."""

import re

import pytest

from runtime import command
from test_tipc import compare_results
from test_tipc.compare_results import TOLERANCES, ComparisonError, compare, compare_files, read_predictions

NAMES = ("jump", "run fast", "sit")
TRUTH = ((0.7, 0.2, 0.1), (0.1, 0.6, 0.3), (0.34, 0.33, 0.33))


def log(rows, *, labels=True):
    """The lines of predict.py, and those of deploy.infer with `labels`, for scores of NAMES."""
    lines = []
    for video, scores in enumerate(rows):
        order = sorted(range(len(NAMES)), key=lambda k: -scores[k])
        lines += [f"videos/{video}.mp4", f"Top1 class:{NAMES[order[0]]} prob:{scores[order[0]]:.6f}"]
        lines += [f"  {rank}. {NAMES[k]} {scores[k]:.6f}" for rank, k in enumerate(order, start=1)]
        if labels:
            lines += [f"top-1 class: {order[0]}", f"top-1 score: {scores[order[0]]:.8f}"]
    return "\n".join(["[2026/11/22 18:58:39] root INFO:  precision: fp32", *lines]) + "\n"


@pytest.fixture
def files(tmp_path):
    """Writes the ground truth and a log: (scores, name) -> their paths."""

    def write(rows, name="python_infer_cpu_precision_fp32_batchsize_1.log"):
        (tmp_path / "ground_truth.log").write_text(log(TRUTH, labels=False))
        (tmp_path / name).write_text(log(rows))
        return tmp_path / "ground_truth.log", tmp_path / name

    return write


def moved(amount, video=1, label=2):
    rows = [list(row) for row in TRUTH]
    rows[video][label] += amount
    return rows


def test_equal_predictions_agree(files):
    agreement = compare_files(*files(TRUTH))
    assert (agreement.videos, agreement.same_top1, agreement.difference) == (3, 3, 0)


@pytest.mark.parametrize(
    ("precision", "passes", "fails"), [("fp32", 9e-5, 2e-4), ("bf16", 0.02, 0.06), ("int8", 0.09, 0.4)]
)
def test_each_precision_has_its_tolerance(precision, passes, fails, files):
    name = f"python_infer_cpu_precision_{precision}_batchsize_1.log"
    assert compare_files(*files(moved(-passes, label=0), name)).difference == pytest.approx(passes, abs=1e-6)
    with pytest.raises(ComparisonError, match="video 2: run fast has"):
        compare_files(*files(moved(-fails, label=1), name))


def test_fractions_of_a_picture_may_differ_by_pixels_at_chance(tmp_path):
    def write(name, shares):
        lines = [line for share in shares for line in (f"Top1 class:a share:{share:.6f}", f"  1. a {share:.6f}")]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        return tmp_path / name

    truth = write("ground_truth.log", (0.7, 0.6))
    assert compare_files(truth, write("python_infer_precision_fp32.log", (0.7, 0.601))).difference == pytest.approx(
        1e-3
    )
    with pytest.raises(ComparisonError, match=r"video 2: a has 0\.602000, the ground truth 0\.600000"):
        compare_files(truth, write("python_infer_precision_fp32.log", (0.7, 0.602)))


def test_another_class_fails_unless_the_two_are_even_in_the_truth(files):
    swapped = [list(row) for row in TRUTH]
    swapped[2] = [0.33, 0.34, 0.33]
    bf16 = "python_infer_cpu_precision_bf16_batchsize_1.log"
    assert compare_files(*files(swapped, bf16)).same_top1 == 2
    truth, found = [compare_results.Prediction(0.5, "jump")], [compare_results.Prediction(0.5, "sit")]
    with pytest.raises(ComparisonError, match="video 1: the first class is sit, that of the ground truth jump"):
        compare(truth, found, TOLERANCES["int8"])


def test_weak_models_are_held_to_what_tells_their_videos_apart(files, tmp_path):
    weak = [(0.3340, 0.3330, 0.3330), (0.3330, 0.3340, 0.3330), (0.3330, 0.3330, 0.3340)]
    truth, found = files(weak[::-1], "python_infer_cpu_precision_bf16_batchsize_1.log")
    truth.write_text(log(weak))
    with pytest.raises(ComparisonError, match="video 1"):  # well within 0.05, but it is another video's
        compare_files(truth, found)
    truth.write_text(log([TRUTH[0]] * 3))
    with pytest.raises(ComparisonError, match="the ground truth has the same scores for all videos"):
        compare_files(truth, truth)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no prediction"),
        ("Killed\n", "holds no prediction"),
        ("Top1 class:jump prob:nan\n", "the score nan is no probability"),
        ("Top1 class:jump prob:1.2\n", "the score 1.2 is no probability"),
        ("top-1 class: 1\n", "names a class without its score"),
        (log(TRUTH[:2]), "2 predictions for 3 videos"),
        (log([*TRUTH, TRUTH[0]]), "4 predictions for 3 videos"),
    ],
)
def test_what_cannot_be_compared_fails(text, message, files):
    truth, found = files(TRUTH)
    found.write_text(text)
    with pytest.raises(ComparisonError, match=message):
        compare_files(truth, found)


def test_the_result_files_of_tipc_are_read_too(tmp_path):
    (tmp_path / "python_mvf_results_fp32.txt").write_text("top-1 class: 5\ntop-1 score: 0.9907386\n")
    (tmp_path / "python_infer_cpu_precision_fp32.log").write_text("top-1 class: 5\ntop-1 score: 0.9907\n")
    truth, found = (read_predictions(path) for path in sorted(tmp_path.iterdir(), reverse=True))
    assert compare(truth, found, TOLERANCES["fp32"]).videos == 1
    found[0].label = 4
    with pytest.raises(ComparisonError, match="the first class is 4, that of the ground truth 5"):
        compare(truth, found, TOLERANCES["fp32"])


@pytest.fixture
def run(capsys, monkeypatch):
    """The command: flags -> (exit code or message, printed lines)."""

    def run(*flags):
        try:
            with command.clear_errors():
                compare_results.main([str(flag) for flag in flags])
        except SystemExit as stop:
            return stop.code, capsys.readouterr().out
        return 0, capsys.readouterr().out

    return run


def test_the_command_names_each_log(files, run, tmp_path):
    truth, _ = files(TRUTH)
    files(moved(0.01), "python_infer_cpu_precision_fp32_batchsize_2.log")
    code, said = run("--gt_file", truth, "--log_file", tmp_path / "python_infer_*.log")
    assert code == "error: 1 log(s) differ from the ground truth"
    assert said.count("Assert allclose passed! The results of") == 1
    assert said.count("are inconsistent! video 2: sit has 0.310000") == 1
    loose = ("--atol", "fp32=0.02", "--rtol", "0.1")
    assert run("--gt_file", truth, "--log_file", tmp_path / "python_infer_*.log", *loose)[0] == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--log_file", "absent_*.log"), "no file fits .*absent_.*: there is nothing to compare"),
        (("--gt_file", "absent.txt"), "no file fits absent.txt"),
        (("--atol", "nan"), "'nan' must be a number from 0"),
        (("--rtol", "fp64=1"), "'fp64=1' must be a number from 0, or one of fp32"),
    ],
)
def test_a_missing_log_is_a_failure(flags, message, files, run):
    truth, found = files(TRUTH)
    given = dict(zip(flags[::2], flags[1::2], strict=True))
    argv = {"--gt_file": truth, "--log_file": found, **given}
    code, _ = run(*(word for pair in argv.items() for word in pair))
    assert re.search(message, str(code))


def test_nothing_in_common_and_a_log_against_itself_prove_nothing(files):
    truth, found = files(TRUTH)
    found.write_text(found.read_text().replace("jump", "a").replace("run fast", "b").replace("sit", "c"))
    with pytest.raises(ComparisonError, match="no class is in both"):
        compare_files(truth, found)
    with pytest.raises(ComparisonError, match=r"1 log\(s\) differ"):
        compare_results.main(["--gt_file", str(truth), "--log_file", str(truth)])
