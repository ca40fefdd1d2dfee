"""Counts the parameters and operations of a model: `python -m tools.summary --model mvf_r50`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from configs.networks import network_of
from runtime import command, preparation

if TYPE_CHECKING:
    from models.operations import Operations

CLIP_AXES = 4  # of (T, 3, H, W)


def measure(
    name: str, num_classes: int = 400, num_frames: int = 16, size: int = 224, **options: Any
) -> dict[str, Operations]:
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
    from models.operations import Operations, counted

    shape = network_of(name, **options).input_shape(num_frames, size)
    num_frames = shape[0] if len(shape) == CLIP_AXES else 1
    model = create_model(name, num_classes=num_classes, num_frames=num_frames, **options)
    compute_as_published(model)
    model.eval()
    costs: dict[str, Operations] = {}
    with ExitStack() as stack, paddle.no_grad():
        for prefix, part in (("backbone", model.backbone), ("cls_head", model.cls_head)):
            for child_name, child in part.named_children():
                cost = stack.enter_context(counted(child))
                if cost.params:
                    costs[f"{prefix}.{child_name}"] = cost
        if len(shape) == CLIP_AXES:
            pooling = costs["cls_head pooling"] = Operations()

            def count_pooled(_: object, inputs: tuple) -> None:
                pathways = inputs[0] if isinstance(inputs[0], tuple) else inputs[:1]
                pooling.published = sum(features.size for features in pathways)

            model.cls_head.register_forward_pre_hook(count_pooled)
        model(paddle.zeros([1, *shape]))
    return costs


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
    from models.operations import Operations

    total = sum(costs.values(), Operations())
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
