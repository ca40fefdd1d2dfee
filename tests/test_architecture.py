"""The table of imports in README holds: read from the syntax trees, nothing is imported."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = {
    "runtime", "configs", "datasets", "models", "tasks", "weights", "engine", "deploy", "scaling", "cluster",
    "alignment", "test_tipc", "tools", "train", "test", "predict",
}  # fmt: skip
MAY_IMPORT = {
    "runtime": set(),
    "configs": {"runtime"},
    "datasets": {"runtime", "configs"},
    "models": {"runtime", "configs"},
    "weights": {"runtime", "configs"},
    "tasks": {"runtime", "configs", "datasets"},
    "engine": {"tasks", "runtime", "configs", "datasets", "models", "weights"},
    "deploy": {"tasks", "runtime", "configs", "datasets", "models", "weights", "engine"},
    "scaling": {"tasks", "runtime", "configs", "datasets", "models", "weights", "engine", "deploy"},
    "cluster": {"tasks", "runtime", "configs", "datasets", "engine", "deploy"},
    "alignment": {"tasks", "runtime", "configs", "datasets", "models", "weights", "engine"},
    "test_tipc": {"tasks", "runtime", "configs", "datasets", "alignment", "deploy"},
    "tools": OURS,
    "train": {"tasks", "runtime", "configs", "datasets", "models", "weights", "engine", "deploy"},
    "test": {"tasks", "runtime", "configs", "datasets", "models", "weights", "engine", "deploy"},
    "predict": {"tasks", "runtime", "configs", "datasets", "models", "weights", "engine", "deploy"},
}
# The only files of deploy that know the network or Paddle; nothing that infers imports them.
EXPORTING = ("export", "writers", "folding", "fusions", "planar", "compiled", "inspect", "predictor")
NEVER_TORCH = (
    "runtime", "configs", "datasets", "models", "tasks", "weights", "engine", "deploy", "scaling", "cluster",
    "test_tipc", "train", "test", "predict",
)  # fmt: skip
FILES = sorted(
    path for path in ROOT.rglob("*.py")
    if not any(part.startswith(".") or part == "build" for part in path.relative_to(ROOT).parts)
)  # fmt: skip


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module.split(".")[0])
            assert all(alias.name != "*" for alias in node.names), f"{path}: star import"
    return found


def modules_of(path: Path) -> set[str]:
    """Dotted names of what is imported, that of each name taken from a package among them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_go_one_way(room):
    files = [path for path in FILES if room_of(path) == room]
    assert files
    for path in files:
        foreign = (imports_of(path) & OURS) - {room} - MAY_IMPORT[room]
        assert not foreign, f"{path.relative_to(ROOT)} imports {foreign}"


def test_training_and_inference_never_import_torch():
    for path in FILES:
        if room_of(path) in NEVER_TORCH:
            assert "torch" not in imports_of(path), path


def test_inference_from_an_artifact_needs_nothing_that_trained_it():
    files = [path for path in FILES if room_of(path) == "deploy" and not {path.stem, path.parent.name} & {*EXPORTING}]
    assert {"infer", "interface", "openvino"} <= {path.stem for path in files}
    for path in files:
        assert not imports_of(path) & (OURS - {"runtime", "configs", "datasets", "deploy", "tasks"}), path
        assert "paddle" not in imports_of(path), path
        text = path.read_text(encoding="utf-8")
        assert not [name for name in EXPORTING if f"deploy.{name} import" in text or f"import deploy.{name}" in text], (
            path
        )


def test_references_import_nothing_of_ours():
    files = [path for path in FILES if path.relative_to(ROOT).parts[:2] == ("alignment", "reference")]
    assert files
    for path in files:
        assert "paddle" not in imports_of(path), path
        if path.name != "__init__.py":
            assert not imports_of(path) & (OURS - {"alignment"}), path


def test_the_ground_floors_are_standard_library_only():
    for path in FILES:
        if room_of(path) in ("runtime", "configs") and path.name != "preparation.py":
            assert imports_of(path) - {"runtime", "configs"} <= sys.stdlib_module_names, path


def test_data_workers_start_without_a_framework():
    code = "import datasets, sys; sys.exit('paddle' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("module", ["deploy.export", "deploy.infer"])
def test_deployment_starts_without_a_framework(module):
    code = f"import {module}, sys; sys.exit('paddle' in sys.modules or 'models' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("script", ["train.py", "test.py", "predict.py"])
def test_help_answers_without_a_framework(script):
    code = f"import sys, runpy; sys.argv=['{script}', '--help']\ntry: runpy.run_path('{script}', run_name='__main__')\n"
    code += "except SystemExit as stop: assert not stop.code\nsys.exit('paddle' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--pretrained" in done.stdout


def test_no_file_is_named_after_nothing():
    names = {"utils.py", "util.py", "misc.py", "helper.py", "helpers.py", "common.py", "base.py"}
    assert not [path for path in FILES if path.name in names]
    assert not list((ROOT / "tests").rglob("__init__.py"))
