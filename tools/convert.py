"""Converts public checkpoints to ours, and ours to theirs: `python -m tools.convert IN OUT --model NAME`."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import safetensors.numpy

from configs import Recipe, cli
from configs.errors import UserError
from configs.recipe import FIELDS
from weights import LAYOUTS, PARTS, SOURCES, Arrays, CheckpointError, to_layout


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Flags of the command; recipe flags decide what the file leaves open."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        usage="python -m tools.convert IN OUT [--model NAME] [--target LAYOUT] [flags]",
        epilog=f"layouts: {', '.join(LAYOUTS)}; PaddleMVF's is ours. Formats read: .pth .pt .tar .safetensors .npz "
        f".pdparams; written: {', '.join(WRITERS)}",
    )
    parser.add_argument("pretrained", metavar="IN", help="weight file")
    parser.add_argument("out", metavar="OUT", help="file to write; recipe.json and classes.txt go beside one of ours")
    parser.add_argument("--source", choices=SOURCES, default="auto", help="layout of IN (default: found by its names)")
    parser.add_argument("--target", choices=tuple(LAYOUTS), default="ours", help="layout of OUT (default: ours)")
    parser.add_argument(
        "--partial", choices=tuple(PARTS), nargs="+", default=(), help="what IN may lack: the output lacks it too"
    )
    parser.add_argument("--labels", metavar="NAME", help="class names: a known list, or a file of names")
    cli.add_recipe_flags(parser, ("model", "frames", "pixels"))
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Reads, checks, prints the coverage, writes."""
    args = parse_args(argv)
    out = Path(args.out)
    formats = [".pdparams"] if args.target == "ours" else list(WRITERS)
    if out.suffix not in formats:
        raise CheckpointError(f"OUT must be {', '.join(formats)}, got {out}")
    beside = [out.parent / name for name in ("recipe.json", "classes.txt")] if args.target == "ours" else []
    for path in (out, *beside):
        if path.exists():
            raise CheckpointError(f"{path} exists already: choose another folder, or remove it")

    from engine import checkpoint, runtime

    runtime.prepare("cpu", 0)

    from engine.inference import load_recognizer

    model, recipe, coverage = load_recognizer(args, args.source, args.partial)
    _require_same_network(recipe, args.target)
    print(f"{args.pretrained} ({coverage.layout}) as {recipe.model}\n{coverage.table()}")
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items() if name in coverage.loaded}
    contents = {out: WRITERS[out.suffix](to_layout(arrays, args.target), LAYOUTS[args.target].key)}
    if args.target == "ours":
        contents[beside[0]] = recipe.to_json().encode()
        if names := _class_names(args, recipe.num_classes):
            contents[beside[1]] = "".join(f"{name}\n" for name in names).encode()
        else:
            print("class names: not known from the file; --labels NAME gives them")
    checkpoint.prepare_directory(out.parent)
    for path, content in contents.items():
        checkpoint.write_atomically(path, content)
    print(f"written: {', '.join(map(str, contents))}")


def _require_same_network(recipe: Recipe, target: str) -> None:
    """Raises CheckpointError if the target's own code would make another network of these weights."""
    layout, fields = LAYOUTS[target], ["norm_eps", "same_padding"]
    if recipe.model.startswith("tsm") and (layout.wraps or layout.segments_divide):
        fields.append("shift_direction")
    expected = {name: layout.network.get(name, FIELDS[name].default) for name in fields}
    if layout.segments_divide and recipe.model.startswith("tsm"):
        expected["shift_div"] = recipe.num_segments
    for name, value in expected.items():
        if target != "ours" and getattr(recipe, name) != value:
            raise CheckpointError(
                f"{name} is {getattr(recipe, name)} in the recipe, and {value} is built into {target}: "
                "there the weights would be another network"
            )


def _class_names(args: argparse.Namespace, num_classes: int) -> Sequence[str]:
    """The names that --labels says, else those that belong to the file; none if they are not known."""
    from datasets import KNOWN_LABELS, known_class_names
    from engine.inference import names_of_weights

    if args.labels not in KNOWN_LABELS:
        return names_of_weights(args.pretrained, num_classes, names_file=args.labels)
    names = known_class_names(args.labels)
    if len(names) != num_classes:
        raise CheckpointError(
            f"--labels {args.labels} names {len(names)} classes where {args.pretrained} has {num_classes}"
        )
    return names


def _pdparams(arrays: Arrays, key: str) -> bytes:
    from engine.checkpoint import pickled

    return pickled({key: arrays} if key else arrays)


def _npz(arrays: Arrays, key: str) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]  # its first parameter may be a name, too
    return content.getvalue()


def _safetensors(arrays: Arrays, key: str) -> bytes:
    return safetensors.numpy.save(dict(arrays))


def _torch(arrays: Arrays, key: str) -> bytes:
    try:
        import torch
    except ImportError as error:
        raise UserError("PyTorch writes this format: pip install torch==2.13.0, or take .safetensors") from error
    content, tensors = io.BytesIO(), {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    torch.save({key: tensors} if key else tensors, content)
    return content.getvalue()


# suffix -> function (arrays, key under which the layout's authors keep them) -> content of the file
WRITERS: dict[str, Callable[[Arrays, str], bytes]] = {
    ".pdparams": _pdparams,
    ".npz": _npz,
    ".safetensors": _safetensors,
    ".pth": _torch,
}

if __name__ == "__main__":
    with cli.clear_errors():
        main()
