"""Times the forward pass of a clip, ours against PyTorch and every engine of deploy: `python -m tools.bench_infer`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs import Recipe
from configs.networks import family_of
from deploy import engines
from deploy.engines import COMPUTED
from runtime import command
from tasks import TASKS
from tools import measure
from tools.measure import Engine, Job, Work

ARTIFACT = "artifact"


def ours(job: Job) -> Work:
    """As `test.py` and `predict.py` run it."""
    return _dynamic(job, tune=True)


def ours_no_tune(job: Job) -> Work:
    """The same under --no_tune."""
    return _dynamic(job, tune=False)


def _dynamic(job: Job, tune: bool) -> Work:
    model = measure.paddle_model(job, tune)
    import paddle

    model.eval()
    clips = paddle.to_tensor(job.clips)

    def forward():
        with paddle.no_grad():
            return model(clips).numpy()

    return forward


def exported(job: Job, engine: str, precision: str, folder: str = ARTIFACT) -> Work:
    """The artifact of `deploy.export`, or another one, in one of its engines, as `deploy.infer` opens it."""
    run = engines.open_engine(engine, Path(job.directory) / folder, precision, threads=1)
    return lambda: run(job.clips)


def torch_eager(job: Job) -> Work:
    """PyTorch as it comes."""
    return _eager(job)


def torch_channels_last(job: Job) -> Work:
    """PyTorch with what speeds it up without a compiler."""
    return _eager(job, keep_memory=True, channels_last=True)


def torch_compiled(job: Job) -> Work:
    """PyTorch compiled by inductor, with weights frozen into the code."""
    from runtime import preparation

    preparation.tune_malloc()
    model = measure.torch_model(job).eval()
    clips = measure.torch_clips(job)
    import torch
    import torch._inductor.config

    torch._inductor.config.freezing = True
    compiled = torch.compile(model)

    def forward():
        with torch.no_grad():  # freezing does nothing in inference mode
            return compiled(clips).numpy()

    return forward


def _eager(job: Job, keep_memory: bool = False, channels_last: bool = False) -> Work:
    model = measure.torch_model(job, keep_memory, channels_last).eval()
    clips = measure.torch_clips(job, channels_last)
    import torch

    def forward():
        with torch.inference_mode():
            return model(clips).numpy()

    return forward


def _exported_rows() -> dict[str, Engine]:
    """A row for each engine and precision that the exported graph has, fp32 first."""
    rows = {}
    for precision in COMPUTED:
        for name, kind in engines.ENGINES.items():
            if precision in kind.precisions:
                words = "" if precision == "fp32" else f", {precision}"
                work = functools.partial(exported, engine=name, precision=precision)
                rows[row_of(name, precision)] = Engine(f"ActionAlign exported, {kind.title}{words}", work)
    return rows


def row_of(engine: str, precision: str) -> str:
    """The name of an engine's row."""
    return engine if precision == "fp32" else f"{engine}_{precision}"


EXPORTED = _exported_rows()
ENGINES = {
    "ours": Engine("ActionAlign", ours),
    **EXPORTED,
    "ours_no_tune": Engine("ActionAlign --no_tune", ours_no_tune, rounds=1),
    "torch": Engine("PyTorch eager", torch_eager),
    "torch_channels_last": Engine("PyTorch eager, channels last, allocator set", torch_channels_last),
    "torch_compiled": Engine("PyTorch compiled and frozen, allocator set", torch_compiled),
}


def export(job: Job, formats: Sequence[str], *flags: str, **options: Any) -> None:
    """Writes the certified artifact that exported engines run, of a model with these options."""
    from deploy import export

    sides = dict.fromkeys(("short_side", "crop_size", "test_size"), job.size)
    recipe = Recipe.of(model=job.model, num_segments=1, clip_len=job.num_frames, num_classes=job.num_classes, **sides,
                       best_metric=TASKS[family_of(job.model).task].metrics[0], **options)  # fmt: skip
    folder = Path(job.directory)
    (folder / "recipe.json").write_text(recipe.to_json())
    export.main(["--pretrained", str(folder / "weights.npz"), "--output", str(folder / ARTIFACT), "--formats", *formats,
                 "--views", "quick", *flags])  # fmt: skip


def prepare(job: Job, names: Sequence[str]) -> None:
    """Writes weights and, for the engines that need it, the artifact."""
    measure.in_process(measure.make_weights, job)
    if formats := formats_of(names):
        measure.in_process(export, job, formats)


def formats_of(names: Sequence[str]) -> tuple[str, ...]:
    """The formats of what the rows of these names read."""
    wanted = [
        kind.formats[0]
        for engine, kind in engines.ENGINES.items()
        if {row_of(engine, precision) for precision in engines.PRECISIONS} & set(names)
    ]
    return tuple(dict.fromkeys(wanted))


def multiply_adds(job: Job) -> int:
    """Multiply-adds of convolutions and classifier for the job's clips."""
    from tools import summary

    costs = summary.measure(job.model, job.num_classes, job.num_frames, job.size)
    return job.batch * sum(cost.multiply_adds for cost in costs.values())


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table."""
    title = "Inference: the forward pass of one clip"
    measure.run(title, ENGINES, 1, "largest difference of logits, relative", prepare, argv, multiply_adds)


if __name__ == "__main__":
    with command.clear_errors():
        main()
