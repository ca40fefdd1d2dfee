"""A pair of two small networks of one's own, on noise."""

from __future__ import annotations

import numpy as np
import paddle
import torch

from alignment.sides.pair import Pair, Sides


def noise_pair(networks: Sides, shape: tuple[int, ...], num_classes: int, title: str, seed: int) -> Pair:
    """The two networks with the same random weights, a batch of noise, cross entropy and plain momentum SGD.

    Args:
        networks: Make them, in PyTorch and in Paddle.
        shape: Of the batch, [N, ...].
        num_classes: How many logits a sample has.
        title: What the pair is called.
        seed: Fixes weights, inputs and labels.
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    theirs, ours = networks.reference(), networks.candidate()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.from_numpy(0.25 * rng.normal(size=tuple(parameter.shape)).astype(np.float32)))
    return Pair(
        reference=theirs,
        candidate=ours,
        inputs=(rng.normal(size=shape).astype(np.float32),),
        labels=rng.integers(num_classes, size=shape[0]),
        losses={"plain": Sides(torch.nn.functional.cross_entropy, paddle.nn.functional.cross_entropy)},
        optimizer=Sides(
            lambda model: torch.optim.SGD(model.parameters(), lr=2.0**-5, momentum=0.875, weight_decay=2.0**-11),
            lambda model: paddle.optimizer.Momentum(2.0**-5, 0.875, model.parameters(), weight_decay=2.0**-11),
        ),
        title=title,
    )
