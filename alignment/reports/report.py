"""What one alignment found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from alignment.reports.text import terminal_text
from alignment.sides.pair import Sides
from alignment.verdicts.record import Divergence, Stage


@dataclass
class Report:
    """All that one alignment found.

    Attributes:
        title: What was compared.
        precision: `float32` or `float64`.
        stages: In the order in which they ran.
        environment: What `environment` returned when they ran.
        settings: Model, seed, shape and whatever else was chosen; plain values, lists, tuples and dicts.
        tensors: Arrays of both sides worth keeping, by names such as `forward/logits`.
    """

    title: str
    precision: str
    stages: list[Stage]
    environment: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Sides] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether at least one stage ran and all passed."""
        return bool(self.stages) and not self.failed_stages

    @property
    def failed_stages(self) -> list[Stage]:
        """The stages that found a difference or nothing to compare, in order."""
        return [stage for stage in self.stages if not stage.passed]

    @property
    def first_divergence(self) -> Divergence | None:
        """What differs first; None if nothing does."""
        return self.failed_stages[0].divergence if self.failed_stages else None

    @property
    def headline(self) -> str:
        """Title, precision and verdict in one line."""
        compared = sum(len(stage.records) for stage in self.stages)
        counts = f"{compared} comparisons in {len(self.stages)} stages"
        failed = f"{len(self.failed_stages)} of {len(self.stages)} stages" if self.stages else "nothing was compared"
        verdict = f"passed ({counts})" if self.passed else f"DIFFERS ({failed})"
        return f"{self.title}, {self.precision}: {verdict}"

    def text(self) -> str:
        """The report for a terminal."""
        return terminal_text(self.headline, self.settings, self.stages)
