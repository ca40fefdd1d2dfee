import json
import shutil
from pathlib import Path

import pytest

from datasets.annotation import Annotation, DataError, Entry, class_names_of, load_annotation

SHARED = Path(__file__).resolve().parents[2] / "../shared"


def make(root: Path, *files: str) -> Path:
    """Empty files, and folders where the name ends in a slash."""
    for name in files:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return root


def short(annotation: Annotation, root: Path) -> list[tuple[str, int, int | None]]:
    return [(Path(e.path).relative_to(root).as_posix(), e.target, e.num_frames) for e in annotation.entries]


def test_paddlemvf_frame_lists(tmp_path):
    make(tmp_path, "rawframes/Archery/v_1/", "rawframes/Biking/v_2/")
    lines = "Archery/v_1 120 0\n\nBiking/v_2 95 1\n"
    (tmp_path / "ucf101_train_split_1_rawframes.txt").write_text(lines)
    (tmp_path / "ucf101_train_split_3_rawframes.txt").write_text("Biking/v_2 95 0\n")
    annotation = load_annotation(str(tmp_path), "train")
    assert short(annotation, tmp_path) == [("rawframes/Archery/v_1", 0, 120), ("rawframes/Biking/v_2", 1, 95)]
    assert annotation.class_names == ()
    assert annotation.num_classes == 2
    assert annotation.source == str(tmp_path / "ucf101_train_split_1_rawframes.txt")
    assert short(load_annotation(str(tmp_path), "train", split=3), tmp_path) == [("rawframes/Biking/v_2", 0, 95)]


def test_video_lists_in_the_annotations_folder(tmp_path):
    make(tmp_path, "videos/a b/v 7.avi", "videos/c.mp4")
    make(tmp_path, "annotations/")
    (tmp_path / "annotations/hmdb51_val_split_2_videos.txt").write_text("a b/v 7.avi 4\nc.mp4\t5\n")
    annotation = load_annotation(str(tmp_path), "val", split=2)
    assert short(annotation, tmp_path) == [("videos/a b/v 7.avi", 4, None), ("videos/c.mp4", 5, None)]


@pytest.mark.parametrize(
    ("media", "kind"),
    [(("videos/v.avi",), "videos"), (("rawframes/v/",), "rawframes"), (("videos/v.avi", "rawframes/v/"), "rawframes")],
)
def test_of_two_lists_the_one_with_media_counts_and_frames_first(tmp_path, media, kind):
    make(tmp_path, *media)
    (tmp_path / "x_train_split_1_videos.txt").write_text("v.avi 0\n")
    (tmp_path / "x_train_split_1_rawframes.txt").write_text("v 9 0\n")
    assert load_annotation(str(tmp_path), "train").source.endswith(f"_{kind}.txt")


def test_two_datasets_in_one_folder_are_not_guessed(tmp_path):
    make(tmp_path, "hmdb51_train_split_1_videos.txt", "ucf101_train_split_1_videos.txt")
    with pytest.raises(DataError, match=r"several lists for split 1: .*hmdb51.*ucf101.*list_file"):
        load_annotation(str(tmp_path), "train")


def test_plain_lists_and_how_a_line_is_read(tmp_path):
    make(tmp_path, "take 12", "frames 3/", "my clip.mp4", "deep/x.mp4")
    lines = "take 12 0\nframes 3 40 1\nframes 3 1\n  my clip.mp4   2  \ndeep/x.mp4 77 1\n"
    (tmp_path / "train.txt").write_text(lines)
    assert short(load_annotation(str(tmp_path), "train"), tmp_path) == [
        ("take 12", 0, None),  # "take" does not exist, so 12 belongs to the name
        ("frames 3", 1, 40),
        ("frames 3", 1, None),  # a folder without a count
        ("my clip.mp4", 2, None),
        ("deep/x.mp4", 1, None),  # the count of a video file is its own affair
    ]


