"""Recipes: validation, JSON, presets, flags."""

import argparse
import json

import pytest

from configs import PRESETS, Recipe, RecipeError, cli, get_preset
from configs.presets import preset_for_model
from runtime import command


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_documented(name):
    recipe = get_preset(name)
    doc = PRESETS[name].__doc__
    assert Recipe(**json.loads(recipe.to_json())) == recipe
    assert "Source:" in doc
    assert "Command:" in doc


def test_json_round_trip_keeps_every_field(tmp_path):
    recipe = Recipe(flip_pairs=((0, 1), (6, 7)), milestones=(20, 40), schedule="step", lr=1 / 3)
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    assert Recipe.from_json(tmp_path / "recipe.json") == recipe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": 4}, "split must be 1, 2 or 3, got 4"),
        ({"lr": 0.0}, "lr must be above 0, got 0"),
        ({"norm_eps": 0.0}, "norm_eps must be above 0, got 0"),
        ({"consensus": "mean"}, "consensus must be one of family, features, scores, got 'mean'"),
        ({"lr": float("nan")}, "lr must be a finite number"),
        ({"sampling": "random"}, "sampling must be one of mmaction0, .*got 'random'"),
        ({"batch_size": "16"}, "batch_size must be int, got '16'"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"mvf_stages": (0, 1)}, "mvf_stages must be four of 0 or 1"),
        ({"crop_size": 300}, r"crop_size must be short_side \(256\) at most, got 300"),
        ({"milestones": (40, 20)}, "milestones must be rising epochs"),
        ({"momentum": 0.0}, "nesterov must be off when momentum is 0"),
        ({"max_epochs": 3}, r"warmup_epochs must be below max_epochs \(3\), got 5"),
        ({"std": (1.0, 0.0, 1.0)}, "std must be above 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1"),
        ({"weight_decay": -1.0}, "weight_decay must be 0 or more, got -1"),
        ({"crop_scales": (2.0,)}, "crop_scales must be shares above 0, 1 at most"),
        ({"crop_scales": ()}, "crop_scales must be shares above 0, 1 at most"),
        ({"milestones": ("a", 1)}, r"milestones must hold finite numbers \(int\), got 'a'"),
        ({"milestones": (1.5,)}, r"milestones must hold finite numbers \(int\), got 1.5"),
        ({"mean": (float("nan"), 1.0, 1.0)}, "mean must hold finite numbers"),
        ({"flip_pairs": ((1,),)}, "flip_pairs must be pairs of labels, each label once"),
        ({"flip_pairs": ((0, 1), (1, 2))}, "flip_pairs must be pairs of labels, each label once"),
        ({"flip_pairs": ((0, 50),), "num_classes": 8}, r"flip_pairs must be below num_classes \(8\)"),
        ({"temporal_pool": True, "test_segments": 5, "clip_len": 1}, "temporal_pool must be off for an odd number"),
        ({"learning_rate": 0.1}, "names learning_rate, which no recipe has"),
    ],
)
def test_a_value_out_of_range_is_named(changes, message):
    with pytest.raises(RecipeError, match=message):
        Recipe().with_(**changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "cannot read the recipe"), ("[]", "must be a JSON object, got list"), ('{"lrr": 1}', "names lrr")],
)
def test_a_damaged_recipe_file_is_refused(tmp_path, text, message):
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(RecipeError, match=message):
        Recipe.from_json(tmp_path / "recipe.json")


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(RecipeError, match="no preset is named 'tsm'; known: ucf101_mvf_r50"):
        get_preset("tsm")


def test_the_rate_is_scaled_to_the_batch():
    recipe = Recipe(lr=0.02, base_batch_size=128, batch_size=8, accumulate=2)
    assert recipe.scaled_lr == pytest.approx(0.0025)
    assert recipe.with_(scale_lr=False).scaled_lr == 0.02


def test_frames_of_a_view():
    assert Recipe().num_frames == 16
    recipe = get_preset("kinetics400_tsn_r50")
    assert (recipe.num_frames, recipe.test_num_frames) == (8, 25)


def _parse(*flags):
    parser = argparse.ArgumentParser()
    cli.add_recipe_flags(parser)
    return parser.parse_args(flags)


def test_flags_override_the_preset_and_nothing_else():
    recipe = cli.recipe_from_flags(_parse("--preset", "ucf101_tsm_r50", "--lr", "0.5", "--nesterov"))
    assert recipe == get_preset("ucf101_tsm_r50").with_(lr=0.5, nesterov=True)


def test_paddlemvf_flags_without_a_preset_give_its_recipe():
    recipe = cli.recipe_from_flags(_parse("--batch_size", "16", "--max_epochs", "50", "--split", "1"))
    assert recipe == get_preset("ucf101_mvf_r50")


def test_a_run_shorter_than_its_warm_up_warms_up_for_the_same_part_of_it():
    recipe = cli.recipe_from_flags(_parse("--batch_size", "2", "--max_epochs", "1", "--split", "1"))
    assert recipe.warmup_epochs == pytest.approx(0.1)
    assert cli.recipe_from_flags(_parse("--max_epochs", "6")).warmup_epochs == 5
    with pytest.raises(RecipeError, match=r"warmup_epochs must be below max_epochs \(1\)"):
        cli.recipe_from_flags(_parse("--max_epochs", "1", "--warmup_epochs", "2"))


def test_a_model_alone_brings_its_nearest_preset():
    recipe = cli.recipe_from_flags(_parse("--model", "tsm_r101"))
    assert recipe == get_preset("kinetics400_tsm_r50").with_(model="tsm_r101", num_classes=0)
    assert preset_for_model("mvf_tiny").mvf_stages == (1, 1, 1, 1)
    with pytest.raises(RecipeError, match="no preset fits the model 'slowfast_r50'"):
        preset_for_model("slowfast_r50")


def test_tuples_on_the_command_line():
    args = _parse("--mvf_stages", "1,1,0,0", "--flip_pairs", "0-1,6-7", "--milestones", "3,6", "--crop_scales", "1,.8")
    recipe = cli.recipe_from_flags(args, Recipe())
    assert recipe.mvf_stages == (1, 1, 0, 0)
    assert recipe.flip_pairs == ((0, 1), (6, 7))
    assert recipe.milestones == (3, 6)
    assert recipe.crop_scales == (1.0, 0.8)


@pytest.mark.parametrize(
    "flags", [("--lr", "fast"), ("--sampling", "random"), ("--flip_pairs", "0"), ("--preset", "x")]
)
def test_a_flag_that_does_not_parse_ends_with_code_2(flags, capsys):
    with pytest.raises(SystemExit) as stop:
        _parse(*flags)
    assert stop.value.code == 2
    assert flags[0] in capsys.readouterr().err


def test_every_field_has_a_flag_in_one_group():
    names = [name for group in cli.GROUPS for name in cli._fields_of(group)]
    assert names == list(cli.FIELDS)


def test_clear_errors_is_one_line_and_code_1(capsys):
    with pytest.raises(SystemExit) as stop, command.clear_errors():
        raise RecipeError("lr must be above 0, got -1")
    assert stop.value.code == "error: lr must be above 0, got -1"
    with pytest.raises(SystemExit) as stop, command.clear_errors():
        raise KeyboardInterrupt
    assert stop.value.code == 130
