"""A task that nobody here thought of, added as an outsider would: one file and one line in `tasks`.

It is dense: a mask for each frame. A network for it is one more file and one entry. Everything else stays as it is, and
the same commands train, resume, test and predict.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("configs", "datasets", "deploy", "engine", "models", "runtime", "tasks", "weights")
COMMANDS = ("train.py", "test.py", "predict.py")

TASK = '''
"""One of K classes for each pixel of each frame."""

import numpy as np

from datasets import DataError
from tasks.task import Meter, Task


class Masks:
    in_class_folders = False
    class_names = ()
    word = "mask"

    def parse(self, text, place, folder, num_classes):
        return f"{folder}/{text}"

    def in_folders(self, source, num_classes):
        raise DataError(f"{source} has no list: its lines state the masks")

    def load(self, stated, view, pixels):
        try:
            masks = np.load(stated)  # uint8 [frames, height, width]
        except OSError as error:
            raise DataError(f"{stated} cannot be read: {error}") from error
        clips, frames = view.indices.shape
        maps = view.warp(masks[view.indices.ravel()][..., None])[..., 0]  # [crops, clips*T, H, W]
        return maps.reshape(-1, frames, *maps.shape[2:])  # [V, T, H, W]


class PixelMeter(Meter):
    def __init__(self):
        self.hits = []

    def update(self, scores, targets):
        self.hits.append((scores.argmax(axis=3) == targets).mean())

    def add(self, other):
        self.hits += other.hits

    def summary(self):
        return {"pixel_acc": float(np.mean(self.hits))}

    def write(self, directory, class_names, facts, dataset, beside):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "pixels.txt").write_text(f"{class_names} {facts}")
        return ["pixels.txt"]


class Dense(Task):
    metrics = ("pixel_acc",)
    targets = Masks()

    def training_batch(self, clips, targets, recipe, rng):
        return clips, targets.squeeze(1).astype(clips.dtype)  # [N, T, H, W]

    def training_target_shape(self, recipe):
        return recipe.clip.num_frames, recipe.pixels.crop_size, recipe.pixels.crop_size

    def loss(self, output, target, recipe):
        import paddle.nn.functional as F

        return F.cross_entropy(output, target.astype("int64").unsqueeze(2), axis=2)

    def correct(self, output, targets):
        hits = output.argmax(axis=2) == targets.squeeze(1).astype("int64")
        return float(hits.astype("float32").mean()) * len(targets)

    def scores(self, run, clips, recipe, views_per_pass=0):
        return np.stack([run(views) for views in clips])  # [N, V, T, K, H, W]

    def meter(self, recipe):
        return PixelMeter()

    def prediction_lines(self, scores, class_names, top):
        counts = np.bincount(scores.argmax(axis=2).ravel(), minlength=len(class_names))
        return [f"{name}: {count / counts.sum():.3f}" for name, count in zip(class_names, counts)]

    def metric_lines(self, metrics):
        return [f"pixel_acc\\t{metrics['pixel_acc']:.4f}"]
'''
NETWORK = '''
"""A convolution of each frame, and another with one output for each class."""

import paddle.nn.functional as F
from paddle import nn

from models.implementation import Implementation


class PixelNetwork(nn.Layer):
    def __init__(self, width, num_classes):
        super().__init__()
        self.stem = nn.Conv2D(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2D(width)
        self.cls_head = nn.Conv2D(width, num_classes, 1)

    def forward(self, clips):
        images = clips.reshape([-1, *clips.shape[2:]])  # [N*T, 3, H, W]
        logits = self.cls_head(F.relu(self.norm(self.stem(images))))  # [N*T, K, H, W]
        return logits.reshape([-1, clips.shape[1], *logits.shape[1:]])  # [N, T, K, H, W]


IMPLEMENTATION = Implementation(lambda network, num_classes, num_frames: PixelNetwork(network.width, num_classes))
'''
OPTIONS = """
@dataclass(frozen=True)
class Pixel(Network):
    model: str = option("pixel_small", MODEL_HELP)
    width: int = option(8, "pixel: channels", at_least=1)


"""
ENTRY = """
        Family("pixel", Pixel, ("small",), "models.pixel", tensors=r"(?:stem|norm|cls_head)\\..+", task="dense"),
    )
}
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the rooms with the task in it, and the digests of all its other files."""
    tree = tmp_path_factory.mktemp("outsider") / "tree"
    for room in ROOMS:
        shutil.copytree(ROOT / room, tree / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in COMMANDS:
        shutil.copy(ROOT / name, tree / name)
    (tree / "tasks" / "dense.py").write_text(TASK)
    (tree / "models" / "pixel.py").write_text(NETWORK)
    edit(
        tree / "tasks" / "__init__.py",
        '"segmentation": Segmentation}',
        '"segmentation": Segmentation, "dense": Dense}',
    )
    edit(
        tree / "tasks" / "__init__.py",
        "from tasks.task import",
        "from tasks.dense import Dense\nfrom tasks.task import",
    )
    edit(
        tree / "configs" / "networks.py",
        "@dataclass(frozen=True)\nclass Family:",
        OPTIONS + "@dataclass(frozen=True)\nclass Family:",
    )
    edit(tree / "configs" / "networks.py", "\n    )\n}\n", ENTRY)
    return tree


def edit(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Videos of a white square on black, and the masks of the square; a.mp4 mask/a.npy in each line."""
    root = tmp_path_factory.mktemp("masks")
    (root / "classes.txt").write_text("background\nsquare\n")
    for subset, count in (("train", 8), ("val", 2)):
        lines = []
        for number in range(count):
            name = f"{subset}_{number}"
            masks = np.zeros((9, 48, 64), np.uint8)
            for frame, mask in enumerate(masks):
                mask[10 + number : 30 + number, 4 + 4 * frame : 24 + 4 * frame] = 1
            write_video(root / f"{name}.mp4", np.repeat(masks[..., None] * 255, 3, axis=3))
            np.save(root / f"{name}.npy", masks)
            lines.append(f"{name}.mp4 {name}.npy")
        (root / f"{subset}.txt").write_text("\n".join(lines))
    return root


