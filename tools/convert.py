"""Converts public checkpoints to ours, and ours to theirs: `python -m tools.convert IN OUT --model NAME`."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.numpy

from configs import Recipe, cli
from configs.options import fields_of
from configs.recipe import known_options
from runtime import command
from runtime.errors import UserError
from runtime.owned import create
from weights import LAYOUTS, PARTS, Arrays, CheckpointError, to_layout, translate

# Our own layout, which has a recipe beside it: what is converted to if nothing else is said.
OURS = next(name for name, layout in LAYOUTS.items() if layout.has_recipe)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Flags of the command; recipe flags decide what the file leaves open."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=command.HelpFormatter,
        usage="python -m tools.convert IN OUT [--model NAME] [--target LAYOUT] [flags]",
        epilog=f"layouts: {', '.join(LAYOUTS)}; PaddleMVF's is {OURS}. Formats read, under any name: PyTorch's, "
        f".safetensors, .npz, .pdparams; written: {', '.join(WRITERS)}",
    )
    parser.add_argument("pretrained", metavar="IN", help="weight file")
    parser.add_argument("out", metavar="OUT", help="file to write; recipe.json and classes.txt go beside one of ours")
    parser.add_argument(
        "--source", choices=("auto", *LAYOUTS), default="auto", help="layout of IN (default: found by its names)"
    )
    cli.add_weights_flag(parser)
    parser.add_argument("--target", choices=tuple(LAYOUTS), default=OURS, help=f"layout of OUT (default: {OURS})")
    parser.add_argument(
        "--partial", choices=tuple(PARTS), nargs="+", default=(), help="what IN may lack: the output lacks it too"
    )
    parser.add_argument("--labels", metavar="NAME", help="class names: a known list, or a file of names")
    cli.add_recipe_flags(parser, ("model", "frames", "pixels"), beside_weights=True)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Reads, checks, prints the coverage, writes."""
    args = parse_args(argv)
    out, target = Path(args.out), LAYOUTS[args.target]
    beside = [out.parent / name for name in ("recipe.json", "classes.txt")] if target.has_recipe else []
    _require_writable(args, [out, *beside])
    from runtime import preparation

    preparation.prepare("cpu", 0)

    from engine.pretrained import load_pretrained
    from tasks.class_names import names_of_weights

    model, recipe, coverage = load_pretrained(args.pretrained, cli.asked(args), args.source, args.partial, args.weights)
    if not target.has_recipe:
        _require_same_network(recipe, args.target)
    loaded = {name: tensor.numpy() for name, tensor in model.state_dict().items() if name in coverage.loaded}
    arrays = to_layout(loaded, args.target)
    if not target.wraps:
        _require_no_modules_lost(recipe, args.target, arrays)
    command.say(f"{args.pretrained} ({coverage.layout}) as {recipe.network.model}", *coverage.table().splitlines())
    contents = {out: WRITERS[out.suffix](arrays, target.key)}
    if target.has_recipe:
        contents[beside[0]] = recipe.to_json().encode()
        if names := names_of_weights(args.pretrained, recipe.network.num_classes, names=args.labels):
            contents[beside[1]] = "".join(f"{name}\n" for name in names).encode()
        else:
            command.say("class names: not known from the file; --labels NAME gives them")
    else:
        command.say(f"build it there as: {_config_of(recipe)}")
    for path, content in contents.items():
        create(path, content)
    command.say(f"written: {', '.join(map(str, contents))}")


def _require_writable(args: argparse.Namespace, paths: list[Path]) -> None:
    """Raises CheckpointError if the target has no room for what is asked, or a file to write is there already."""
    has_recipe = LAYOUTS[args.target].has_recipe
    if args.labels and not has_recipe:
        raise CheckpointError(f"--labels {args.labels}: the layout {args.target} keeps no class names, leave it out")
    formats = [".pdparams"] if has_recipe else list(WRITERS)
    if Path(args.out).suffix not in formats:
        raise CheckpointError(f"OUT must be {', '.join(formats)}, got {args.out}")
    for path in paths:
        if path.exists():
            raise CheckpointError(f"{path} exists already: choose another folder, or remove it")


def _require_same_network(recipe: Recipe, target: str) -> None:
    """Raises CheckpointError if the target's own code would make another network of the recipe's weights."""
    layout, values = LAYOUTS[target], recipe.options()
    if why := layout.refuses(values):
        raise CheckpointError(f"{target} {why}: there the weights would be another network")
    fixed = [name for name, f in fields_of(type(recipe.network)).items() if f.metadata["of_weights"]]
    expected = {name: layout.network.get(name, known_options()[name].default) for name in fixed}
    for name, value in {**expected, **layout.built_in(values)}.items():
        if values[name] != value:
            raise CheckpointError(
                f"{name} is {values[name]} in the recipe, and {value} is built into {target}: "
                "there the weights would be another network"
            )


def _require_no_modules_lost(recipe: Recipe, target: str, arrays: Arrays) -> None:
    """Raises CheckpointError if arrays of a layout without marks of wrapped layers cannot be of the recipe's model."""
    from models import recognize

    shown = recognize(translate(arrays, target, target).arrays, LAYOUTS[target].hides)
    if shown and recipe.network.model not in shown:
        raise CheckpointError(
            f"{target} shows no temporal modules: there the weights of {recipe.network.model} would be "
            f"{' or '.join(shown)}"
        )


def _config_of(recipe: Recipe) -> str:
    """What a foreign model has to be built with so that the weights are the same network."""
    values = {**recipe.options(), "num_frames": recipe.clip.num_frames}
    names = ("model", "num_frames", *recipe.network.own_options())
    return ", ".join(f"{name} {values[name]}" for name in names)


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
        with command.signals_kept():
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
    with command.clear_errors():
        main()
