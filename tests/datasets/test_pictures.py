"""A picture is what OpenCV makes of it, whatever it is called."""

import contextlib
import io
import struct

import cv2
import numpy as np
import PIL.Image
import pytest
import simplejpeg

from configs.limits import Limits
from datasets import pictures
from datasets.decode import DecodeError, open_source
from tests.datasets.media import moving_frames

FRAME = np.ascontiguousarray(moving_frames(1, 24, 40)[0])
VERSION = tuple(map(int, cv2.__version__.split(".")[:2]))
TURNS = {
    1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).transpose(1, 0, 2), 8: np.rot90,
}  # fmt: skip


def pillow(frame: np.ndarray | PIL.Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image = PIL.Image.fromarray(frame) if isinstance(frame, np.ndarray) else frame
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int, order: str = "<", kind: int = 3, offset: int = 8) -> bytes:
    """A TIFF header and one directory with an orientation, a short (3) or a long (4)."""
    value = struct.pack(
        f"{order}HH" if kind == 3 else f"{order}I", *((orientation, 0) if kind == 3 else (orientation,))
    )
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}IHHHI", offset, 1, 0x112, kind, 1) + value + bytes(4)


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def read(folder, name: str, content: bytes, limits: Limits | None = None) -> np.ndarray:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    with open_source(str(folder), limits=limits) as source:
        return source.read([0])[0]


