"""What the tests of checkpoints share."""

import pytest

import weights
from configs.networks import family_of
from configs.options import fields_of
from engine.pretrained import recognition_as
from models import create_model


@pytest.fixture(scope="session")
def model_of():
    """Our model with the weights of a translation.

    Returns:
        A function (translation, our name, classes, frames, parts that may be absent, options that the translation
        does not tell) -> the model, evaluating.
    """

    def build(found, name, num_classes, num_frames=4, partial=(), **said):
        takes = fields_of(family_of(name).options)
        shown = recognition_as(found, name)
        options = found.options_of(shown.options if shown else {})
        options = {name: value for name, value in options.items() if name in takes} | said
        model = create_model(name, num_classes=num_classes, num_frames=num_frames, **options)
        model.eval()
        weights.assign(model, found, partial)
        return model

    return build
