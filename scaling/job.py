"""The numbers of a job. This file imports no framework, so that processes may be set up before they open one."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.cli import Asked
from configs.limits import Limits

SPARSITIES = (0.0, 0.3, 0.6, 0.8)  # the original's
LR = 0.02  # of Adam, in units of the root mean square of the weights of a tensor


@dataclass(frozen=True)
class Job:
    """The numbers of a job; two jobs of equal numbers give equal descendants.

    Attributes:
        pretrained: Weights of the original, of any layout that `--pretrained` takes.
        dataset_root: Its data set: descendants learn on training samples, and are profiled on validation samples.
        train_list, val_list: List files instead of those found; empty for these.
        sparsities, multiple: See `derive`.
        epochs: Passes over the training samples.
        batch_size: Samples of a step.
        lr: Of Adam at the first step, see `retrain`.
        seed: Of order and augmentation.
        asked: What is asked of the recipe beside the weights.
        limits: Of videos.
    """

    pretrained: str
    dataset_root: str
    train_list: str = ""
    val_list: str = ""
    sparsities: tuple[float, ...] = SPARSITIES
    epochs: int = 8
    batch_size: int = 4
    lr: float = LR
    seed: int = 0
    multiple: int = 8
    asked: Asked = dataclasses.field(default_factory=Asked)
    limits: Limits = dataclasses.field(default_factory=Limits)

    def to_record(self, folder: Path) -> dict[str, Any]:
        """For JSON in a folder: all but the limits, places relative to the folder."""
        places = {name: os.path.relpath(getattr(self, name), folder) for name in ("pretrained", "dataset_root")}
        numbers = {name: getattr(self, name) for name in ("epochs", "batch_size", "lr", "seed", "multiple")}
        asked = {"preset": self.asked.preset, "options": dict(self.asked.options)}
        lists = {"train_list": self.train_list, "val_list": self.val_list}
        return {**places, **lists, "sparsities": list(self.sparsities), **numbers, "asked": asked}

    @classmethod
    def from_record(cls, folder: Path, record: Mapping[str, Any]) -> Job:
        """The inverse of `to_record`, with the usual limits."""
        options = {name: tuple(v) if isinstance(v, list) else v for name, v in record["asked"]["options"].items()}
        return cls(
            str(folder / record["pretrained"]), str(folder / record["dataset_root"]), record["train_list"],
            record["val_list"], tuple(record["sparsities"]), record["epochs"], record["batch_size"], record["lr"],
            record["seed"], record["multiple"], Asked(record["asked"]["preset"], options),
        )  # fmt: skip
