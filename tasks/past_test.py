"""A test that was made before, read from its `test.json`, to hold another one of the same samples against it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np

from datasets import Annotation
from runtime.errors import UserError
from runtime.records import read_record, shown
from tasks.task import Task


class Record(TypedDict):
    """What is read of every `test.json`; the task's metrics are beside it.

    Attributes:
        classes: Names of the classes.
        results: Of each sample, its name first, then what `Task.value` takes.
    """

    classes: list[str]
    results: list[list[Any]]


class PastTest(NamedTuple):
    """A test.

    Attributes:
        source: Its file.
        task: Whose test it is.
        record: All that the file says.
        values: The value of each sample by its name, see `Task.value`.
    """

    source: str
    task: Task
    record: dict[str, Any]
    values: dict[str, bool | float]

    def of(self, names: Sequence[str], classes: Sequence[str]) -> np.ndarray:
        """The values of samples in the order of their names, bool or float [N].

        Raises:
            UserError: The test is of other samples or classes.
        """
        if self.record["classes"] != list(classes):
            raise UserError(f"{self.source} is of other classes: compare tests of one data set")
        missing = [name for name in names if name not in self.values]
        if missing or len(self.values) != len(names):
            what = f"{missing[0]} is not among them" if missing else "it has more"
            count = len(self.values)
            raise UserError(f"{self.source} is of {count} other samples than the {len(names)} here: {what}")
        return np.array([self.values[name] for name in names])


def names_of(annotation: Annotation) -> list[str]:
    """Names of samples that do not depend on where the data set lies: paths from the folder that has all of them."""
    paths = [Path(entry.path) for entry in annotation.entries]
    root = os.path.commonpath([path.parent for path in paths])
    return [Path(os.path.relpath(path, root)).as_posix() for path in paths]


def read_test(source: str, tasks: Iterable[Task]) -> PastTest:
    """Reads a test.

    Args:
        source: Its `test.json`, or the folder that has it.
        tasks: Of which it may be one.

    Raises:
        UserError: It cannot be read, is of an older version or of another task, or damaged.
    """
    path = Path(source) / "test.json" if Path(source).is_dir() else Path(source)
    record: dict[str, Any] = read_record(path, dict[str, Any])
    if "results" not in record:
        raise UserError(f"{path} has no results of single samples: test.py of this version writes them; test it again")
    record = read_record(path, Record)
    task = next((task for task in tasks if all(isinstance(record.get(name), float) for name in task.metrics)), None)
    if task is None:
        raise UserError(f"{path} is the test of another task")
    values = {}
    for result in record["results"]:
        try:
            values[str(result[0])] = task.value(result[1:])
        except (TypeError, ValueError, IndexError) as error:
            raise UserError(f"{path} is damaged: {shown(result)} is no result of a sample") from error
    if not values:
        raise UserError(f"{path} is of no sample")
    return PastTest(str(path), task, record, values)
