"""The judge: where its limits are, what loosens them, and what nothing excuses."""

import math

import numpy as np
import pytest

from alignment.sides.pair import IncomparableError
from alignment.verdicts.judge import EXACT, RATIO, Judge, step_of

VALUES = np.linspace(-1, 1, 64)


def moved(error, values=VALUES):
    """The values, each moved up or down by the error, which is then the largest and the root mean square of all."""
    return values + error * np.where(np.arange(values.size) % 2, 1, -1)


def learned(precision="float64", kind="activation", **tensors):
    judge = Judge(kind, precision)
    for name, values in (tensors or {"conv": VALUES}).items():
        judge.learn(name, values)
    return judge


def verdict(judge, error, name="conv", values=VALUES):
    judge(name, moved(error, values).astype(judge.precision))
    return judge.records[name]


class TestFloat64:
    @pytest.mark.parametrize("scale", [1.0, 1e6, 1e-6])
    def test_the_limit_is_a_fraction_of_the_largest_value(self, scale):
        values = VALUES * scale
        assert verdict(learned(conv=values), 0.9 * EXACT * scale, values=values).passed
        record = verdict(learned(conv=values), 1.2 * EXACT * scale, values=values)
        assert not record.passed
        assert record.tolerance == EXACT
        assert record.required == pytest.approx(1.2 * EXACT, rel=0.05)
        assert record.reason.startswith("off by 1.2e-12 of its scale, 1e-12 is allowed")

    def test_the_largest_value_may_be_negative(self):
        values = np.append(VALUES, -1000.0)
        assert verdict(learned(conv=values), 900 * EXACT, values=values).passed

    def test_one_wrong_element_is_enough(self):
        judge, candidate = learned(), VALUES.copy()
        candidate[17] += 5e-12
        judge("conv", candidate)
        assert not judge.records["conv"].passed
        assert judge.records["conv"].difference.worst_index == (17,)

    def test_a_small_gradient_is_judged_by_the_size_of_the_others_and_an_activation_is_not(self):
        tensors = {"large": VALUES, "small": VALUES * 1e-9}
        for kind, passed in (("gradient", True), ("activation gradient", True), ("eval activation", False)):
            record = verdict(learned(kind=kind, **tensors), 5e-16, "small", tensors["small"])
            assert record.passed is passed, kind
        assert not verdict(learned(kind="gradient", **tensors), 2e-15, "small", tensors["small"]).passed

    def test_an_error_of_the_size_of_a_constant_in_float32_is_said_to_be_one(self):
        for error, said in ((1e-11, False), (1e-9, True), (1e-7, True), (2e-7, False)):
            assert ("keeps in float32" in verdict(learned(), error).reason) is said, error
        assert "keeps in float32" not in verdict(learned("float32"), 1e-3).reason

    def test_what_moves_the_perturbed_reference_as_far_is_no_difference(self):
        judge = learned()
        verdict(judge, 7e-9)
        assert judge.doubtful
        judge.calibrate("conv", moved(1e-9))
        judge.judge_again()
        assert judge.records["conv"].passed
        assert judge.records["conv"].tolerance == pytest.approx(RATIO * 1e-9, rel=0.05)
        assert not judge.doubtful

    def test_what_moves_the_perturbed_reference_less_is_one(self):
        judge = learned()
        verdict(judge, 9e-9)
        judge.calibrate("conv", moved(1e-9))
        judge.judge_again()
        assert not judge.records["conv"].passed

    def test_a_large_error_is_not_excused_by_any_perturbation(self):
        judge = learned()
        verdict(judge, 1e-5)
        assert not judge.doubtful
        judge.calibrate("conv", moved(1e-3))
        judge.judge_again()
        assert not judge.records["conv"].passed


