"""A side of a comparison: what it leaves behind."""

import gc
import weakref

import numpy as np
import paddle
import pytest
import torch

from alignment.sides.paddle_run import PaddleRun
from alignment.sides.torch_run import TorchRun


@pytest.mark.parametrize(
    ("kind", "model", "arguments"),
    [
        (TorchRun, torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU()), ()),
        (PaddleRun, paddle.nn.Sequential(paddle.nn.Linear(4, 3), paddle.nn.ReLU()), ({},)),
    ],
)
def test_a_run_is_freed_after_a_backward_pass(kind, model, arguments):
    """The frameworks' graphs hold the hooks, and these the run: what the run holds of a graph, no collector frees."""
    run = kind(model, "float64", 0, *arguments)
    seen = []
    output = run.forward((np.ones((2, 4)),), train=True, gradient_listener=lambda name, _: seen.append(name))
    run.backward(output.sum())
    assert len(seen) >= 3
    freed = weakref.ref(run)
    del run, output
    gc.collect()
    assert freed() is None
