"""The benchmark report: AutoLog's lines, by AutoLog itself where it behaves, by ours where it does not."""

import importlib
import re
import sys

import pytest

from deploy import autolog
from deploy.autolog import Benchmark

FACTS = {
    "runtime_device": "cpu", "ir_optim": True, "enable_tensorrt": False, "precision": "fp32", "enable_mkldnn": False,
    "cpu_math_library_num_threads": 1,
}  # fmt: skip
PREFIX = r"\[\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\] root INFO: "
BLOCKS = {
    "Env": ("OS_version", "CUDA_version", "CUDNN_version", "drivier_version"),
    "Paddle": ("paddle_version", "paddle_commit", "log_api_version"),
    "Conf": ("runtime_device", "ir_optim", "enable_memory_optim", "enable_tensorrt", "enable_mkldnn",
             "cpu_math_library_num_threads"),
    "Model": ("model_name", "precision"),
    "Data": ("batch_size", "input_shape", "data_num"),
    "Perf": (r"cpu_rss\(MB\)", r"total time spent\(s\)", r"preprocess_time\(ms\)"),
}  # fmt: skip

# A stand-in for the real package: what it takes and calls is AutoLog 1.2.0's, how its report ends is the case.
FAKE = """
import sys, time
class Times:
    calls = []
    def start(self): self.calls.append("start")
    def stamp(self): self.calls.append("stamp")
    def end(self, stamp): self.calls.append("end")
class Process:
    killed = False
    def kill(self): Process.killed = True
class Memory:
    mem_p = Process()
class AutoLogger:
    def __init__(self, model_name, model_precision, batch_size, data_shape, save_path, inference_config, pids, gpu_ids,
                 time_keys, warmup):
        self.times, self.get_mem, self.gpu_ids = Times(), Memory(), gpu_ids
        assert gpu_ids is None and warmup == 0
        {init}
    def report(self):
        {report}
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a package auto_log in place whose logger does as told; without a word, there is none."""

    def install(init="pass", report="print('theirs'); sys.exit(0)"):
        (tmp_path / "auto_log.py").write_text(FAKE.replace("{init}", init).replace("{report}", report))
        monkeypatch.syspath_prepend(tmp_path)
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, "auto_log", raising=False)

    yield install
    sys.modules.pop("auto_log", None)


def measure():
    with Benchmark("tsm_tiny", "fp32", 2, (2, 1, 8, 3, 32, 32), FACTS) as benchmark:
        for _ in range(3):
            benchmark.start()
            for _ in range(3):
                benchmark.stamp()
        benchmark.report()
    return benchmark


def test_our_report_has_their_blocks_and_keys(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    measure()
    lines = [line for line in capsys.readouterr().out.splitlines() if re.match(PREFIX + ".", line)]
    found: dict[str, list[str]] = {}
    for line in lines:
        text = re.sub(PREFIX, "", line)
        if title := re.fullmatch(r"-{22,23} (\w+) info -{22,23}", text):
            block = found.setdefault(title[1], [])
        else:
            block.append(text)
    assert list(found) == list(BLOCKS)
    for name, keys in BLOCKS.items():
        assert len(found[name]) == len(keys)
        for key, line in zip(keys, found[name], strict=True):
            assert re.match(rf" {key}: ", line)
    assert re.fullmatch(
        r" preprocess_time\(ms\): [\d.]+, inference_time\(ms\): [\d.]+, postprocess_time\(ms\): [\d.]+",
        found["Perf"][2],
    )
    assert re.fullmatch(r" cpu_rss\(MB\): [\d.]+, gpu_rss\(MB\): None, gpu_util: None%", found["Perf"][0])
    assert found["Data"][2] == " data_num: 3"


def test_the_real_one_reports_where_it_works_and_ends_only_itself(install, capsys):
    install()
    benchmark = measure()
    assert capsys.readouterr().out == "theirs\n"
    assert benchmark.theirs.times.calls == ["start", "stamp", "stamp", "end"] * 3
    assert benchmark.theirs.get_mem.mem_p.killed


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ({"init": "raise IndexError('no card')"}, "auto_log does not start (IndexError('no card'))"),
        ({"report": "raise ValueError('warmup')"}, "auto_log fails (ValueError('warmup'))"),
        ({"report": "time.sleep(20)"}, "auto_log gives no report within 0.2 s"),
    ],
)
def test_ours_reports_where_the_real_one_fails_or_hangs(case, message, install, capsys, monkeypatch):
    monkeypatch.setattr(autolog, "TIMEOUT_S", 0.2)
    install(**case)
    measure()
    said = capsys.readouterr()
    assert message in said.err
    assert said.out.count("Perf info") == 1
    assert "theirs" not in said.out
