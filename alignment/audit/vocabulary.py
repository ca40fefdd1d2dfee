"""The dictionary of layers: which class of PyTorch is which of Paddle, and where both keep their hyper-parameters.

The terms are PyTorch's. Neither framework is imported: a class is known by its name and its package.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Reader = Callable[[Any], Any] | str  # a function of the layer, or the name of an attribute
Readers = Mapping[str, tuple[Reader, Reader]]

UNUSED = object()  # what a reader returns for a constant that has no effect


@dataclass(frozen=True)
class Kind:
    """One kind of layer in both frameworks.

    Attributes:
        name: PyTorch's name, without the dimension where that changes nothing.
        torch, paddle: Names of classes; a subclass counts as the class.
        constants: By PyTorch's name, how to read it off a torch.nn.Module and off a paddle.nn.Layer.
    """

    name: str
    torch: tuple[str, ...]
    paddle: tuple[str, ...]
    constants: Readers = field(default_factory=dict)


def by_axes(name: str, n: int, constants: Readers) -> Kind:
    """A kind that has a class for each number of axes: `Conv2d` in PyTorch is `Conv2D` in Paddle."""
    return Kind(f"{name}{n}d", (f"{name}{n}d",), (f"{name}{n}D",), constants)


def find_kind(layer: Any) -> tuple[Kind, str] | None:
    """The kind of a layer and the framework's class that makes it one; None for a class that is nobody's."""
    for cls in type(layer).__mro__:
        framework = cls.__module__.partition(".")[0]
        kind = _BY_CLASS.get((framework, cls.__name__))
        if kind:
            return kind, cls.__name__
    return None


def read_constants(kind: Kind, layer: Any, is_torch: bool) -> dict[str, Any]:
    """The layer's constants by PyTorch's names, without those that have no effect."""
    found = {}
    for constant, (torch_reader, paddle_reader) in kind.constants.items():
        reader = torch_reader if is_torch else paddle_reader
        value = getattr(layer, reader) if isinstance(reader, str) else reader(layer)
        if value is not UNUSED:
            found[constant] = value
    return found


def fixed(value: Any) -> Reader:
    """A constant that the framework has built in."""
    return lambda layer: value


def underscored(*attributes: str) -> Readers:
    """Attributes that Paddle keeps under the same name behind an underscore."""
    return {attribute: (attribute, f"_{attribute}") for attribute in attributes}


def present(attribute: str) -> Reader:
    """Whether the layer has a tensor of that name."""
    return lambda layer: getattr(layer, attribute, None) is not None


def optional(attribute: str, default: Any = None) -> Reader:
    """An attribute that older releases do not have."""
    return lambda layer: getattr(layer, attribute, default)


def either(name: str, older: str) -> Callable[[Any], Any]:
    """An attribute that older releases keep under another name."""
    return lambda layer: getattr(layer, name if hasattr(layer, name) else older)


def per_axis(attribute: str | Reader, n: int) -> Reader:
    """A value for each of n axes, which may be stored as one number."""
    read = operator.attrgetter(attribute) if isinstance(attribute, str) else attribute
    return lambda layer: each_axis(read(layer), n)


def each_axis(value: Any, n: int) -> tuple[Any, ...]:
    """One value for each of n axes."""
    return tuple(value) if isinstance(value, list | tuple) else (value,) * n


def explicit_padding(padding: Any, n: int, channel_last: bool = False) -> tuple[Any, ...]:
    """Padding of n axes from any of Paddle's notations: a number where both ends agree, else a pair.

    Args:
        padding: A number; n numbers; 2n numbers, both ends of each axis; or pairs for all axes of the input.
        n: Spatial axes.
        channel_last: Where the channels are among those pairs.
    """
    values = list(each_axis(padding, n))
    if isinstance(values[0], list | tuple):
        pairs = [tuple(pair) for pair in (values[1:-1] if channel_last else values[2:])]
    elif len(values) == 2 * n:
        pairs = list(zip(values[::2], values[1::2], strict=True))
    else:
        pairs = [(value, value) for value in values]
    return tuple(low if low == high else (low, high) for low, high in pairs)


def channels_last(layer: Any) -> bool:
    """Whether a Paddle layer reads [N, ..., C]."""
    layout = getattr(layer, "_data_format", None) or getattr(layer, "data_format", None) or "NC"
    return not layout.startswith("NC")


def _kernel(layer: Any) -> tuple[int, ...]:
    return tuple(layer.weight.shape[2:])


def _conv_padding(padding: Any, kernel: tuple, stride: tuple, dilation: tuple, channel_last: bool) -> Any:
    """Explicit padding; `same` stays a word where it depends on the size of the input."""
    if not isinstance(padding, str):
        return explicit_padding(padding, len(kernel), channel_last)
    if padding.lower() == "valid":
        return (0,) * len(kernel)
    if set(stride) != {1}:
        return "same"
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return explicit_padding([end for total in totals for end in (total // 2, total - total // 2)], len(kernel))


def _padded_before(layer: Any) -> tuple[Any, ...]:
    """Padding of a mode other than zeros, which both frameworks store from the last axis to the first."""
    ends = layer._reversed_padding_repeated_twice
    pairs = list(zip(ends[::2], ends[1::2], strict=True))[::-1]
    return explicit_padding([end for pair in pairs for end in pair], len(pairs))


def _torch_padding(layer: Any) -> Any:
    if layer.padding_mode != "zeros":
        return _padded_before(layer)
    return _conv_padding(layer.padding, _kernel(layer), layer.stride, layer.dilation, False)


def _paddle_padding(layer: Any) -> Any:
    if layer._padding_mode != "zeros":
        return _padded_before(layer)
    stride = each_axis(layer._stride, len(_kernel(layer)))
    return _conv_padding(_used_padding(layer), _kernel(layer), stride, _paddle_dilation(layer), channels_last(layer))


def _used_padding(layer: Any) -> Any:
    """What forward passes on: of Paddle's two attributes the 2-D and 3-D convolutions use the digested one."""
    if "Transpose" in layer.__class__.__name__ or not hasattr(layer, "_updated_padding"):
        return layer._padding
    return layer._updated_padding if layer._padding_algorithm == "EXPLICIT" else layer._padding_algorithm


