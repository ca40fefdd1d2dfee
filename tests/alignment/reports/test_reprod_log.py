"""The official review's files: its own helper reads them and agrees, except where it lets nonsense pass."""

import logging
import pickle
import sys

import numpy as np
import pytest

from alignment.reports import reprod_log as official
from alignment.reports.report import Report
from alignment.sides.pair import Sides
from runtime.errors import UserError

reprod_log = pytest.importorskip("reprod_log", reason="reprod_log is not installed")

LOGITS = np.random.default_rng(0).standard_normal((2, 5)).astype(np.float32)


@pytest.fixture
def root_logger():
    """Takes away what the official helper leaves behind when a test calls it directly."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def official_verdict(path, reference_file, candidate_file):
    """What a reviewer sees who runs the official helper on two files."""
    helper = reprod_log.ReprodDiffHelper()
    helper.compare_info(helper.load_info(str(reference_file)), helper.load_info(str(candidate_file)))
    helper.report(path=str(path))
    return path.read_text().splitlines()[-1].rpartition("INFO: ")[2] == "diff check passed"


def write_pair(directory, reference, candidate):
    official.save(directory, "forward_ref", reference)
    official.save(directory, "forward_paddle", candidate)


def judge(directory, reference, candidate, **options):
    """Our verdict on two dicts of arrays, and the lines of the log."""
    write_pair(directory, reference, candidate)
    passed = official.diff(directory, "forward", "forward_paddle.npy", "forward_ref.npy", **options)
    return passed, (directory / "log/forward_diff.log").read_text().splitlines()


class TestFourSteps:
    @pytest.fixture
    def report(self):
        def sides(array):
            return Sides(array, array + np.float32(1e-7))

        tensors = {"data/sample_0/val": sides(LOGITS), "forward/logits": sides(LOGITS),
                   "metric/top1": Sides(np.array(0.5), np.array(0.5)),
                   "loss/cross entropy": sides(np.float32(1.25)), "backward/loss_0": sides(np.float32(1.5)),
                   "backward/lr_0": Sides(np.array(0.01), np.array(0.01)), "train/weight": sides(LOGITS)}  # fmt: skip
        return Report("tsm_tiny", "float32", [], tensors=tensors)

    def test_the_official_helper_reads_them_and_agrees(self, report, tmp_path, root_logger):
        assert official.write_official(report.tensors, tmp_path) == dict.fromkeys(official.STEPS, True)
        names = [
            f"{step}_{side}.npy"
            for step in ("data", "forward", "metric", "loss", "losses")
            for side in ("paddle", "ref")
        ]
        assert sorted(path.name for path in tmp_path.glob("*.npy")) == sorted(names)
        logs = {path.name for path in (tmp_path / "log").iterdir()}
        assert logs == {f"{step}_diff.log" for step in official.STEPS}
        for step, (candidate, reference) in official.STEPS.items():
            theirs = tmp_path / f"{step}.txt"
            assert official_verdict(theirs, tmp_path / f"{reference}.npy", tmp_path / f"{candidate}.npy"), step
            ours = (tmp_path / "log" / f"{step}_diff.log").read_text()
            without_time = [line.partition("INFO")[2] for line in theirs.read_text().splitlines()]
            assert [line.partition("INFO")[2] for line in ours.splitlines()][:-1] == without_time
            assert "diff check passed, strictly: " in ours.splitlines()[-1]

    def test_sides_and_keys_are_not_mixed_up(self, report, tmp_path):
        official.write_official(report.tensors, tmp_path)
        helper = reprod_log.ReprodDiffHelper()
        theirs = {
            name: helper.load_info(str(tmp_path / f"{name}.npy")) for pair in official.STEPS.values() for name in pair
        }
        assert list(theirs["losses_paddle"]) == ["loss_0", "lr_0"]
        np.testing.assert_array_equal(theirs["forward_ref"]["logits"], LOGITS)
        np.testing.assert_array_equal(theirs["forward_paddle"]["logits"], report.tensors["forward/logits"].candidate)
        assert theirs["forward_ref"]["logits"].dtype == np.float32

    def test_one_step_that_differs_is_named(self, report, tmp_path, root_logger):
        report.tensors["loss/cross entropy"] = Sides(np.float32(1.25), np.float32(1.26))
        verdicts = official.write_official(report.tensors, tmp_path)
        assert verdicts == {"data": True, "forward": True, "metric": True, "loss": False, "backward": True}
        assert not official_verdict(tmp_path / "loss.txt", tmp_path / "loss_ref.npy", tmp_path / "loss_paddle.npy")

    def test_only_steps_that_were_run(self, report, tmp_path):
        report.tensors = {"forward/logits": report.tensors["forward/logits"]}
        assert official.write_official(report.tensors, tmp_path) == {"forward": True}
        assert sorted(path.name for path in tmp_path.iterdir()) == ["forward_paddle.npy", "forward_ref.npy", "log"]

    def test_nothing_to_write_is_no_pass(self, tmp_path):
        with pytest.raises(UserError, match="no tensors of data, forward, metric, loss, backward"):
            official.write_official({"train/x": Sides(LOGITS, LOGITS)}, tmp_path)


def nan_in(array):
    array = array.copy()
    array[1, 2] = np.nan
    return array


LENIENT = {
    "nan": ({"x": LOGITS}, {"x": nan_in(LOGITS)}, "x: 1 of 10 values of the candidate are NaN or infinite"),
    "nan in both": ({"x": nan_in(LOGITS)}, {"x": nan_in(LOGITS)}, "1 of 10 values of the reference are NaN"),
    "broadcast": ({"x": np.ones((4, 3))}, {"x": np.ones((1, 3))}, "x: shape [1, 3], the reference has [4, 3]"),
    "transposed": ({"x": LOGITS}, {"x": LOGITS.T}, "x: shape [5, 2], the reference has [2, 5]"),
    "another type": ({"x": np.ones(3)}, {"x": np.ones(3, np.float32)}, "x: type float32, the reference has float64"),
    "empty files": ({}, {}, "both files are empty"),
    "complex": ({"x": np.ones(3, complex)}, {"x": np.ones(3, complex)}, "x: arrays of type complex128"),
}


class TestStrictness:
    @pytest.mark.parametrize(("reference", "candidate", "problem"), LENIENT.values(), ids=LENIENT)
    def test_fails_what_the_official_helper_lets_pass(self, tmp_path, root_logger, reference, candidate, problem):
        passed, log = judge(tmp_path, reference, candidate)
        assert official_verdict(tmp_path / "t.txt", tmp_path / "forward_ref.npy", tmp_path / "forward_paddle.npy")
        assert not passed
        assert "root INFO: diff check failed, strictly: " in log[-1]
        assert problem in log[-1]
        assert "diff check passed" not in "".join(log), "a search for the words must not find a pass"
        assert "by the official rule alone this passes" in log[-2]

    @pytest.mark.parametrize(
        ("reference", "candidate", "problem"),
        [
            ({"x": LOGITS, "y": LOGITS}, {"x": LOGITS}, "y: the candidate has none"),
            ({"x": LOGITS}, {"x": LOGITS, "y": LOGITS}, "y: the reference has none"),
            ({"x": np.ones(0)}, {"x": np.ones(0)}, "x: both are empty"),
            ({"x": np.ones((3, 2))}, {"x": np.ones((4, 5))}, "x: shape [4, 5]"),
            ({"x": np.array([True])}, {"x": np.array([True])}, "the official helper cannot compare them"),
            (
                {"x": LOGITS, "y": nan_in(LOGITS)},
                {"x": LOGITS + 1, "y": LOGITS},
                "x: mean error 1, allowed 1e-06 (and 1 more)",
            ),
        ],
    )
    def test_fails_what_the_official_helper_stumbles_over(self, tmp_path, reference, candidate, problem):
        passed, log = judge(tmp_path, reference, candidate)
        assert not passed
        assert problem in log[-1]
        assert "diff check passed" not in "".join(log)

    def test_unsigned_bytes_do_not_wrap(self, tmp_path):
        passed, log = judge(tmp_path, {"x": np.array([1], np.uint8)}, {"x": np.array([2], np.uint8)}, threshold=2.0)
        assert not passed  # the helper says 255 and therefore does not pass what is off by 1
        assert "the official helper does not pass it" in log[-1]
        passed, log = judge(tmp_path, {"x": np.array([0], np.uint8)}, {"x": np.array([255], np.uint8)}, threshold=2.0)
        assert not passed  # the helper says 1
        assert "x: mean error 255, allowed 2" in log[-1]

    def test_the_threshold_is_that_of_the_mean(self, tmp_path):
        candidate = LOGITS.astype(np.float64)
        candidate[0, 0] += 1e-4
        arrays = {"x": LOGITS.astype(np.float64)}, {"x": candidate}
        assert judge(tmp_path, *arrays, threshold=1.1e-5)[0]
        passed, log = judge(tmp_path, *arrays, threshold=0.9e-5)
        assert not passed
        assert "x: mean error 1e-05, allowed 9e-06" in log[-1]
        assert judge(tmp_path, {"x": LOGITS}, {"x": LOGITS.copy()})[0]


class TestSideEffects:
    def test_a_second_comparison_writes_its_own_log(self, tmp_path):
        write_pair(tmp_path, {"first": LOGITS}, {"first": LOGITS})
        assert official.diff(tmp_path, "forward", "forward_paddle.npy", "forward_ref.npy")
        before = (tmp_path / "log/forward_diff.log").read_text()
        write_pair(tmp_path, {"second": LOGITS}, {"second": LOGITS + 1})
        assert not official.diff(tmp_path, "loss", "forward_paddle.npy", "forward_ref.npy")
        assert (tmp_path / "log/forward_diff.log").read_text() == before
        second = (tmp_path / "log/loss_diff.log").read_text()
        assert "second" in second
        assert "first" not in second
        assert "first" in before

    def test_the_terminal_stays_clean_and_the_root_logger_as_it_was(self, tmp_path, root_logger, capfd):
        root_logger.setLevel(logging.WARNING)
        handlers = root_logger.handlers[:]
        judge(tmp_path, {"x": LOGITS}, {"x": LOGITS.T})
        assert capfd.readouterr() == ("", "")
        assert root_logger.handlers == handlers
        assert root_logger.level == logging.WARNING

    def test_a_log_of_an_earlier_run_is_replaced(self, tmp_path):
        judge(tmp_path, {"old": LOGITS}, {"old": LOGITS})
        _, log = judge(tmp_path, {"new": LOGITS}, {"another": LOGITS})
        assert "old" not in "".join(log)

    def test_without_reprod_log_there_is_a_way_out(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "reprod_log", None)
        with pytest.raises(UserError, match="pip install"):
            official.save(tmp_path, "forward_ref", {"x": LOGITS})

    def test_a_directory_that_cannot_be_written_is_a_sentence(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(UserError, match="cannot write"):
            official.save(tmp_path / "file", "forward_ref", {"x": LOGITS})
        write_pair(tmp_path, {"x": LOGITS}, {"x": LOGITS})
        (tmp_path / "log").write_text("")
        with pytest.raises(UserError, match="cannot write"):
            official.diff(tmp_path, "forward", "forward_paddle.npy", "forward_ref.npy")


class Malicious:
    """A pickle that would write a file if it were executed."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


