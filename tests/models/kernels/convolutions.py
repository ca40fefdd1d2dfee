"""What the tests of convolutions have in common."""

import numpy as np
import paddle


def rounding(dtype):
    """Of sums of some thousand products, whose order depends on the width of the vectors of this CPU."""
    return {"float32": 2e-6, "float64": 1e-14}[dtype]


def values(layer, x, seed=1):
    """Output, gradient of the input and of the weight."""
    x = paddle.to_tensor(x, stop_gradient=False)
    layer.clear_gradients()
    y = layer(x)
    grad = paddle.to_tensor(np.random.default_rng(seed).normal(size=y.shape), y.dtype)
    y.backward(grad)
    return [y.numpy(), x.grad.numpy(), layer.weight.grad.numpy()]


def agree(found, expected, dtype):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=0, atol=rounding(dtype) * np.abs(other).max())


def grads_agree(layer, plain, frozen):
    """Without a gradient of the `frozen` one, "input" or "weight", the other gradient is that of a plain layer."""
    plain.weight.set_value(layer.weight)
    found = []
    for one in (layer, plain):
        one.weight.stop_gradient = frozen == "weight"
        x = paddle.to_tensor(np.random.default_rng(0).normal(size=(2, 4, 6, 6)), "float32")
        x.stop_gradient = frozen == "input"
        one(x).sum().backward()
        grads = {"input": x.grad, "weight": one.weight.grad}
        assert grads.pop(frozen) is None
        found.append([grad.numpy() for grad in grads.values()])
    agree(*found, "float32")