def _paddle_dilation(layer: Any) -> tuple[int, ...]:
    """Paddle 3.3 computes padding `SAME` with a dilation of 1, whatever was asked for."""
    dilation = each_axis(layer._dilation, len(_kernel(layer)))
    padding = _used_padding(layer)
    ignored = isinstance(padding, str) and padding.lower() == "same" and layer._padding_mode == "zeros"
    return (1,) * len(dilation) if ignored else dilation


def _channels(axis: int, groups: str = "") -> Reader:
    return lambda layer: layer.weight.shape[axis] * (getattr(layer, groups) if groups else 1)


def _conv(n: int, transposed: bool) -> Kind:
    """Weights are [out, in / groups, ...]; of a transposed convolution [in, out / groups, ...]."""
    first, second = ("in_channels", "out_channels") if transposed else ("out_channels", "in_channels")
    constants: dict[str, tuple[Reader, Reader]] = {
        first: (_channels(0), _channels(0)),
        second: (_channels(1, "groups"), _channels(1, "_groups")),
        "kernel_size": (_kernel, _kernel),
        "stride": (per_axis("stride", n), per_axis("_stride", n)),
        "padding": (_torch_padding, _paddle_padding),
        "dilation": (per_axis("dilation", n), _paddle_dilation),
        **underscored("groups", "padding_mode"),
        "bias": (present("bias"), present("bias")),
    }
    if transposed:
        constants["output_padding"] = (per_axis("output_padding", n), per_axis("output_padding", n))
        return Kind(f"ConvTranspose{n}d", (f"ConvTranspose{n}d",), (f"Conv{n}DTranspose",), constants)
    return by_axes("Conv", n, constants)


def _paddle_window(n: int) -> Callable[[Any], tuple[int, ...]]:
    return lambda layer: each_axis(layer.ksize if hasattr(layer, "ksize") else layer.kernel_size, n)


