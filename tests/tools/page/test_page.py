"""What answers the page: the labels of predict.py, limits, and nobody else's pages."""

import json
import urllib.error
import urllib.request

import numpy as np
import pytest

from deploy import export
from deploy.predictor import Predictor
from runtime.command import clear_errors
from tests.datasets.media import write_video
from tests.tools.page.conftest import opened
from tools.page import __main__ as page_command


def ask(page, body=None, path="/", **headers):
    """(status, headers, body) of an answer."""
    request = urllib.request.Request(page + path, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


@pytest.fixture
def video(motion_videos):
    return next((motion_videos / "val").rglob("*.mp4"))


def labels(page, body, asked="views=full&why=0"):
    status, _, text = ask(page, body, f"/answer?{asked}")
    return status, json.loads(text)


def test_a_video_is_labeled_as_predict_does(page, weights, video, own_signals):
    status, answer = labels(page, video.read_bytes())
    assert status == 200
    name, probability = Predictor(str(weights), engine="dygraph", threads=1)(str(video)).top(1)[0]
    assert answer["best"]["name"] == name
    assert answer["best"]["probability"] == pytest.approx(probability, abs=1e-6)
    assert "Where it looks" not in answer["html"]
    assert answer["html"].count("<h2>") == 2  # the best classes and the frames: one window has no time


def test_windows_say_when_and_the_surest_says_why(page, weights, video, own_signals):
    status, answer = labels(page, video.read_bytes(), "views=quick&window=0.5&why=1")
    assert status == 200
    found = Predictor(str(weights), views="quick", engine="dygraph", threads=1)(str(video), window=0.5)
    best = found.top(1)[0]
    assert (answer["best"]["name"], answer["best"]["probability"]) == (best.name, pytest.approx(best.probability, 1e-5))
    number = int(np.argmax([window.scores[found.names.index(best.name)] for window in found.windows]))
    assert f"of the window from {found.windows[number].start:.1f} s, the surest" in answer["html"]
    for title in ("The best classes", "Over time", "The frames that were sampled", "Where it looks", "When it looks"):
        assert f"<h2>{title}</h2>" in answer["html"]
    assert "<script" not in answer["html"]


@pytest.mark.parametrize(
    ("asked", "body", "status", "message"),
    [
        ("network=1", b"x", 400, "there is no such network, view or window"),
        ("network=-1", b"x", 400, "there is no such network"),
        ("views=all", b"x", 400, "there is no such network"),
        ("window=nan", b"x", 400, "there is no such network"),
        ("window=1e9", b"x", 400, "there is no such network"),
        ("window=0.001", b"x", 400, "there is no such network"),
        ("", b"", 400, "the video is no readable video"),
        ("", b"Dear page, this is text.\n", 400, "the video is no readable video"),
        ("", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", 400, "the video is no readable video"),
        ("", bytes(2**20 + 1), 413, "videos of 1 MB at most are taken"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_one_line(page, asked, body, status, message):
    code, answer = labels(page, body, asked)
    assert code == status
    assert message in answer["error"]
    assert "/dev/fd" not in answer["error"]


def test_a_long_video_is_refused_before_it_is_decoded(page, tmp_path):
    write_video(tmp_path / "long.mp4", 130)
    status, answer = labels(page, (tmp_path / "long.mp4").read_bytes(), "")
    assert status == 400
    assert "s long and this page takes 4 s: cut it" in answer["error"]


def test_pages_of_other_places_may_neither_ask_nor_pretend(page, video):
    body = video.read_bytes()
    status, _, text = ask(page, body, "/answer", Origin="https://example.org")
    assert (status, json.loads(text)["error"]) == (403, "the page of another place may not ask here")
    assert ask(page, Host="example.org")[0] == 400
    assert ask(page, body, "/answer?views=quick", Origin=page)[0] == 200


def test_the_page_loads_nothing_from_elsewhere(page):
    status, headers, text = ask(page)
    assert status == 200
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "{" not in text  # every field is filled
    assert not [word for word in text.split('"') if word.startswith(("http:", "https:", "//"))]


def test_an_artifact_says_when_without_a_gradient(weights, video, tmp_path, own_signals):
    pytest.importorskip("paddle2onnx")
    pytest.importorskip("onnxruntime")
    folder = tmp_path / "artifact"
    export.main(["--pretrained", str(weights), "--output", str(folder), "--threads", "1", "--formats", "onnx"])
    with opened("--model_dir", folder, folder=tmp_path) as page:
        status, answer = labels(page, video.read_bytes(), "views=full&why=1")
        assert status == 200
        assert "When it looks" in answer["html"]
        assert "Grad-CAM" not in answer["html"]
        assert labels(page, video.read_bytes(), "views=quick")[0] == 400  # as it was exported for the other views


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--pretrained", "nowhere.pdparams"], "nowhere.pdparams"),
        (["--model_dir", "nowhere"], "nowhere"),
        (["--model_dir", "nowhere", "--num_segments", "4"], "nowhere has its recipe and names"),
    ],
)
def test_what_cannot_be_opened_is_named(flags, message, own_signals):
    with pytest.raises(SystemExit) as stop, clear_errors():
        page_command.main([*flags, "--port", "0"])
    assert message in str(stop.value.code)
