"""Whole networks of descendants: what they are made of, what they get, how long they take, what is written down."""

import json
import math

import numpy as np
import paddle
import pytest

from deploy import inspect
from deploy.artifact import open_artifact
from deploy.engines import open_engine
from models.temporal_module import find_layer
from runtime.errors import UserError
from scaling import evaluate, latency
from scaling.__main__ import job_of, main, parse_args
from scaling.compose import Descendants, composed, exchanged, size_bytes
from scaling.evaluate import divergence, evaluate_all, lost_share, read_evaluations
from scaling.front import Selector, choices_along, measure, read_measurements, table_of
from scaling.optimize import BudgetError, pareto_front
from scaling.profile import FILE, contexts_of, costs_of, profile, read_profile, replaced, trials_of
from tests.scaling.conftest import MEMORY
from weights.files import read_file

LEVELS = (0.0, 0.3, 0.6, 0.8)


def test_a_choice_of_nothing_is_the_original_bit_for_bit(original, descendants, clip):
    nothing = (0.0,) * len(original.blocks)
    assert descendants.of(nothing) == {}
    np.testing.assert_array_equal(composed(original.model, {})(clip).numpy(), original.model(clip).numpy())


def test_a_composed_network_has_the_weights_of_the_files(original, descendants, trained, clip):
    choice = (0.5, 0.0, 0.5, 0.0, 0.0, 0.5, 0.0, 0.5)
    before = original.model(clip).numpy()
    layers = descendants.of(choice)
    with exchanged(original.model, layers) as model:
        inside = model(clip).numpy()
    made = composed(original.model, layers)
    np.testing.assert_array_equal(made(clip).numpy(), inside)
    np.testing.assert_array_equal(original.model(clip).numpy(), before)  # it is back
    assert np.abs(inside - before).max() > 0
    assert size_bytes(made) < size_bytes(original.model)
    for block, sparsity in zip(original.blocks, choice, strict=True):
        if sparsity:
            arrays = read_file(trained / "descendants" / f"{block.path}@{sparsity:g}.safetensors")
            for name, tensor in find_layer(made, block.path).state_dict().items():
                np.testing.assert_array_equal(tensor.numpy(), arrays[name])


def test_the_model_is_put_back_after_an_error(original, descendants):
    block = original.blocks[0].path
    own = find_layer(original.model, block)
    with pytest.raises(KeyError), exchanged(original.model, descendants.of((0.5,) * 8)):
        raise KeyError
    assert find_layer(original.model, block) is own


def test_what_is_not_there_is_named(original, trained, tmp_path):
    descendants = Descendants(original.model, original.blocks, trained)
    with pytest.raises(UserError, match=r"no descendant of backbone.layer1.0 at 0.4: there are 0.5"):
        descendants.of((0.4, *[0.0] * 7))
    with pytest.raises(UserError, match="a choice names a sparsity for each of 8 blocks, got 1"):
        descendants.of((0.5,))


def test_a_file_that_was_changed_is_refused(original, trained):
    file = next((trained / "descendants").iterdir())
    content = file.read_bytes()
    try:
        file.write_bytes(content[:-4] + bytes(4))
        with pytest.raises(UserError, match="is missing or was changed"):
            Descendants(original.model, original.blocks, trained).of((0.5,) * 8)
    finally:
        file.write_bytes(content)


def test_contexts_and_trials():
    assert contexts_of(LEVELS, 2) == [(0.0, 0.0), (0.3, 0.3), (0.6, 0.6)]
    assert contexts_of((0.5,), 2) == [(0.0, 0.0), (0.5, 0.5)]
    trials = trials_of(LEVELS, 2)
    assert len(trials) == 3 * 2 * 4
    assert (0.6, 0.3) in trials
    assert (0.3, 0.0) in trials
    assert (0.8, 0.0) in trials
    assert replaced((0.1, 0.2, 0.3), 1, 0.0) == (0.1, 0.0, 0.3)


def test_a_divergence_is_what_no_softmax_hides():
    rng = np.random.default_rng(0)
    own = rng.normal(size=(4000, 2, 3))
    own -= own.mean(axis=1, keepdims=True)
    assert divergence(own, own + 7) == pytest.approx(0, abs=1e-12)  # the same for all classes
    assert divergence(own, 2 * own) == pytest.approx(1)
    noise = rng.normal(size=own.shape)
    noise -= noise.mean(axis=1, keepdims=True)
    for scale in (0.1, 0.5, 1.0, 3.0):
        other = own + scale * noise
        found = divergence(own, other)
        assert found == pytest.approx(scale**2, rel=0.1)
        changed = np.mean(own.argmax(axis=1) != other.argmax(axis=1))
        assert lost_share(np.array(found)) == pytest.approx(changed, abs=0.02)
    assert lost_share(np.array([-1.0, 0.0, np.inf])) == pytest.approx([0, 0, 0.5])


