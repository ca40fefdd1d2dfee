"""Trained weights that the world uses: our model computes from the file what plain functions do, on real videos."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest
import torch

import weights
from datasets.decode import open_source
from datasets.transforms import center_crop_box, crop, resize, short_side_size
from models import create_model
from tests.weights.layout_names import KERAS_2018, TONYLINS, as_paddle_sees
from tests.weights.plain_networks import KERAS, TORCH, Layers, mobilenet_v2

SHARED = Path(__file__).resolve().parents[2] / "../shared"
VIDEOS = sorted((SHARED / "data/clips").glob("*"))
KERAS_FILE = SHARED / "weights/mobilenet_v2_imagenet_keras.npz"
TORCH_FILE = SHARED / "weights/mobilenet_v2_imagenet_features.pt"
# ImageNet's classes of what is in the archery video, and in photos that come with scikit-image
BOW = 456
PHOTOS = {"coffee.png": 967, "chelsea.png": 285, "motorcycle_left.png": 670}  # espresso, Egyptian cat, motor scooter


def frames_of(video, mean, std):
    """Four frames over the whole video, their centers at 224: [1, 4, 3, 224, 224]."""
    with open_source(str(video)) as source:
        frames = source.read(np.linspace(0, source.num_frames - 1, 4).astype(int))
    frames = resize(frames, *short_side_size(*frames.shape[1:3], 256))
    frames = crop(frames, center_crop_box(*frames.shape[1:3], 224))
    return normalized(frames, mean, std)


def normalized(frames, mean, std):
    clip = (frames.astype("float32") - np.float32(mean)) / np.float32(std)
    return np.ascontiguousarray(clip.transpose(0, 3, 1, 2)[None])  # [1, T, 3, H, W]


@pytest.mark.skipif(not KERAS_FILE.exists(), reason="the shared ImageNet weights are not beside this checkout")
@pytest.mark.skipif(not VIDEOS, reason="the shared videos are not beside this checkout")
def test_keras_names_what_is_in_the_videos(model_of):
    """The archer's bow; another padding or epsilon moves the logits by 0.1 and more."""
    with np.load(KERAS_FILE) as file:
        arrays = dict(file)
    found = weights.read(KERAS_FILE)
    model = model_of(found, "tsn_mobilenet_v2", 1000)
    for video in VIDEOS:
        clip = frames_of(video, *(found.options_of({})[name] for name in ("mean", "std")))
        ours = model(paddle.to_tensor(clip)).numpy()
        layers = Layers(arrays, KERAS, as_paddle_sees(1e-3), same=True, dtype=torch.float32)
        with torch.no_grad():
            theirs = mobilenet_v2(layers, torch.from_numpy(clip), KERAS_2018, classes=1000).numpy()
        assert np.abs(ours - theirs).max() < 1e-4, video.name
        if "archery" in video.name:
            assert ours.argmax() == BOW


@pytest.mark.skipif(not KERAS_FILE.exists(), reason="the shared ImageNet weights are not beside this checkout")
@pytest.mark.skipif(
    not importlib.util.find_spec("skimage"), reason="scikit-image, which has the photos, is not installed"
)
@pytest.mark.parametrize("photo", PHOTOS)
def test_keras_names_what_is_in_photos(model_of, photo):
    found = weights.read(KERAS_FILE)
    folder = Path(importlib.util.find_spec("skimage").origin).parent / "data"
    image = cv2.cvtColor(cv2.imread(str(folder / photo)), cv2.COLOR_BGR2RGB)
    image = cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA)
    clip = normalized(image[None], *(found.options_of({})[name] for name in ("mean", "std")))
    scores = model_of(found, "tsn_mobilenet_v2", 1000)(paddle.to_tensor(clip))
    assert scores.argmax() == PHOTOS[photo]


