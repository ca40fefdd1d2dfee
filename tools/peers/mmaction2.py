"""mmaction2's own runner: `python -m tools.peers.mmaction2 WORK --config NAME ...`, of requirements-third-party.txt.

Configuration, pipelines and loops are its own; the data, the batch, the workers and the threads are the benchmark's.
`--best` sets what makes PyTorch fast on CPU: kernels and images channels last, and our allocator settings.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from alignment.upstream.mmaction2 import supply_what_the_wheel_lacks
from alignment.upstream.torchvision import torchvision
from runtime import cpu
from tools import measure
from tools.peers import add_flags

CROPS = {"type": "ThreeCrop", "crop_size": 256}
VIEWS = {  # step of a pipeline -> what takes its place for 10 x 3 views
    "SampleFrames": {
        "type": "DenseSampleFrames", "clip_len": 1, "frame_interval": 1, "num_clips": 8, "num_sample_positions": 10,
        "test_mode": True,
    },
    "ThreeCrop": CROPS, "TenCrop": CROPS,
}  # fmt: skip


def main() -> None:
    """Trains for one epoch, tests with one view or with 30, or predicts a folder of videos."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_flags(parser, "train", "val", "test", "predict")
    parser.add_argument("--config", required=True, help="name in mmaction2's configs/recognition")
    parser.add_argument("--best", action="store_true", help="channels last, and our allocator settings")
    args = parser.parse_args()
    if args.best:
        cpu.tune_malloc()

    import torch

    torchvision()  # mmengine imports it, in whatever build it is
    supply_what_the_wheel_lacks()
    import mmaction
    from mmengine.config import Config

    torch.set_num_threads(args.threads)
    config = Config.fromfile(str(Path(mmaction.__file__).parent / ".mim/configs/recognition" / args.config))
    config.model.backbone.update(pretrained=None, pretrained2d=False)
    if args.mode == "predict":
        _predict(config, args)
        return
    _set_data(config, args)
    from mmengine.runner import Runner

    with tempfile.TemporaryDirectory() as folder:
        config.work_dir, config.load_from = folder, args.pretrained
        runner = Runner.from_cfg(config)
        if args.best:
            measure.kernels_last(runner.model)
        if args.mode == "train":
            runner.train()
        else:
            runner.test()


def _set_data(config, args: argparse.Namespace) -> None:
    """The benchmark's videos in mmaction2's pipelines; no evaluation and no checkpoint while training."""
    data = {"ann_file": args.list, "data_prefix": {"video": args.dataset_root}}
    pipeline = config.test_pipeline
    if args.mode == "val":
        pipeline = config.val_pipeline
    elif args.mode == "test":  # 10 x 3 views
        pipeline = [VIEWS.get(step["type"], step) for step in pipeline]
    config.test_dataloader.dataset.pipeline = pipeline
    for name in ("train_dataloader", "test_dataloader"):
        loader = config[name]
        loader.update(batch_size=args.batch_size, num_workers=args.num_workers, persistent_workers=args.num_workers > 0)
        loader.dataset.update(data)
    config.train_cfg.max_epochs = 1
    config.val_cfg = config.val_dataloader = config.val_evaluator = None
    config.optim_wrapper.optimizer.lr = 1e-4
    config.auto_scale_lr = None
    config.default_hooks.checkpoint = {"type": "CheckpointHook", "interval": 1000, "save_last": False}


def _predict(config, args: argparse.Namespace) -> None:
    """As its tutorial does it: one video after the other."""
    from mmaction.apis import inference_recognizer, init_recognizer

    model = init_recognizer(config, args.pretrained, device="cpu")
    if args.best:
        measure.kernels_last(model)
    with open(args.list, encoding="utf-8") as lines:
        names = [line.rpartition(" ")[0] for line in lines]
    for name in names:
        result = inference_recognizer(model, os.path.join(args.dataset_root, name))
        sys.stdout.write(f"{name} {int(result.pred_score.argmax())}\n")


if __name__ == "__main__":
    main()
