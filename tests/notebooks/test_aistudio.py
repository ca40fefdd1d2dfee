"""The notebook: as it lies there, and run from top to bottom in a stand-in of AI Studio."""

import copy
import functools
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.notebooks.stand_in import ROOT, copy_repository, environment, python_of_image

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: pip install -r requirements-dev.txt")
PATH = ROOT / "notebooks" / "aistudio.ipynb"
NOTEBOOK = nbformat.read(PATH, as_version=4)
CODE = [cell for cell in NOTEBOOK.cells if cell.cell_type == "code"]
TEXT = [cell.source for cell in NOTEBOOK.cells if cell.cell_type == "markdown"]
SCRIPT = (ROOT / "notebooks" / "run.sh").read_text(encoding="utf-8")
PLACES = ("/home/aistudio", "/dev/shm", "/dev/null", "/tmp/image.txt", "/tmp/tipc.log")


def shown(cell):
    """The text of a cell's outputs."""
    texts = [output.get("text", "") or str(output.get("data", {}).get("text/plain", "")) for output in cell.outputs]
    return "".join(texts)


def commands():
    """Arguments of each `python` in the cells and in the script task."""
    sources = [cell.source.replace("\\\n", "") for cell in CODE]
    lines = [line for source in sources for line in source.splitlines() if line.lstrip().startswith("!python ")]
    lines += [line for line in SCRIPT.splitlines() if line.lstrip().startswith('"$PYTHON" ')]
    for line in lines:
        words = shlex.split(line.partition(" > ")[0], comments=True)[1:]
        words = words[2:] if words[0] == "-W" else words
        if words[0] not in ("-c", "--version") and words[:2] != ["-m", "pip"]:
            yield tuple(words[:2] if words[0] == "-m" else words[:1]), tuple(w for w in words if w.startswith("--"))
    for start in re.findall(r"START = (.*)", "\n".join(sources)):
        yield ("train.py",), tuple(re.findall(r"--\w+", start))


@functools.cache
def help_of(command):
    done = subprocess.run([sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_a_notebook_that_was_run_to_its_end():
    nbformat.validate(NOTEBOOK)
    assert [cell.execution_count for cell in CODE] == list(range(1, len(CODE) + 1))
    assert not [output for cell in CODE for output in cell.outputs if output.output_type == "error"]
    assert not [cell.source for cell in CODE if "!" in cell.source and not cell.outputs]
    kinds = {kind for cell in CODE for output in cell.outputs for kind in output.get("data", {})}
    assert {"image/png", "text/html"} <= kinds, "curves, confusion matrix and video"
    assert PATH.stat().st_size < 1e6


def test_the_lines_of_tipc_are_those_of_today():
    lines = [line for cell in CODE for line in shown(cell).splitlines() if "Run successfully with command" in line]
    assert len(lines) >= 5
    assert all(re.search(r"Run successfully with command - tsn - \S", line) for line in lines)


def test_each_text_is_in_both_languages():
    assert len(TEXT) >= 10
    for text in TEXT:
        assert len(re.findall(r"[\u4e00-\u9fff]", text)) >= 10, text
        assert len(re.findall(r"\b[A-Za-z]+ [a-z]+ [a-z]+\b", text)) >= 1, text


def test_no_path_of_another_machine():
    for cell in CODE:
        for path in re.findall(r"(?<![\w.}:/])/[a-z]+/[\w./-]+", cell.source + shown(cell)):
            assert path.startswith(PLACES), path


def test_results_are_outside_of_what_is_reset():
    (parameters,) = [cell.source for cell in CODE if "parameters" in cell.metadata.get("tags", [])]
    values = {"os": __import__("os")}
    exec(parameters, values)
    assert values["DATA"].startswith(f"{values['HOME']}/data/")
    assert values["RUN"].startswith(f"{values['HOME']}/work/")
    assert values["ARCHIVE"] == ""


def test_the_commands_have_their_flags():
    found = list(commands())
    assert len({command for command, _ in found}) >= 9
    for command, flags in found:
        assert not [flag for flag in flags if not re.search(rf"{flag}\b", help_of(command))], command


def run_notebook(notebook, python, home):
    """Executes all cells with the image's Python, as `home/aistudio.ipynb`; returns them with their outputs."""
    kernel = {"argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
              "display_name": "Python 3", "language": "python"}  # fmt: skip
    (home / "jupyter" / "kernels" / "python3").mkdir(parents=True, exist_ok=True)
    (home / "jupyter" / "kernels" / "python3" / "kernel.json").write_text(json.dumps(kernel))
    nbformat.write(notebook, home / "aistudio.ipynb")
    execute = [Path(sys.executable).with_name("jupyter-execute"), "--inplace", home / "aistudio.ipynb"]
    variables = environment(python, AISTUDIO_HOME=str(home), JUPYTER_PATH=str(home / "jupyter"))
    done = subprocess.run(execute, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return nbformat.read(home / "aistudio.ipynb", as_version=4)


def kill_after_the_first_epoch(command, run, **options):
    """Ends a training as the end of a session does."""
    process = subprocess.Popen(command, start_new_session=True, **options)
    deadline = time.monotonic() + 600
    while not (run / "state.json").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (run / "state.json").exists()


@pytest.mark.slow
@pytest.mark.whole
def test_it_runs_from_top_to_bottom_after_a_session_that_was_lost(tmp_path):
    pytest.importorskip("nbclient", reason="nbclient is not installed: pip install -r requirements-dev.txt")
    python = python_of_image(tmp_path / "image", "paddle", "torch", "ipykernel", "pip")
    home = tmp_path / "aistudio"
    code, run = home / "ActionAlign", home / "work" / "tsm"
    copy_repository(code)
    notebook = nbformat.read(PATH, as_version=4)
    (training,) = [i for i, cell in enumerate(notebook.cells) if "!python train.py" in cell.source]
    lost = nbformat.v4.new_notebook(cells=copy.deepcopy(notebook.cells[:training]), metadata=notebook.metadata)
    run_notebook(lost, python, home)
    options = {"cwd": code, "env": environment(python, PYTHONUSERBASE=str(home / "external-libraries"))}
    train = [
        python, "train.py", "--preset", "demo_tsm", "--dataset_root", home / "data" / "videos", "--output_dir", run,
        "--max_epochs", "4",
    ]  # fmt: skip
    kill_after_the_first_epoch(train, run, **options)
    shutil.rmtree(home / "data")  # as between two sessions

    notebook = run_notebook(notebook, python, home)
    cells = {i: shown(cell) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"}
    assert [json.loads(line)["epoch"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3, 4]
    assert not [text for text in cells.values() if "[EVAL] epoch=1" in text], "training began anew"
    assert json.loads((run / "test" / "test.json").read_text())["top1_acc"] > 0.8
    assert {"curves.png", "preview.mp4", "artifact"} <= {path.name for path in run.iterdir()}
    assert any("tsm_tiny, float32: passed" in text for text in cells.values())
    assert cells[len(notebook.cells) - 2].count("Run successfully with command") >= 5
    assert (code / "output/alignment/tsm_tiny_float32/data_paddle.npy").is_file()
    installed = home / "external-libraries"
    assert not list(installed.rglob("paddlepaddle*"))
    assert not list(installed.rglob("protobuf*"))