class TestReading:
    def test_gives_back_what_was_saved(self, tmp_path):
        arrays = {"x": LOGITS, "label": np.arange(3), "scalar": np.float64(2.5)}
        path = official.save(tmp_path / "new", "metric_ref", arrays)
        found = official.read(path)
        assert list(found) == list(arrays)
        for key, array in arrays.items():
            np.testing.assert_array_equal(found[key], array)
            assert found[key].dtype == np.asarray(array).dtype

    def test_executes_nothing(self, tmp_path):
        np.save(tmp_path / "bad.npy", {"x": Malicious(tmp_path / "written")}, allow_pickle=True)
        with pytest.raises(UserError, match=r"its pickle calls \w+\.open; only arrays are read"):
            official.read(tmp_path / "bad.npy")
        assert not (tmp_path / "written").exists()

    def test_refuses_what_is_not_arrays_by_name(self, tmp_path):
        contents = {
            "nested": {"x": {"y": LOGITS}},
            "list": [LOGITS],
            "objects": {"x": np.array([None])},
            "plain": LOGITS,
        }
        for name, content in contents.items():
            np.save(tmp_path / f"{name}.npy", np.array(content, dtype=object) if name == "list" else content)
            with pytest.raises(UserError, match=name):
                official.read(tmp_path / f"{name}.npy")

    def test_broken_and_absent_files_are_a_sentence(self, tmp_path):
        whole = official.save(tmp_path, "whole", {"x": LOGITS}).read_bytes()
        broken = tmp_path / "broken.npy"
        for damage in (b"", b"text", whole[:5], whole[:40], whole[:-20], whole[:128], pickle.dumps({"x": LOGITS})):
            broken.write_bytes(damage)
            with pytest.raises(UserError, match=r"broken\.npy is not a whole file of reprod_log"):
                official.read(broken)
        with pytest.raises(UserError, match="there is no file"):
            official.read(tmp_path / "absent.npy")
