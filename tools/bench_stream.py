"""Times a frame of a stream in every engine: `python -m tools.bench_stream`.

The network has kept what it needs of the frames before. PyTorch's sees this one frame, as if it were the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from configs import get_preset
from deploy import engines
from deploy.interface import Stream
from runtime import command
from tools import bench_edge, bench_infer, measure
from tools.bench_infer import ARTIFACT
from tools.measure import Job, Work

MODELS = ("tsm_mobilenet_v2", "tsm_r50")
_NETWORK = get_preset("jester_tsm_online_mobilenet_v2").network
ONLINE = {name: getattr(_NETWORK, name) for name in _NETWORK.own_options()}  # of a TSM that looks back alone


class StreamJob(Job):
    """Frames for a network for streams."""

    @property
    def options(self) -> dict[str, Any]:
        """See Job."""
        return {**super().options, **ONLINE}


def of_frames(job: Job, engine: str) -> Work:
    """The first step of a stream."""
    run = engines.open_engine(engine, Path(job.directory) / ARTIFACT, "fp32", threads=1)
    frame, logits = run.signature.inputs[0].name, run.signature.outputs[0].name
    return lambda: Stream(run).step({frame: job.clips[:, 0]})[logits]


ENGINES = bench_edge.rows(of_frames)


def prepare(job: Job, names: Sequence[str]) -> None:
    """Writes weights, whose statistics are those of several frames, and the artifact."""
    measure.in_process(measure.make_weights, replace(job, num_frames=8))
    measure.in_process(_export, job, bench_infer.formats_of(names))


def _export(job: Job, formats: Sequence[str]) -> None:
    bench_infer.export(job, formats, "--stream", test_clips=1, **ONLINE)


def one_frame(model: str, _: int, *rest: Any) -> StreamJob:
    """The job of a clip of one frame."""
    return StreamJob(model, 1, *rest)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table."""
    title, values = "Edge: one frame of a stream", "largest difference of logits, relative"
    measure.run(
        title, ENGINES, 1, values, prepare, argv, make_job=one_frame, models=MODELS, quick_models=("tsm_tiny",),
        size_of=bench_edge.size_of,
    )  # fmt: skip


if __name__ == "__main__":
    with command.clear_errors():
        main()