def _paddle_stride(n: int) -> Reader:
    return lambda layer: _paddle_window(n)(layer) if layer.stride is None else each_axis(layer.stride, n)


def _paddle_pool_padding(n: int) -> Callable[[Any], Any]:
    def read(layer: Any) -> Any:
        if isinstance(layer.padding, str):
            return "same" if layer.padding.lower() == "same" else (0,) * n
        return explicit_padding(layer.padding, n, channels_last(layer))

    return read


def _torch_counting(layer: Any) -> Any:
    return layer.count_include_pad if any(each_axis(layer.padding, 1)) else UNUSED


def _paddle_counting(n: int) -> Reader:
    def read(layer: Any) -> Any:
        padding = _paddle_pool_padding(n)(layer)
        return UNUSED if padding == (0,) * n else not layer.exclusive

    return read


def _max_pool(n: int) -> Kind:
    return by_axes("MaxPool", n, {**_windows(n), "dilation": (per_axis("dilation", n), fixed((1,) * n))})


def _avg_pool(n: int) -> Kind:
    readers: Readers = {
        **_windows(n),
        "count_include_pad": (_torch_counting, _paddle_counting(n)),
        "divisor_override": (optional("divisor_override"), optional("divisor")),
    }
    return by_axes("AvgPool", n, readers)


def _windows(n: int) -> Readers:
    return {
        "kernel_size": (per_axis("kernel_size", n), _paddle_window(n)),
        "stride": (per_axis("stride", n), _paddle_stride(n)),
        "padding": (per_axis("padding", n), _paddle_pool_padding(n)),
        "ceil_mode": ("ceil_mode", "ceil_mode"),
    }


def _adaptive_pool(name: str, n: int) -> Kind:
    def paddle_size(layer: Any) -> tuple[Any, ...]:
        return each_axis(layer._output_size if hasattr(layer, "_output_size") else layer.output_size, n)

    return by_axes(f"Adaptive{name}Pool", n, {"output_size": (per_axis("output_size", n), paddle_size)})


PAD_MODES = {
    "Zero": "constant",
    "Constant": "constant",
    "Reflection": "reflect",
    "Replication": "replicate",
    "Circular": "circular",
}


def _torch_pad_mode(layer: Any) -> str:
    """In PyTorch the class is the mode."""
    names = [cls.__name__ for cls in type(layer).__mro__]
    return next(mode for start, mode in PAD_MODES.items() if any(name.startswith(f"{start}Pad") for name in names))


def _torch_pad_value(layer: Any) -> Any:
    return layer.value if _torch_pad_mode(layer) == "constant" else UNUSED


def _paddle_pad_value(layer: Any) -> Any:
    return either("value", "_value")(layer) if layer._mode == "constant" else UNUSED


def _pad(n: int) -> Kind:
    readers: Readers = {
        "padding": (per_axis("padding", 2 * n), per_axis(either("padding", "_pad"), 2 * n)),  # since Paddle 3.3
        "mode": (_torch_pad_mode, "_mode"),
        "value": (_torch_pad_value, _paddle_pad_value),
    }
    return Kind(f"Pad{n}d", tuple(f"{start}Pad{n}d" for start in PAD_MODES), (f"Pad{n}D", f"ZeroPad{n}D"), readers)


def _scale_factor(layer: Any) -> Any:
    """One factor for all axes as a number."""
    factor = layer.scale_factor
    return factor[0] if isinstance(factor, list | tuple) and len(set(factor)) == 1 else factor


def _aligns_corners(layer: Any) -> bool:
    return bool(layer.align_corners)


def _align_mode(layer: Any) -> Any:
    """Paddle can also count pixels from their corners; PyTorch has the half-pixel rule, 0, alone."""
    return getattr(layer, "align_mode", 0) if "linear" in layer.mode.lower() and not layer.align_corners else UNUSED


def _name_of_activation(layer: Any) -> str:
    """Of a function or a layer; Paddle's function of GELU is called `_gelu`."""
    activation = layer.activation
    return getattr(activation, "__name__", type(activation).__name__).strip("_").lower()


