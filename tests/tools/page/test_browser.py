"""The page in a real browser: Debian's Chromium without a screen, driven by Playwright."""

import contextlib
import shutil

import pytest

from datasets.demo import CLASS_NAMES
from tests.datasets.media import write_video

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium: apt install chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
)  # fmt: skip
MINUTES = 300_000  # milliseconds; a safety net
ORDER = ("file", "record", "network", "views", "window", "why", "ask")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, page):
    """Opens the page as a new visitor, who goes to nowhere else; what the script complains of fails the test."""
    with contextlib.ExitStack() as visitors:

        def visit():
            context = browser.new_context(viewport={"width": 1100, "height": 900})
            visitors.callback(context.close)
            tab = context.new_page()
            tab.set_default_timeout(MINUTES)
            elsewhere, errors = [], []
            tab.on("request", lambda one: elsewhere.append(one.url) if page not in one.url else None)
            tab.on("pageerror", lambda one: errors.append(str(one)))
            visitors.callback(lambda: check(elsewhere, errors))
            tab.goto(page)
            return tab

        yield visit


def check(elsewhere, errors):
    assert not [url for url in elsewhere if not url.startswith("data:")]
    assert not errors


@pytest.fixture(scope="module")
def videos(motion_videos):
    return sorted((motion_videos / "val").rglob("*.mp4"))[::8]


def label(tab, video):
    """Chooses a video and asks; the first class and its probability when the answer is there."""
    tab.set_input_files("#file", video)
    tab.click("#ask")
    tab.wait_for_selector("#answer:not([hidden])")
    return tab.inner_text("#best")


def refusal(tab, video):
    tab.set_input_files("#file", video)
    tab.click("#ask")
    tab.wait_for_selector("#error:not([hidden])")
    assert tab.is_hidden("#answer")
    return tab.inner_text("#error")


def test_a_video_is_sent_and_answered(visit, videos, uploads):
    tab = visit()
    name = label(tab, videos[0])
    assert name.partition(",")[0] in CLASS_NAMES
    assert tab.inner_text("#status").startswith("Done in ")
    assert tab.evaluate("document.activeElement.id") == "answer"  # where a reader goes on
    assert tab.locator("#parts h2").all_inner_texts() == [
        "The best classes", "The frames that were sampled", "Where it looks", "When it looks"
    ]  # fmt: skip
    assert tab.locator("#parts table").first.locator("tr").count() == 5
    assert all(tab.locator("#parts img").evaluate_all("all => all.map(one => one.alt && one.naturalWidth > 100)"))
    assert tab.evaluate("document.querySelector('#preview').videoWidth") > 0  # which plays beside
    assert not list(uploads.iterdir())


def test_two_visitors_at_once_get_their_own_answers(visit, videos):
    alone = [label(visit(), video) for video in videos]
    assert len(set(alone)) > 1
    tabs = [visit() for _ in videos]
    for tab, video in zip(tabs, videos, strict=True):
        tab.set_input_files("#file", video)
        tab.click("#ask")
    for tab, name in zip(tabs, alone, strict=True):
        tab.wait_for_selector("#answer:not([hidden])")
        assert tab.inner_text("#best") == name


def test_what_is_no_video_is_refused_and_the_next_one_answered(visit, videos, tmp_path):
    (tmp_path / "note.mp4").write_text("This is no video.\n" * 100)
    (tmp_path / "cut.mp4").write_bytes(videos[0].read_bytes()[:-900])
    (tmp_path / "large.mp4").write_bytes(videos[0].read_bytes() + bytes(2**20))
    write_video(tmp_path / "long.mp4", 150)
    tab = visit()
    assert refusal(tab, tmp_path / "note.mp4").startswith("the video is no readable video")
    assert "truncated or damaged" in refusal(tab, tmp_path / "cut.mp4") or "no readable video" in refusal(
        tab, tmp_path / "cut.mp4"
    )
    assert "videos of 1 MB at most are taken" in refusal(tab, tmp_path / "large.mp4")
    assert "this page takes 4 s" in refusal(tab, tmp_path / "long.mp4")
    label(tab, videos[0])
    assert tab.is_hidden("#error")


def test_a_keyboard_is_enough(visit, videos):
    tab = visit()
    tab.on("filechooser", lambda chooser: chooser.set_files(videos[0]))
    seen = []
    for _ in ORDER:
        tab.keyboard.press("Tab")
        seen.append(tab.evaluate("document.activeElement.id"))
        if seen[-1] == "file":
            tab.keyboard.press("Space")
            tab.wait_for_selector("#preview:not([hidden])")
            tab.evaluate("document.querySelector('#preview').controls = false")  # whose buttons are the browser's own
        elif seen[-1] == "window":
            tab.keyboard.press("Home")
        elif seen[-1] == "why":
            tab.keyboard.press("Space")
    assert tuple(seen) == ORDER
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#answer:not([hidden])")
    assert tab.locator("#parts h2").all_inner_texts() == ["The best classes", "The frames that were sampled"]


def test_a_screen_reader_hears_what_everything_is(visit, videos, tmp_path):
    tab = visit()
    tree = tab.locator("body").aria_snapshot()
    for line in (
        'heading "Which action is it?" [level=1]', 'button "A video from this computer, or one dropped here"',
        'button "Record from the camera"', 'combobox "Network"', 'combobox "Views"', 'combobox "Labels for"',
        'checkbox "Say why (Grad-CAM and occlusion)" [checked]', 'button "Label it"', 'button "Stop" [disabled]',
    ):  # fmt: skip
        assert line in tree, tree
    (tmp_path / "note.mp4").write_text("no video")
    refusal(tab, tmp_path / "note.mp4")
    assert '- alert: "the video is no readable video' in tab.locator("body").aria_snapshot()
    label(tab, videos[0])
    tree = tab.locator("body").aria_snapshot()
    assert '- status: "Done in' in tree
    assert 'heading "Where it looks" [level=2]' in tree
    assert 'img "8 frames, as the network sees them"' in tree
    assert tab.evaluate("document.documentElement.lang") == "en"


def test_a_recording_of_the_camera_is_answered(visit):
    tab = visit()
    tab.click("#record")
    playwright.expect(tab.locator("#record")).to_have_attribute("aria-pressed", "true", timeout=MINUTES)
    tab.wait_for_timeout(1500)  # of which something is recorded, however slow the machine is
    tab.click("#record")
    playwright.expect(tab.locator("#status")).to_contain_text("Chosen: recording", timeout=MINUTES)
    tab.click("#ask")
    tab.wait_for_selector("#answer:not([hidden])")
    assert "frames; taken:" in tab.inner_text("#parts")


def test_a_page_whose_server_has_ended_says_so(visit, videos):
    tab = visit()
    tab.route("**/answer*", lambda route: route.abort("connectionrefused"))
    assert refusal(tab, videos[0]) == "The page's server does not answer: is it still running?"
