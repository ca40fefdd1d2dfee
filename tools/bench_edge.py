"""Times all engines and int8 beside PyTorch, and weighs their files: `python -m tools.bench_edge`."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy import engines
from deploy.artifact import CLASSES, RECIPE, open_artifact, write_record
from deploy.formats import FORMATS
from deploy.interface import QUANTIZED
from runtime import command
from tools import bench_infer, measure
from tools.bench_infer import ARTIFACT
from tools.measure import Engine, Job, Work

INT8 = "int8"
CLIPS = 16  # noise, for the ranges of int8; how right it is, tests on data say
MODELS = (
    "shufflenet3d_x0_25", "mobilenet3d_x0_45", "tsm_mobilenet_v2", "tsn_mobilenet_v2", "tsm_r50", "tsn_r50", "mvf_r50",
)  # fmt: skip


def of_clips(job: Job, engine: str) -> Work:
    """The exported graph."""
    run = engines.open_engine(engine, Path(job.directory) / ARTIFACT, "fp32", threads=1)
    return lambda: run(job.clips)


def of_int8(job: Job, engine: str) -> Work:
    """The quantized graph."""
    run = engines.open_engine(engine, Path(job.directory) / INT8, QUANTIZED, threads=1)
    return lambda: run(job.clips)


def rows(work: Callable[..., Work]) -> dict[str, Engine]:
    """A row for each engine, and PyTorch's."""
    found = {name: Engine(kind.title, functools.partial(work, engine=name)) for name, kind in engines.ENGINES.items()}
    return {**found, "torch": Engine("PyTorch eager", bench_infer.torch_eager)}


QUANTIZED_ROWS = {
    f"{name}_int8": Engine(f"{kind.title}, int8", functools.partial(of_int8, engine=name))
    for name, kind in engines.ENGINES.items()
    if QUANTIZED in kind.precisions
}
ENGINES = rows(of_clips) | QUANTIZED_ROWS


def prepare(job: Job, names: Sequence[str]) -> None:
    """Writes weights and the artifacts, in fp32 and, where it is asked for, in int8."""
    measure.in_process(measure.make_weights, job)
    measure.in_process(bench_infer.export, job, formats_of(names))
    if set(names) & set(QUANTIZED_ROWS):
        measure.in_process(_quantize, job)


def formats_of(names: Sequence[str]) -> tuple[str, ...]:
    """Those that the rows of these names read."""
    wanted = [kind.formats[0] for name, kind in engines.ENGINES.items() if {name, f"{name}_int8"} & set(names)]
    return tuple(dict.fromkeys(wanted))


def _quantize(job: Job) -> None:
    import numpy as np

    from deploy.quantize import GRAPH, quantize_graph

    artifact, folder = open_artifact(Path(job.directory) / ARTIFACT), Path(job.directory) / INT8
    folder.mkdir()
    for name in (RECIPE, CLASSES):
        shutil.copy(artifact.directory / name, folder / name)
    clips = np.random.default_rng(8).standard_normal((CLIPS, 1, *job.clips.shape[1:]), dtype=np.float32)
    quantize_graph(artifact.graph("onnx").files[0], folder / GRAPH, list(clips), "minmax")
    kept = {name: value for name, value in artifact.record.items() if name not in ("files", "parity", "version")}
    write_record(folder, {**kept, "precision": QUANTIZED})


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
