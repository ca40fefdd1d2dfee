"""Shows where and when a network looks: `python -m tools.explain --video FILE --pretrained FILE`.

Grad-CAM over time, as a page with strips of frames or as a video, and as the check of it how much of the probability is
lost without each part of the time: the two need not agree.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from configs import cli
from deploy.engines import COMPUTED
from runtime import command
from runtime.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from configs import Recipe
    from deploy.predictor import Computing

HEAT = 0.45  # of a pixel that is heat, where it is the hottest
SHOWN = 16  # frames of the strip, at most
SIDE = 160  # pixels of a frame of the strip
NAMED = 10  # classes in a message
SECONDS_A_FRAME = 0.25  # of the video, as clips have few frames


class Explained(NamedTuple):
    """What a clip says for a class.

    Attributes:
        label: The class.
        probability: Of the class.
        frames: What the network sees, uint8 [T, H, W, 3] RGB.
        maps: See `grad_cam`; None of a graph, which has no gradient.
        lost: See `occlusion`.
    """

    label: int
    probability: float
    frames: np.ndarray
    maps: np.ndarray | None
    lost: np.ndarray

    @property
    def shares(self) -> np.ndarray | None:
        """What each part of the time has of all the heat, float [parts]; None without maps."""
        import numpy as np

        if self.maps is None:
            return None
        heat = np.array([part.sum() for part in np.array_split(self.maps, len(self.lost))])
        shares: np.ndarray = heat / max(float(heat.sum()), 1e-12)
        return shares


def main(argv: Sequence[str] | None = None) -> None:
    """Explains one video."""
    args = parse_args(argv)
    from deploy import predictor
    from runtime.owned import create

    computing = predictor.compute(args, [args.video])
    view, label = seen(args, computing.recipe), label_of(args.label, computing.names)
    found = explain(computing, view, label, args.parts)
    name, shares = computing.names[found.label], found.shares
    assert shares is not None  # a checkpoint has a gradient
    pairs = " ".join(f"{share:.2f}/{lost:+.2f}" for share, lost in zip(shares, found.lost, strict=True))
    command.say(f"{name} {found.probability:.4f}", f"share of the heat / probability lost, over time: {pairs}")
    output = args.output or Path(f"{Path(args.video).stem}_explained.html")
    content = movie(found) if output.suffix == ".mp4" else page(found, args.video, computing)
    create(output, content, overwrite=True)
    command.say(str(output))


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Flags of the command."""
    parser = command.parser(__doc__ or "", "python -m tools.explain --video FILE --pretrained FILE [flags]")
    run = parser.add_argument_group("run")
    run.add_argument("--video", required=True, help="video file or folder of frames")
    run.add_argument("--label", default="", help="name of the class to explain (default: the one that comes first)")
    run.add_argument(
        "--output",
        type=command.file_ending(".html", ".mp4"),
        help="page .html or video .mp4 to write (default: NAME_explained.html)",
    )
    run.add_argument("--classes", help="file of class names, or the name of a known list")
    run.add_argument("--parts", type=command.positive, default=8, help="of the time, that are left out one by one")
    cli.add_checkpoint_flags(parser)
    cli.add_engine_flags(parser, (), COMPUTED)
    cli.add_beside_flags(parser)
    parser.set_defaults(engine="dygraph", views="quick")
    return parser.parse_args(argv)


def seen(args: argparse.Namespace, recipe: Recipe) -> np.ndarray:
    """The center view of the video, float32 [T, 3, H, W].

    Raises:
        UserError: The video cannot be read, or the network names no class of a video.
    """
    from tasks import task_of

    if not task_of(recipe).names_videos:
        raise UserError(f"{recipe.network.model} names no class of a video: there is nothing to explain")
    view: np.ndarray = task_of(recipe).views(args.video, recipe, cli.VIEWS["quick"], cli.limits_of(args))[0]
    return view


def label_of(name: str, names: Sequence[str]) -> int | None:
    """The class of a name; None for no name. Raises UserError if there is none."""
    if name and name not in names:
        shown = ", ".join(names[:NAMED]) + ", ..." * (len(names) > NAMED)
        raise UserError(f"--label {name}: no class of this network has this name; there are {shown}")
    return names.index(name) if name else None


def explain(computing: Computing, view: np.ndarray, label: int | None = None, parts: int = 8) -> Explained:
    """What a clip says for a class.

    Args:
        computing: Of a network that names classes of videos.
        view: The clip, float32 [T, 3, H, W].
        label: Of the class; None for the one that comes first.
        parts: See `occlusion`.

    Raises:
        UserError: The network has no features with places.
    """
    from datasets.transforms import denormalized
    from engine.occlusion import occlusion
    from tasks.view_scores import softmax

    probabilities = softmax(computing.run(view[None]))[0]
    if label is None:
        label = int(probabilities.argmax())
    maps = heat_of(computing, view, label)
    lost = occlusion(computing.run, view, label, parts)
    return Explained(label, float(probabilities[label]), denormalized(view, computing.recipe.pixels), maps, lost)


def heat_of(computing: Computing, view: np.ndarray, label: int) -> np.ndarray | None:
    """Grad-CAM of a clip; None of a graph, which has no gradient."""
    if computing.model is None:
        return None
    from engine.grad_cam import grad_cam
    from models.recognizer import Recognizer

    assert isinstance(computing.model, Recognizer)  # as its task names videos
    return grad_cam(computing.model, view, label)[0]


