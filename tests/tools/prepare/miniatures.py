"""The official releases in small, packed as their sites pack them: a few tiny videos under real names."""

from __future__ import annotations

import functools
import io
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import simplejpeg

from datasets import known_class_names
from tests.datasets.media import moving_frames, write_video
from tests.tools.prepare.rar import RarMember, rar4, rar5


@functools.cache
def video(suffix: str, seed: int, count: int = 10, size: tuple[int, int] = (48, 64)) -> bytes:
    """The content of a video of its own."""
    codec = {"avi": "mpeg4", "mp4": "libx264", "webm": "libvpx"}[suffix]
    with tempfile.TemporaryDirectory() as folder:
        return write_video(Path(folder) / f"x.{suffix}", count, codec, seed=seed, size=size).read_bytes()


@functools.cache
def frames(seed: int, count: int = 5) -> tuple[bytes, ...]:
    """The content of a folder of frames."""
    return tuple(simplejpeg.encode_jpeg(frame, quality=90) for frame in moving_frames(count, seed=seed))


def tar(members: Mapping[str, bytes], mode: str = "w:gz") -> bytes:
    """A tar with its folders, in order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.type = len(content), tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            file.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zipped(members: Mapping[str, bytes | str]) -> bytes:
    """A zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return out.getvalue()


