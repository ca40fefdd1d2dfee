"""Times the forward pass of a clip, ours against PyTorch: `python -m tools.bench_infer`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from configs import cli
from tools import measure
from tools.measure import Engine, Job, Work

GRAPH = "graph"
# This pass makes the export of a 3-D convolution with a reshape before it fail to load (Paddle 3.3.1).
BROKEN_PASS = "operator_reshape_onednn_fuse_pass"


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


def ours_exported(job: Job) -> Work:
    """The exported graph in Paddle Inference with oneDNN."""
    import engine.runtime

    engine.runtime.prepare("cpu", threads=1)
    from paddle import inference

    path = Path(job.directory) / GRAPH
    config = inference.Config(f"{path}.json", f"{path}.pdiparams")
    config.enable_new_ir(True)
    config.enable_new_executor(True)
    config.enable_mkldnn()
    config.set_cpu_math_library_num_threads(1)
    config.delete_pass(BROKEN_PASS)
    config.disable_glog_info()
    predictor = inference.create_predictor(config)
    source = predictor.get_input_handle(predictor.get_input_names()[0])
    source.copy_from_cpu(job.clips)
    result = predictor.get_output_handle(predictor.get_output_names()[0])

    def forward():
        predictor.run()
        return result.copy_to_cpu()

    return forward


def torch_eager(job: Job) -> Work:
    """PyTorch as it comes."""
    return _eager(job)


def torch_channels_last(job: Job) -> Work:
    """PyTorch with what speeds it up without a compiler."""
    return _eager(job, keep_memory=True, channels_last=True)


def _eager(job: Job, keep_memory: bool = False, channels_last: bool = False) -> Work:
    model = measure.torch_model(job, keep_memory, channels_last).eval()
    clips = measure.torch_clips(job, channels_last)
    import torch

    def forward():
        with torch.inference_mode():
            return model(clips).numpy()

    return forward


ENGINES = {
    "ours": Engine("ActionAlign", ours),
    "ours_exported": Engine("ActionAlign, exported, oneDNN", ours_exported),
    "ours_no_tune": Engine("ActionAlign --no_tune", ours_no_tune),
    "torch": Engine("PyTorch eager", torch_eager),
    "torch_channels_last": Engine("PyTorch eager, channels last, allocator set", torch_channels_last),
}


def export(job: Job) -> None:
    """Writes the static graph that `ours_exported` runs."""
    model = measure.paddle_model(job, tune=True)
    import paddle

    model.eval()
    spec = paddle.static.InputSpec([None, *job.clips.shape[1:]], "float32")
    paddle.jit.save(model, str(Path(job.directory) / GRAPH), input_spec=[spec])


def prepare(job: Job, names: Sequence[str]) -> None:
    """Writes weights and, for the engine that needs it, the graph."""
    measure.in_process(measure.make_weights, job)
    if "ours_exported" in names:
        measure.in_process(export, job)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table."""
    title = "Inference: the forward pass of one clip"
    measure.run(title, ENGINES, 1, "largest difference of logits, relative", prepare, argv)


if __name__ == "__main__":
    with cli.clear_errors():
        main()
