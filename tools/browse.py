"""Shows what training and tests really see of a data set: `python -m tools.browse --dataset_root DIR --preset NAME`.

One page: for some samples of each list the frames that are sampled, on the line of time, what they are before and after
the augmentation of several epochs, and which part of them is cut out.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs import Recipe, cli
from runtime import command
from runtime.html_page import COLORS, Markup, document, picture, section, table, text

if TYPE_CHECKING:
    import numpy as np

    from datasets import Dataset

SHOWN, SIDE = 8, 112  # frames in a row, and their height in pixels
WIDTH = 900  # of a line of time


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the page."""
    parser = command.parser(
        __doc__ or "", "python -m tools.browse --dataset_root DIR [--run DIR | --preset NAME] [flags]"
    )
    run = parser.add_argument_group("run")
    run.add_argument("--dataset_root", required=True, help="folder of a data set")
    run.add_argument("--run", type=Path, help="run directory of train.py, whose recipe is taken")
    run.add_argument("--train_list", default="", help="list file of the training samples, instead of the one found")
    run.add_argument("--val_list", default="", help="list file of the validation samples, instead of the one found")
    run.add_argument("--samples", type=command.positive, default=6, help="of each list")
    run.add_argument("--epochs", type=command.positive, default=3, help="of training, that a sample is drawn for")
    run.add_argument("--output", type=command.file_ending(".html"), default=Path("browse.html"), help="page to write")
    cli.add_limit_flags(parser)
    cli.add_recipe_flags(parser, ("model", "frames", "pixels"), beside_weights=True)
    args = parser.parse_args(argv)
    from datasets import load_annotation
    from runtime.owned import create
    from tasks import task_of

    base = Recipe.from_json(args.run / "recipe.json") if args.run else None
    recipe = cli.asked(args).recipe(base)
    task, lists = task_of(recipe), {"train": args.train_list, "val": args.val_list}
    parts = [f"<p>{text(in_words(recipe))}</p>"]
    for subset, mode, epochs in (("train", "train", args.epochs), ("val", "val", 1), ("val", "test", 1)):
        annotation = load_annotation(
            args.dataset_root, subset, recipe.clip.split, recipe.network.num_classes, lists[subset], (), task.targets
        )
        dataset = task.dataset(annotation, recipe, mode, cli.limits_of(args))
        count = len(dataset)
        chosen = sorted({k * count // min(args.samples, count) for k in range(min(args.samples, count))})
        shown = "".join(sample(dataset, index, epochs) for index in chosen)
        parts.append(section(f"{TITLES[mode]}: {count} {dataset.what} of {text(annotation.source)}", shown))
    create(args.output, document(f"What {recipe.network.model} sees", parts).encode(), overwrite=True)
    command.say(str(args.output))


TITLES = {"train": "Training", "val": "Validation, and a quick test", "test": "A full test"}


def in_words(recipe: Recipe) -> str:
    """What a recipe does to a video."""
    clip, pixels = recipe.clip, recipe.pixels
    return (
        f"{clip.num_segments} x {clip.frames_per_segment} frames, interval {clip.frame_interval}, sampling "
        f"{clip.sampling}; training: {pixels.train_crop} to {pixels.crop_size}, flipped with {pixels.flip:g}; a test: "
        f"{clip.test_clips} x {pixels.test_crops} views of {pixels.test_size}"
    )


def sample(dataset: Dataset, index: int, epochs: int) -> str:
    """One sample: its line of time, the frames before, and what the network gets in each epoch."""
    import numpy as np

    from datasets.decode import open_source
    from datasets.images import ImageDataset

    entry = dataset.annotation.entries[index]
    views, seen = [], []
    for epoch in range(epochs):
        out = np.empty(dataset.sample_shape, np.float32)
        seen.append(dataset.seen(out, index, epoch))
        views.append(out)
    if isinstance(dataset, ImageDataset):
        total, before = 1, dataset.picture(index)[None]
    else:
        with open_source(entry.path, entry.num_frames, dataset.limits) as source:
            total, places = source.num_frames, thin(seen[0].indices[0])
            before = source.read(places)
    names, target = dataset.annotation.class_names, entry.target
    label = names[target] if isinstance(target, int) and target < len(names) else target
    head = f"<h3>{text(Path(entry.path).name)}: {text(str(label))}</h3>"
    line = "" if total == 1 else line_of_time(total, [one.indices.ravel() for one in seen])
    rows = [("before", row_of(before, cut(seen[0].warp, before.shape[1:3])))]
    rows += [(caption(dataset, epoch), row_of(pixels_of(view, dataset.recipe))) for epoch, view in enumerate(views)]
    return head + line + table(("", ""), (f"<tr><td>{name}</td><td>{shown}</td></tr>\n" for name, shown in rows))


def caption(dataset: Dataset, epoch: int) -> str:
    """What a row of the page shows."""
    return f"epoch {epoch + 1}" if dataset.mode == "train" else f"first of {dataset.sample_shape[0]} views"


def thin(indices: np.ndarray) -> np.ndarray:
    """Some of many indices, evenly."""
    from datasets.sampling import evenly

    return indices[evenly(len(indices), SHOWN)]


def pixels_of(views: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Frames of the first view as pictures, uint8 [T, H, W, 3] RGB, as the network gets them."""
    import numpy as np

    from datasets.transforms import denormalized

    first = views[0] if views.ndim == 5 else views[:1]  # [T, 3, H, W]
    return denormalized(first[thin(np.arange(len(first)))], recipe.pixels)


def cut(warp, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part of a frame that the first crop shows: x, y of two corners, by where its pixels come from."""
    import numpy as np

    height, width = size
    y, x = np.mgrid[0:height, 0:width]
    corners = []
    for places, most in ((x, width), (y, height)):
        high, low = (places // 256).astype(np.uint8), (places % 256).astype(np.uint8)
        planes = np.stack([high, low, np.full_like(low, 1)], axis=2)[None]  # the last tells a border from the frame
        crop = warp(planes)[0, 0].astype(int)
        found = (crop[..., 0] * 256 + crop[..., 1])[(crop[..., 2] == 1)]
        corners.append((int(found.min()), int(found.max())) if len(found) else (0, most - 1))
    (left, right), (top, bottom) = corners
    return left, top, right, bottom


def row_of(frames: np.ndarray, box: tuple[int, int, int, int] | None = None) -> Markup:
    """Frames side by side as a picture, with the part that is cut out marked."""
    import cv2
    import numpy as np
    from PIL import Image

    scale = SIDE / frames.shape[1]
    size = (max(1, round(frames.shape[2] * scale)), SIDE)
    small = [
        cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST) for frame in frames
    ]
    if box:
        left, top, right, bottom = (round(side * scale) for side in box)
        for image in small:
            cv2.rectangle(image, (left, top), (min(right, size[0] - 1), min(bottom, SIDE - 1)), (255, 220, 0), 1)
    target = io.BytesIO()
    Image.fromarray(np.hstack(small)).save(target, "WEBP", quality=80)
    return picture(target.getvalue(), "webp", f"{len(frames)} frames")


def line_of_time(total: int, draws: Sequence[np.ndarray]) -> str:
    """The frames of a video as a line, and those that each draw takes as marks on it."""
    marks = []
    for number, indices in enumerate(draws):
        color = COLORS[number % len(COLORS)]
        for index in indices.tolist():
            x = WIDTH * (index + 0.5) / total
            marks.append(f'<rect x="{x - 1:.1f}" y="{4 + 10 * number}" width="2.4" height="8" fill="{color}"/>')
    height = 10 * len(draws) + 6
    words = f"{total} frames; taken: " + "; ".join(", ".join(map(str, indices.tolist())) for indices in draws)
    return (
        f'<svg role="img" aria-label="{text(words)}" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
        f'<rect width="{WIDTH}" height="{height}" fill="#eef0f4"/>{"".join(marks)}</svg>'
        f'<p class="small">{text(words)}</p>'
    )


if __name__ == "__main__":
    with command.clear_errors():
        main()
