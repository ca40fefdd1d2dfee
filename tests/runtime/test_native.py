"""Compiling for this machine: from the cache when it can be, and a reason when it cannot."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime import native

ROOT = Path(__file__).resolve().parents[2]
SOURCE = 'extern "C" double twice(double x) { return 2 * x; }\n'
has_compiler = pytest.mark.skipif(not any(map(shutil.which, native.COMPILERS)), reason="no C++ compiler is here")


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """A source file, and a cache that is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(native, "_refusal", "")
    monkeypatch.delenv("CXX", raising=False)
    native._library.cache_clear()
    source = tmp_path / "twice.cc"
    source.write_text(SOURCE)
    yield source
    native._library.cache_clear()


def twice(source):
    native._library.cache_clear()
    library, word = native.library((source,))
    assert library is not None, word
    library.twice.restype, library.twice.argtypes = ctypes.c_double, [ctypes.c_double]
    return library.twice(21.0)


def entries(tmp_path):
    return sorted((tmp_path / "cache/actionalign/native").iterdir())


@has_compiler
def test_what_was_compiled_is_used_again(fresh, tmp_path, monkeypatch):
    assert twice(fresh) == 42
    monkeypatch.setattr(native, "_run", None)
    assert twice(fresh) == 42
    assert len(entries(tmp_path)) == 1


@has_compiler
def test_another_source_another_cpu_or_flag_is_compiled_anew(fresh, tmp_path, monkeypatch):
    twice(fresh)
    fresh.write_text(SOURCE.replace("2 *", "3 *"))
    assert twice(fresh) == 63
    monkeypatch.setattr(native.cpu, "identity", lambda: "another")
    twice(fresh)
    monkeypatch.setattr(native, "FLAGS", (*native.FLAGS, "-g"))
    twice(fresh)
    assert len(entries(tmp_path)) == 4


@has_compiler
@pytest.mark.parametrize("damage", ["cut", "another", "removed"])
def test_a_damaged_entry_is_made_anew(fresh, tmp_path, damage):
    twice(fresh)
    (entry,) = entries(tmp_path)
    path = entry / native.LIBRARY
    content = path.read_bytes()
    path.unlink()
    if damage != "removed":
        path.write_bytes(content[:5000] if damage == "cut" else bytes(len(content)))
    assert twice(fresh) == 42
    assert entries(tmp_path) == [entry]
    assert len(path.read_bytes()) == len(content)


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [
        ("", "no C++ compiler is found (c++, g++, clang++)"),
        ("/does/not/exist", "no C++ compiler is found (/does/not/exist)"),
        ("false", "does not run"),
        ("true", "cannot be kept or loaded"),
    ],
)
def test_without_a_compiler_there_is_a_reason(fresh, monkeypatch, tmp_path, compiler, reason):
    if compiler:
        monkeypatch.setenv("CXX", compiler)
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
    library, word = native.library((fresh,))
    assert library is None
    assert reason in word
    assert "\n" not in word


@has_compiler
def test_a_source_that_does_not_compile_is_said_to(fresh, tmp_path):
    fresh.write_text("nonsense")
    library, word = native.library((fresh,))
    assert library is None
    assert "fails: " in word
    assert "error" in word
    assert not entries(tmp_path)


@has_compiler
def test_a_cache_that_cannot_be_written_is_said_to(fresh, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    library, word = native.library((fresh,))
    assert library is None
    assert "Not a directory" in word


def test_a_refusal_holds_until_it_is_taken_back(fresh):
    native.refuse("not now")
    assert native.library((fresh,)) == (None, "not now")
    native.refuse("")
    assert native.library((fresh,))[1] != "not now"


@has_compiler
def test_processes_that_come_together_agree(fresh, tmp_path):
    code = (
        f"from pathlib import Path; from runtime import native; print(native.library((Path({str(fresh)!r}),))[0] and 1)"
    )
    started = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) for _ in range(6)]
    assert [process.communicate()[0] for process in started] == [b"1\n"] * 6
    assert len(entries(tmp_path)) == 1


@has_compiler
@pytest.mark.whole
@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"])
def test_the_operators_are_the_same_on_other_cpus(fresh, cpu):
    """What compiles for an older CPU passes the tests of the operators too, where this CPU runs it."""
    code = (
        "import sys, pytest; from runtime import native; "
        f"native.FLAGS = tuple('-march={cpu}' if flag == '-march=native' else flag for flag in native.FLAGS); "
        "sys.exit(pytest.main(['-q', '-x', '-p', 'no:cacheprovider', 'tests/models/kernels', '-k', 'paddle_computes']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == -4:
        pytest.skip(f"this CPU has not what {cpu} asks for")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes end as Linux ends them")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_compiler_and_leaves_nothing(fresh, tmp_path, number):
    """A compiler that takes long, through a process of its own, and has begun a file."""
    compiler, temporary, started = tmp_path / "slow", tmp_path / "temporary", tmp_path / "started"
    body = f'[ "$1" = --version ] && echo slow && exit\ntouch $TMPDIR/ccA.s\nsleep 300 &\necho $! > {started}\nwait\n'
    compiler.write_text(f"#!/bin/sh\n{body}")
    compiler.chmod(0o755)
    temporary.mkdir()
    program = f"""
from pathlib import Path
from runtime import command, native
with command.clear_errors():
    native.library((Path({str(fresh)!r}),))
"""
    environment = {**os.environ, "CXX": str(compiler), "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    wait_for(lambda: started.exists() and started.read_text())
    process.send_signal(number)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 128 + number, error
    assert not list(temporary.iterdir())
    wait_for(lambda: not Path(f"/proc/{started.read_text().strip()}").exists())


def wait_for(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("not within two minutes")
