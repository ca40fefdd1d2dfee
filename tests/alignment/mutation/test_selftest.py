"""Every injected fault is caught and blamed on the right place; pairs without a fault pass."""

import re
from collections import Counter

import pytest

from alignment.mutation import MUTANTS, PAIRS, PIPELINE, selftest
from alignment.verdicts.record import Divergence

HEAVY = ("r2plus1d", "i3d_inception")  # networks that have no small variant: in `make test-all` alone
LIKE_OTHERS = ("tsm_mobilenet_v2", "unet_tiny", "unet_bilinear")  # unmutated there, too, as others go the same way
LIGHT = (PIPELINE, "small_net", "video_transformer")


def in_make_test():
    """Every mutant of a light pair, and every fourth one of each other: the self-test of `make test-all` has all."""
    seen = Counter()
    for index, mutant in enumerate(MUTANTS):
        seen[mutant.pair] += 1
        later = mutant.pair in HEAVY or (mutant.pair not in LIGHT and seen[mutant.pair] % 4 != 1)
        yield pytest.param(index, marks=pytest.mark.whole if later else ())


@pytest.mark.parametrize("index", list(in_make_test()), ids=lambda index: re.sub(r"\W+", "-", MUTANTS[index].name))
def test_a_mutant_is_caught_and_named(index):
    trial = selftest.Trial(MUTANTS[index], *selftest.try_mutant(index, until_failure=True))
    assert trial.caught
    assert trial.named, trial.whole


@pytest.mark.parametrize("seed", [101, pytest.param(102, marks=pytest.mark.whole)])
@pytest.mark.parametrize(
    "name", [pytest.param(v, marks=pytest.mark.whole if v in (*HEAVY, *LIKE_OTHERS) else ()) for v in PAIRS]
)
def test_a_pair_without_a_bug_passes(name, seed):
    assert selftest.false_alarm((name, seed)) == ""


def test_a_part_of_the_self_test_has_the_pairs_of_its_mutants(capsys):
    assert selftest.run_selftest("^variance of a LayerNorm by n - 1$", seeds=1)
    out = capsys.readouterr().out
    assert "caught        1 of 1 mutants (100%)" in out
    assert "unmutated     0 of 1 runs failed (1 seeds of each of 1 pairs)" in out


def test_scores_count_what_was_missed(capsys):
    blame = Divergence("forward", "backbone.layer1", "")
    elsewhere, nothing = Divergence("forward", "head", ""), None
    mutant = next(m for m in MUTANTS if "layer2.0.bn1" in m.expect)
    right = Divergence("config", "backbone.layer2.0.bn1.eps", "")
    trials = [selftest.Trial(mutant, whole, nothing) for whole in (right, blame, elsewhere, nothing)]
    caught, named, numbers = selftest.scores(trials)
    assert "3 of 4 mutants (75%)" in caught
    assert "1 of 4 (25%)" in named
    assert "0 of 4 caught" in numbers
    assert "NOT CAUGHT" in selftest.trial_line(trials[3])
    assert "expected layer2.0.bn1" in selftest.trial_line(trials[2])
