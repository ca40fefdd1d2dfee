"""Names the action in videos, or draws masks: `python predict.py --video FILE_OR_FRAME_DIR --pretrained FILE`."""

from __future__ import annotations

import argparse
from typing import Any

from configs import cli
from deploy.engines import COMPUTED, ENGINES
from runtime import command
from runtime.errors import UserError


def __getattr__(name: str) -> Any:
    """`from predict import Predictor`, which alone imports what it needs."""
    if name == "Predictor":
        from deploy.predictor import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Flags of the command; the recipe beside the checkpoint decides what they leave open."""
    parser = command.parser(__doc__, "python predict.py --video FILE_OR_FRAME_DIR --pretrained FILE [flags]")
    run = parser.add_argument_group("run")
    run.add_argument(
        "--video", required=True, nargs="+",
        help="video files, folders of frames or of videos, patterns, .txt lists, the number of a camera, or an address",
    )  # fmt: skip
    run.add_argument(
        "--classes",
        help='file of class names, one a line or JSON {"0": name}; or the name of a known list, such as kinetics400',
    )
    run.add_argument("--top", type=command.positive, default=5, help="classes to print")
    cli.add_output_flags(parser)
    cli.add_label_flags(parser)
    cli.add_drawing_flags(parser)
    cli.add_checkpoint_flags(parser)
    cli.add_engine_flags(parser, ENGINES, COMPUTED)
    cli.add_beside_flags(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Wires a checkpoint and videos into names and probabilities, or into masks."""
    args = parse_args(argv)
    from deploy import predictor
    from deploy.addresses import check_allowed, is_live
    from deploy.timeline import command as labels

    for name in args.video:
        check_allowed(name, args.allow_network)
    is_watching = any(map(is_live, args.video))
    if is_watching and args.processes > 1:
        raise UserError(f"--processes {args.processes} share files, and a camera or an address is none: leave it out")
    few = [] if args.output or args.window or is_watching else args.video
    computing = predictor.compute(args, few) if args.processes == 1 else None  # else each process has its own
    from datasets import find_videos
    from deploy import portraits
    from engine.progress import progress
    from tasks import task_of

    open_labeler = predictor.labeler
    if computing:
        if not task_of(computing.recipe).names_videos:
            return portraits.run(args, computing.run, computing.recipe, computing.names, progress)
        labeler = predictor.labeler_of(computing, args)
        if is_watching:
            return labels.watch(args, labeler)
        open_labeler = lambda args: labeler  # noqa: E731
    labels.run(args, open_labeler, find_videos(args.video), predictor.facts(args), progress)


if __name__ == "__main__":
    with command.clear_errors():
        main()