def write_video(path, frames):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "mpeg4", rate=10, width=frames.shape[2], height=frames.shape[1], pix_fmt="yuv420p"
        )
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def run(tree, *command, fails=False):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


FLAGS = (
    "--model", "pixel_small", "--width", 6, "--num_segments", 1, "--clip_len", 3, "--frame_interval", 1,
    "--short_side", 48, "--crop_size", 32, "--test_size", 32, "--batch_size", 4, "--lr", 0.1, "--base_batch_size", 4,
    "--warmup_epochs", 0, "--precise_bn_epochs", 0, "--test_clips", 2, "--num_workers", 1, "--best_metric", "pixel_acc",
)  # fmt: skip


def train(tree, data, output, *more):
    return run(tree, "train.py", "--dataset_root", data, "--output_dir", output, *FLAGS, *more)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_dense_task_trains_resumes_tests_and_predicts(tree, data, tmp_path):
    train(tree, data, tmp_path / "whole", "--max_epochs", 3, "--to_static")
    recipe = json.loads((tmp_path / "whole" / "recipe.json").read_text())
    network = recipe["network"]
    assert (network["model"], network["width"], network["num_classes"]) == (
        "pixel_small",
        6,
        2,
    )
    metrics = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert metrics[-1]["pixel_acc"] > 0.9
    weights = tmp_path / "whole" / "best.pdparams"
    shown = run(tree, "test.py", "--dataset_root", data, "--pretrained", weights, "--num_workers", 1)
    assert "6x3x3x32x32" in shown  # two clips of three crops
    assert (tmp_path / "whole" / "test_full" / "pixels.txt").is_file()
    assert float(shown.split("pixel_acc: ")[1].split()[0]) > 0.9
    shown = run(tree, "predict.py", "--video", data / "val_0.mp4", "--pretrained", weights)
    assert shown.startswith("background: 0.")


@pytest.mark.whole
def test_a_resumed_dense_run_equals_the_run_that_was_not_interrupted(tree, data, tmp_path):
    train(tree, data, tmp_path / "whole", "--max_epochs", 2)
    train(tree, data, tmp_path / "parts", "--max_epochs", 2, "--checkpoint_iters", 1)
    stopper = "import runpy, sys, os; from engine import trainer, checkpoint; save = checkpoint.save_last\n"
    stopper += "def once(*a): save(*a); os._exit(9)\n"
    stopper += "checkpoint.save_last = once; sys.argv = sys.argv[1:]; runpy.run_path('train.py', run_name='__main__')"
    run(
        tree, "-c", stopper, "train.py", "--dataset_root", data, "--output_dir", tmp_path / "cut", *FLAGS,
        "--max_epochs", 2, "--checkpoint_iters", 1, fails=True,
    )  # fmt: skip
    run(tree, "train.py", "--output_dir", tmp_path / "cut", "--resume", "--num_workers", 1, "--checkpoint_iters", 1)
    assert len({digest(tmp_path / name / "last.pdparams") for name in ("whole", "parts", "cut")}) == 1


def test_what_a_task_does_not_have_is_named(tree, data, tmp_path):
    said = run(
        tree, "train.py", "--dataset_root", data, "--output_dir", tmp_path / "run", *FLAGS, "--best_metric", "top1_acc",
        fails=True,
    )  # fmt: skip
    assert "best_metric must be one of pixel_acc, got 'top1_acc'" in said
    (data / "val_0.npy").rename(data / "gone.npy")
    said = run(tree, "train.py", "--dataset_root", data, "--output_dir", tmp_path / "run", *FLAGS, fails=True)
    (data / "gone.npy").rename(data / "val_0.npy")
    assert "val_0.npy cannot be read" in said.strip().splitlines()[-1]


def test_nothing_but_the_task_and_the_network_is_new(tree):
    changed = set()
    for path in tree.rglob("*.py"):
        own = ROOT / path.relative_to(tree)
        if not own.exists() or digest(own) != digest(path):
            changed.add(path.relative_to(tree).as_posix())
    assert changed == {"tasks/dense.py", "tasks/__init__.py", "models/pixel.py", "configs/networks.py"}
