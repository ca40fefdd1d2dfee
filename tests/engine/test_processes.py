"""What the processes of a run decide without a word between them; what they tell each other: tests/commands."""

from types import SimpleNamespace

from configs import Recipe
from engine.log import Speed
from engine.processes import Processes
from engine.trainer import Trainer


def test_a_single_process_adds_up_to_itself():
    alone = Processes.join()
    assert (alone.rank, alone.size, alone.is_first) == (0, 1, True)
    assert alone.sums([0.1, 2]) == [0.1, 2]
    assert alone.gather(["a message"]) == ["a message"]
    alone.wait()


def test_the_rate_counts_processes_where_it_counts_the_batch():
    assert Processes(1, 4).rate_factor(Recipe()) == 4
    assert Processes(1, 4).rate_factor(Recipe.of(scale_lr=False)) == 1


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