def heated(frames: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Frames with heat over them, uint8 [T, H, W, 3] RGB: from none to yellow in matplotlib's inferno."""
    import matplotlib
    import numpy as np

    colors = matplotlib.colormaps["inferno"](maps)[..., :3] * 255  # [T, H, W, 3]
    weight = HEAT * maps[..., None]
    out: np.ndarray = np.rint(frames * (1 - weight) + colors * weight).astype(np.uint8)
    return out


def movie(found: Explained) -> bytes:
    """The heated frames as a video, with a strip of the heat over time."""
    assert found.maps is not None  # a checkpoint has a gradient
    import av
    import cv2
    import numpy as np

    from datasets.encode import encode_frames

    frames = heated(found.frames, found.maps)
    heat = found.maps.mean(axis=(1, 2))
    levels = np.rint(255 * heat / max(float(heat.max()), 1e-12)).astype(np.uint8)
    height, width = (side // 2 * 2 for side in frames.shape[1:3])

    def drawn() -> Any:
        strip = cv2.resize(levels[None, :, None].repeat(3, axis=2), (width, 8), interpolation=cv2.INTER_NEAREST)
        strip = strip.reshape(8, width, 3)
        for number, frame in enumerate(frames):
            image = frame[:height, :width].copy()
            image[-8:] = strip
            left = number * width // len(frames)
            image[-8:, left : left + 2] = (255, 255, 0)
            yield image

    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        rate = Fraction(1 / SECONDS_A_FRAME).limit_denominator(1000)
        encode_frames(
            container, drawn(), "libx264" if "libx264" in av.codecs_available else "mpeg4", rate, {"crf": "18"}
        )
    return target.getvalue()


def page(found: Explained, video: str, computing: Computing) -> bytes:
    """The page: frames and heat over time, and what is lost without each part."""
    from runtime.html_page import document, row, table

    name = computing.names[found.label]
    parts = [
        f"<p>{len(found.frames)} frames, as the network sees them</p>",
        table(("class", "probability"), [row((name, f"{found.probability:.4f}"), numeric=(1,))]),
        *sections(found),
    ]
    return document(f"Why {name}: {Path(video).name}", parts).encode()


def sections(found: Explained) -> list[str]:
    """Where and when it looks; of a graph the frames, and when."""
    from datasets.sampling import evenly
    from runtime.html_page import picture, row, section, table

    chosen = evenly(len(found.frames), SHOWN)
    frames = picture(strip(found.frames[chosen]), "webp", f"{len(chosen)} frames, as the network sees them")
    rows = (
        row((f"part {k + 1}", *cells), numeric=range(1, len(cells) + 1))
        for k, cells in enumerate(zip(*(column for column, _ in columns(found)), strict=True))
    )
    head = ("of the time", *(title for _, title in columns(found)))
    when = curve(found) + table(head, rows)
    if found.maps is None:
        return [section("What it sees", frames), section("When it looks", when, LOST_SAYS.partition(" Heat")[0])]
    heat = picture(strip(heated(found.frames[chosen], found.maps[chosen])), "webp", "where the heat is in them")
    return [section("Where it looks", frames + heat, HEAT_SAYS), section("When it looks", when, LOST_SAYS)]


def columns(found: Explained) -> list[tuple[list[str], str]]:
    """Of the table of parts: cells and title."""
    lost = ([f"{one:+.4f}" for one in found.lost], "lost without it")
    return [lost] if found.shares is None else [([f"{one:.1%}" for one in found.shares], "share of the heat"), lost]


HEAT_SAYS = "Grad-CAM: how much each place of the last features speaks for the class; yellow is the most of the clip."
LOST_SAYS = (
    "Lost: how much the probability of the class falls when the frames of a part take the mean color. Heat where "
    "nothing is lost is not what decides."
)


def curve(found: Explained) -> str:
    """Heat and what is lost, over time."""
    import matplotlib
    import numpy as np
    from matplotlib.figure import Figure

    from runtime.html_page import INK, svg

    with matplotlib.rc_context(INK):
        figure = Figure(figsize=(8, 2.4), layout="constrained")
        axes = figure.subplots()
        places = np.arange(1, len(found.lost) + 1)
        if found.shares is not None:
            axes.bar(places - 0.2, found.shares, 0.4, color="#c05a00", label="share of the heat")
        axes.bar(places + 0.2, found.lost, 0.4, color="#1f5fbf", label="lost without it")
        axes.set(xlabel="part of the time", xticks=places)
        axes.legend()
        return svg(figure)


def strip(frames: np.ndarray) -> bytes:
    """Frames side by side, as WebP."""
    import cv2
    import numpy as np
    from PIL import Image

    height, width = frames.shape[1:3]
    size = (round(width * SIDE / height), SIDE)
    small = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]
    rows = [np.hstack(small[k : k + SHOWN // 2]) for k in range(0, len(small), SHOWN // 2)]
    wide = max(row.shape[1] for row in rows)
    image = Image.fromarray(np.vstack([np.pad(row, ((0, 0), (0, wide - row.shape[1]), (0, 0))) for row in rows]))
    target = io.BytesIO()
    image.save(target, "WEBP", quality=80)
    return target.getvalue()


if __name__ == "__main__":
    with command.clear_errors():
        main()
