"""What the tests of checkpoints share."""

import inspect

import pytest

import weights
from models import create_model


@pytest.fixture(scope="session")
def model_of():
    """Our model with the weights of a translation.

    Returns:
        A function (translation, our name, classes, frames, parts that may be absent, options that the translation
        does not tell) -> the model, evaluating.
    """
    takes = inspect.signature(create_model).parameters

    def build(found, name, num_classes, num_frames=4, partial=(), **said):
        options = {name: value for name, value in found.options.items() if name in takes} | said
        model = create_model(name, num_classes=num_classes, num_frames=num_frames, **options)
        model.eval()
        weights.assign(model, found, partial)
        return model

    return build
