"""Names the action in a video, or draws masks: `python predict.py --video FILE_OR_FRAME_DIR --pretrained FILE`."""

from __future__ import annotations

import argparse

from configs import cli
from deploy.engines import COMPUTED, ENGINES
from deploy.interface import Settings
from runtime import command


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Flags of the command; the recipe beside the checkpoint decides what they leave open."""
    parser = command.parser(__doc__, "python predict.py --video FILE_OR_FRAME_DIR --pretrained FILE [flags]")
    run = parser.add_argument_group("run")
    run.add_argument("--video", required=True, nargs="+", help="video files, folders of frames, or of videos")
    run.add_argument(
        "--classes",
        help='file of class names, one a line or JSON {"0": name}; or the name of a known list, such as kinetics400',
    )
    run.add_argument("--top", type=command.positive, default=5, help="classes to print")
    cli.add_drawing_flags(parser)
    cli.add_checkpoint_flags(parser)
    cli.add_engine_flags(parser, ENGINES, COMPUTED)
    cli.add_beside_flags(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Wires a checkpoint and videos into names and probabilities."""
    args = parse_args(argv)
    from runtime import preparation

    preparation.prepare(args.device, args.threads, tune=not args.no_tune)

    from datasets import unlabeled
    from deploy import portraits
    from deploy.compiled import MANY_VIEWS, compiled
    from engine.evaluation import run_of
    from engine.log import progress
    from engine.pretrained import load_pretrained
    from tasks import task_of
    from tasks.class_names import class_names_beside

    loaded = load_pretrained(args.pretrained, cli.asked(args), which=args.weights)
    recipe = loaded.recipe
    task = task_of(recipe)
    names = class_names_beside(args.pretrained, recipe.network.num_classes, names=args.classes)
    paths = [] if args.output else task.find(args.video)
    dataset = task.dataset(unlabeled(paths), recipe, cli.VIEWS[args.views], cli.limits_of(args))
    num_views, *clip_shape = dataset.sample_shape
    kept = "" if args.no_cache else recipe.to_json()
    settings, before = Settings(args.precision, args.threads, tune=not args.no_tune), recipe.network.family.engines
    views = num_views * len(dataset) or MANY_VIEWS  # how many frames a video has, nobody knows yet
    model, _ = compiled(loaded.model, clip_shape, views, args.engine, settings, kept, before)
    if args.output:
        drawing = portraits.Portraits(run_of(model), task, recipe, args, cli.limits_of(args))
        return portraits.run(args, drawing, progress)
    for index, path in enumerate(paths):
        scores = task.scores(run_of(model), dataset.views(index)[None], recipe, args.views_per_pass)[0]
        if len(paths) > 1:
            command.say(path)
        command.say(*task.prediction_lines(scores, names, args.top))


if __name__ == "__main__":
    with command.clear_errors():
        main()
