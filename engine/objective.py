"""What is differentiated in a step of training."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.static import InputSpec

from configs import Recipe
from models.tracing import trace_as_written
from runtime.errors import UserError
from tasks import Task


class DivergenceError(UserError):
    """The loss is not a finite number."""


class TrainingStep(nn.Layer):
    """A network and the loss of its task.

    Args:
        model: In train mode.
        task: What its output means.
        recipe: Of the run.
    """

    def __init__(self, model: nn.Layer, task: Task, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.recipe = recipe

    def forward(self, clips: paddle.Tensor, target: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Maps inputs of the network and what `Task.training_batch` makes of targets to the loss and the output."""
        output = self.model(clips)
        return self.task.loss(output, target, self.recipe), output


def as_graph(step: TrainingStep, recipe: Recipe) -> nn.Layer:
    """The step as a static graph, which Paddle traces at the first batch, for batches of any size N.

    Models may compute in another way than in dygraph; the numbers are the same but for rounding.
    """
    trace_as_written()
    kind = paddle.get_default_dtype()
    clips = InputSpec([None, *recipe.network.input_shape(recipe.clip.num_frames, recipe.pixels.crop_size)], kind)
    target = InputSpec([None, *step.task.training_target_shape(recipe)], kind)
    return paddle.jit.to_static(step, input_spec=[clips, target], full_graph=True)
