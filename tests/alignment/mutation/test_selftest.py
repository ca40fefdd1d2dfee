"""Every injected fault is caught and blamed on the right place; pairs without a fault pass."""

import re

import pytest

from alignment.mutation import MUTANTS, PAIRS, selftest
from alignment.verdicts.record import Divergence

HEAVY = ("r2plus1d", "i3d_inception")  # networks that have no small variant: in `make test-all` alone
LIKE_OTHERS = ("tsm_mobilenet_v2", "unet_bilinear")  # whose unmutated pair is there, too, as others go the same way


@pytest.mark.parametrize(
    "index",
    [pytest.param(i, marks=pytest.mark.whole if mutant.pair in HEAVY else ()) for i, mutant in enumerate(MUTANTS)],
    ids=lambda i: re.sub(r"\W+", "-", MUTANTS[i].name),
)
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
    assert selftest.run_selftest("^Dice of pixels$", seeds=1)
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