@pytest.mark.skipif(not TORCH_FILE.exists(), reason="the shared ImageNet weights are not beside this checkout")
@pytest.mark.skipif(not VIDEOS, reason="the shared videos are not beside this checkout")
def test_a_file_of_features_becomes_a_model_with_any_classifier(model_of):
    """Blocks as one flat Sequential, without a prefix; PyTorch reads the file for the other side."""
    random = torch.Generator().manual_seed(0)
    head = {"classifier.weight": torch.randn((5, 1280), generator=random) / 36, "classifier.bias": torch.randn(5)}
    head = {name: value.numpy() for name, value in head.items()}
    state = {name: value.numpy() for name, value in torch.load(TORCH_FILE, weights_only=True).items()}
    found = weights.translate(weights.read_file(TORCH_FILE) | head, "a test")
    assert len(found.arrays) == 262
    model = model_of(found, "tsn_mobilenet_v2", 5)
    clip = frames_of(VIDEOS[0], (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    layers = Layers(state | head, TORCH, as_paddle_sees(1e-5), dtype=torch.float32)
    with torch.no_grad():
        theirs = mobilenet_v2(layers, torch.from_numpy(clip), TONYLINS).numpy()
    assert np.abs(model(paddle.to_tensor(clip)).numpy() - theirs).max() < 1e-4


I3D_FILE = SHARED / "weights/i3d_inception_kinetics400.safetensors"
# Part of a video's name -> what DeepMind's network says it shows; the sixth video has no class of its own there
ACTIONS = {
    "arm_wrestling": "arm wrestling",
    "SoccerJuggling": "juggling soccer ball",
    "archery": "archery",
    "basketball": "dunking basketball",
    "cartwheel": "cartwheeling",
}


@pytest.mark.whole
@pytest.mark.skipif(not I3D_FILE.exists(), reason="the shared weights of I3D are not beside this checkout")
@pytest.mark.skipif(not VIDEOS, reason="the shared videos are not beside this checkout")
def test_i3d_names_the_actions(tmp_path):
    """By the two commands of a user: one converts, the other predicts."""
    weights_file = tmp_path / "best.pdparams"
    run_command("-m", "tools.convert", I3D_FILE, weights_file, "--labels", "kinetics400")
    view = ("--clip_len", 64, "--frame_interval", 1, "--test_clips", 1, "--test_crops", "center", "--test_size", 224)
    for part, action in ACTIONS.items():
        (video,) = (video for video in VIDEOS if part in video.name)
        printed = run_command("predict.py", "--video", video, "--pretrained", weights_file, "--top", "1", *view)
        assert f"Top1 class:{action} prob:" in printed, printed


@pytest.mark.whole
@pytest.mark.skipif(not I3D_FILE.exists(), reason="the shared weights of I3D are not beside this checkout")
def test_i3d_gives_the_logits_of_its_authors_example():
    """Those that DeepMind's weights give in piergiaj's code: 79 frames of a cricket shot, a file of DeepMind's."""
    folder = os.environ.get("ACTIONALIGN_KINETICS_I3D")
    if not folder:
        pytest.skip("ACTIONALIGN_KINETICS_I3D does not name a clone of https://github.com/google-deepmind/kinetics-i3d")
    data, found = Path(folder) / "data", weights.read(I3D_FILE)
    with open_source(str(data / "v_CricketShot_g04_c01_rgb.gif")) as source:
        frames = source.read(np.arange(source.num_frames))
    assert frames.shape == (79, 224, 224, 3)
    model = create_model("i3d_inception", num_classes=400, num_frames=79)
    weights.assign(model, found)
    model.eval()
    options = found.options_of({})
    with paddle.no_grad():
        logits = model(paddle.to_tensor(normalized(frames, options["mean"], options["std"]))).numpy()[0]
    names = (data / "label_map.txt").read_text().splitlines()
    assert names[logits.argmax()] == "playing cricket"
    assert logits.max() == pytest.approx(17.640, abs=1e-3)
    assert np.linalg.norm(logits) == pytest.approx(83.24, abs=5e-3)


def run_command(*arguments):
    """What one of our commands prints."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, *map(str, arguments)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
