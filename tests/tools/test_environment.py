"""The environment of the Makefile: a Paddle that is there stays, whatever it is called; otherwise one is installed."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from runtime.errors import UserError
from tools import environment

ROOT = Path(__file__).resolve().parents[2]


def distribution(folder, name, version):
    """What a package of a module `paddle` leaves in a folder, or in a wheel."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {
        f"{info}/METADATA": metadata, f"{info}/WHEEL": tag, f"{info}/RECORD": "", f"{info}/INSTALLER": "pip\n",
        f"{name.split('-')[0].replace('paddlepaddle', 'paddle')}.py": f"build = {f'{name} {version}'!r}\n",
    }  # fmt: skip
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    return files


def wheel(folder, name, version):
    files = distribution(folder / "unpacked", name, version)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder of wheels that pip takes instead of an index: the Paddle of constraints.txt, and a requirement."""
    wheel(tmp_path, "paddlepaddle", "3.3.1")
    wheel(tmp_path, "wanted", "1.0")
    (tmp_path / "requirements.txt").write_text("wanted\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.chdir(ROOT)
    return tmp_path


def run(*arguments):
    """The command in a process whose Python has no packages but those of `paths`."""
    return subprocess.run([sys.executable, "-S", "-m", "tools.environment", *map(str, arguments)],
                          capture_output=True, text=True, check=False)  # fmt: skip


def paddle_of(folder):
    lines = "import paddle, wanted; print(paddle.build)"
    return subprocess.check_output([folder / "bin" / "python", "-c", lines], text=True).strip()


@pytest.mark.parametrize(
    ("name", "version", "note"),
    [
        ("paddlepaddle-gpu", "3.2.2", False),
        pytest.param(None, None, False, marks=pytest.mark.whole),  # as on the machine that runs `make test`
        pytest.param("paddlepaddle-gpu", "2.6.2.post120", True, marks=pytest.mark.whole),
    ],
)
def test_a_paddle_that_is_there_is_taken_as_it_is(shop, monkeypatch, name, version, note):
    if name:
        files = distribution(shop / "outside", name, version)
        monkeypatch.setenv("PYTHONPATH", str(shop / "outside"))
    done = run(shop / "made", shop / "requirements.txt")
    assert done.returncode == 0, done.stderr
    assert ("note: Paddle 3.0 to 3.3 are tested" in done.stderr) == note
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert paddle_of(shop / "made") == (f"{name} {version}" if name else "paddlepaddle 3.3.1")
    if name:
        assert f"{name} {version} of {shop / 'outside'} is taken" in done.stdout
        assert {path: (shop / "outside" / path).read_text() for path in files} == files
        assert not list((shop / "made").glob("lib/*/site-packages/paddle*"))
    for part in (shop / "made").glob("lib/*/site-packages/pip*"):
        shutil.rmtree(part)
    assert run(shop / "made", shop / "requirements.txt").returncode == 0, "one that was begun is completed"
    (shop / "requirements.txt").write_text("absent\n")
    done = run(shop / "made", shop / "requirements.txt")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: pip ended with exit code 1, see above"


@pytest.mark.parametrize("version", [(3, 9, 18), (3, 14, 0)])
def test_another_python_is_refused(monkeypatch, tmp_path, version):
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(UserError, match=r"3\.10 to 3\.13 are tested: make PYTHON="):
        environment.main([str(tmp_path / "made"), "requirements.txt"])
    assert not (tmp_path / "made").exists()
