"""What the output of a network means: its targets, loss, metrics, average over views, report and class names.

A new task is its file here and its line in TASKS. What is imported here needs no framework, as inference has none.
"""

from __future__ import annotations

from configs import Recipe
from tasks.classification import Classification
from tasks.segmentation import Segmentation
from tasks.task import Meter, Task

__all__ = ["TASKS", "Meter", "Task", "task_of", "titles"]

# name, as the families of networks say it -> task
TASKS: dict[str, type[Task]] = {"classification": Classification, "segmentation": Segmentation}


def titles() -> dict[str, str]:
    """First metric of each task -> how tables and pictures call it."""
    return {task.metrics[0]: task.title or task.metrics[0] for task in TASKS.values()}


def task_of(recipe: Recipe) -> Task:
    """The task of a recipe's network.

    Raises:
        RecipeError: The recipe asks for what the task does not have.
    """
    task = TASKS[recipe.network.family.task]()
    task.check(recipe)
    return task
