"""How a command ends."""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.command import file_ending, parser, printable, say

ROOT = Path(__file__).resolve().parents[2]


def test_a_reader_that_goes_away_ends_a_command_without_a_word():
    code = (
        "from runtime.command import clear_errors\nwith clear_errors():\n for _ in range(10**6): print(1, flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "1\n"
        process.stdout.close()
        assert process.wait(30) == 141
        assert process.stderr.read() == ""


STOPPED = """
import os, signal, sys
signal.signal(2, signal.default_int_handler)  # jobs in the background ignore it
from runtime.command import clear_errors
with clear_errors():
    try:
        os.kill(os.getpid(), {number})
    except BaseException as error:
        raise {raised} from error
"""


@pytest.mark.parametrize(("number", "code", "said"), [(2, 130, "Ctrl-C"), (15, 143, "SIGTERM")])
@pytest.mark.parametrize("raised", ["error", "ImportError('x')", "ValueError('a library says something else')"])
def test_a_signal_ends_with_one_line_whatever_a_library_makes_of_it(number, code, said, raised):
    done = subprocess.run(
        [sys.executable, "-c", STOPPED.format(number=number, raised=raised)], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"stopped by {said}\n")


DEFERRED = """
import os
from runtime.command import clear_errors, signals_deferred
with clear_errors():
    with signals_deferred():
        for _ in range({times}):
            os.kill(os.getpid(), 15)
        print("over", flush=True)
    print("not stopped")
"""


@pytest.mark.parametrize(
    ("times", "code", "out", "said"), [(1, 143, "over\n", "stopped by SIGTERM\n"), (2, -15, "", "")]
)
def test_a_deferred_signal_ends_after_the_call_and_a_second_one_at_once(times, code, out, said):
    done = subprocess.run(
        [sys.executable, "-c", DEFERRED.format(times=times)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, out, said)


SWALLOWED = """
import os
from runtime.command import clear_errors, signals_deferred, signals_kept
with clear_errors():
    {how}
    print("over", flush=True)
    {then}
"""
TRY = "try: os.kill(os.getpid(), 15)\n{0}except BaseException: pass"


@pytest.mark.parametrize(
    ("how", "then", "out"),
    [
        (TRY.format(" " * 4), "", "over\n"),
        ("with signals_kept():\n        " + TRY.format(" " * 8), "print('not stopped')", ""),
        ("with signals_deferred():\n        with signals_deferred(): os.kill(os.getpid(), 15)\n        print('inner')",
         "print('not stopped')", "inner\n"),
        ("try: os.kill(os.getpid(), 15)\n    finally:\n        with signals_deferred(): os.kill(os.getpid(), 2)",
         "", None),
    ],
    ids=["swallowed", "swallowed by an import", "deferred twice", "a second one amid the clearing"],
)  # fmt: skip
def test_no_signal_is_lost_and_a_second_one_ends_at_once(how, then, out):
    code = "import signal; signal.signal(2, signal.default_int_handler)\n" + SWALLOWED.format(how=how, then=then)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    expected = (-2, "", "") if out is None else (143, out, "stopped by SIGTERM\n")
    assert (done.returncode, done.stdout, done.stderr) == expected


KEPT = """
import os, signal
from runtime.command import clear_errors, signals_kept
with clear_errors():
    with signals_kept():
        signal.signal(15, signal.SIG_DFL)  # as a library takes it
        import wave
        os.kill(os.getpid(), 15)
        print("over", flush=True)
    print("not stopped")
"""


def test_an_import_that_takes_a_signal_gives_it_back():
    done = subprocess.run([sys.executable, "-c", KEPT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "over\n", "stopped by SIGTERM\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"), ("a\nb", "a\\nb"), ("caf\udce9", "caf\\udce9"), ("é 中 \t|", "é 中 \t|"),
        ("\x9b31m", "\\x9b31m"), ("\u202etxt", "\\u202etxt"),
    ],
)  # fmt: skip
def test_names_are_shown_as_text(text, shown, capsys):
    assert printable(text) == shown
    say(text, "second")
    say(text, error=True)
    out, err = capsys.readouterr()
    assert out == f"{shown}\nsecond\n"
    assert err == f"{shown}\n"


def test_what_an_encoding_lacks_is_written_out():
    code = "from runtime.command import say\nsay('class 打架')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "class \\u6253\\u67b6\n", "")


def test_an_error_names_what_it_names_as_text():
    code = "from runtime.command import clear_errors\nfrom runtime.errors import UserError\n"
    code += "with clear_errors(): raise UserError('no video \\x1b]0;x\\x07.mp4')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: no video \\x1b]0;x\\x07.mp4\n")


@pytest.mark.parametrize("act", ["say('x')", "print('x')", "print('x' * 10**6)"])
def test_a_full_disk_behind_standard_output_is_one_line(act):
    code = f"from runtime.command import clear_errors, say\nwith clear_errors(): {act}"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert re.fullmatch(r"error: cannot write standard output(, or a file .*)?: No space left on device\n", done.stderr)


@pytest.mark.parametrize("name", ["-clip.mp4", "--clip.mp4", "-h.mp4", "-1", "--video.mp4", "--top=x.mp4"])
def test_a_file_whose_name_begins_with_a_hyphen_is_no_flag(tmp_path, monkeypatch, capsys, name):
    flags = parser("", "x")
    flags.add_argument("--video", nargs="+")
    flags.add_argument("--top", type=int, default=5)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):  # there is no such file
        flags.parse_args(["--video", "a.mp4", name, "--top", "3", "--other"])
    Path(name).touch()
    if name == "--top=x.mp4":  # what may be a flag is one
        with pytest.raises(SystemExit):
            flags.parse_args(["--video", "a.mp4", name])
        assert "--top: invalid int value" in capsys.readouterr().err
        return
    for words in (["--video", "a.mp4", name, "--top", "3"], ["--top", "3", "--video", name]):
        found = flags.parse_args(words)
        assert found.top == 3
        assert found.video[-1] == f"./{name}"
    assert flags.parse_args([f"--video={name}"]).video == [name]
    monkeypatch.setattr("sys.argv", ["x", "--video", name])
    assert flags.parse_args().video == [f"./{name}"]


def test_a_file_has_the_ending_that_its_content_has():
    ending = file_ending(".html", ".mp4")
    assert ending("a/B.HTML") == Path("a/B.HTML")
    with pytest.raises(argparse.ArgumentTypeError, match=r"must end with \.html or \.mp4, got b\.xyz"):
        ending("b.xyz")
