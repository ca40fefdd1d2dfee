"""The session: which run goes when, perturbed how far, and what of it is kept."""

import numpy as np
import paddle
import pytest
import torch

from alignment.sides.pair import IncomparableError, Pair, Sides
from alignment.sides.state import write_weights
from alignment.stages.session import Session, first_failure, layer_of
from alignment.verdicts.judge import RERUNS
from alignment.verdicts.record import Record


class Theirs(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.BatchNorm1d(6), torch.nn.ReLU())
        self.fc = torch.nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(self.body(x))


class Ours(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.trunk = paddle.nn.Sequential(paddle.nn.Linear(4, 6), paddle.nn.BatchNorm1D(6), paddle.nn.ReLU())
        self.fc = paddle.nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(self.trunk(x))


def build(reference=Theirs, candidate=Ours, **fields):
    torch.manual_seed(0)
    pair = Pair(
        reference(),
        candidate(),
        (np.random.default_rng(0).normal(size=(5, 4)).astype("float32"),),
        np.arange(5) % 3,
        names=((r"^body\b", "trunk"),),
        **fields,
    )
    write_weights(pair.candidate, pair.reference_weights())
    return pair


def started(precision="float64", **arguments):
    session = Session(build(**arguments), precision)
    session.start()
    return session


class Recorder:
    """A pass that shows one number of its run, off by `error` in the candidate, and writes down who ran with what."""

    def __init__(self, session, error=0.0):
        self.session, self.error, self.runs = session, error, []

    def __call__(self, run, listen, *others):
        self.runs.append((run, run.weights()["fc.weight"].astype("float64")))
        value = np.linspace(1, 2, 8) * (1 + self.error * (run is self.session.candidate))
        for listener in (listen, *others):
            listener("value", value.astype(run.precision))

    @property
    def order(self):
        return [f"{run.side} {run.precision}" for run, _ in self.runs]

    def perturbation(self, index):
        """The largest relative change of a weight in a run, in halves of the epsilon of its precision."""
        run, weight = self.runs[index]
        first = next(w for r, w in self.runs if r is run)
        return np.abs(weight / first - 1).max() / (np.finfo(run.precision).eps / 2)


class TestRuns:
    def test_in_float64_the_reference_and_the_candidate_once(self):
        session = started()
        assert session.reference32 is None
        assert session.reference is session.reference64
        recorder = Recorder(session)
        judge = session.compare("loss", recorder)
        assert recorder.order == ["reference float64", "candidate float64"]
        assert judge.records["value"].passed
        assert judge.reference["value"].dtype == np.float64

    def test_in_float32_the_reference_in_both_precisions(self):
        session = started("float32")
        assert session.reference is session.reference32
        recorder = Recorder(session)
        session.each(recorder, ["gradient"], reference_runs=2)
        assert recorder.order == ["reference float64", *["reference float32"] * 2, "candidate float32"]
        assert recorder.perturbation(1) == 0
        assert 0 < recorder.perturbation(2) <= 2  # half an epsilon, rounded

    def test_before_a_small_difference_of_float64_counts_the_reference_is_rerun_perturbed(self):
        session = started()
        recorder = Recorder(session, error=1e-9)
        judge = session.compare("loss", recorder)
        assert recorder.order == ["reference float64", "candidate float64", *["reference float64"] * RERUNS]
        for index in range(2, 2 + RERUNS):
            assert 1 <= recorder.perturbation(index) <= 3
        assert len({recorder.runs[index][1].tobytes() for index in range(2, 2 + RERUNS)}) == RERUNS
        assert not judge.records["value"].passed, "the perturbation did not move this value"

    def test_what_a_perturbation_moves_as_far_is_no_difference_and_no_perturbed_run_is_kept(self):
        session = started()
        before = session.reference.weights()["fc.weight"]

        def unstable(run, listen):
            """A sum of the weights' changes, enlarged, that the candidate is off by as much as one of 1e-16."""
            change = np.abs(run.weights()["fc.weight"] / before - 1).max() if run.side == "reference" else 1e-16
            listen("value", np.array([1.0, 1e5 * change]))

        judge = session.each(unstable, ["loss"], keep="loss")[0]
        assert judge.reference_errors["value"] > 1e-11
        assert judge.records["value"].required == pytest.approx(1e-11)
        assert judge.records["value"].passed
        assert session.tensors["loss/value"].reference[1] == 0

    def test_a_large_difference_of_float64_needs_no_rerun(self):
        recorder = Recorder(session := started(), error=1e-3)
        session.compare("loss", recorder)
        assert recorder.order == ["reference float64", "candidate float64"]

    def test_reruns_of_float32_are_perturbed_further_and_are_for_passes_with_jumps(self):
        session = started("float32")
        recorder = Recorder(session, error=1e-2)
        session.compare("loss", recorder)
        assert len(recorder.runs) == 3
        recorder = Recorder(session, error=1e-2)
        session.each(recorder, ["gradient"], reference_runs=2)
        assert recorder.order[4:] == ["reference float32"] * RERUNS
        for index in range(4, 4 + RERUNS):
            assert 7 <= recorder.perturbation(index) <= 9

    def test_each_run_starts_from_the_same_weights(self):
        session = started("float32")

        def spoil(run, listen):
            listen("weight", run.weights()["fc.weight"])
            run.set_weights({"fc.weight": np.zeros((6, 3))})

        for _ in range(2):
            assert session.compare("parameter", spoil).records["weight"].passed
        assert np.any(session.candidate.weights()["fc.weight"])

    def test_a_judge_for_each_kind(self):
        session = started()
        judges = session.each(Recorder(session), ["loss", "gradient"])
        assert [judge.kind for judge in judges] == ["loss", "gradient"]
        assert all(judge.records["value"].passed for judge in judges)

    def test_the_callers_models_are_copied_once(self):
        session = started()
        run = session.candidate
        session.start()
        assert session.candidate is run
        run.set_weights({"fc.weight": np.zeros((6, 3))})
        assert np.any(session.pair.candidate.fc.weight.numpy())


class TestKept:
    @pytest.mark.parametrize("precision", ["float64", "float32"])
    def test_both_sides_in_the_candidates_precision_without_the_reruns(self, precision):
        session = started(precision)
        session.each(Recorder(session, error=1e-2), ["loss", "gradient"], keep="loss", reference_runs=2)
        (name,) = session.tensors
        assert name == "loss/value"
        reference, candidate = session.tensors[name]
        assert str(reference.dtype) == str(candidate.dtype) == precision
        np.testing.assert_allclose(candidate / reference, 1.01, rtol=1e-6)

    def test_nothing_unless_it_is_asked_for(self):
        session = started()
        session.compare("loss", Recorder(session))
        assert session.tensors == {}

    def test_logits_are_computed_once_or_taken_from_the_stage_forward(self):
        session = started("float32")
        logits = session.logits()
        assert session.logits() is logits
        assert logits.candidate.shape == (5, 3)
        assert str(logits.reference.dtype) == str(logits.candidate.dtype) == "float32"
        np.testing.assert_allclose(logits.candidate, logits.reference, rtol=1e-4, atol=1e-6)
        session = started()
        session.tensors["forward/eval"] = Sides(1, 2)
        assert session.logits() == (1, 2)


class TestRefusals:
    def test_a_pair_without_a_loss(self):
        with pytest.raises(IncomparableError, match="needs loss="):
            started().objective()

    def test_the_first_loss_is_minimized(self):
        losses = {"b": Sides(1, 2), "a": Sides(3, 4)}
        assert started(losses=losses).objective() == (1, 2)

    def test_a_model_that_gives_other_values_again_is_refused_by_layer(self):
        class Noisy(paddle.nn.ReLU):
            def forward(self, x):
                return super().forward(x) + 0.01 * paddle.rand([1]).astype(x.dtype)

        class Random(Ours):
            def __init__(self):
                super().__init__()
                self.trunk[2] = Noisy()

        started().require_repeatable()
        with pytest.raises(IncomparableError, match=r"the candidate gives other values .* in layer body\.2:"):
            started(candidate=Random).require_repeatable()

    def test_nan_is_left_to_the_judge(self):
        pair = build()
        pair.candidate.fc.weight.set_value(np.full((6, 3), np.nan, np.float32))
        session = Session(pair, "float64")
        session.start()
        assert np.isnan(session.output(session.candidate, train=True)).all()
        session.require_repeatable()


def test_the_layers_around_a_weight_are_named_as_in_the_reference():
    session = started()
    assert list(session.around("body.1._mean")) == ["body.1", "body"]
    assert list(session.around("fc.bias")) == ["fc"]
    assert list(session.around("scale")) == []


def test_the_path_in_the_name_of_a_record():
    assert layer_of("layer1.0 (call 2) [1]") == "layer1.0"
    assert layer_of("layer1.0") == "layer1.0"


def test_the_first_failure():
    records = [Record(name, "loss", passed) for name, passed in (("a", True), ("b", False), ("c", False))]
    assert first_failure(records).name == "b"
    assert first_failure(records[:1]) is None