def _torch_momentum(layer: Any) -> Any:
    return "cumulative" if layer.momentum is None else layer.momentum


def _frozen_in_torch(layer: Any) -> bool:
    return layer.running_mean is not None and not layer.training


def _frozen_in_paddle(layer: Any) -> bool:
    """Whether the layer, in the mode it is in, uses running statistics."""
    if layer._use_global_stats is None or _is_old_batch_norm(layer):
        return bool(layer._use_global_stats) or not layer.training
    return layer._use_global_stats


def _tracks_in_paddle(layer: Any) -> bool:
    """Whether evaluation uses running statistics; `use_global_stats=False` takes the batch's even there."""
    return not layer._trainable_statistics if _is_old_batch_norm(layer) else layer._use_global_stats is not False


def _is_old_batch_norm(layer: Any) -> bool:
    """paddle.nn.BatchNorm, whose `use_global_stats` is False where the others have None."""
    return hasattr(layer, "_trainable_statistics")


def _learns(name: str) -> Reader:
    """Whether Paddle was asked for a tensor: SyncBatchNorm has a constant one even if not."""
    return lambda layer: getattr(layer, name) is not None and getattr(layer, f"_{name}_attr", None) is not False


NORM: Readers = {
    "affine": (present("weight"), _learns("weight")),
    "bias": (present("bias"), _learns("bias")),
    "eps": ("eps", "_epsilon"),
}
BATCH_NORM: Readers = {
    **NORM,
    "num_features": ("num_features", lambda layer: layer._mean.shape[0]),
    "momentum": (_torch_momentum, lambda layer: 1 - layer._momentum),
    "track_running_stats": (present("running_mean"), _tracks_in_paddle),
    "use_global_stats": (_frozen_in_torch, _frozen_in_paddle),
    "act": (fixed(None), optional("_act")),
}
INSTANCE_NORM: Readers = {
    "affine": (present("weight"), present("scale")),
    "eps": ("eps", "_epsilon"),
    "track_running_stats": (present("running_mean"), fixed(False)),
}
DROPOUT: Readers = {"p": ("p", "p"), "training": ("training", "training")}
SIZE: Readers = {"size": ("size", "size"), "scale_factor": (_scale_factor, _scale_factor)}
ATTENTION: Readers = {
    **{constant: (constant, constant) for constant in ("embed_dim", "num_heads", "kdim", "vdim", "dropout")},
    "add_zero_attn": ("add_zero_attn", fixed(False)),
}
RECURRENT: Readers = {
    **{constant: (constant, constant) for constant in ("input_size", "hidden_size", "num_layers", "dropout")},
    "bidirectional": ("bidirectional", lambda layer: layer.num_directions == 2),
    "batch_first": ("batch_first", lambda layer: not layer.time_major),
}
TRANSFORMER_LAYER: Readers = {
    "norm_first": ("norm_first", "normalize_before"),
    "activation": (_name_of_activation, _name_of_activation),
}
PLAIN = (
    "Identity", "ReLU", "ReLU6", "SELU", "Mish", "Hardswish", "Hardsigmoid", "Sigmoid", "LogSigmoid", "Tanh",
    "Tanhshrink", "Softsign",
)  # fmt: skip
# name -> constants; the name is the same in both frameworks
NAMESAKES: dict[str, Readers] = {
    **{name: {} for name in PLAIN},
    "LayerNorm": {**NORM, "normalized_shape": (per_axis("normalized_shape", 1), per_axis("_normalized_shape", 1))},
    "GroupNorm": {**NORM, **underscored("num_groups", "num_channels")},
    "LocalResponseNorm": {constant: (constant, constant) for constant in ("size", "alpha", "beta", "k")},
    "Dropout": {**DROPOUT, "mode": (fixed("upscale_in_train"), "mode"), "axis": (fixed(None), "axis")},
    "AlphaDropout": DROPOUT,
    "FeatureAlphaDropout": DROPOUT,
    "LeakyReLU": underscored("negative_slope"),
    "PReLU": underscored("num_parameters"),
    "ELU": underscored("alpha"),
    "CELU": underscored("alpha"),
    "GELU": {"approximate": ("approximate", lambda layer: "tanh" if layer._approximate is True else "none")},
    "GLU": {"dim": ("dim", "_axis")},
    "Softmax": {"dim": ("dim", "_axis")},
    "LogSoftmax": {"dim": ("dim", "_axis")},
    "Softplus": underscored("beta", "threshold"),
    "Hardshrink": {"lambd": ("lambd", "_threshold")},
    "Softshrink": {"lambd": ("lambd", "_threshold")},
    "Hardtanh": {"min_val": ("min_val", "_min"), "max_val": ("max_val", "_max")},
    "Flatten": {"start_dim": ("start_dim", "start_axis"), "end_dim": ("end_dim", "stop_axis")},
    "PixelShuffle": underscored("upscale_factor"),
    "PixelUnshuffle": underscored("downscale_factor"),
    "ChannelShuffle": underscored("groups"),
    "Linear": {
        "in_features": (_channels(1), _channels(0)),
        "out_features": (_channels(0), _channels(1)),
        "bias": (present("bias"), present("bias")),
    },
    "Embedding": {
        **underscored("num_embeddings", "embedding_dim"),
        "padding_idx": ("padding_idx", lambda layer: None if layer._padding_idx == -1 else layer._padding_idx),
        "max_norm": ("max_norm", optional("_max_norm")),
        "norm_type": ("norm_type", optional("_norm_type", 2.0)),
        "scale_grad_by_freq": ("scale_grad_by_freq", optional("_scale_grad_by_freq", False)),
    },
    "Upsample": {
        **SIZE,
        "mode": ("mode", lambda layer: layer.mode.lower()),
        "align_corners": (_aligns_corners, _aligns_corners),
        "align_mode": (_align_mode, _align_mode),
    },
}