class TestFloat32:
    def test_some_roundings_are_always_allowed(self):
        judge = learned("float32")
        judge.calibrate("conv", VALUES)
        floor = 8 * 2.0**-22  # relative to the root mean square
        rms = math.sqrt(np.mean(VALUES**2))
        assert verdict(judge, 0.9 * floor * rms).passed
        record = verdict(judge, 1.1 * floor * rms)
        assert not record.passed
        assert record.tolerance == floor

    def test_the_error_of_the_float32_reference_is_the_yardstick(self):
        for factor, passed in ((7.5, True), (8.5, False)):
            judge = learned("float32")
            judge.calibrate("conv", moved(1e-4))
            assert verdict(judge, factor * 1e-4).passed is passed

    def test_one_element_counts_by_the_root_mean_square(self):
        judge, candidate = learned("float32"), VALUES.copy()
        candidate[17] += 3e-6  # the root mean square is an eighth of that, and what is allowed 1.1e-6
        judge("conv", candidate.astype("float32"))
        assert judge.records["conv"].passed

    def test_of_several_runs_the_one_furthest_off_counts(self):
        judge = learned("float32")
        for error in (1e-5, 1e-3, 1e-4):
            judge.calibrate("conv", moved(error))
        assert judge.reference_errors["conv"] == pytest.approx(1e-3 / math.sqrt(np.mean(VALUES**2)), rel=1e-3)

    def test_a_lucky_tensor_is_judged_by_the_median_of_its_pass(self):
        judge = learned("float32", a=VALUES, b=VALUES, c=VALUES)
        for name, error in (("a", 0.0), ("b", 1e-4), ("c", 1e-2)):
            judge.calibrate(name, moved(error))
        assert verdict(judge, 7e-4, "a").passed
        assert not verdict(judge, 9e-4, "a").passed
        assert verdict(judge, 7e-2, "c").passed

    def test_over_steps_of_training_the_largest_error_of_the_step_counts_and_of_no_other_step(self):
        names = ["a, step 1", "b, step 1", "a, step 2", "b, step 2"]
        judge = learned("float32", "parameter", **dict.fromkeys(names, VALUES))
        for name, error in zip(names, (0.0, 1e-4, 0.0, 1e-2), strict=True):
            judge.calibrate(name, moved(error))
        assert verdict(judge, 7e-4, "a, step 1").passed
        assert not verdict(judge, 9e-4, "a, step 1").passed
        assert verdict(judge, 7e-2, "a, step 2").passed

    def test_a_later_run_changes_the_median_too(self):
        judge = learned("float32", a=VALUES, b=VALUES)
        for name in ("a", "b"):
            judge.calibrate(name, VALUES)
        assert not verdict(judge, 1e-3, "a").passed
        judge.calibrate("b", moved(1e-3))
        judge.judge_again()
        assert judge.records["a"].passed

    def test_a_passed_record_keeps_its_verdict(self):
        judge = learned("float32", a=VALUES, b=VALUES)
        record = verdict(judge, 0.0, "a")
        verdict(judge, 1e-3, "b")
        judge.calibrate("a", moved(1e-2))
        judge.judge_again()
        assert judge.records["a"] is record
        assert judge.records["b"].passed


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (np.where(np.arange(64) == 3, np.nan, VALUES), "1 of 64 values of the candidate are NaN or infinite"),
        (np.where(np.arange(64) == 3, -np.inf, VALUES), "1 of 64 values of the candidate are NaN or infinite"),
        (VALUES.reshape(8, 8), "shape [8, 8], the reference has [64]"),
        (VALUES.astype(np.float32), "type float32 where float64 is computed"),
    ],
)
def test_what_cannot_be_compared_fails_and_no_run_excuses_it(candidate, reason):
    judge = learned()
    judge("conv", candidate)
    assert not judge.doubtful
    judge.calibrate("conv", moved(1e-3))
    judge.judge_again()
    assert not judge.records["conv"].passed
    assert reason in judge.records["conv"].reason


def test_a_float32_reference_that_overflows_is_no_yardstick():
    judge = learned("float32")
    judge.calibrate("conv", np.full(64, np.inf))
    assert "conv" not in judge.reference_errors
    assert not verdict(judge, 1e-3).passed


def test_nothing_at_all_is_no_pass():
    judge = learned(conv=np.zeros((0, 3)))
    judge("conv", np.zeros((0, 3)))
    assert "nothing was compared" in judge.records["conv"].reason


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_reference_that_is_not_finite_is_refused_by_name(bad):
    with pytest.raises(IncomparableError, match="NaN or infinity: activation fc; repair"):
        learned(fc=np.array([1.0, bad]))


class TestOrder:
    def test_is_that_of_the_reference_whatever_the_candidate_shows_first(self):
        judge = learned(a=VALUES, b=VALUES, output=VALUES)
        for name in ("output", "b", "a"):
            judge(name, VALUES)
        assert [record.name for record in judge.in_order()] == ["a", "b", "output"]

    def test_a_layer_on_one_side_is_passed_over_and_an_output_is_not(self):
        judge = learned(a=VALUES, b=VALUES, output=VALUES)
        for name in ("a", "extra", "output [1]"):
            judge(name, VALUES)
        found = [(record.name, record.passed, record.reason) for record in judge.in_order()]
        assert found == [
            ("a", True, ""),
            ("output", False, "the candidate has none"),
            ("output [1]", False, "the reference has none"),
        ]

    def test_where_all_must_be_there_each_absence_is_a_failure(self):
        judge = learned(a=VALUES, b=VALUES)
        judge("b", VALUES)
        assert [(r.name, r.passed) for r in judge.all_in_order()] == [("a", False), ("b", True)]

    def test_a_run_may_show_what_the_reference_has_not(self):
        judge = learned()
        judge.calibrate("extra", VALUES)
        assert not judge.reference_errors


def test_the_step_in_a_name():
    assert step_of("fc.weight, step 2") == "step 2"
    assert step_of("step 3") == "step 3"
    assert step_of("layer1.0.conv1") == ""
