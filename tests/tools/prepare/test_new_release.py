"""CONTRIBUTING.md, "Add a data set", step by step: one file and one entry."""

import zipfile

from datasets import load_annotation
from tests.datasets.media import write_video
from tests.tools.prepare import toy_release
from tools.prepare.releases import RELEASES


def test_one_file_and_one_entry_are_enough(prepare, monkeypatch, tmp_path):
    source, root = tmp_path / "source", tmp_path / "root"
    source.mkdir()
    with zipfile.ZipFile(source / "toy.zip", "w") as archive:
        for number in range(3):
            write_video(tmp_path / "one.mp4", count=6, seed=number)
            archive.write(tmp_path / "one.mp4", f"all/{number}.mp4")
    (source / "toy.csv").write_text("0;run;train\n1;jump;train\n2;run;val\n")
    monkeypatch.setitem(RELEASES, "toy", toy_release.RELEASE)
    code, out = prepare("toy", "--source", source, "--root", root)
    assert code == 0, code
    assert "official number" not in out
    annotation = load_annotation(str(root), "train")
    assert annotation.class_names == ("jump", "run")
    assert [entry.target for entry in annotation.entries] == [1, 0]
    assert out.splitlines()[-1] == f"python train.py --preset finetune_tsm_mobilenet_v2 --dataset_root {root}"