def test_a_list_that_the_caller_names(tmp_path, monkeypatch):
    make(tmp_path, "data/videos/a.mp4", "data/b.mp4")
    (tmp_path / "data/few_videos.txt").write_text("a.mp4 0\n")
    (tmp_path / "own.txt").write_text(f"{tmp_path}/data/b.mp4 1\n")
    root = str(tmp_path / "data")
    assert short(load_annotation(root, "val", list_file="few_videos.txt"), tmp_path) == [("data/videos/a.mp4", 0, None)]
    monkeypatch.chdir(tmp_path)
    assert short(load_annotation(root, "val", list_file="own.txt"), tmp_path) == [("data/b.mp4", 1, None)]
    with pytest.raises(DataError, match=r"'no.txt' is neither in"):
        load_annotation(root, "val", list_file="no.txt")


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("classes.txt", "\ufeffarchery\nbow\n", ("archery", "bow")),
        ("classInd.txt", "\ufeff1 archery\r\n2 bow", ("archery", "bow")),
        ("labels.json", '\ufeff["archery", "bow"]', ("archery", "bow")),
        ("classes.txt", "archery\n\ufeffbow\n", ("archery", "bow")),  # two files that were joined
        ("classes.txt", "\ufeff\r\n archery\t\r\nbow\rgolf", ("archery", "bow", "golf")),
        ("classes.txt", "a\u2028b\nc\x85d\ne\x0cf\n", ("a\u2028b", "c\x85d", "e\x0cf")),
        ("classes.txt", "g\x0bh\n\u3000i\xa0\n", ("g\x0bh", "\u3000i\xa0")),
        ("classInd.txt", "1 a\u2028b\n2 \x1cc\x1c\n", ("a\u2028b", "\x1cc\x1c")),
    ],
)  # fmt: skip
def test_byte_order_marks_and_line_ends(tmp_path, name, text, names):
    (tmp_path / name).write_bytes(text.encode())
    assert class_names_of(str(tmp_path)) == names


