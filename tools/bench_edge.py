"""Times all engines and int8 beside PyTorch, and weighs their files: `python -m tools.bench_edge`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy import engines
from deploy.artifact import open_artifact
from deploy.formats import FORMATS
from deploy.interface import QUANTIZED
from runtime import command
from tools import bench_infer, measure
from tools.bench_infer import ARTIFACT, exported, row_of
from tools.measure import Engine, Job, Work

INT8 = "int8"
CLIPS = 16  # noise, for the ranges of int8; how right it is, tests on data say
MODELS = (
    "shufflenet3d_x0_25", "mobilenet3d_x0_45", "tsm_mobilenet_v2", "tsn_mobilenet_v2", "tsm_r50", "tsn_r50", "mvf_r50",
)  # fmt: skip


def rows(work: Callable[..., Work]) -> dict[str, Engine]:
    """A row for each engine, and PyTorch's."""
    found = {name: Engine(kind.title, functools.partial(work, engine=name)) for name, kind in engines.ENGINES.items()}
    return {**found, "torch": Engine("PyTorch eager", bench_infer.torch_eager)}


QUANTIZED_ROWS = {
    row_of(name, QUANTIZED): Engine(
        f"{kind.title}, {QUANTIZED}", functools.partial(exported, engine=name, precision=QUANTIZED, folder=INT8)
    )
    for name, kind in engines.ENGINES.items()
    if QUANTIZED in kind.precisions
}
ENGINES = rows(functools.partial(exported, precision="fp32")) | QUANTIZED_ROWS


def prepare(job: Job, names: Sequence[str]) -> None:
    """Writes weights and the artifacts, in fp32 and, where it is asked for, in int8."""
    measure.in_process(measure.make_weights, job)
    measure.in_process(bench_infer.export, job, bench_infer.formats_of(names))
    if set(names) & set(QUANTIZED_ROWS):
        measure.in_process(_quantize, job)


def _quantize(job: Job) -> None:
    import numpy as np

    from deploy.quantize import write_int8

    folder = Path(job.directory) / INT8
    folder.mkdir()
    clips = np.random.default_rng(8).standard_normal((CLIPS, 1, *job.clips.shape[1:]), dtype=np.float32)
    write_int8(open_artifact(Path(job.directory) / ARTIFACT), folder, list(clips), "minmax")


def size_of(job: Job, name: str) -> int:
    """Bytes of the files that an engine reads."""
    engine, _, precision = name.partition("_")
    if engine not in engines.ENGINES:
        return job.weights.stat().st_size
    folder = Path(job.directory) / (INT8 if precision else ARTIFACT)
    return sum((folder / file).stat().st_size for file in FORMATS[engines.ENGINES[engine].formats[0]].files)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table."""
    title, values = "Edge: the forward pass of one clip", "largest difference of logits, relative"
    measure.run(title, ENGINES, 1, values, prepare, argv, models=MODELS, size_of=size_of)


if __name__ == "__main__":
    with command.clear_errors():
        main()