AXES = (1, 2, 3)
KINDS: tuple[Kind, ...] = (
    *(_conv(n, transposed) for transposed in (False, True) for n in AXES),
    *(kind(n) for kind in (_max_pool, _avg_pool, _pad) for n in AXES),
    *(_adaptive_pool(name, n) for name in ("Max", "Avg") for n in AXES),
    Kind(
        "BatchNorm",
        ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"),
        ("BatchNorm1D", "BatchNorm2D", "BatchNorm3D", "SyncBatchNorm", "BatchNorm"),
        BATCH_NORM,
    ),
    Kind(
        "InstanceNorm",
        ("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"),
        ("InstanceNorm1D", "InstanceNorm2D", "InstanceNorm3D"),
        INSTANCE_NORM,
    ),
    Kind("ChannelDropout", ("Dropout1d", "Dropout2d", "Dropout3d"), ("Dropout2D", "Dropout3D"), DROPOUT),
    *(Kind(name, (name,), (name,), readers) for name, readers in NAMESAKES.items()),
    Kind("SiLU", ("SiLU",), ("Silu", "Swish")),
    Kind("MultiheadAttention", ("MultiheadAttention",), ("MultiHeadAttention",), ATTENTION),
    Kind("GRU", ("GRU",), ("GRU",), RECURRENT),
    Kind("LSTM", ("LSTM",), ("LSTM",), {**RECURRENT, "proj_size": ("proj_size", optional("proj_size", 0))}),
    Kind("RNN", ("RNN",), ("SimpleRNN",), {**RECURRENT, "nonlinearity": ("nonlinearity", "activation")}),
    *(
        Kind(f"Transformer{part}Layer", (f"Transformer{part}Layer",), (f"Transformer{part}Layer",), TRANSFORMER_LAYER)
        for part in ("Encoder", "Decoder")
    ),
    by_axes("UpsamplingNearest", 2, SIZE),
    by_axes("UpsamplingBilinear", 2, SIZE),
    Kind("Container", ("Sequential", "ModuleList"), ("Sequential", "LayerList"), {"length": (len, len)}),
)

_BY_CLASS = {("torch", name): kind for kind in KINDS for name in kind.torch}
_BY_CLASS |= {("paddle", name): kind for kind in KINDS for name in kind.paddle}
