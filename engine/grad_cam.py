"""Where and when a network looks: the gradient of a class at the last features that have places.

Source: Selvaraju et al., "Grad-CAM: Visual explanations from deep networks via gradient-based localization", ICCV 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import paddle
from paddle import nn

from models.recognizer import Recognizer
from runtime.errors import UserError


def grad_cam(model: Recognizer, clip: np.ndarray, label: int) -> tuple[np.ndarray, np.ndarray]:
    """How much each place of each frame speaks for a class.

    The features are those that the classifier gets; of a network with several pathways the maps of all are added. Where
    its features have no places any more, as C3D's, they are the last ones that have.

    Args:
        model: In eval mode.
        clip: float32 [T, 3, H, W].
        label: The class.

    Returns:
        Maps float32 [T, H, W], 0 to 1, where 1 is the most of the clip (all 0 if nothing speaks for the class); and the
        logits float32 [K].

    Raises:
        UserError: The network has no features with places.
    """
    with _places_of(model) as features:
        logits = model(paddle.to_tensor(clip[None]))
        found = features()
        for one in found:
            one.retain_grads()
        logits[0, label].backward()
        maps = np.sum([_map_of(one.numpy(), one.grad.numpy(), clip.shape) for one in found], axis=0)
    model.clear_gradients()
    most = maps.max()
    return (maps / most if most > 0 else maps).astype(np.float32), logits.numpy()[0]


@contextmanager
def _places_of(model: Recognizer) -> Iterator[Callable[[], list[paddle.Tensor]]]:
    """Watches a pass; its function tells after it the features that the classifier got, or the last with places."""
    given: list[paddle.Tensor] = []
    last: list[paddle.Tensor] = []

    def at_head(_: nn.Layer, inputs: tuple[Any, ...]) -> None:
        given.extend(part for part in _pathways(inputs) if _has_places(part))

    def at_layer(_: nn.Layer, __: Any, output: Any) -> None:
        if _has_places(output):
            last[:] = [output]

    def features() -> list[paddle.Tensor]:
        if not given and not last:
            raise UserError("this network has no features with places: there is nothing to show")
        return given or last

    hooks = [model.cls_head.register_forward_pre_hook(at_head)]
    hooks += [layer.register_forward_post_hook(at_layer) for layer in model.backbone.sublayers()]
    try:
        yield features
    finally:
        for hook in hooks:
            hook.remove()


def _pathways(inputs: tuple[Any, ...]) -> Sequence[Any]:
    """The features that a classifier is called with, of each pathway."""
    return inputs[0] if isinstance(inputs[0], tuple | list) else inputs[:1]


def _has_places(value: Any) -> bool:
    return isinstance(value, paddle.Tensor) and value.ndim in (4, 5) and math.prod(value.shape[2:]) > 1


def _map_of(features: np.ndarray, gradient: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """What features of a clip [T, 3, H, W] speak for a class, float32 [T, H, W], at least 0.

    Args:
        features: [t, C, h, w], or of one clip [1, C, t, h, w].
        gradient: Of the class's logit, likewise.
        shape: Of the clip.
    """
    if features.ndim == 5:
        features, gradient = (side[0].transpose(1, 0, 2, 3) for side in (features, gradient))  # [t, C, h, w]
    weights = gradient.mean(axis=(2, 3), keepdims=True)
    places = np.maximum((weights * features).sum(axis=1), 0)  # [t, h, w]
    frames, _, height, width = shape
    large = np.stack([cv2.resize(place, (width, height), interpolation=cv2.INTER_LINEAR) for place in places])
    at = np.clip((np.arange(frames) + 0.5) * len(large) / frames - 0.5, 0, len(large) - 1)
    low = np.floor(at).astype(int)
    high, part = np.minimum(low + 1, len(large) - 1), (at - low)[:, None, None]
    mixed: np.ndarray = (1 - part) * large[low] + part * large[high]
    return mixed


def pooled(model: Recognizer, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The logits of clips float32 [N, K], and what the classifier sees, averaged over time and places, float32 [N, D].

    Args:
        model: In eval mode.
        clips: float32 [N, T, 3, H, W].
    """
    seen: list[np.ndarray] = []

    def at_head(_: nn.Layer, inputs: tuple[Any, ...]) -> None:
        parts = _pathways(inputs)
        means = [part.mean(axis=list(range(2, part.ndim))) if part.ndim > 2 else part for part in parts]
        seen.append(
            np.concatenate([mean.numpy().reshape(len(clips), -1, mean.shape[1]).mean(axis=1) for mean in means], 1)
        )

    hook = model.cls_head.register_forward_pre_hook(at_head)
    try:
        with paddle.no_grad():
            logits: np.ndarray = model(paddle.to_tensor(clips)).astype("float32").numpy()
    finally:
        hook.remove()
    return logits, seen[0]
