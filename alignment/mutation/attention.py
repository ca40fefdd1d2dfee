"""Mistakes in attention, its masks and positions, in transformer blocks and in recurrent layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
from paddle.nn import functional

from alignment.mutation.constants import changing_weight, exchanging_weights, freezing
from alignment.mutation.mutant import Mutant, override, rewriting, setting
from alignment.mutation.video_transformer import DIM, FRAMES
from alignment.sides.pair import Pair
from models.temporal_module import find_layer


def overriding(path: str, **methods: Callable) -> Callable[[Pair], None]:
    """A mutation that exchanges methods of one layer, or of the model itself where the path is empty."""
    return lambda pair: override(find_layer(pair.candidate, path) if path else pair.candidate, **methods)


def gelu(x: Any) -> Any:
    """The approximation by tanh, under the name of the exact function."""
    return functional.gelu(x, approximate=True)


def mask_of_ones(_model: Any, x: Any) -> Any:
    """1 where a frame may look, 0 where not."""
    return paddle.ones([FRAMES, FRAMES], x.dtype).tril()


def mask_with_one_frame_more(_model: Any, x: Any) -> Any:
    """The next frame is let through too."""
    return paddle.full([FRAMES, FRAMES], -math.inf, x.dtype).triu(2)


def gates_of_onnx(weight: np.ndarray) -> np.ndarray:
    """Input, forget, cell, output of PyTorch and Paddle in the order input, output, forget, cell."""
    i, f, g, o = np.split(weight, 4)
    return np.concatenate([i, o, f, g])


def heads_last(_attention: Any, original: Callable, *inputs: Any) -> Any:
    """As if the channels were laid out [C / heads, heads]."""
    return original(*inputs).reshape([-1, FRAMES, 2, DIM // 2]).moveaxis(2, 3).reshape([-1, FRAMES, DIM])


PAIR = "video_transformer"
MUTANTS: tuple[Mutant, ...] = (
    *(
        Mutant(name, description, PAIR, expect, apply)
        for name, expect, apply, description in (
            ("queries and keys exchanged", ("temporal.q_proj.weight", "temporal.k_proj.weight"),
             exchanging_weights("temporal.q_proj.weight", "temporal.k_proj.weight"),
             "The parts of `in_proj_weight` taken in another order: all three have one shape."),
            ("keys and values exchanged in a bias", ("temporal.k_proj.bias", "temporal.v_proj.bias"),
             exchanging_weights("temporal.k_proj.bias", "temporal.v_proj.bias"),
             "The weights are right, the biases are split in another order."),
            ("a projection not transposed", ("temporal.v_proj.weight",),
             changing_weight("temporal.v_proj.weight", np.transpose),
             "One part of `in_proj_weight` without its transposition: it is square."),
            ("bias of one projection not loaded", ("encoder.self_attn.v_proj.bias",),
             changing_weight("encoder.self_attn.v_proj.bias", np.zeros_like),
             "BEiT and Swin V2 have none for the keys; here that of the values is lost."),
            ("a frozen projection", ("encoder.self_attn.k_proj.weight",), freezing("encoder.self_attn.k_proj.weight"),
             "The keys of one attention do not train, as part of a fused weight never could."),
            ("order of the gates", ("lstm.weight_ih_l0",), changing_weight("lstm.weight_ih_l0", gates_of_onnx),
             "ONNX orders input, output, forget, cell; the shapes say nothing."),
            ("recurrent weights not in order", ("lstm.weight_hh_l0",),
             changing_weight("lstm.weight_hh_l0", gates_of_onnx),
             "The gates of the input's weights are in order, those of the state's are not."),
            ("time and batch exchanged in cells", ("lstm",), setting("lstm", time_major=True),
             "`time_major=True`: as many frames as clips hide it."),
            ("batch first", ("encoder",),
             rewriting("encoder", lambda _layer, original, x: original(x.transpose([1, 0, 2])).transpose([1, 0, 2])),
             "PyTorch's layers want [L, N, C] by default, Paddle's always [N, L, C]."),
            ("no scale of the scores", ("window",), setting("window", scale=1.0),
             "The factor 1/sqrt(d) is missing: nothing but the numbers can tell."),
            ("scale by the whole width", ("window",), setting("window", scale=DIM**-0.5),
             "1/sqrt(C) in place of 1/sqrt(C / heads)."),
            ("heads of an attention", ("temporal",), setting("temporal", num_heads=4, head_dim=4),
             "4 heads for 2: all weights have the same shapes."),
            ("channels of the heads exchanged", ("temporal",), rewriting("temporal", heads_last),
             "Heads are joined as [C / heads, heads] in place of [heads, C / heads]."),
            ("mask of ones and zeros", ("temporal",), overriding("", mask=mask_of_ones),
             "1 and 0 are added to the scores where 0 and -inf were meant."),
            ("causal mask off by one", ("temporal",), overriding("", mask=mask_with_one_frame_more),
             "Each frame sees the next one."),
            ("no mask", ("temporal",), overriding("", mask=lambda _model, _x: None), "The future is visible."),
            ("dropout in an attention", ("temporal",), setting("temporal", dropout=0.25),
             "Weights of the attention are dropped where the reference drops none."),
            ("dropout before the softmax", ("window",),
             overriding("window", weigh=lambda layer, scores: layer.softmax(layer.drop(scores))),
             "Scores are dropped in place of weights: in evaluation nothing shows."),
            ("relative positions transposed", ("window.index",), changing_weight("window.index", np.transpose),
             "The offset from b to a in place of that from a to b."),
            ("norm after the block", ("encoder",), setting("encoder", normalize_before=False),
             "Post-norm, the default of both frameworks, where the reference has pre-norm."),
            ("GELU by tanh in a block", ("encoder.dropout",), setting("encoder", activation=gelu),
             "The approximation, in a function that no constant shows."),
            ("epsilon of a LayerNorm in a block", ("norm1.eps",), setting("norm1", _epsilon=1e-6),
             "timm's 1e-6 for PyTorch's default 1e-5."),
        )
    ),
)  # fmt: skip
