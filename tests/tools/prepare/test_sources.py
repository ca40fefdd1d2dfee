"""What --source may name, and what is taken of it."""

from tests.tools.prepare import miniatures
from tests.tools.prepare.conftest import content


def placed(root):
    """Media below videos/."""
    return {name.removeprefix("videos/") for name in content(root) if name.startswith("videos/")}


def test_files_of_one_folder_and_a_folder_with_files_in_it(prepare, tmp_path):
    videos = {c: {f"{c}/{n}.mp4": miniatures.video("mp4", 20 + n) for n in range(3)} for c in "ab"}
    zips = {f"{c}.zip": miniatures.zipped(files) for c, files in videos.items()}
    source = miniatures.write(tmp_path / "s", {**zips, "c/0.mp4": miniatures.video("mp4", 9)})
    for number, given in enumerate((
        [source / "a.zip", source / "b.zip"], [source, source / "a.zip"], [source / "c", source],
    )):  # fmt: skip
        root = tmp_path / f"root {number}"
        code, out = prepare("folder", "--source", *given, "--root", root)
        assert code == 0, code
        assert "in no folder of a class" not in out
        assert placed(root) >= {*videos["a"], *videos["b"]}
        assert ("c/0.mp4" in placed(root)) is (source in given)
