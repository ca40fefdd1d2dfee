"""Counts the parameters and operations of a model: `python -m tools.summary --model mvf_r50`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from configs.networks import network_of
from runtime import command, preparation

CLIP_AXES = 4  # of (T, 3, H, W)


@dataclasses.dataclass
class Cost:
    """What one part of a model costs.

    Attributes:
        params: Parameters that train.
        multiply_adds: Of one clip or image.
        published: FLOPs as the papers count them.
        stored: Numbers in a file of its weights, with the statistics of BatchNorm.
    """

    params: int = 0
    multiply_adds: int = 0
    published: int = 0
    stored: int = 0

    def __add__(self, other: Cost) -> Cost:
        """The cost of both parts."""
        return Cost(*map(sum, zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))


def measure(
    name: str, num_classes: int = 400, num_frames: int = 16, size: int = 224, **options: Any
) -> dict[str, Cost]:
    """Runs one clip, or one image, through the model and counts what its layers do.

    Fusion is counted as the published depthwise 3-D convolutions. How ActionAlign computes it differs in operations,
    not in result.

    Args:
        name: The name of a model.
        num_classes: Classes of the head.
        num_frames: Frames T of the clip; not looked at for a network over images.
        size: Height and width, pixels.
        options: Of the network, by the names of their flags.

    Returns:
        The cost of each child of the backbone and of the head, by name, in the order of the forward pass.

    Raises:
        UserError: The name or a number is not possible.
    """
    import paddle

    from models import compute_as_published, create_model

    shape = network_of(name, **options).input_shape(num_frames, size)
    num_frames = shape[0] if len(shape) == CLIP_AXES else 1
    model = create_model(name, num_classes=num_classes, num_frames=num_frames, **options)
    compute_as_published(model)
    model.eval()
    costs: dict[str, Cost] = {}
    for prefix, part in (("backbone", model.backbone), ("cls_head", model.cls_head)):
        for child_name, child in part.named_children():
            params = sum(prod(p.shape) for p in child.parameters() if not p.stop_gradient)
            if params:
                stored = sum(prod(tensor.shape) for tensor in child.state_dict().values())
                cost = costs[f"{prefix}.{child_name}"] = Cost(params, stored=stored)
                for layer in child.sublayers(include_self=True):
                    layer.register_forward_post_hook(_count_into(cost))
    if len(shape) == CLIP_AXES:
        pooling = costs["cls_head pooling"] = Cost()

        def count_pooled(_: object, inputs: tuple) -> None:
            pathways = inputs[0] if isinstance(inputs[0], tuple) else inputs[:1]
            pooling.published = sum(features.size for features in pathways)

        model.cls_head.register_forward_pre_hook(count_pooled)
    with paddle.no_grad():
        model(paddle.zeros([1, *shape]))
    return costs


def _count_into(cost: Cost) -> Callable[..., None]:
    """A hook that adds the operations of one call of a layer to `cost`."""
    from paddle import nn
    from paddle.nn.layer.norm import _BatchNormBase

    def hook(layer, inputs, output) -> None:
        if isinstance(layer, nn.Conv2D | nn.Conv3D):
            multiply_adds = output.size * prod(layer.weight.shape[1:])
            cost.multiply_adds += multiply_adds
            cost.published += multiply_adds
        elif isinstance(layer, nn.Conv2DTranspose):
            multiply_adds = inputs[0].size * prod(layer.weight.shape[1:])
            cost.multiply_adds += multiply_adds
            cost.published += multiply_adds
        elif isinstance(layer, nn.Linear):
            multiply_adds = output.size * layer.weight.shape[0]
            cost.multiply_adds += multiply_adds
            cost.published += 2 * multiply_adds
        elif isinstance(layer, _BatchNormBase):
            cost.published += 2 * output.size

    return hook


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table of one model."""
    parser = command.parser(__doc__ or "", "python -m tools.summary [--model NAME] [flags]")
    parser.add_argument("--model", default="mvf_r50", help="model name")
    parser.add_argument("--num_classes", type=command.positive, default=400, help="classes")
    parser.add_argument("--num_frames", type=command.positive, default=16, help="frames of a clip")
    parser.add_argument("--size", type=command.positive, default=224, help="height and width, pixels")
    args = parser.parse_args(arguments)
    preparation.prepare(device="cpu")
    costs = measure(args.model, args.num_classes, args.num_frames, args.size)
    shape = network_of(args.model).input_shape(args.num_frames, args.size)
    what = "clip" if len(shape) == CLIP_AXES else "image"
    command.say(
        f"{args.model}, {args.num_classes} classes, {what} {' x '.join(map(str, shape))}",
        "",
        f"{'part':<24}{'trainable parameters':>22}{'multiply-adds, G':>20}",
    )
    total = sum(costs.values(), Cost())
    for name, cost in [*costs.items(), ("total", total)]:
        command.say(f"{name:<24}{cost.params:>22,}{cost.multiply_adds / 1e9:>20.3f}")
    command.say(
        "",
        "Multiply-adds of convolutions and of the classifier, in the published architecture: fusion counts as its",
        "depthwise 3-D convolutions, however it is computed. As the papers count, with BatchNorm at 2 per element,",
        f"the classifier twice and the pooling: {total.published / 1e9:.3f} GFLOPs.",
        f"A file of the weights in float32, with the statistics of BatchNorm: {4 * total.stored / 2**20:.2f} MiB.",
    )


if __name__ == "__main__":
    with command.clear_errors():
        main()
