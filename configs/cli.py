"""Command-line flags made from the recipe's fields, and the way from parsed flags to a recipe."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from configs.limits import Limits
from configs.options import Options, fields_of
from configs.presets import PRESETS, get_preset, preset_for_model
from configs.recipe import Clip, Pixels, Recipe, Training, known_options, network_options
from runtime import command

AnyOptions = TypeVar("AnyOptions", bound=Options)
VIEWS = {"full": "test", "quick": "val"}  # --views -> mode of the data set
# Group of flags -> the options in it.
GROUPS: dict[str, Callable[[], dict[str, dataclasses.Field[Any]]]] = {
    "model": network_options,
    "frames": lambda: fields_of(Clip),
    "pixels": lambda: fields_of(Pixels),
    "optimization": lambda: fields_of(Training),
}


@dataclass(frozen=True)
class Asked:
    """What a command line says of the recipe.

    Attributes:
        preset: Name of a preset; empty if none was named.
        options: Flag name -> value, of the flags that were given.
    """

    preset: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def recipe(self, base: Recipe | None = None) -> Recipe:
        """The preset, or else base, or else the nearest preset of the model, then each option that was given.

        Raises:
            RecipeError: A value is out of its range, or an option belongs to another family than the model.
        """
        given = dict(self.options)
        if self.preset:
            base = get_preset(self.preset)
        elif base is None:
            base = preset_for_model(given["model"]) if "model" in given else Recipe()
        training = base.training
        epochs = given.get("max_epochs", training.max_epochs)
        if "warmup_epochs" not in given and training.schedule == "cosine" and training.warmup_epochs >= epochs:
            # A run that is shorter than the warm-up of its recipe warms up for the same fraction of it.
            given["warmup_epochs"] = training.warmup_epochs * epochs / training.max_epochs
        return base.with_(**given)


def asked(args: argparse.Namespace) -> Asked:
    """What the flags of a parser with `add_recipe_flags` say of the recipe."""
    known = known_options()
    return Asked(args.preset or "", {name: value for name, value in vars(args).items() if name in known})


def add_recipe_flags(
    parser: argparse.ArgumentParser, groups: tuple[str, ...] = tuple(GROUPS), *, beside_weights: bool = False
) -> None:
    """Adds one flag for each option of the groups; a flag that is not given leaves no attribute behind.

    Args:
        parser: Of a command; what few people need goes last, so this is called last.
        groups: Keys of GROUPS.
        beside_weights: Whether a recipe beside weights says what the flags leave open, for the help text.
    """
    section = parser.add_argument_group("recipe", _WHERE_FROM[beside_weights])
    section.add_argument("--preset", choices=sorted(PRESETS), metavar="NAME", help=f"one of {', '.join(PRESETS)}")
    shown = {} if beside_weights else {name: option.default for name, option in known_options().items()}
    shown |= Recipe().options() if shown else {}
    for group in groups:
        section = parser.add_argument_group(f"recipe: {group}")
        for name, option in GROUPS[group]().items():
            default = f" (default: {_as_flag(shown[name])})" if name in shown else ""
            _add_flag(section, name, option, option.metadata["help"] + default)


_WHERE_FROM = {
    False: "What the flags leave open is the preset's, or that of the preset nearest to --model, or the default below.",
    True: "Seldom needed: what the flags leave open is in recipe.json beside the weights, or seen in a public file.",
}


def add_device_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what prepares the process: device, threads, and the switch of the CPU settings."""
    section = parser.add_argument_group("process")
    section.add_argument("--device", default="auto", help="cpu, gpu, gpu:N, or auto")
    section.add_argument(
        "--threads", type=command.count, default=0, help="threads of one operation; 0: OMP_NUM_THREADS, or all cores"
    )
    section.add_argument(
        "--no_tune",
        action="store_true",
        help="leave the allocator and the MKL vector path as they come, and all operators to Paddle",
    )


def add_limit_flags(parser: argparse.ArgumentParser, defaults: Limits | None = None) -> None:
    """Adds what one video or picture may cost."""
    section = parser.add_argument_group("limits", "A video or picture beyond them is refused.")
    add_options(section, defaults or Limits())
    parser.set_defaults(limits=defaults or Limits())


def limits_of(args: argparse.Namespace) -> Limits:
    """The limits that the flags of `add_limit_flags` set."""
    defaults: Limits = args.limits
    return options_of(args, defaults)


def add_options(section: argparse._ArgumentGroup, defaults: Options) -> None:
    """Adds one flag for each option of a group."""
    for name, option in fields_of(type(defaults)).items():
        value = getattr(defaults, option.name)
        shown = "" if value == () else _as_flag(value)
        _add_flag(section, name, option, option.metadata["help"] + (f" (default: {shown})" if shown else ""))


def options_of(args: argparse.Namespace, defaults: AnyOptions) -> AnyOptions:
    """The defaults with what the flags of `add_options` set."""
    fields = fields_of(type(defaults))
    return dataclasses.replace(
        defaults, **{fields[name].name: value for name, value in vars(args).items() if name in fields}
    )


