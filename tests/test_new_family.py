"""A family is a file in `models/`, its twin, and one entry: in a copy of the repository an outsider's runs everywhere.

This is the recipe "a family" of CONTRIBUTING.md, followed to the letter.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from alignment.stages import STAGES
from weights import read_file

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = '''@dataclass(frozen=True)
class Dummy(Network):
    """One 3-D convolution."""

    model: str = option("dummy_small", MODEL_HELP)

    dummy_kernel: int = option(3, "Dummy: frames that the convolution reads", at_least=1)


'''
ENTRY = """        Family("dummy", Dummy, ("small",), "models.dummy", tensors=r"(?:trunk|cls_head)\\.\\w+\\.\\w+"),
"""
SMALL = (
    "--model", "dummy_small", "--dummy_kernel", "5", "--clip_len", "4", "--frame_interval", "2", "--test_clips", "1",
    "--test_crops", "center", "--short_side", "40", "--crop_size", "32", "--test_size", "32", "--batch_size", "8",
    "--precise_bn_epochs", "0", "--num_workers", "0", "--threads", "1",
)  # fmt: skip
EPOCHS = ("--max_epochs", "6", "--log_iters", "1")
ENVIRONMENT = {**os.environ, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}


def digests(root):
    files = [path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def insert(path, before, text):
    content = path.read_text(encoding="utf-8")
    assert content.count(before) == 1
    path.write_text(content.replace(before, text + before), encoding="utf-8")


def wait_for_line(path, start, seconds=120):
    for _ in range(seconds * 100):
        if path.is_file() and start in path.read_text():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} never said {start}")


class House:
    """A copy of the repository, and the folder beside it that the commands write to."""

    def __init__(self, folder):
        self.root, self.out = folder / "house", folder / "out"
        self.out.mkdir()
        for name in self.tracked():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)
        self.before = digests(self.root)

    @staticmethod
    def tracked():
        listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                                check=True, capture_output=True, text=True)  # fmt: skip
        names = [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
        return [name for name in names if name.partition("/")[0] not in ("logs", "tests", ".github", ".ci")]

    def run(self, *command, code=0):
        """What a Python command prints."""
        done = subprocess.run([sys.executable, *map(str, command)], cwd=self.root, env=ENVIRONMENT, check=False,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """The copy with the family in it."""
    house = House(tmp_path_factory.mktemp("family"))
    shutil.copy(ROOT / "tests/new_family/dummy.py", house.root / "models/dummy.py")
    shutil.copy(ROOT / "tests/new_family/dummy_twin.py", house.root / "alignment/reference/dummy.py")
    insert(house.root / "configs/networks.py", "@dataclass(frozen=True)\nclass Family:", OPTIONS)
    insert(house.root / "configs/networks.py", "    )\n}\n\n\ndef model_names", ENTRY)
    return house


@pytest.fixture(scope="module")
def trained(house, motion_videos):
    """Weights after six epochs."""
    house.run("train.py", "--dataset_root", motion_videos, "--output_dir", house.out / "run", *EPOCHS, *SMALL)
    return house.out / "run" / "last.pdparams"


def test_it_trains_and_resumes_to_the_same_bits(house, trained, motion_videos):
    cut = house.out / "cut"
    command = [sys.executable, "train.py", "--dataset_root", motion_videos, "--output_dir", cut, *EPOCHS, *SMALL]
    process = subprocess.Popen(list(map(str, command)), cwd=house.root, env=ENVIRONMENT)
    wait_for_line(cut / "train.log", "[TRAIN] epoch: [2/6], batch_id: 2")
    process.kill()
    process.wait()
    assert json.loads((cut / "state.json").read_text())["epoch"] in range(1, 6)
    house.run("train.py", "--output_dir", cut, "--resume", "--num_workers", 0, "--threads", 1)
    assert (cut / "last.pdparams").read_bytes() == trained.read_bytes()
    network = json.loads((trained.parent / "recipe.json").read_text())["network"]
    assert (network["model"], network["dummy_kernel"]) == ("dummy_small", 5)


def test_it_is_tested_and_predicts(house, trained, motion_videos):
    common = ("--pretrained", trained, "--num_workers", 0, "--threads", 1)
    printed = house.run("test.py", "--dataset_root", motion_videos, "--output_dir", house.out / "report", *common)
    assert "top1" in printed
    assert len(json.loads((house.out / "report/test.json").read_text())["confusion"]) == 8
    video = next(motion_videos.rglob("*.mp4"))
    assert len(house.run("predict.py", "--video", video, "--pretrained", trained, "--threads", 1).splitlines()) == 6


def test_it_is_exported_and_infers(house, trained, motion_videos):
    pytest.importorskip("paddle2onnx")
    pytest.importorskip("onnxruntime")
    folder, video = house.out / "artifact", next(motion_videos.rglob("*.mp4"))
    house.run("-m", "deploy.export", "--pretrained", trained, "--output", folder, "--threads", 1,
              "--formats", "paddle", "onnx")  # fmt: skip
    found = {}
    for engine in ("paddle", "onnxruntime"):
        out = house.out / f"{engine}.json"
        house.run("-m", "deploy.infer", "--model_dir", folder, "--video", video, "--engine", engine, "--save_json", out)
        (found[engine],) = json.loads(out.read_text())["scores"].values()
    np.testing.assert_allclose(found["paddle"], found["onnxruntime"], atol=1e-5)


def test_it_aligns_with_its_twin(house):
    printed = house.run("-m", "alignment", "--model", "dummy_small", "--frames", 4, "--size", 32, "--batch", 2,
                        "--threads", 1, "--precision", "both", "--output", house.out / "alignment",
                        "--steps", ",".join(STAGES))  # fmt: skip
    assert all(stage in printed for stage in STAGES)


def test_a_wrong_twin_is_caught(house):
    """The comparison above could have failed."""
    twin = house.root / "alignment/reference/dummy.py"
    right = twin.read_text()
    twin.write_text(right.replace("stride=(1, 4, 4), padding=padding", "stride=(1, 4, 4), padding=(kernel // 2, 1, 1)"))
    try:
        printed = house.run("-m", "alignment", "--model", "dummy_small", "--frames", 4, "--size", 33, "--batch", 2,
                            "--threads", 1, "--output", house.out / "wrong", "--steps", "forward", code=1)  # fmt: skip
    finally:
        twin.write_text(right)
    assert "trunk.conv" in printed


def test_it_converts_to_its_twin_and_back(house, trained):
    torch_file, back = house.out / "dummy.pth", house.out / "back" / "best.pdparams"
    house.run("-m", "tools.convert", trained, torch_file, "--target", "pytorch")
    house.run("-c", LOADS, torch_file)
    printed = house.run("-m", "tools.convert", torch_file, back)
    assert "(pytorch) as dummy_small" in printed
    ours, again = read_file(trained), read_file(back)
    assert ours.keys() == again.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(again[name], array)
    network = json.loads((back.parent / "recipe.json").read_text())["network"]
    assert (network["model"], network["dummy_kernel"]) == ("dummy_small", 5)


LOADS = """
import sys, torch
from alignment.certification.twins import create_twin
twin = create_twin("dummy_small", num_classes=8, num_frames=4, dummy_kernel=5)
twin.load_state_dict(torch.load(sys.argv[1], weights_only=True)["state_dict"])
"""


def test_no_other_file_was_touched(house):
    after = digests(house.root)
    changed = {name for name, digest in house.before.items() if after.get(name) != digest}
    assert changed == {"configs/networks.py"}
    assert after.keys() - house.before.keys() == {"models/dummy.py", "alignment/reference/dummy.py"}