def test_the_validation_samples_are_decoded_once(original, monkeypatch):
    first = [batch.clips for batch in original.validation.epoch(0)]
    monkeypatch.setattr(type(original.validation.dataset), "load_into", None)
    again = [batch.clips for batch in original.validation.epoch(1)]
    assert len(again) == len(original.validation)
    assert all((one == other).all() for one, other in zip(first, again, strict=True))
    assert sum(map(len, first)) == len(original.val.entries)


def test_two_processes_measure_the_same_and_nothing_is_measured_twice(original, trained, monkeypatch):
    choices = [(0.0,) * 8, (0.5,) * 8, (0.5, *[0.0] * 7), (0.5,) * 8]
    found = evaluate_all(original, trained, choices, processes=2)
    assert set(found) >= set(choices)
    alone = evaluate.metrics_of(original, Descendants(original.model, original.blocks, trained), choices[1])
    assert found[choices[1]] == pytest.approx(alone, rel=1e-5)  # other threads
    assert read_evaluations(trained) == found
    monkeypatch.setattr(evaluate, "_measured", lambda job, folder, choices, *_: iter(() if not choices else None))
    assert evaluate_all(original, trained, choices) == found


@pytest.fixture(scope="module")
def profiled(trained):
    return read_profile(trained)


def test_a_profile_has_a_row_for_each_descendant(job, trained, original, descendants, profiled):
    assert [block["path"] for block in profiled["blocks"]] == [block.path for block in original.blocks]
    assert profiled["size_bytes"] == size_bytes(original.model)
    assert profiled["latency_ms"] > 0
    measured = read_evaluations(trained)
    assert profiled["accuracy"] == measured[(0.0,) * 8]["top1_acc"]
    for number, block in enumerate(profiled["blocks"]):
        assert [row["sparsity"] for row in block["rows"]] == [0.0, 0.5]
        sizes = [row["size_bytes"] for row in block["rows"]]
        assert sizes == sorted(sizes, reverse=True)
        assert len(set(sizes)) == 2
        assert block["rows"][0]["latency_share"] == 1
        assert all(0.2 < row["latency_share"] < 5 for row in block["rows"])
        for row in block["rows"]:
            expected = [
                measured[replaced(context, number, 0.0)]["top1_acc"]
                - measured[replaced(context, number, row["sparsity"])]["top1_acc"]
                for context in contexts_of(job.sparsities, 8)
            ]
            assert row["accuracy_drops"] == expected
            assert row["divergences"] == [
                measured[replaced(context, number, row["sparsity"])]["divergence"]
                - measured[replaced(context, number, 0.0)]["divergence"]
                for context in contexts_of(job.sparsities, 8)
            ]
            assert row["multiply_adds"] > 0


