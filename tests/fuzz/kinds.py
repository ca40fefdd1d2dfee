"""What is fuzzed: for each kind of file whole examples, and what reads them."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import safetensors.numpy
import simplejpeg
import torch

from configs import Recipe
from configs.limits import STRANGERS
from datasets import read_class_names
from datasets.decode import open_source
from deploy.artifact import read_record
from engine.checkpoint import pickled, read_state
from models import create_model
from tests.datasets.media import decode_in_order, moving_frames, write_video
from weights import read

Examples = dict[str, bytes]  # file name -> content


def videos(folder: Path) -> Examples:
    """One of each container and codec that people have."""
    made = {
        "h264.mp4": ("libx264", {"g": "6"}), "h264.mkv": ("libx264", {"bf": "2"}), "mpeg4.avi": ("mpeg4", {}),
        "mpeg4.mov": ("mpeg4", {"g": "1"}), "vp8.webm": ("libvpx", {}), "h264.ts": ("libx264", {}),
        "flv1.flv": ("flv", {}), "mpeg2.mpg": ("mpeg2video", {}), "wmv2.wmv": ("wmv2", {}),
        "h264.avi": ("libx264", {"bf": "2"}), "hevc.mp4": ("libx265", {"x265-params": "log-level=none:bframes=2"}),
        "vp9.webm": ("libvpx-vp9", {"cpu-used": "8"}), "av1.mp4": ("libsvtav1", {"preset": "12"}),
        "mpeg2.mxf": ("mpeg2video", {"bf": "2"}), "mjpeg.nut": ("mjpeg", {"strict": "-2"}),
    }  # fmt: skip
    paths = {
        name: write_video(folder / name, count=10, codec=codec, **options) for name, (codec, options) in made.items()
    }
    return {name: path.read_bytes() for name, path in paths.items()}


def read_video(path: Path) -> None:
    """As the server reads one; single frames must be those of decoding from the start."""
    with open_source(str(path), limits=STRANGERS) as source:
        wanted = np.linspace(0, source.num_frames - 1, 4).astype(int).tolist()
        found = [source.read([index])[0] for index in wanted]
        stands_alone = source._decoder.codec.intra_only
        if any(b or c or a != d or a < 0 for a, b, c, d in source._upright.matrices.values()):
            return  # the damage has turned it
    with contextlib.suppress(av.FFmpegError, ValueError):
        expected = decode_in_order(path)
        for index, image in zip(wanted, found, strict=True):
            assert index < len(expected), f"there are {len(expected)} frames, not {index + 1}"
            others = [number for number, other in enumerate(expected) if np.array_equal(image, other)]
            # A damaged table of a frame that is not asked for does not reach those that stand alone.
            if index not in others and not (stands_alone and not others):
                # Some decoders leave parts of a damaged frame as the memory was
                is_left = not others and not np.array_equal(decode_in_order(path, is_kept=True)[index], expected[index])
                assert is_left, f"frame {index} of {len(expected)} is {others}"


def pictures(folder: Path) -> Examples:
    """One of each format that a folder of frames may hold."""
    image = moving_frames(1)[0]
    made = {f"img_1.{suffix}": cv2.imencode(f".{suffix}", image)[1].tobytes() for suffix in ("png", "bmp", "webp")}
    return {**made, "img_1.jpg": simplejpeg.encode_jpeg(np.ascontiguousarray(image))}


def read_picture(path: Path) -> None:
    """As a folder of frames is read."""
    with open_source(str(path.parent), limits=STRANGERS) as source:
        source.read([0])


def weights(folder: Path) -> Examples:
    """One of each format of weights."""
    model = create_model("tsn_tiny", num_classes=2, num_frames=2)
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    packed, zipped, old = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez(packed, **arrays)
    torch.save({"state_dict": tensors, "epoch": 3}, zipped)
    torch.save(tensors, old, _use_new_zipfile_serialization=False)
    wild, beside = io.BytesIO(), {"args": Namespace(lr=0.1), "log": [Path("runs"), {1}, np.random.default_rng(0)]}
    ema = {f"module.{name}": tensor * 2 for name, tensor in tensors.items()}
    torch.save({"state_dict": tensors, "state_dict_ema": ema, "hyper_parameters": beside}, wild)
    return {
        "a.pdparams": pickled(arrays), "a.npz": packed.getvalue(), "a.safetensors": safetensors.numpy.save(arrays),
        "a.pth": zipped.getvalue(), "old.pth": old.getvalue(), "wild.ckpt": wild.getvalue(),
        "new": pickle.dumps({"model": arrays, **beside}, protocol=5),
    }  # fmt: skip


def read_weights(path: Path) -> None:
    """As train.py, test.py and predict.py read them."""
    read(path)


def records(folder: Path) -> Examples:
    """One of each record that a command reads."""
    state = {
        "epoch": 1, "batch": 0, "best": 0.5, "bad_samples": 0, "meter": [1.0, 2.0, 3], "scaler": {}, "metrics_size": 10,
        "provenance": {"dataset_root": "x"}, "processes": 1, "digests": {"last.pdparams": "00", "last.pdopt": "11"},
    }  # fmt: skip
    signature = {"inputs": [], "outputs": [], "states": {}}
    export = {
        "version": 3, "model": "tsm_tiny", "signature": signature, "views": "quick", "num_classes": 2,
        "precision": "fp32", "versions": {"paddlepaddle": "3.3.1"}, "files": {"recipe.json": "00"},
    }  # fmt: skip
    return {
        "state.json": json.dumps(state, indent=2).encode(), "recipe.json": Recipe().to_json().encode(),
        "export.json": json.dumps(export).encode(), "labels.json": b'{"0": "archery", "1": "bow", "2": "caf\\u00e9"}',
        "classInd.txt": b"1 archery\n2 bow\n", "classes.txt": "archery\nbow\ncafé\n".encode(),
    }  # fmt: skip


def read_any_record(path: Path) -> None:
    """As the command that the record belongs to."""
    readers: dict[str, Callable[[], object]] = {
        "state.json": lambda: read_state(path.parent), "export.json": lambda: read_record(path.parent),
        "recipe.json": lambda: Recipe.from_json(path),
    }  # fmt: skip
    readers.get(path.name, lambda: read_class_names(str(path)))()


# kind -> what makes whole examples in a folder, what reads one
KINDS: dict[str, tuple[Callable[[Path], Examples], Callable[[Path], None]]] = {
    "videos": (videos, read_video),
    "pictures": (pictures, read_picture),
    "weights": (weights, read_weights),
    "records": (records, read_any_record),
}
