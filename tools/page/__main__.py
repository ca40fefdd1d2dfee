"""Opens a page that labels videos in the browser: `python -m tools.page --pretrained FILE`, or `--model_dir DIR`.

A clip is dropped, chosen or recorded; the page says which classes come first over time, shows the frames that were
looked at, and why. It needs no network and listens to this machine alone; a video is gone when it has been answered.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs import cli
from configs.limits import STRANGERS
from deploy.engines import COMPUTED, ENGINES, open_engine
from runtime import command
from runtime.errors import UserError

if TYPE_CHECKING:
    from tools.page.answer import Network

ANYWHERE = ("0.0.0.0", "::")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Flags of the command."""
    parser = command.parser(__doc__ or "", "python -m tools.page (--pretrained FILE... | --model_dir DIR...) [flags]")
    run = parser.add_argument_group("run")
    source = run.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--pretrained", nargs="+", metavar="FILE", help="weights; recipe.json and classes.txt are read beside each"
    )
    source.add_argument("--model_dir", nargs="+", metavar="DIR", help="folders that deploy.export wrote")
    cli.add_weights_flag(run)
    run.add_argument("--classes", help="file of class names, or the name of a known list")
    run.add_argument("--port", type=command.count, default=7860, help="port to listen on; 0 takes a free one")
    run.add_argument("--max_seconds", type=command.positive, default=120, help="longest video that is taken")
    cli.add_server_flags(run)
    cli.add_engine_flags(parser, ENGINES, COMPUTED)
    cli.add_device_flags(parser)
    cli.add_limit_flags(parser, STRANGERS)
    cli.add_recipe_flags(parser, ("model", "frames", "pixels"), beside_weights=True)
    return parser.parse_args(argv)


def networks_of(args: argparse.Namespace) -> list[Network]:
    """What the flags name, ready to compute.

    Raises:
        UserError: One cannot be read, or names no class of a video.
    """
    return [_artifact(place, args) for place in args.model_dir or ()] or [
        _checkpoint(place, args) for place in args.pretrained
    ]


def _checkpoint(place: str, args: argparse.Namespace) -> Network:
    from deploy import predictor
    from tools.page.answer import Network

    ready = {
        views: predictor.compute(argparse.Namespace(**vars(args) | {"pretrained": place, "views": views}))
        for views in reversed(cli.VIEWS)  # the quick ones first
    }
    return Network(place, ready)


def _artifact(place: str, args: argparse.Namespace) -> Network:
    from deploy.artifact import open_artifact
    from deploy.predictor import Computing
    from tools.page.answer import Network

    if args.engine == "dygraph" or args.classes or cli.asked(args) != cli.Asked():
        raise UserError(
            f"{place} has its recipe and names: --engine dygraph, --classes and the recipe's flags are for --pretrained"
        )
    artifact = open_artifact(place)
    name = None if args.engine == "auto" else args.engine
    precision = None if args.precision == "fp32" else args.precision
    engine = open_engine(name, place, precision, threads=args.threads)
    computing = Computing(engine, artifact.recipe, list(artifact.class_names), None, engine.facts["engine"])
    return Network(place, {artifact.record["views"]: computing})


def main(argv: Sequence[str] | None = None) -> None:
    """Takes the port, loads the networks, and answers until a signal comes."""
    args = parse_args(argv)
    from deploy.reception import Reception, listen, serve
    from tools.page.answer import Answerer
    from tools.page.application import application

    with listen(args.host, args.port) as listener:
        networks = networks_of(args)
        answerer = Answerer(networks, cli.limits_of(args), args.max_seconds, args.timeout_s, args.views_per_pass)
        reception = Reception(args.max_megabytes, args.timeout_s)
        port = listener.getsockname()[1]
        hosts = ["*"] if args.host in ANYWHERE else [args.host, "localhost", "127.0.0.1"]
        command.say(*(f"{Path(one.place).name}: {one.model}" for one in networks))
        command.say(f"the page is at http://{args.host}:{port} until Ctrl-C")
        serve(application(answerer, reception, hosts), reception, listener)


if __name__ == "__main__":
    with command.clear_errors():
        main()