@pytest.mark.parametrize("name", ["classes.txt", "labels.json", "train.txt"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_what_windows_calls_unicode_is_named(tmp_path, name, encoding):
    text = ("\ufeff" if encoding == "utf-16-be" else "") + "a.mp4 0\n"
    make(tmp_path, "a.mp4")
    (tmp_path / name).write_bytes(text.encode(encoding))
    with pytest.raises(DataError, match=rf"{name}.*it is in UTF-{encoding[4:6]}.*save it as UTF-8"):
        load_annotation(str(tmp_path), "train")
    (tmp_path / name).write_bytes(text.lstrip("\ufeff").encode("utf-16-le"))
    with pytest.raises(DataError, match=rf"{name}.*line 1 holds a NUL character: it is no text, or in UTF-16"):
        load_annotation(str(tmp_path), "train")


def test_a_list_with_a_byte_order_mark_and_odd_characters(tmp_path):
    names = ["a.mp4", "b\u2028c.mp4", "d\x85e f.mp4", "g\x0ch", "\u3000i.mp4", "k\u2028 7"]
    make(tmp_path, *names[:3], f"{names[3]}/", *names[4:])
    lines = [f"{name} {i}" for i, name in enumerate(names)]
    lines[3] = f"{names[3]} 40 3"
    (tmp_path / "train.txt").write_bytes(("\ufeff" + "\r\n".join(lines)).encode())
    expected = [(name, i, 40 if i == 3 else None) for i, name in enumerate(names)]
    assert short(load_annotation(str(tmp_path), "train"), tmp_path) == expected


def test_paths_that_windows_and_macos_have_written(tmp_path):
    composed, decomposed = "Caf\u00e9", "Cafe\u0301"
    make(tmp_path, f"videos/{decomposed}/{composed} 1.mp4", "videos/run/2.mp4", r"videos/odd\name.mp4", "videos/f/g/")
    lines = [
        rf"{composed}\{decomposed} 1.mp4 0", f"{composed}/{composed} 1.mp4 1", r"run\2.mp4 2", r"odd\name.mp4 3",
        r".\f\g 12 4", str(tmp_path / f"videos/{composed}/{composed} 1.mp4") + " 5",
    ]  # fmt: skip
    (tmp_path / "x_train_split_1_videos.txt").write_text("\n".join(lines))
    found = short(load_annotation(str(tmp_path), "train"), tmp_path)
    first = f"videos/{decomposed}/{composed} 1.mp4"
    assert found == [
        (first, 0, None), (first, 1, None), ("videos/run/2.mp4", 2, None), (r"videos/odd\name.mp4", 3, None),
        ("videos/f/g", 4, 12), (first, 5, None),
    ]  # fmt: skip
    assert all(Path(entry.path).exists() for entry in load_annotation(str(tmp_path), "train").entries)


def test_a_name_that_several_files_may_mean_is_not_guessed(tmp_path):
    make(tmp_path, "e\u0302\u0301.mp4", "\u00ea\u0301.mp4")  # and, as one character, \u1ebf
    (tmp_path / "train.txt").write_text("\u1ebf.mp4 0\n")
    with pytest.raises(DataError, match=r"2 names that differ in Unicode's normal form alone.*\\u1ebf\.mp4"):
        load_annotation(str(tmp_path), "train")
    (tmp_path / "train.txt").write_text("\u00ea\u0301.mp4 0\n")
    assert load_annotation(str(tmp_path), "train").entries[0].path == str(tmp_path / "\u00ea\u0301.mp4")


def test_windows_paths_that_lead_nowhere_say_how_they_were_read(tmp_path):
    (tmp_path / "train.txt").write_text("C:\\data\\a.mp4 0\nCaf\u00e9/b.mp4 1\n")
    with pytest.raises(DataError, match=r"2 of 2 entries are not in .*, also with \\ read as /: C:\\data\\a\.mp4, Caf"):
        load_annotation(str(tmp_path), "train")


def test_class_folders_in_another_normal_form_are_those_of_the_class_file(tmp_path):
    make(tmp_path, "train/e\u0301p\u00e9e/1.mp4", "train/golf/1.mp4", "val/\u00e9pe\u0301e/1.mp4")
    train, val = (load_annotation(str(tmp_path), subset) for subset in ("train", "val"))
    assert [entry.target for entry in val.entries] == [train.class_names.index("e\u0301p\u00e9e")]
    (tmp_path / "classes.txt").write_text("golf\n\u00e9p\u00e9e\n")
    assert [entry.target for entry in load_annotation(str(tmp_path), "train").entries] == [0, 1]
    known = ("golf", "bow", "E\u0301p\u00e9e")
    assert [entry.target for entry in load_annotation(str(tmp_path), "val", known_classes=known).entries] == [2]


NAMES = [
    "-clip.mp4",
    "--video.mp4",
    "12:30:05.mp4",
    "file:x.mp4",
    "http:/x.mp4",
    "pipe:0",
    "a%03d.mp4",
    "*.mp4",
    "[1].mp4",
]


def test_names_that_a_program_might_take_for_something_else(tmp_path, monkeypatch):
    make(tmp_path, *NAMES, *(f"train/c/{name}" for name in NAMES if "/" not in name))
    (tmp_path / "own.txt").write_text("".join(f"{name} 0\n" for name in NAMES))
    monkeypatch.chdir(tmp_path)
    for root in (str(tmp_path), "."):
        found = load_annotation(root, "train", list_file="own.txt")
        assert [entry.path for entry in found.entries] == [f"{root}/{name}" for name in NAMES]
        found = load_annotation(root, "train")
        expected = sorted(name for name in NAMES if "/" not in name and name != "pipe:0")
        assert [Path(entry.path).name for entry in found.entries] == expected
        assert found.left_out == ("c/pipe:0",)


def test_files_that_are_left_out_are_counted_and_named(tmp_path):
    make(
        tmp_path, "train/a/1.ts", "train/a/2.VOB", "train/a/notes.txt", "train/b/3.Gif", "train/b/x.srt", "train/4.mp4"
    )
    make(tmp_path, "train/a/.DS_Store", "train/a/Thumbs.db", "train/b/desktop.ini", "train/b/frames/img_1.jpg")
    make(tmp_path, "train/.git/x", "train/b/y.txt", "val/a/1.mp4")
    train = load_annotation(str(tmp_path), "train")
    assert [Path(entry.path).name for entry in train.entries] == ["1.ts", "2.VOB", "3.Gif", "frames"]
    assert train.left_out == ("4.mp4", "a/notes.txt", "b/x.srt", "b/y.txt")
    (line,) = train.remarks
    assert line.startswith(f"left out  4 of the files in {tmp_path}/train")
    assert line.endswith("4.mp4, a/notes.txt, b/x.srt, ...")
    assert load_annotation(str(tmp_path), "val").remarks == []


def test_folder_for_each_class(tmp_path):
    make(tmp_path, "train/run/2.mp4", "train/run/1.AVI", "train/jump high/frames/", "train/run/.hidden.mp4")
    make(tmp_path, "train/run/notes.txt", "val/run/3.webm")
    train = load_annotation(str(tmp_path), "train")
    assert train.class_names == ("jump high", "run")
    assert short(train, tmp_path) == [
        ("train/jump high/frames", 0, None), ("train/run/1.AVI", 1, None), ("train/run/2.mp4", 1, None)
    ]  # fmt: skip
    val = load_annotation(str(tmp_path), "val")
    assert short(val, tmp_path) == [("val/run/3.webm", 1, None)]  # the label is the training set's
    assert val.class_names == train.class_names


def test_class_file_orders_the_folders(tmp_path):
    make(tmp_path, "train/a/1.mp4", "train/b/2.mp4")
    (tmp_path / "classes.txt").write_text("b\na\n")
    annotation = load_annotation(str(tmp_path), "train", num_classes=2)
    assert annotation.class_names == ("b", "a")
    assert {Path(e.path).parent.name: e.target for e in annotation.entries} == {"b": 0, "a": 1}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classInd.txt", "1 ApplyEyeMakeup\n2 Archery Range\n"),
        ("classes.txt", "ApplyEyeMakeup\n\nArchery Range\n"),
        ("label_map.txt", " ApplyEyeMakeup\r\nArchery Range"),
        ("annotations/label_map.txt", "ApplyEyeMakeup\nArchery Range\n"),
        ("labels.json", json.dumps({"1": "Archery Range", "0": "ApplyEyeMakeup"})),
        ("labels.json", json.dumps({"Archery Range": "1", "ApplyEyeMakeup": "0"})),
        ("labels.json", json.dumps(["ApplyEyeMakeup", "Archery Range"])),
    ],
)
def test_class_names(tmp_path, name, text):
    make(tmp_path, name)
    (tmp_path / name).write_text(text)
    assert class_names_of(str(tmp_path)) == ("ApplyEyeMakeup", "Archery Range")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classInd.txt", "1 a\n3 b\n", "from 1 to 2 without gaps"),
        ("classInd.txt", "a 1\n", "must be `number name`"),
        ("labels.json", '{"0": "a", "2": "b"}', "from 0 to 1 without gaps"),
        ("labels.json", '{"a": "b"}', "must map labels to names"),
        ("labels.json", "{", r"labels\.json is damaged \(Expecting"),
        ("labels.json", "[" * 100_000, r"labels\.json is damaged \(it is nested too deep"),
        ("labels.json", '{"0": {"name": "a"}}', "must map labels to names"),
        ("labels.json", '{"\u00b2": "a"}', "must map labels to names"),
        ("labels.json", '{"a": 1' + "0" * 5000 + "}", r"labels\.json is damaged \(Exceeds the limit"),
        ("classInd.txt", "\u00b2 archery", "a line must be `number name`"),
        ("classInd.txt", "1" * 5000 + " archery", "a line must be `number name`"),
        ("classes.txt", "archery\nb\0ow\n", r"classes\.txt: line 2 holds a NUL character"),
        ("classes.txt", b"archery\r\nbow\xe9\n", r"cannot read .*classes\.txt: line 2 is not UTF-8 \(byte 0xe9\)"),
    ],
)
def test_bad_class_files(tmp_path, name, text, message):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message):
        class_names_of(str(tmp_path))


