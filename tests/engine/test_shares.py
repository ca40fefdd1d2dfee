"""Where the time of a training goes."""

import time

import pytest

from engine.shares import PARTS, Shares, advice, table


def test_all_time_belongs_to_one_part():
    shares = Shares()
    begin = time.perf_counter()
    for part in (*PARTS, "reading"):
        time.sleep(0.01)
        shares.mark(part)
    passed = time.perf_counter() - begin
    assert shares.batches == 1
    assert all(seconds >= 0.01 for seconds in shares.seconds.values())
    assert shares.seconds["reading"] >= 0.02
    assert sum(shares.seconds.values()) == pytest.approx(passed, abs=0.005)
    shares.begin()
    assert sum(shares.seconds.values()) == shares.batches == 0


def test_a_table_has_what_a_batch_takes():
    seconds = {"reading": 3.0, "forward": 4.0, "backward": 2.0, "step": 0.75, "other": 0.25}
    lines = table(seconds, 10, workers=1, cores=4)
    assert lines[0] == "profile of 10 batches, 10.0 s"
    assert [line.split()[:3] for line in lines[2:7]] == [
        ["reading", "300.0", "30.0%"], ["forward", "400.0", "40.0%"], ["backward", "200.0", "20.0%"],
        ["step", "75.0", "7.5%"], ["other", "25.0", "2.5%"],
    ]  # fmt: skip
    assert len(lines) == 8
    assert "--num_workers above 1" in lines[7]


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({"reading": 0.4}, ["more cores than the 2 here"]),
        ({"step": 0.4}, ["larger --batch_size"]),
        ({"other": 0.4}, ["larger --log_iters"]),
        ({"reading": 0.3, "other": 0.3}, ["the network waits", "the run writes much"]),
        ({"forward": 0.6, "backward": 0.4}, ["the network decides"]),
    ],
)
def test_advice_is_about_the_part_that_costs(shares, words):
    found = advice(dict.fromkeys(PARTS, 0.0) | shares, workers=2, cores=2)
    assert len(found) == len(words)
    assert all(word in line for word, line in zip(words, found, strict=True))


def test_no_batch_is_no_error():
    assert table(dict.fromkeys(PARTS, 0.0), 0, 0, 1)[0] == "profile of 0 batches, 0.0 s"