def by_opencv(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def turned(kind: str, orientation: int) -> bytes:
    if kind == "TIFF":
        return pillow(FRAME, kind, tiffinfo={0x112: orientation})
    if kind == "JPEG":
        return with_segments(simplejpeg.encode_jpeg(FRAME), segment(0xE1, b"Exif\0\0" + exif(orientation)))
    return pillow(FRAME, kind, exif=exif(orientation), **({"lossless": True} if kind == "WEBP" else {}))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", TURNS)
def test_all_orientations_of_all_formats(tmp_path, kind, orientation):
    content = turned(kind, orientation)
    image = read(tmp_path, "img_1.jpg", content)
    assert np.array_equal(image, by_opencv(content))
    if kind != "WEBP" or VERSION >= (4, 13):  # those before leave WebP as it is stored
        assert np.array_equal(image, TURNS[orientation](read(tmp_path / "plain", "img_1.jpg", turned(kind, 1))))


PLAIN = simplejpeg.encode_jpeg(FRAME)
EXIF6 = segment(0xE1, b"Exif\0\0" + exif(6))
SCAN = PLAIN.index(b"\xff\xda")
XMP = segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:tiff="t" tiff:Orientation="6"/>')
JPEGS = {
    **{
        f"{order}{o}": with_segments(PLAIN, segment(0xE1, b"Exif\0\0" + exif(o, order)))
        for o in (0, 6, 9) for order in "<>"
    },
    **{f"long{order}": with_segments(PLAIN, segment(0xE1, b"Exif\0\0" + exif(6, order, 4))) for order in "<>"},
    "after others": with_segments(PLAIN, segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"), segment(0xFE, b"\xff\xda"), EXIF6),
    "last": PLAIN[:SCAN] + EXIF6 + PLAIN[SCAN:],
    "twice": with_segments(PLAIN, EXIF6, segment(0xE1, b"Exif\0\0" + exif(3))),
    "behind XMP": with_segments(PLAIN, XMP, EXIF6),
    "XMP alone": with_segments(PLAIN, XMP),
    "cut": with_segments(PLAIN, segment(0xE1, b"Exif\0\0" + exif(6)[:14])),
    "wrong offset": with_segments(PLAIN, segment(0xE1, b"Exif\0\0" + exif(6, offset=9999))),
    "no byte order": with_segments(PLAIN, segment(0xE1, b"Exif\0\0XX" + exif(6)[2:])),
    "no mark": with_segments(PLAIN, segment(0xE1, b"Exif\0\xff" + exif(6))),
    "fill bytes": PLAIN[:2] + b"\xff\xff" + EXIF6 + PLAIN[2:],
    "other segment": with_segments(PLAIN, segment(0xE2, b"Exif\0\0" + exif(6))),
}  # fmt: skip


@pytest.mark.parametrize("name", JPEGS)
def test_whatever_exif_says_a_jpeg_is_what_opencv_reads(tmp_path, name):
    image = read(tmp_path, "img_1.png", JPEGS[name])
    assert np.array_equal(image, by_opencv(JPEGS[name]))
    if name in ("<6", ">6", "after others", "last", "fill bytes"):
        assert image.shape == (40, 24, 3)


def test_random_exif_is_read_as_opencv_reads_it():
    rng = np.random.default_rng(0)
    shapes = set()
    for round in range(300):
        body = bytearray(b"Exif\0\0" + exif(6, "<>"[round % 2]))
        for place in rng.integers(0, len(body), 1 + round % 3):
            body[place] = rng.integers(0, 256) if round % 5 else rng.integers(0, 10)
        content = with_segments(PLAIN, segment(0xE1, bytes(body)))
        image = pictures.decode(content)
        assert np.array_equal(image, by_opencv(content)), body
        shapes.add(image.shape)
    assert len(shapes) == 2


def test_a_jpeg_without_exif_does_not_cost_a_second_decoder(tmp_path, monkeypatch):
    expected = by_opencv(PLAIN)
    monkeypatch.setattr(cv2, "imdecode", None)
    for content in (PLAIN, JPEGS["other segment"], with_segments(PLAIN, segment(0xFE, b"Exif\0\0"))):
        assert np.array_equal(read(tmp_path, "img_1.jpg", content), expected)


RGBA = np.dstack([FRAME, np.tile(np.arange(40, dtype=np.uint8) * 6, (24, 1))])
DEEP = (FRAME.astype(np.uint16) * 257) ^ np.arange(40, dtype=np.uint16)[None, :, None]
IMAGE = PIL.Image.fromarray(FRAME)
PICTURES = {
    "cmyk.jpg": pillow(IMAGE.convert("CMYK"), "JPEG"),
    "gray.jpg": pillow(IMAGE.convert("L"), "JPEG"),
    "progressive.jpg": pillow(IMAGE, "JPEG", progressive=True),
    "cmyk exif.jpg": pillow(IMAGE.convert("CMYK"), "JPEG", exif=b"Exif\0\0" + exif(5)),
    **{f"{mode}.png": pillow(IMAGE.convert(mode), "PNG") for mode in ("L", "P", "1", "LA")},
    "alpha.png": pillow(RGBA, "PNG"), "deep.png": cv2.imencode(".png", DEEP)[1].tobytes(),
    "deep gray.png": cv2.imencode(".png", DEEP[..., 0])[1].tobytes(),
    **{f"{mode}.bmp": pillow(IMAGE.convert(mode), "BMP") for mode in ("RGB", "L", "P", "1")},
    "alpha.webp": pillow(RGBA, "WEBP"),
    **{f"{mode}.tif": pillow(IMAGE.convert(mode), "TIFF") for mode in ("RGB", "RGBA", "L", "P", "1", "CMYK")},
    **{f"{c}.tif": pillow(IMAGE, "TIFF", compression=c) for c in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")},
    "group4.tif": pillow(IMAGE.convert("1"), "TIFF", compression="group4"),
    "deep.tif": cv2.imencode(".tiff", DEEP)[1].tobytes(),
    "pages.tif": pillow(IMAGE, "TIFF", save_all=True, append_images=[PIL.Image.fromarray(255 - FRAME)]),
    "color.ppm": pillow(IMAGE, "PPM"), "gray.pgm": pillow(IMAGE.convert("L"), "PPM"),
    "bits.pbm": pillow(IMAGE.convert("1"), "PPM"), "deep.ppm": cv2.imencode(".ppm", DEEP)[1].tobytes(),
    "text.pnm": b"P3\n# made by hand\n2 1\n255\n255 0 0 0 128 0\n",
    "still.gif": pillow(IMAGE, "GIF"), "alpha.gif": pillow(RGBA, "GIF"),
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_the_content_decides(tmp_path, name):
    content, suffix = PICTURES[name], name.rpartition(".")[2]
    if suffix == "gif" and VERSION < (4, 12):
        pytest.skip("this OpenCV reads no GIF")
    expected = by_opencv(content)
    for place, other in enumerate((suffix, suffix.upper(), "jpg", "png", "tiff", "webp")):
        image = read(tmp_path / str(place), f"img_00001.{other}", content)
        assert image.dtype == np.uint8
        assert np.array_equal(image, expected)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_an_animation_is_no_frame(tmp_path, kind):
    content = pillow(IMAGE, kind, save_all=True, append_images=[PIL.Image.fromarray(255 - FRAME)])
    with pytest.raises(DecodeError, match=r"img_1\.jpg is no readable picture: .* an animation is a video"):
        read(tmp_path, "img_1.jpg", content)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xd8\xff", b"II*\0", b"P6\n", b"GIF89a", b"no picture", b"\0\0\0\x0cjP  \r\n"]
)
def test_what_is_no_picture_is_one_line_without_an_address(tmp_path, content):
    with pytest.raises(DecodeError, match=r"img_1\.tif is no readable picture") as error:
        read(tmp_path, "img_1.tif", content)
    assert "0x" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["L.png", "RGB.bmp", "alpha.webp", "RGB.tif", "jpeg.tif", "color.ppm", "still.gif", "gray.jpg"]
)
def test_a_picture_that_is_cut_is_an_error_and_never_half_of_it(tmp_path, name):
    content = PICTURES[name]
    for part in range(1, 20):
        cut = content[: len(content) * part // 20]
        with pytest.raises(DecodeError, match=r"img_1\.jpg is no readable picture"):
            read(tmp_path, "img_1.jpg", cut)


def patched(content: bytes, layout: str, place: int) -> bytes:
    data = bytearray(content)
    struct.pack_into(layout, data, place, 60_000, 60_000)
    return bytes(data)


def test_limits_hold_for_every_format(tmp_path):
    tags = [(256, 60_000), (257, 60_000), (258, 8), (262, 1), (273, 200), (277, 1), (278, 60_000), (279, 100)]
    tiff = b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(struct.pack("<HHII", t, 4, 1, v) for t, v in tags)
    huge = {
        "jpg": patched(PLAIN, ">HH", PLAIN.index(b"\xff\xc0") + 5),
        "tif": tiff + bytes(4000), "ppm": b"P6\n60000 60000\n255\n" + bytes(100),
        "pbm": b"P4\n60000 60000\n" + bytes(100), "gif": patched(PICTURES["still.gif"], "<HH", 6),
    }  # fmt: skip
    for suffix, content in huge.items():
        with pytest.raises(DecodeError, match=r"more than 36000000 pixels in a frame \(60000x60000\)"):
            read(tmp_path / suffix, "img_1.png", content)
    with pytest.raises(DecodeError, match="more than 1 MB: raise --max_video_megabytes"):
        read(tmp_path / "bytes", "img_1.jpg", PLAIN + bytes(2**20), Limits(max_video_megabytes=1))


def test_damaged_pictures_give_a_picture_or_one_error_each(tmp_path):
    rng = np.random.default_rng(0)
    names = [name for name in PICTURES if VERSION >= (4, 12) or not name.endswith("gif")]
    whole = 0
    for round in range(400):
        content = bytearray(PICTURES[names[round % len(names)]])
        for place in rng.integers(0, min(len(content), 400), 1 + round % 5):
            content[place] = rng.integers(0, 256)
        with contextlib.suppress(DecodeError):
            read(tmp_path, "img_1.jpg", bytes(content), Limits(max_frame_pixels=100_000))
            whole += 1
    assert 0 < whole < 400