def write(folder: Path, files: Mapping[str, bytes | str]) -> Path:
    """Writes files below a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def in_pieces(content: bytes, prefix: str, count: int = 3) -> dict[str, bytes]:
    """A file cut into numbered pieces."""
    size = len(content) // count + 1
    return {f"{prefix}-{number:02d}": content[number * size : (number + 1) * size] for number in range(count)}


# ---------------------------------------------------------------------------------------------------------------------
# Each returns the folder that is given as --source.

UCF101_CLASSES = ("ApplyEyeMakeup", "Hammering", "HammerThrow", "HandstandPushups")


def ucf101_videos() -> dict[str, bytes]:
    """Class/file -> content: two groups of two clips of each class; the files of one class differ in case."""
    return {
        f"{name}/v_{name.replace('stand', 'Stand')}_g{group:02d}_c{clip:02d}.avi": video("avi", 10 * label + group)
        for label, name in enumerate(UCF101_CLASSES)
        for group in (1, 2)
        for clip in (1, 2)
    }


def ucf101_texts() -> dict[str, str]:
    """The split lists: group 1 is the test of splits 1 and 3, group 2 that of split 2."""
    names = known_class_names("ucf101")
    texts = {"classInd.txt": "".join(f"{label} {name}\r\n" for label, name in enumerate(names, start=1))}
    for split, tested in ((1, "_g01_"), (2, "_g02_"), (3, "_g01_")):
        for word in ("train", "test"):
            lines = []
            for path in sorted(ucf101_videos()):
                if (tested in path) is (word == "test"):
                    label = f" {names.index(path.split('/')[0]) + 1}" if word == "train" else ""
                    lines.append(path.replace("v_HandStandPushups", "v_HandstandPushups") + label + "\r\n")
            texts[f"{word}list0{split}.txt"] = "".join(lines)
    return texts


def ucf101(folder: Path) -> Path:
    """A rar of the format of its time, and a zip."""
    videos = [RarMember(f"UCF-101/{name}", content) for name, content in ucf101_videos().items()]
    texts = {f"ucfTrainTestlist/{name}": text for name, text in ucf101_texts().items()}
    return write(folder, {
        "UCF101.rar": rar4([RarMember("UCF-101", mode=0o040755), *videos]),
        "UCF101TrainTestSplits-RecognitionTask.zip": zipped(texts),
    })  # fmt: skip


HMDB51_NAMES = ("April_09_#1_{}_u_nm_np1_ba_goo_0", "(Rad)Schlag_die_Bank!_{}_f_cm_np1_le_med_0", "a&b;c d_{}_f_goo_1")


def hmdb51(folder: Path) -> Path:
    """A rar of one rar for each class, and a rar of split files with codes; the last video of each is in no split."""
    outer, texts = [], []
    for label, name in enumerate(("brush_hair", "cartwheel", "wave")):
        files = [f"{pattern.format(name)}.avi" for pattern in (*HMDB51_NAMES, "unused_{}_0")]
        inner = [RarMember(f"{name}/{file}", video("avi", 100 + 10 * label + i)) for i, file in enumerate(files)]
        outer.append(RarMember(f"{name}.rar", (rar4, rar5)[label % 2](inner)))
        for split in (1, 2, 3):
            codes = ["1", "1", "2"][-split:] + ["1", "1", "2"][:-split] + ["0"]
            text = "".join(f"{file} {code} \n" for file, code in zip(files, codes, strict=True))
            texts.append(RarMember(f"testTrainMulti_7030_splits/{name}_test_split{split}.txt", text.encode()))
    return write(folder, {"hmdb51_org.rar": rar4(outer), "test_train_splits.rar": rar4(texts)})


KINETICS = (
    ("air drumming", "train"), ("zumba", "train"), ("massaging person's head", "train"), ("air drumming", "val"),
    ("zumba", "val"), ("zumba", "test"),
)  # fmt: skip


def kinetics400(folder: Path, test_has_labels: bool = False) -> Path:
    """Tars, of which one video is damaged and has a repaired one, and one is absent; csv files."""
    rows: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    tars: dict[str, dict[str, bytes]] = {"train": {"./": b""}, "val": {"./": b""}, "test": {"./": b""}}
    for number, (name, subset) in enumerate(KINETICS):
        clip = f"-_abcdefgh{number}"
        label = [name] if subset != "test" or test_has_labels else []
        rows[subset].append(",".join([*label, clip, str(number), str(number + 10), subset, "0"]))
        content = video("mp4", 200 + number) if number != 1 else b"damaged"
        if number != 2:
            tars[subset][f"./{clip}_{number:06d}_{number + 10:06d}.mp4"] = content
    files: dict[str, bytes | str] = {}
    for subset, lines in rows.items():
        header = ["label"] * (subset != "test" or test_has_labels) + ["youtube_id", "time_start", "time_end", "split"]
        files[f"annotations/{subset}.csv"] = "\n".join([",".join([*header, "is_cc"]), *lines]) + "\n"
        files[f"{subset}/part_0.tar.gz"] = tar(tars[subset])
    repaired = "replacement_for_corrupted_k400"
    files[f"replacement/{repaired}.tgz"] = tar({f"{repaired}/-_abcdefgh1_000001_000011.mp4": video("mp4", 201)})
    return write(folder, files)


SOMETHING = ("Putting something on a surface", "Moving something up", "Covering something with something")


def something_v2(folder: Path, in_zips: bool = False) -> Path:
    """A tar in pieces, or the zips that hold them; JSON files, the templates in brackets."""
    labels = {name: str(label) for label, name in enumerate(known_class_names("something_v2"))}
    entries = [
        {"id": str(number), "label": "holding a cup", "template": name.replace("something", "[something]")}
        for number, name in enumerate([*SOMETHING, *SOMETHING], start=1)
    ]
    content = tar({
        "20bn-something-something-v2/": b"",
        **{f"20bn-something-something-v2/{number}.webm": video("webm", 300 + number) for number in range(1, 8)},
    })  # fmt: skip
    texts = {
        "labels": labels, "train": entries[:3], "validation": entries[3:], "test": [{"id": "7"}],
    }  # fmt: skip
    pieces = in_pieces(content, "20bn-something-something-v2")
    if not in_zips:
        files = {f"something-something-v2-{name}.json": json.dumps(value) for name, value in texts.items()}
        return write(folder, {**pieces, **files})
    packed = {f"labels/{name}.json": json.dumps(value) for name, value in texts.items()}
    return write(folder, {
        **{f"{name}.zip": zipped({name: piece}) for name, piece in pieces.items()},
        "20bn-something-something-download-package-labels.zip": zipped(packed),
    })  # fmt: skip


def frame_release(folder: Path, tar_name: str, prefix: str, known: str) -> Path:
    """A tar of folders of frames in pieces, and csv files: Something-Something V1, Jester."""
    names = known_class_names(known)
    content = tar({
        f"{tar_name}/": b"",
        **{
            f"{tar_name}/{number}/{frame:05d}.jpg": data
            for number in range(1, 6)
            for frame, data in enumerate(frames(400 + number, 4 + number), start=1)
        },
    })  # fmt: skip
    return write(folder, {
        **in_pieces(content, tar_name),
        f"{prefix}-labels.csv": "".join(f"{name}\n" for name in names),
        f"{prefix}-train.csv": f"1;{names[0]}\n2;{names[6]}\n",
        f"{prefix}-validation.csv": f"3;{names[0]}\n4;{names[6]}\n",
        f"{prefix}-test.csv": "5\n",
    })  # fmt: skip


def something_v1(folder: Path) -> Path:
    """Something-Something V1."""
    return frame_release(folder, "20bn-something-something-v1", "something-something-v1", "something_v1")


def jester(folder: Path) -> Path:
    """Jester."""
    return frame_release(folder, "20bn-jester-v1", "jester-v1", "jester_csv")


def own_folder(folder: Path) -> Path:
    """Class folders: of each class five sources of two cuts, the second of which is the first one, coded anew."""
    for label, name in enumerate(("fight", "normal day")):
        for source in range(5):
            seed = 500 + 10 * label + source
            write(folder, {
                f"{name}/camera{label}{source}_a.mp4": video("mp4", seed),
                f"{name}/other name {source}.avi": video("avi", seed),
            })  # fmt: skip
    return folder
