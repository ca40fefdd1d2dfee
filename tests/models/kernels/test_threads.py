"""The number of threads changes no bit of what the operators compute, but for products of Paddle's library."""

import os
import subprocess
import sys
from pathlib import Path

import paddle
import pytest

from models import kernels

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(not kernels.serve(paddle.ones([1])), reason=kernels.plan_line())
PROGRAM = """
import hashlib, numpy as np
from runtime import preparation
preparation.prepare("cpu", threads={threads})
import paddle
from models.kernels.batch_norm import BatchNorm2D, norm_add_relu, norm_relu6
from models.kernels.conv import Conv2D
from models.kernels.depthwise_conv import DepthwiseConv2D
paddle.seed(0)
x = paddle.to_tensor(np.random.default_rng(0).normal(size=(5, 7, 13, 11)).astype("float32"), stop_gradient=False)
conv, depthwise = Conv2D(7, 7, 3, padding=1, bias_attr=False), DepthwiseConv2D(7, 3, 2)
first, second = BatchNorm2D(7), BatchNorm2D(7)
y = norm_relu6(second, depthwise(norm_add_relu(first, conv(x), x)))
(y * y).sum().backward()
parameters = [p for one in (conv, depthwise, first, second) for p in one.parameters() if not p.stop_gradient]
parts = [y, x.grad, first._variance, *(p.grad for p in parameters)]
print(hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest())
"""


def test_the_number_of_threads_does_not_change_a_bit():
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    found = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM.format(threads=threads)], cwd=ROOT, env=env, capture_output=True, check=True
        ).stdout
        for threads in (1, 2, 3)
    }
    assert len(found) == 1
