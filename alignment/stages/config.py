"""Every constant of every layer and of the optimizer, read off both live objects."""

from __future__ import annotations

import copy

from alignment.audit import compare_models, compare_optimizers
from alignment.compare import Stage
from alignment.pair import optimization_of
from alignment.session import Session, first_failure


def config(session: Session) -> Stage:
    """Compares what the two models and their optimizers are set to, before any number is computed."""
    stage, pair = Stage("config"), session.pair
    reference, candidate = copy.deepcopy(pair.reference), copy.deepcopy(pair.candidate)
    reference.train()
    candidate.train()
    stage.records = compare_models(reference, candidate, pair.candidate_name)
    if pair.optimizer is not None:
        left = optimization_of(pair.optimizer.reference, reference, "reference")
        right = optimization_of(pair.optimizer.candidate, candidate, "candidate")
        stage.records += compare_optimizers(left, right, reference, candidate, pair.candidate_name)
    failure = first_failure(stage.records)
    if failure:
        stage.place = failure.name
        stage.sentence = f"The constant {failure.name} differs: {failure.reason}. Set it as in the reference."
    return stage
