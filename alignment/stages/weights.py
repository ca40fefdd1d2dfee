"""The weights, one to one and by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from alignment.sides.pair import IncomparableError, Pair
from alignment.sides.state import read_weights, require_fit, write_weights
from alignment.stages.session import Session
from alignment.verdicts.record import Record, Stage, exact


def weights(session: Session) -> Stage:
    """Carries the reference's weights to the candidate and back, or compares what both hold.

    Raises:
        IncomparableError: A weight of either side has no partner of its shape.
    """
    stage, pair = Stage("weights"), session.pair
    source = pair.reference_weights()
    try:
        (write_weights if pair.carry else require_fit)(pair.candidate, source, pair.layers)
    except ValueError as error:
        raise IncomparableError(f"the weights of the two sides do not pair off: {error}") from error
    held = read_weights(pair.candidate, pair.layers)
    stage.records = [exact(name, "weight", source[name], array) for name, array in held.items()]
    if pair.carry:
        stage.records += _way_back(pair)
    stage.blame(
        lambda failure: f"The weight {failure.name} is not the reference's: {failure.reason}. {_hint(source, failure)}"
    )
    stage.notes = confusable(source, pair)
    return stage


def _way_back(pair: Pair) -> list[Record]:
    """The candidate's weights must go back into the reference as the same bits."""
    before = read_weights(pair.reference, pair.layers)
    back = {pair.candidate_name(name): name for name in before}
    held = read_weights(pair.candidate, pair.layers)
    write_weights(pair.reference, {back[name]: array for name, array in held.items()}, pair.layers)
    after = read_weights(pair.reference, pair.layers)
    return [exact(name, "weight there and back", array, after[name]) for name, array in before.items()]


def _hint(source: Mapping[str, np.ndarray], failure: Record) -> str:
    array = source[failure.name]
    if array.ndim == 2 and array.shape[0] == array.shape[1]:
        return "It is a square matrix: was it transposed? Paddle's Linear keeps [in, out], PyTorch's [out, in]."
    return "Carry the weights over by name, or let this suite do it."


def confusable(arrays: Mapping[str, np.ndarray], pair: Pair) -> list[str]:
    """Notes on weights that a map by position or by shape could exchange or transpose without an error."""
    groups: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name, array in arrays.items():
        groups[array.shape].append(name)
    largest = max(groups.values(), key=len, default=[])
    many = sum(len(names) * (len(names) - 1) // 2 for names in groups.values())
    square = [name for name, a in arrays.items() if a.ndim == 2 and a.shape[0] == a.shape[1]]
    notes = [f"{len(arrays)} weights paired by name"]
    if many:
        notes[0] += (
            f"; a map by position could exchange {many} pairs of equal shape, such as {' and '.join(largest[:2])}"
        )
    if square:
        notes.append(f"square matrices, whose transposition no shape shows: {', '.join(square[:5])}")
    renamed_count = sum(pair.candidate_name(name) != name for name in read_weights(pair.reference, pair.layers))
    return notes + ([f"{renamed_count} weights renamed by the caller's rules"] if renamed_count else [])
