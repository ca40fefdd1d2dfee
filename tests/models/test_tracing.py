"""Paddle traces the networks here as Python runs them, and rewrites those of others."""

import paddle
from paddle.jit.dy2static.convert_call_func import is_unsupported

import deploy
from deploy.fusions import SplitConv
from models.slowfast import SlowFastBackbone
from models.tracing import trace_as_written


class OfSomebodyElse(paddle.nn.Layer):
    """Decides by a value."""

    def __init__(self):
        super().__init__()
        self.step = self.create_parameter([1], default_initializer=paddle.nn.initializer.Constant(1.0))

    def forward(self, x):
        return x + self.step if x.sum() > 0 else x - self.step


def test_functions_of_ours_are_left_as_they_are():
    trace_as_written(deploy)
    trace_as_written(deploy)
    assert is_unsupported(SlowFastBackbone.forward)  # Paddle's word for what it does not rewrite
    assert is_unsupported(SplitConv.forward)
    assert not is_unsupported(OfSomebodyElse.forward)


def test_a_network_of_somebody_else_may_decide_by_values(tmp_path):
    trace_as_written()
    spec = paddle.static.InputSpec([2], "float32")
    paddle.jit.save(OfSomebodyElse(), str(tmp_path / "graph"), input_spec=[spec])
    graph = paddle.jit.load(str(tmp_path / "graph"))
    for values in ([1.0, 2.0], [-1.0, -2.0]):
        x = paddle.to_tensor(values)
        assert (graph(x).numpy() == OfSomebodyElse()(x).numpy()).all()
