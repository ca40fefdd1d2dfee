"""Converts public checkpoints to ours, and ours to theirs: `python -m tools.convert IN OUT --model NAME`."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from configs import Recipe, cli
from configs.options import fields_of
from configs.recipe import known_options
from runtime import command
from runtime.errors import UserError
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
    if args.labels and args.target != "ours":
        raise CheckpointError(f"--labels {args.labels}: the layout {args.target} keeps no class names, leave it out")
    formats = [".pdparams"] if args.target == "ours" else list(WRITERS)
    if out.suffix not in formats:
        raise CheckpointError(f"OUT must be {', '.join(formats)}, got {out}")
    beside = [out.parent / name for name in ("recipe.json", "classes.txt")] if args.target == "ours" else []
    for path in (out, *beside):
        if path.exists():
            raise CheckpointError(f"{path} exists already: choose another folder, or remove it")

    from engine import checkpoint
    from runtime import preparation

    preparation.prepare("cpu", 0)

    from engine.pretrained import load_pretrained, names_of_weights

    model, recipe, coverage = load_pretrained(args.pretrained, cli.asked(args), args.source, args.partial)
    _require_same_network(recipe, args.target)
    print(f"{args.pretrained} ({coverage.layout}) as {recipe.network.model}\n{coverage.table()}")
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items() if name in coverage.loaded}
    contents = {out: WRITERS[out.suffix](to_layout(arrays, args.target), LAYOUTS[args.target].key)}
    if args.target == "ours":
        contents[beside[0]] = recipe.to_json().encode()
        if names := names_of_weights(args.pretrained, recipe.network.num_classes, names=args.labels):
            contents[beside[1]] = "".join(f"{name}\n" for name in names).encode()
        else:
            print("class names: not known from the file; --labels NAME gives them")
    else:
        print(f"build it there as: {_config_of(recipe)}")
    checkpoint.prepare_directory(out.parent)
    for path, content in contents.items():
        checkpoint.write_atomically(path, content)
    print(f"written: {', '.join(map(str, contents))}")


def _require_same_network(recipe: Recipe, target: str) -> None:
    """Raises CheckpointError if the target's own code would make another network of these weights."""
    layout, is_shifted = LAYOUTS[target], recipe.network.model.startswith("tsm")
    if target == "ours":
        return
    if is_shifted and not (layout.wraps or layout.hides):
        raise CheckpointError(
            f"{target} has no temporal shift: there the weights of {recipe.network.model} would be a TSN"
        )
    if layout.segments_divide and recipe.network.model == "tsm_r101":
        raise CheckpointError(f"{target} shifts in every block of ResNet-101, ours in every second")
    values = recipe.options()
    fixed = [name for name, f in fields_of(type(recipe.network)).items() if f.metadata["of_weights"]]
    expected = {name: layout.network.get(name, known_options()[name].default) for name in fixed}
    if is_shifted:
        expected |= _built_in_shift(recipe, target)
    for name, value in expected.items():
        if values[name] != value:
            raise CheckpointError(
                f"{name} is {values[name]} in the recipe, and {value} is built into {target}: "
                "there the weights would be another network"
            )


def _built_in_shift(recipe: Recipe, target: str) -> dict[str, Any]:
    if LAYOUTS[target].segments_divide:
        fixed = {"shift_direction": "paddle", "shift_div": recipe.clip.num_segments}
        return {**fixed, "shift_place": "blockres", "temporal_pool": False}
    return {"shift_direction": "online" if LAYOUTS[target].hides else "mit"}


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