def add_checkpoint_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what every command that uses a checkpoint has: the weights, and which views to take."""
    section = parser.add_argument_group("checkpoint")
    section.add_argument("--pretrained", required=True, help="weights; recipe.json and classes.txt are read beside")
    add_weights_flag(section)
    section.add_argument(
        "--views", choices=tuple(VIEWS), default="full", help="full: the recipe's test views; quick: one center view"
    )


def add_weights_flag(section: argparse._ActionsContainer) -> None:
    """Adds what chooses among the sets of weights in one file, for every command that reads one."""
    section.add_argument(
        "--weights", default="auto", metavar="ema|raw|KEY",
        help="of a file with several: ema (a moving average), raw (what it averages), or the keys of the file that "
        "lead to them, joined by dots; auto: ema where a file has both (default: %(default)s)",
    )  # fmt: skip


def add_beside_flags(parser: argparse.ArgumentParser) -> None:
    """Adds, last, the process, the limits and the recipe's flags that fit a checkpoint."""
    add_device_flags(parser)
    add_limit_flags(parser)
    add_recipe_flags(parser, ("model", "frames", "pixels"), beside_weights=True)


def add_engine_flags(parser: argparse.ArgumentParser, engines: Iterable[str], precisions: Iterable[str]) -> None:
    """Adds what chooses the engine of a command that computes from a checkpoint.

    Args:
        parser: Of the command.
        engines: Those of deploy, beside which the model itself may compute.
        precisions: In which they compute.
    """
    section = parser.add_argument_group("engine")
    section.add_argument(
        "--engine", choices=("auto", "dygraph", *engines), default="auto",
        help="what computes: the model itself (dygraph), or an engine from its graph; auto (default): on CPU the "
        "fastest engine that is installed, else dygraph",
    )  # fmt: skip
    section.add_argument(
        "--no_cache", action="store_true", help="keep no graph in ~/.cache/actionalign, and take none from there"
    )
    section.add_argument("--precision", choices=tuple(precisions), default="fp32", help="of the engine")
    section.add_argument(
        "--views_per_pass", type=command.count, default=0, help="views in one forward pass; 0: 64 frames"
    )


def add_server_flags(section: argparse._ActionsContainer) -> None:
    """Adds where a server listens, but for its port, and what it takes."""
    section.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    section.add_argument("--max_megabytes", type=command.positive, default=64, help="largest video that is taken")
    section.add_argument(
        "--patience", dest="timeout_s", type=command.positive, default=120,
        help="seconds in which a request must have come whole, may wait for its turn, and may be answered at the end",
    )  # fmt: skip


def add_label_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what labels long videos, cameras and many files."""
    section = parser.add_argument_group("labels over time")
    section.add_argument(
        "--window", type=float, default=0.0, help="seconds of a window that slides over a video; 0: the whole video"
    )
    section.add_argument(
        "--stride", type=float, default=0.0, help="seconds from one window to the next; 0: as long as the window"
    )
    section.add_argument(
        "--source_fps", type=float, default=0.0, help="frames a second of a folder, or of a file that does not say"
    )
    section.add_argument("--processes", type=command.positive, default=1, help="that share the videos")
    section.add_argument(
        "--features", default="",
        help="file .npz or .parquet for what the classifier sees of each window, for search and clustering",
    )  # fmt: skip


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """Adds where results go, and what else a source may be."""
    section = parser.add_argument_group("output and sources")
    section.add_argument(
        "--output",
        help="labels: .csv .json .jsonl .srt .vtt .parquet .html, or .mp4 with the labels drawn on it; {name} in it "
        "stands for the name of each video; masks: a video, a picture, or a folder for a picture of each frame",
    )  # fmt: skip
    section.add_argument("--seconds", type=float, default=0.0, help="end a camera after so long; 0: at Ctrl-C")
    section.add_argument("--allow_network", action="store_true", help="let --video be an address")


def add_drawing_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what draws masks."""
    section = parser.add_argument_group("masks", "Of networks that give a mask.")
    section.add_argument(
        "--background", default="mask",
        help="behind the person: blur, a color as #00ff00, or the file of a picture; mask: draw the mask itself",
    )  # fmt: skip
    section.add_argument(
        "--smoothing", type=float, default=0.0, help="how much of the mask before goes into each of a video, below 1"
    )


def _add_flag(section: argparse._ArgumentGroup, name: str, option: dataclasses.Field[Any], help: str) -> None:
    common: dict[str, Any] = {"default": argparse.SUPPRESS, "help": help}
    if isinstance(option.default, bool):
        section.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, **common)
        return
    choices = option.metadata["choices"] or None
    metavar = "|".join(choices) if choices else name.upper()
    kind = _parser_of(name, option.default)
    section.add_argument(f"--{name}", type=kind, choices=choices, metavar=metavar, **common)


def _as_flag(value: Any) -> str:
    """A value as it is written behind its flag."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _parser_of(name: str, default: Any) -> Callable[[str], Any]:
    if name == "flip_pairs":
        return _pairs
    if isinstance(default, tuple):
        return _numbers(type(default[0]) if default else int)
    return type(default)


def _pairs(text: str) -> tuple[tuple[int, int], ...]:
    pairs = (pair.split("-") for pair in text.split(",") if pair)
    return tuple((int(left), int(right)) for left, right in pairs)


def _numbers(kind: type) -> Callable[[str], tuple[Any, ...]]:
    def numbers(text: str) -> tuple[Any, ...]:
        return tuple(kind(part) for part in text.split(",") if part)

    return numbers
