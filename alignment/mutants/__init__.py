"""The zoo of mistakes that porting has brought forth: each must be found, and its place named, by the suite.

A suite that has never found a planted bug has not shown that it can.
"""

from __future__ import annotations

from typing import Any

from alignment.mutants import constants, data, network, training
from alignment.mutants.mutant import Mutant
from alignment.mutants.small_net import small_net_pair

__all__ = ["MUTANTS", "PAIRS", "Mutant", "small_net_pair"]

MUTANTS: tuple[Mutant, ...] = (*constants.MUTANTS, *network.MUTANTS, *training.MUTANTS, *data.MUTANTS)

# key -> (model, further options of its builder) of the pairs that are recognizers
PAIRS: dict[str, tuple[str, dict[str, Any]]] = {
    "tsn_tiny": ("tsn_tiny", {}),
    "tsm_tiny": ("tsm_tiny", {}),
    "tsm_pool": ("tsm_tiny", {"temporal_pool": True}),
    "mvf_tiny": ("mvf_tiny", {}),
    "mvf_conv3d": ("mvf_tiny", {"mvf_arrangement": "conv3d"}),
    "tsm_mobilenet_v2": ("tsm_mobilenet_v2", {}),
    "tsm_bottleneck": ("tsm_bottleneck", {}),
}