def test_roots_that_hold_nothing(tmp_path):
    with pytest.raises(DataError, match=r"absent' is no folder"):
        load_annotation(str(tmp_path / "absent"), "train")
    with pytest.raises(DataError, match="is empty"):
        load_annotation(str(tmp_path), "train")
    make(tmp_path, "readme.md")
    looked_for = r"no known layout.*\*_train_split_1_rawframes.txt.*train.txt.*train/<class>/"
    with pytest.raises(DataError, match=looked_for):
        load_annotation(str(tmp_path), "train")
    make(tmp_path, "train/")
    with pytest.raises(DataError, match="holds no class folder"):
        load_annotation(str(tmp_path), "train")
    make(tmp_path, "train/a/")
    with pytest.raises(DataError, match="has class folders without a video or a folder of frames: a; fill or remove"):
        load_annotation(str(tmp_path), "train")
    with pytest.raises(DataError, match="no known layout for subset val"):
        load_annotation(str(tmp_path), "val")
    with pytest.raises(DataError, match="subset must be train or val, got 'test'"):
        load_annotation(str(tmp_path), "test")


def test_wrong_split_names_those_that_exist(tmp_path):
    make(tmp_path, *(f"ucf101_{s}_split_{k}_videos.txt" for s, k in (("train", 1), ("train", 3), ("val", 2))))
    with pytest.raises(DataError, match=r"split 2 does not exist: .* train lists for split 1, 3"):
        load_annotation(str(tmp_path), "train", split=2)


