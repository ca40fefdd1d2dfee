"""Holds every network in every engine against Paddle's dygraph, and prints a table: `python -m tools.parity`.

The weights are random, with the statistics that BatchNorm finds in the clips; how far logits may be is
`deploy.parity.TOLERANCE` of the largest. What an engine cannot do is named in its place.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from configs.networks import family_of, model_names
from deploy.artifact import RECORD
from deploy.engines import ENGINES, readers
from deploy.formats import FORMATS
from deploy.parity import ParityError
from runtime import command
from runtime.errors import UserError
from tools import bench_infer, measure
from tools.bench_infer import ARTIFACT
from tools.measure import Job

# Frames and side of the clips: small ones, of which something is left behind the last stage.
CLIP, CLIPS = (8, 64), {"c3d": (16, 112), "i3d_inception": (16, 96)}
CLIPS |= {name: (16, 112) for name in model_names() if name.startswith("mobilenet3d")}


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a line for each network; raises ParityError where an engine computes something else."""
    parser = command.parser(__doc__, "python -m tools.parity [flags]")
    parser.add_argument("--models", nargs="+", default=list(model_names()), help="names of models (default: all)")
    args = parser.parse_args(argv)
    command.say(
        "Largest difference of logits from those of Paddle's dygraph, relative to the largest.", "",
        f"| model | clips | {' | '.join(kind.title for kind in ENGINES.values())} |", "|---" * (len(ENGINES) + 2) + "|",
    )  # fmt: skip
    failed = []
    for model in args.models:
        family = family_of(model)
        usual = CLIP if family.task == "classification" else family.small_clip
        frames, size = CLIPS.get(model, usual)
        with tempfile.TemporaryDirectory() as directory:
            job = Job(model, frames, size, 1, 10, directory)
            measure.in_process(measure.make_weights, job)
            figures = _figures(job)
        cells = [figures.get(name, "") for name in ENGINES]
        command.say(f"| {model} | {frames} x {size}² | {' | '.join(cells)} |")
        failed += [f"{model} in {name}" for name, cell in zip(ENGINES, cells, strict=True) if not cell]
    if failed:
        raise UserError(f"no figure of {', '.join(failed)}")


def _figures(job: Job) -> dict[str, str]:
    """Engine -> its figure, or why there is none."""
    forms = list(dict.fromkeys(kind.formats[0] for kind in ENGINES.values()))
    lacking = [form for form in forms if FORMATS[form].lack]
    found = {name: "not installed" for form in lacking for name in readers(form)}
    there = [form for form in forms if form not in lacking]
    try:
        return found | _exported(job, there)
    except ParityError:
        raise
    except UserError:  # of one of them: each by itself tells which
        for form in there:
            try:
                found |= _exported(job, [form])
            except ParityError:
                raise
            except UserError as error:
                found |= dict.fromkeys(readers(form), f"refused: {error}")
    return found


def _exported(job: Job, forms: Sequence[str]) -> dict[str, str]:
    """Engine -> its figure for a graph in one of these formats."""
    measure.in_process(bench_infer.export, job, tuple(forms))
    record = json.loads((Path(job.directory) / ARTIFACT / RECORD).read_text())
    return {name: f"{figures['relative']:.0e}" for name, figures in record["parity"].items()}


if __name__ == "__main__":
    with command.clear_errors():
        main()