def test_sizes_of_a_front_are_those_of_its_networks(original, descendants, profiled):
    blocks, rest = costs_of(profiled)
    front = pareto_front(blocks, rest)
    levels = [0.0, 0.5]
    for cost, numbers in zip(front.costs[:: len(front) // 5 + 1], front.choices[:: len(front) // 5 + 1], strict=True):
        choice = tuple(levels[number] for number in numbers)
        assert cost[2] == size_bytes(composed(original.model, descendants.of(choice)))
    whole = front.costs[front.best()]
    assert whole[0] <= 0


def test_a_profile_goes_on_where_it_was_ended(job, trained, profiled, monkeypatch):
    begun = json.loads((trained / FILE).read_text())
    monkeypatch.setattr("scaling.profile.Stopwatch", lambda *_: pytest.fail("nothing is left to time"))
    assert profile(job, trained, "paddle", processes=2) == begun
    with pytest.raises(UserError, match=r"no profile\.json in"):
        read_profile(trained / "absent")


def test_an_engine_that_is_not_there_is_named(original, tmp_path):
    with pytest.raises(UserError, match="got 'tensorflow'"):
        latency.Stopwatch(original.model, [], (8, 3, 32, 32), "tensorflow", 1, tmp_path)


def test_the_command_says_what_it_has_done(piped):
    folder, printed = piped
    lines = printed.splitlines()
    assert sum(": error " in line and " trained" in line for line in lines) == 8
    assert sum(": accuracy drop " in line for line in lines) == 8
    assert any(line.endswith("MiB: the original") for line in lines)
    points = read_measurements(folder)["points"]
    head = "estimated divergence, ms | measured divergence, accuracy drop, ms, MiB, MiB of the process"
    start = lines.index(head)
    assert sum(" | " in line for line in lines[start + 1 :]) == len(points)
    assert any("latency_ms: corrected estimates are off by" in line for line in lines)
    assert any(line.startswith("2 networks drawn at random: latency is off by") for line in lines)


def test_networks_are_measured_as_wholes(trained, original, descendants):
    table, found = table_of(trained), read_measurements(trained)
    points = found["points"]
    assert {tuple(point["choice"]) for point in points} >= {*choices_along(table, 3), (0.0,) * 8, (0.5,) * 8}
    assert [point["uniform"] for point in points].count(True) == 2
    measured = read_evaluations(trained)
    for point in points:
        choice = tuple(point["choice"])
        assert point["measured"]["accuracy_drop"] == measured[(0.0,) * 8]["top1_acc"] - measured[choice]["top1_acc"]
        assert point["measured"]["size_bytes"] == point["estimated"]["size_bytes"]  # sizes do add up
        assert point["measured"]["latency_ms"] > 0
        assert point["estimated"] == table.estimate(choice)
        assert point["measured"]["divergence"] == measured[choice]["divergence"]
        assert point["measured"]["memory_bytes"] == MEMORY
    unseen = [tuple(point["choice"]) for point in points if point["unseen"]]
    assert len(unseen) == 2
    assert not {*choices_along(table, 3), (0.0,) * 8, (0.5,) * 8} & set(unseen)
    assert len(found["corrections"]["latency_ms"]["held_out"]) == len(points) - 2  # which correct nothing


def test_a_network_is_selected_and_written(
    trained, descendants, original, tmp_path, capsys, in_this_process, motion_videos
):
    sizes = sorted(point["measured"]["size_bytes"] for point in read_measurements(trained)["points"])
    budget = (sizes[0] + sizes[-1]) / 2
    found = Selector(trained)(size_bytes=budget)
    assert found.expected.size_bytes <= budget
    main(["select", "--output", str(trained), "--size_mb", str(budget / 2**20), "--artifact", str(tmp_path / "out"),
          "--formats", "paddle"])  # fmt: skip
    assert f"{found.expected.size_bytes / 2**20:.2f} MiB" in capsys.readouterr().out
    code, _ = in_this_process(inspect.main, "--model_dir", str(tmp_path / "out"), "--video", str(motion_videos),
                              "--engine", "paddle")  # fmt: skip
    assert "was composed by python -m scaling: its layers are not those of a checkpoint" in str(code)
    artifact = open_artifact(tmp_path / "out")
    assert list(artifact.record["sparsities"].values()) == list(found.choice)
    clips = original.held_out()[0]
    expected = composed(original.model, descendants.of(found.choice))(paddle.to_tensor(clips)).numpy()
    np.testing.assert_allclose(
        open_engine("paddle", tmp_path / "out", threads=1)(clips), expected, rtol=1e-4, atol=1e-4
    )


def test_budgets_are_in_corrected_milliseconds(trained):
    budget = 1.0 + max(point["measured"]["latency_ms"] for point in read_measurements(trained)["points"])
    choose = Selector(trained)
    assert choose(latency_ms=budget).expected.latency_ms <= budget
    with pytest.raises(BudgetError, match=r"no choice of blocks keeps within 1 bytes: the nearest takes"):
        choose(size_bytes=1)
    with pytest.raises(BudgetError, match="size_bytes must be above 0"):
        choose(size_bytes=-math.inf)


def test_what_was_measured_is_not_measured_again(job, trained, monkeypatch):
    before = read_measurements(trained)
    monkeypatch.setattr(evaluate, "_measured", lambda job, folder, choices, *_: iter(() if not choices else None))
    taken = latency.Whole(1.0, 1)
    monkeypatch.setattr(latency.Stopwatch, "wholes", lambda self, networks: [taken] * (len(networks) + 1))
    again = measure(job, trained, 3, unseen=2)
    drops = [[point["measured"]["accuracy_drop"] for point in one["points"]] for one in (before, again)]
    assert drops[0] == drops[1]


def test_flags_of_the_job_are_not_asked_of_the_recipe():
    """A recipe has options of some of the same names, which the fine-tuning of a uniform network follows."""
    required = ["--pretrained", "a", "--dataset_root", "b", "--output", "c"]
    job = job_of(parse_args([*required, "--batch_size", "3", "--lr", "0.5", "--seed", "7", "--num_segments", "4"]))
    assert (job.batch_size, job.lr, job.seed) == (3, 0.5, 7)
    assert job.asked.options == {"num_segments": 4}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--sparsities", "1.5"], "a sparsity must be from 0 to below 1, got 1.5"),
        (["--device", "gpu"], "blocks are trained and timed on CPU"),
        (["--lr", "0"], "--lr must be above 0, got 0"),
    ],
)
def test_what_cannot_be_done_is_one_line(job, tmp_path, in_this_process, flags, said):
    argv = ["--pretrained", job.pretrained, "--dataset_root", job.dataset_root, "--output", str(tmp_path / "job")]
    code, _ = in_this_process(main, *argv, *flags)
    assert said in str(code)
