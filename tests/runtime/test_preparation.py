"""Process settings: which CPUs get which, and that they are in force."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime import preparation
from runtime.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
AVX512 = "avx2 fma avx512f avx512bw avx512dq avx512vl"


@pytest.mark.parametrize(
    ("vendor", "flags", "path"),
    [
        ("AuthenticAMD", AVX512, "7"),
        ("AuthenticAMD", "sse4_2 avx2 fma", "5"),
        ("AuthenticAMD", "avx2 fma avx512f", "5"),
        ("AuthenticAMD", "sse4_2 avx", None),
        ("GenuineIntel", AVX512, None),
    ],
)
def test_the_vector_path_follows_vendor_and_flags(vendor, flags, path):
    cpuinfo = f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: fpu {flags}\n\nprocessor\t: 1\nvendor_id\t: other\n"
    assert preparation.mkl_vector_path(cpuinfo) == path


def test_a_cpuinfo_of_another_architecture_changes_nothing():
    assert preparation.mkl_vector_path("processor : 0\nBogoMIPS : 50.00\nFeatures : fp asimd\n") is None


def _prepare(arguments, **environment):
    code = f"from runtime import preparation; import os; print(preparation.prepare({arguments})); "
    code += "print(os.environ.get('OMP_NUM_THREADS'), os.environ.get('MKL_DEBUG_CPU_TYPE'))"
    env = {key: value for key, value in os.environ.items() if key not in ("OMP_NUM_THREADS", "MKL_DEBUG_CPU_TYPE")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**env, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout, done.stderr


def test_threads_are_set_before_paddle_sets_one():
    out, err = _prepare("threads=2")
    assert "threads 2" in out
    assert out.splitlines()[-1].startswith("2 ")
    assert "PLEASE USE OMP_NUM_THREADS WISELY" not in err


def test_the_processes_of_a_run_share_the_cores():
    cores = len(os.sched_getaffinity(0))
    out, _ = _prepare("", PADDLE_LOCAL_SIZE="2")
    assert f"threads {max(1, cores // 2)}'" in out
    out, _ = _prepare("", PADDLE_LOCAL_SIZE=str(2 * cores))
    assert "threads 1'" in out


def test_each_process_has_its_own_gpu(monkeypatch):
    import paddle

    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 2)
    assert [preparation._device_name(name) for name in ("auto", "gpu", "gpu:1", "cpu")] == [
        "gpu:0",
        "gpu:0",
        "gpu:1",
        "cpu",
    ]
    monkeypatch.setenv("FLAGS_selected_gpus", "1")
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    assert [preparation._device_name(name) for name in ("auto", "gpu", "cpu")] == ["gpu:1", "gpu:1", "cpu"]
    with pytest.raises(UserError, match="--device gpu:1 is one GPU for several processes"):
        preparation._device_name("gpu:1")


def test_no_tune_leaves_the_cpu_settings_alone():
    out, _ = _prepare("tune=False")
    assert "as they come" in out
    assert out.splitlines()[-1].endswith(" None")


def test_the_users_own_setting_goes_first():
    out, _ = _prepare("", MKL_DEBUG_CPU_TYPE="5")
    assert "MKL_DEBUG_CPU_TYPE=5 (from the environment)" in out


@pytest.mark.parametrize("device", ["tpu", "gpu:x"])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(UserError, match=f"--device must be cpu, gpu, gpu:N or auto, got {device}"):
        preparation._device_name(device)


def test_a_gpu_that_is_not_there_is_refused():
    import paddle

    if paddle.is_compiled_with_cuda():
        pytest.skip("this Paddle has CUDA")
    with pytest.raises(UserError, match="no GPU to use"):
        preparation._device_name("gpu:0")
    for amp in ("float16", "bfloat16"):
        with pytest.raises(UserError, match=f"--amp {amp} needs a GPU"):
            preparation.check_precision(amp)


def test_a_static_graph_is_not_mixed(monkeypatch):
    import paddle

    monkeypatch.setattr(paddle, "get_device", lambda: "gpu:0")
    preparation.check_precision("float16")
    preparation.check_precision("none", to_static=True)
    with pytest.raises(UserError, match="--to_static trains in float32: leave out --amp float16"):
        preparation.check_precision("float16", to_static=True)


LARGE = """
import re, resource
{limit}
from runtime import cpu
word = cpu.tune_malloc()
block = bytearray(64 * 2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
del block
block = bytearray(b"x") * (64 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
heap = open("/proc/self/smaps").read().partition("[heap]")[2]
print(word, "|", re.search(r"AnonHugePages: *(\\d+) kB", heap).group(1))
print(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read()).group(1))
"""


@pytest.mark.parametrize("limit", ["", "resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))"])
def test_the_heap_is_in_large_pages_where_the_kernel_grants_them(limit):
    """And takes no more memory for it; a process whose addresses are counted asks for none beforehand."""
    state = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if sys.platform != "linux" or not state.is_file() or "[madvise]" not in state.read_text():
        pytest.skip("this system does not leave it to the programs whether pages are large")
    done = subprocess.run(
        [sys.executable, "-c", LARGE.format(limit=limit)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    faults, word, peak = done.stdout.splitlines()
    assert int(faults) < 500  # of 16384 pages that were there before
    assert int(peak) < 200 * 1024
    said, _, large = word.partition(" | ")
    assert said == "malloc keeps freed blocks" + ", in large pages" * (not limit)
    assert (int(large) >= 32 * 1024) == (not limit)