@pytest.mark.parametrize("files", [("train.txt",), ("train/a/1.mp4",)])
def test_layouts_without_splits_have_split_one_only(tmp_path, files):
    make(tmp_path, *files)
    with pytest.raises(DataError, match="has one split only, use split 1"):
        load_annotation(str(tmp_path), "train", split=2)


def test_empty_list(tmp_path):
    (tmp_path / "train.txt").write_text("\n\n")
    with pytest.raises(DataError, match=r"train.txt holds no video"):
        load_annotation(str(tmp_path), "train")


@pytest.mark.parametrize("line", ["a.mp4", "a.mp4 x", "3", "a.mp4 1.5"])
def test_lines_that_are_no_entries(tmp_path, line):
    make(tmp_path, "a.mp4")
    (tmp_path / "train.txt").write_text(f"a.mp4 0\n{line}\n")
    with pytest.raises(DataError, match=r"train.txt:2: a line must be `path label`"):
        load_annotation(str(tmp_path), "train")


@pytest.mark.parametrize(
    ("label", "num_classes", "limit"),
    [(2, 2, r"0\.\.1"), (-1, 2, r"0\.\.1"), (-1, 0, r"0\.\.999999"), (2**31, 0, r"0\.\.999999")],
)
def test_label_out_of_range_is_named_with_its_line(tmp_path, label, num_classes, limit):
    make(tmp_path, "a.mp4")
    (tmp_path / "train.txt").write_text(f"a.mp4 0\n\na.mp4 {label}\n")
    with pytest.raises(DataError, match=rf"train.txt:3: label must be {limit}, got {label}"):
        load_annotation(str(tmp_path), "train", num_classes=num_classes)


def test_labels_must_fit_the_class_names(tmp_path):
    make(tmp_path, "a.mp4")
    (tmp_path / "classes.txt").write_text("x\ny\n")
    (tmp_path / "train.txt").write_text("a.mp4 2\n")
    with pytest.raises(DataError, match=r"label must be 0\.\.1, got 2"):
        load_annotation(str(tmp_path), "train")
    with pytest.raises(DataError, match=r"the model has 5 classes, but .* names 2: to train, leave out --num_classes"):
        load_annotation(str(tmp_path), "train", num_classes=5)


def test_class_folders_must_fit(tmp_path):
    make(tmp_path, "train/a/1.mp4", "train/b/1.mp4", "val/c/1.mp4")
    with pytest.raises(DataError, match="has class c, which the training set has not"):
        load_annotation(str(tmp_path), "val")
    with pytest.raises(DataError, match=r"the model has 3 classes, but .* has 2 class folders: to train, leave out"):
        load_annotation(str(tmp_path), "train", num_classes=3)


