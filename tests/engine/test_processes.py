"""What the processes of a run decide without a word between them; what they tell each other: tests/commands."""

from types import SimpleNamespace

import pytest

from configs import Recipe
from engine.log import Speed
from engine.processes import Processes
from engine.trainer import Trainer
from runtime.errors import UserError


def test_a_single_process_adds_up_to_itself():
    alone = Processes.join()
    assert (alone.rank, alone.size, alone.is_rank_zero) == (0, 1, True)
    assert alone.all_reduce([0.1, 2]) == [0.1, 2]
    assert alone.all_gather(["a message"]) == ["a message"]
    alone.barrier()


def test_the_rate_counts_processes_where_it_counts_the_batch():
    assert Processes(1, 4).rate_factor(Recipe()) == 4
    assert Processes(1, 4).rate_factor(Recipe.of(scale_lr=False)) == 1


def test_a_batch_is_that_of_the_processes_which_began_the_run():
    recipe = Recipe.of(batch_size=4)
    assert Processes(0, 2).batch_size(recipe) == 4
    assert [Processes(0, size, begun_with=2).batch_size(recipe) for size in (1, 2, 4, 8)] == [8, 4, 2, 1]
    assert Processes(0, 1, begun_with=2).rate_factor(recipe) == 2
    with pytest.raises(UserError, match="a batch of this run has 8 samples, which 3 processes cannot share evenly"):
        Processes(0, 3, begun_with=2).batch_size(recipe)


def test_each_process_drops_other_features():
    def seed(*process):
        return Trainer._seed(SimpleNamespace(recipe=Recipe(), epoch=1, batch=2, processes=Processes(*process)))

    assert seed(0, 1) == seed(0, 3)
    assert len({seed(rank, 3) for rank in range(3)}) == 3


def test_speed_leaves_out_the_warm_up(monkeypatch):
    clock = iter([0.0, 100.0, 104.0])
    monkeypatch.setattr("engine.log.time.perf_counter", lambda: next(clock))
    speed = Speed(5)
    for samples in (8, 8, 8, 6, 8):
        speed.batch_done(samples)
    assert speed.line() == "benchmark: 5 batches, the first 1 not counted, avg_ips: 7.500 images/sec"
