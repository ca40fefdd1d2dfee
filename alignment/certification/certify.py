"""Comparisons of this repository's recognizers with their twins, on real clips."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from alignment.certification.data.official import official_data, official_records
from alignment.certification.data.pipeline import compare_data
from alignment.certification.recognizers import recognizer_pair
from alignment.certification.samples import SAMPLES
from alignment.reports.environment import environment
from alignment.reports.report import Report
from alignment.sides.pair import IncomparableError, Pair
from alignment.stages import STAGES
from alignment.suite import TRAIN_STEPS, align_pair
from configs.networks import family_of, model_names, network_of
from configs.presets import preset_for_model
from configs.recipe import network_options


@dataclass(frozen=True)
class Upstream:
    """Third-party code to compare with."""

    pair: Callable[..., Pair]  # as `recognizer_pair`
    models: Sequence[str]  # our names of the models that it has too
    same_initialization: Sequence[str]  # those whose initial weights come from the same distributions as ours
    describe: Callable[[], str]  # its name and version for the report, asked for once it has been loaded


def model_of(text: str) -> tuple[str, dict[str, Any]]:
    """The name of a model and `{"options": ...}` of its network, or nothing, of `NAME` or `NAME,flag=value,...`.

    Raises:
        IncomparableError: There is no such model, or it has no such option, or not of this value.
    """
    name, *pairs = text.split(",")
    if name not in model_names():
        raise IncomparableError(f"--model must be one of {', '.join(model_names())}, got {text}")
    known, options = network_options(), {}
    try:
        for flag, _, value in (pair.partition("=") for pair in pairs):
            kind: Any = type(known[flag].default)
            options[flag] = {"on": True, "off": False}[value] if kind is bool else kind(value)
        network_of(name, **options)
    except KeyError as error:
        raise IncomparableError(
            f"--model {text}: {error} is no option, or no value (of a switch: on or off)"
        ) from error
    except ValueError as error:
        raise IncomparableError(f"--model {text}: {error}") from error
    return name, {"options": options} if options else {}


def certify(
    names: Sequence[str],
    *,
    steps: Sequence[str],
    precisions: Sequence[str],
    frames: int,
    size: int,
    batch: int,
    videos: Sequence[str] = (),
    train_steps: int = TRAIN_STEPS,
    seed: int = 0,
    upstream: Upstream | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Iterator[Report]:
    """Compares each model in each precision.

    Args:
        names: Names of models, each perhaps with options of its network as `NAME,flag=value`; none for all
            that upstream has.
        steps: Stages; `data`, which no model takes part in, goes into the first report. `init` is left out for models
            that upstream draws from other distributions.
        precisions: Of `float64` and `float32`.
        frames, size, batch: Of the clips [batch, frames, 3, size, size]; frames or size 0 takes a small one that the
            model's family has for this.
        videos: Files to cut the clips from; without any, embedded ones are rendered.
        train_steps, seed, progress: See `align_pair`.
        upstream: Third-party code to compare with; None for our PyTorch twins.

    Raises:
        IncomparableError: A name is unknown, or upstream cannot be loaded.
    """
    build = upstream.pair if upstream else recognizer_pair
    names = names or (upstream.models if upstream else ())
    networks = {name: model_of(name) for name in names}
    if upstream and any(options for _, options in networks.values()):
        raise IncomparableError("third-party code is compared as it is: leave the options out of --model")
    with_data = "data" in steps
    for title, (name, options) in networks.items():
        recipe = preset_for_model(name)
        family = family_of(name)
        small_frames, small_size = family.small_clip
        sample = SAMPLES[family.task]
        clips, labels = sample(recipe, frames or small_frames, size or small_size, batch, videos)
        for precision in precisions:
            model_steps = [step for step in steps if step in STAGES and step != "init"]
            show = lambda line, head=f"{title} {precision}": progress(f"{head}: {line}")  # noqa: E731
            report = Report(title, precision, [], environment(), {"seed": seed})
            if model_steps:
                pair = build(name, recipe, clips, labels, seed=seed, **options)
                if options:
                    pair = dataclasses.replace(pair, title=title)
                report = align_pair(
                    pair, steps=model_steps, precision=precision, train_steps=train_steps, seed=seed, progress=show
                )
            if upstream:
                report.settings["reference"] = upstream.describe()
            same = upstream is None or name in upstream.same_initialization
            if "init" in steps and same and precision == precisions[0]:
                fresh = build(name, recipe, clips, labels, seed=seed, randomize=False, **options)
                report.stages += align_pair(fresh, steps=["init"], seed=seed, progress=show).stages
            if with_data:
                with_data = False
                arrays = official_data(seed=seed)
                report.tensors |= arrays
                report.stages.append(compare_data(seed=seed))
                report.stages[-1].records += official_records(arrays)
            yield report
