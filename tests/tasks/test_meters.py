"""Meters that saw parts of a data set are one that saw all of it, as several processes leave them."""

import pickle

import numpy as np
import pytest

from configs import get_preset
from tasks import task_of

COUNT, BATCH = 37, 4


def samples(name, rng):
    """Scores and targets of a task."""
    if name == "demo_tsm":
        scores = rng.random((COUNT, 5))
        return scores / scores.sum(axis=1, keepdims=True), rng.integers(0, 5, COUNT)
    maps = rng.random((COUNT, 2, 16, 16)).astype(np.float32)
    return maps, rng.integers(0, 2, (COUNT, 16, 16)).astype(np.uint8)


@pytest.mark.parametrize("name", ["demo_tsm", "demo_unet"])
def test_parts_together_are_the_whole(name):
    recipe = get_preset(name)
    task = task_of(recipe)
    scores, targets = samples(name, np.random.default_rng(0))
    whole, joined = task.meter(recipe), task.meter(recipe)
    for start in range(0, COUNT, BATCH):
        part = task.meter(recipe)
        for meter in (whole, part):
            meter.update(scores[start : start + BATCH], targets[start : start + BATCH])
        joined.add(pickle.loads(pickle.dumps(part)))
    joined.add(task.meter(recipe))  # of a process that had nothing to do
    assert joined.summary() == whole.summary()
    if name == "demo_unet":
        assert list(joined.worst) == list(whole.worst)
        assert all(np.array_equal(joined.worst[index], whole.worst[index]) for index in whole.worst)
    else:
        assert np.array_equal(joined.scores, whole.scores)
