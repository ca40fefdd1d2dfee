"""The stages of a comparison, in the order in which they run. Each takes the Session and returns its Stage."""

from __future__ import annotations

from collections.abc import Callable

from alignment.compare import Stage
from alignment.session import Session
from alignment.stages.backward import backward
from alignment.stages.config import config
from alignment.stages.forward import forward
from alignment.stages.guards import guards
from alignment.stages.init import init
from alignment.stages.loss import loss
from alignment.stages.metric import metric
from alignment.stages.train import train
from alignment.stages.weights import weights

STAGES: dict[str, Callable[[Session], Stage]] = {
    "config": config,
    "weights": weights,
    "forward": forward,
    "metric": metric,
    "loss": loss,
    "backward": backward,
    "train": train,
    "init": init,
    "guards": guards,
}
