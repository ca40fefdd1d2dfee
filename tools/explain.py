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

    from deploy.predictor import Computing

HEAT = 0.45  # of a pixel that is heat, where it is the hottest
SHOWN = 16  # frames of the strip, at most
SIDE = 160  # pixels of a frame of the strip
SECONDS_A_FRAME = 0.25  # of the video, as clips have few frames


class Explained(NamedTuple):
    """What a clip says for a class.

    Attributes:
        label: The class.
        probability: Of the class.
        frames: What the network sees, uint8 [T, H, W, 3] RGB.
        maps: See `grad_cam`.
        lost: See `occlusion`.
    """

    label: int
    probability: float
    frames: np.ndarray
    maps: np.ndarray
    lost: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """What each part of the time has of all the heat, float [parts]."""
        import numpy as np

        heat = np.array([part.sum() for part in np.array_split(self.maps, len(self.lost))])
        shares: np.ndarray = heat / max(float(heat.sum()), 1e-12)
        return shares


def main(argv: Sequence[str] | None = None) -> None:
    """Explains one video."""
    args = parse_args(argv)
    from deploy import predictor
    from runtime.owned import create

    computing = predictor.compute(args, [args.video])
    found = explain(args, computing)
    name = computing.names[found.label]
    pairs = " ".join(f"{share:.2f}/{lost:+.2f}" for share, lost in zip(found.shares, found.lost, strict=True))
    command.say(f"{name} {found.probability:.4f}", f"share of the heat / probability lost, over time: {pairs}")
    output = Path(args.output or f"{Path(args.video).stem}_explained.html")
    content = movie(found) if output.suffix == ".mp4" else page(found, args.video, computing)
    create(output, content, overwrite=True)
    command.say(str(output))


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Flags of the command."""
    parser = command.parser(__doc__ or "", "python -m tools.explain --video FILE --pretrained FILE [flags]")
    run = parser.add_argument_group("run")
    run.add_argument("--video", required=True, help="video file or folder of frames")
    run.add_argument("--label", default="", help="class to explain (default: the one that comes first)")
    run.add_argument("--output", help="page .html or video .mp4 to write (default: NAME_explained.html)")
    run.add_argument("--classes", help="file of class names, or the name of a known list")
    run.add_argument("--parts", type=command.positive, default=8, help="of the time, that are left out one by one")
    cli.add_checkpoint_flags(parser)
    cli.add_engine_flags(parser, (), COMPUTED)
    cli.add_beside_flags(parser)
    parser.set_defaults(engine="dygraph", views="quick")
    return parser.parse_args(argv)


def explain(args: argparse.Namespace, computing: Computing) -> Explained:
    """What the center view of a video says for a class.

    Raises:
        UserError: The video cannot be read, the label is none, or the network gives masks.
    """
    from datasets.transforms import denormalized
    from engine.grad_cam import grad_cam, occlusion
    from models.recognizer import Recognizer
    from tasks import task_of
    from tasks.view_scores import softmax

    model, recipe = computing.model, computing.recipe
    if not task_of(recipe).names_videos or not isinstance(model, Recognizer):
        raise UserError(f"{recipe.network.model} names no class of a video: there is nothing to explain")
    view = task_of(recipe).views(args.video, recipe, cli.VIEWS["quick"], cli.limits_of(args))[0]  # [T, 3, H, W]
    probabilities = softmax(computing.run(view[None]))[0]
    if args.label and args.label not in computing.names:
        raise UserError(f"--label {args.label}: no class of this network has this name")
    label = computing.names.index(args.label) if args.label else int(probabilities.argmax())
    maps, _ = grad_cam(model, view, label)
    lost = occlusion(computing.run, view, label, args.parts)
    return Explained(label, float(probabilities[label]), denormalized(view, recipe.pixels), maps, lost)


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
    import numpy as np

    from runtime.html_page import document, picture, row, section, table

    chosen = np.unique(np.linspace(0, len(found.frames) - 1, SHOWN).round().astype(int))
    name = computing.names[found.label]
    pictures = [strip(found.frames[chosen]), strip(heated(found.frames[chosen], found.maps[chosen]))]
    rows = (
        row((f"part {k + 1}", f"{share:.1%}", f"{lost:+.4f}"), numeric=(1, 2))
        for k, (share, lost) in enumerate(zip(found.shares, found.lost, strict=True))
    )
    shown = "".join(str(picture(data, "webp", what)) for data, what in zip(pictures, ("frames", "heat"), strict=True))
    parts = [
        f"<p>{len(found.frames)} frames, as the network sees them</p>",
        table(("class", "probability"), [row((name, f"{found.probability:.4f}"), numeric=(1,))]),
        section("Where it looks", shown, HEAT_SAYS),
        section("When it looks", curve(found) + table(HEAD, rows), LOST_SAYS),
    ]
    return document(f"Why {name}: {Path(video).name}", parts).encode()


HEAD = ("of the time", "share of the heat", "lost without it")
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