@pytest.mark.parametrize("subset", ["train", "val"])
def test_class_folders_without_a_video_are_named(tmp_path, subset):
    """As torchvision's ImageFolder; else the class would get a label, and no video, without a word."""
    make(tmp_path, "val/a/1.mp4", *(f"train/{name}/1.mp4" for name in ("abcd" if subset == "val" else "a")))
    make(tmp_path, f"{subset}/b/", f"{subset}/c/readme.md", f"{subset}/d/.hidden.mp4")
    with pytest.raises(DataError, match=rf"{subset} has class folders without a video .*: b, c, d; fill or remove"):
        load_annotation(str(tmp_path), subset)
    for name in ("b", "d"):
        shutil.rmtree(tmp_path / subset / name)
    (tmp_path / subset / "c" / "2.MP4").touch()
    assert len(load_annotation(str(tmp_path), subset).entries) == 2


def test_a_class_that_is_named_needs_no_folder(tmp_path):
    make(tmp_path, "train/a/1.mp4", "train/c/1.mp4")
    (tmp_path / "classes.txt").write_text("a\nb\nc\n")
    found = load_annotation(str(tmp_path), "train")
    assert [entry.target for entry in found.entries] == [0, 2]
    assert found.num_classes == 3


@pytest.mark.parametrize("folders", ["cart wheel", "Cart_Wheel"])
def test_class_folders_get_the_labels_of_known_classes(tmp_path, folders):
    """Whatever order the root has, and however many of them it has."""
    make(tmp_path, f"val/{folders}/1.mp4", "val/archery/1.mp4", "train/archery/1.mp4", "train/biking/1.mp4")
    known = ("golf", "cart wheel", "archery")
    found = load_annotation(str(tmp_path), "val", num_classes=3, known_classes=known)
    assert [(Path(entry.path).parent.name, entry.target) for entry in found.entries] == [(folders, 1), ("archery", 2)]
    assert found.class_names == known
    make(tmp_path, "val/biking/1.mp4")
    with pytest.raises(DataError, match="val has class biking, which the weights do not know"):
        load_annotation(str(tmp_path), "val", num_classes=3, known_classes=known)


def test_known_classes_that_differ_in_spaces_only_are_told_apart(tmp_path):
    make(tmp_path, "val/ab/1.mp4", "val/a b/1.mp4")
    found = load_annotation(str(tmp_path), "val", known_classes=("a b", "ab"))
    assert [(Path(entry.path).parent.name, entry.target) for entry in found.entries] == [("a b", 0), ("ab", 1)]


def test_absent_media_are_counted_and_the_first_three_named(tmp_path):
    make(tmp_path, "rawframes/v0/")
    lines = [f"v{i} 10 0" for i in range(6)]
    (tmp_path / "x_val_split_1_rawframes.txt").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"5 of 6 entries are not in .*rawframes: v1 10, v2 10, v3 10, \.\.\.$"):
        load_annotation(str(tmp_path), "val")


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_a_class_name_of_two_lines_is_refused(tmp_path, end):
    """classes.txt beside the weights would hold two names."""
    make(tmp_path, f"train/a{end}b/1.mp4")
    with pytest.raises(DataError, match="holds the end of a line: rename it"):
        load_annotation(str(tmp_path), "train")


def test_real_lists():
    root = SHARED / "data/surveillance_fight"
    if not root.is_dir():
        pytest.skip("the surveillance_fight clips are not beside the checkout")
    train, val = (load_annotation(str(root), subset) for subset in ("train", "val"))
    assert (len(train.entries), len(val.entries)) == (224, 76)
    assert train.class_names == ("fight", "no_fight")
    assert sum(entry.target for entry in train.entries) == 112


@pytest.mark.parametrize(
    ("folder", "count", "third"), [("ucf101", 101, "Archery"), ("hmdb51", 51, "catch"), ("something_v1", 174, None)]
)
def test_real_class_files(folder, count, third):
    root = SHARED / "annotations" / folder
    if not root.is_dir():
        pytest.skip("the public label files are not beside the checkout")
    names = class_names_of(str(root))
    assert len(names) == count
    assert third in (None, names[2])


def test_entry_defaults():
    assert Entry("a.mp4", 3).num_frames is None
