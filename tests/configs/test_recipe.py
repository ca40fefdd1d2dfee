"""Recipes: validation, JSON, presets, flags."""

import argparse
import json
from pathlib import Path

import pytest

from configs import PRESETS, Recipe, RecipeError, cli, get_preset
from configs.networks import families_with, network_of
from configs.presets import preset_for_model
from configs.recipe import known_options
from runtime import command

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_documented(name):
    recipe = get_preset(name)
    doc = PRESETS[name].__doc__
    assert Recipe.of(**recipe.options()) == recipe
    assert "Source:" in doc
    assert "Command:" in doc


def test_json_round_trip_keeps_every_field(tmp_path):
    recipe = Recipe.of(flip_pairs=((0, 1), (6, 7)), milestones=(20, 40), schedule="step", lr=1 / 3)
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
        ({"crop_scales": (2.0,)}, "crop_scales must be fractions above 0, 1 at most"),
        ({"crop_scales": ()}, "crop_scales must be fractions above 0, 1 at most"),
        ({"milestones": ("a", 1)}, r"milestones must hold finite numbers \(int\), got 'a'"),
        ({"milestones": (1.5,)}, r"milestones must hold finite numbers \(int\), got 1.5"),
        ({"mean": (float("nan"), 1.0, 1.0)}, "mean must hold finite numbers"),
        ({"flip_pairs": ((1,),)}, "flip_pairs must be pairs of labels, each label once"),
        ({"flip_pairs": ((0, 1), (1, 2))}, "flip_pairs must be pairs of labels, each label once"),
        ({"flip_pairs": ((0, 50),), "num_classes": 8}, r"flip_pairs must be below num_classes \(8\)"),
        (
            {"model": "tsm_r50", "temporal_pool": True, "test_segments": 5, "clip_len": 1},
            "temporal_pool must be off for an odd number",
        ),
        ({"learning_rate": 0.1}, "names learning_rate, which no recipe has"),
    ],
)
def test_a_value_out_of_range_is_named(changes, message):
    with pytest.raises(RecipeError, match=message):
        Recipe().with_(**changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"recipe\.json is damaged \(Expecting property name"),
        ("[]", r"recipe\.json is damaged \(\$ must be an object, got \[\]"),
        ('{"lrr": 1}', "recipe.json names lrr"),
        ('{"version": 2, "training": {"lrr": 1}}', "recipe.json names lrr"),
        ('{"version": 2, "lr": 1}', "recipe.json names lr, which no recipe has; known: network"),
    ],
)
def test_a_damaged_recipe_file_is_refused(tmp_path, text, message):
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(RecipeError, match=message):
        Recipe.from_json(tmp_path / "recipe.json")


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(RecipeError, match="no preset is named 'tsm'; known: ucf101_mvf_r50"):
        get_preset("tsm")


def test_the_rate_is_scaled_to_the_batch():
    recipe = Recipe.of(lr=0.02, base_batch_size=128, batch_size=8, accumulate=2)
    assert recipe.training.scaled_lr == pytest.approx(0.0025)
    assert recipe.with_(scale_lr=False).training.scaled_lr == 0.02


def test_frames_of_a_view():
    assert Recipe().clip.num_frames == 16
    recipe = get_preset("kinetics400_tsn_r50")
    assert (recipe.clip.num_frames, recipe.clip.test_num_frames) == (8, 25)


def _parse(*flags):
    parser = argparse.ArgumentParser()
    cli.add_recipe_flags(parser)
    return parser.parse_args(flags)


def test_flags_override_the_preset_and_nothing_else():
    recipe = cli.asked(_parse("--preset", "ucf101_tsm_r50", "--lr", "0.5", "--nesterov")).recipe()
    assert recipe == get_preset("ucf101_tsm_r50").with_(lr=0.5, nesterov=True)


def test_paddlemvf_flags_without_a_preset_give_its_recipe():
    recipe = cli.asked(_parse("--batch_size", "16", "--max_epochs", "50", "--split", "1")).recipe()
    assert recipe == get_preset("ucf101_mvf_r50")


def test_a_run_shorter_than_its_warm_up_warms_up_for_the_same_part_of_it():
    recipe = cli.asked(_parse("--batch_size", "2", "--max_epochs", "1", "--split", "1")).recipe()
    assert recipe.training.warmup_epochs == pytest.approx(0.1)
    assert cli.asked(_parse("--max_epochs", "6")).recipe().training.warmup_epochs == 5
    with pytest.raises(RecipeError, match=r"warmup_epochs must be below max_epochs \(1\)"):
        cli.asked(_parse("--max_epochs", "1", "--warmup_epochs", "2")).recipe()


def test_a_model_alone_brings_its_nearest_preset():
    recipe = cli.asked(_parse("--model", "tsm_r101")).recipe()
    assert recipe == get_preset("kinetics400_tsm_r50").with_(model="tsm_r101", num_classes=0)
    assert preset_for_model("mvf_tiny").network.mvf_stages == (1, 1, 1, 1)
    with pytest.raises(RecipeError, match=r"model must be one of tsn_r18, .*, got 'vivit_b'"):
        preset_for_model("vivit_b")


def test_tuples_on_the_command_line():
    args = _parse("--mvf_stages", "1,1,0,0", "--flip_pairs", "0-1,6-7", "--milestones", "3,6", "--crop_scales", "1,.8")
    recipe = cli.asked(args).recipe(Recipe())
    assert recipe.network.mvf_stages == (1, 1, 0, 0)
    assert recipe.pixels.flip_pairs == ((0, 1), (6, 7))
    assert recipe.training.milestones == (3, 6)
    assert recipe.pixels.crop_scales == (1.0, 0.8)


@pytest.mark.parametrize(
    "flags", [("--lr", "fast"), ("--sampling", "random"), ("--flip_pairs", "0"), ("--preset", "x")]
)
def test_a_flag_that_does_not_parse_ends_with_code_2(flags, capsys):
    with pytest.raises(SystemExit) as stop:
        _parse(*flags)
    assert stop.value.code == 2
    assert flags[0] in capsys.readouterr().err


def test_every_option_has_a_flag_in_one_group():
    names = [name for options in cli.GROUPS.values() for name in options()]
    assert names == list(known_options())
    assert len(set(names)) == len(names)


def test_recipes_of_version_1_still_read():
    logged = sorted((ROOT / "logs").glob("*/*/recipe.json"))
    files = [path for path in logged if "version" not in json.loads(path.read_text())]
    files += sorted((ROOT / "tests/configs/recipes").glob("version_1_*.json"))  # runs whose logs are newer now
    assert len(files) == 3
    for path in files:
        values = json.loads(path.read_text())
        assert "version" not in values
        options = Recipe.from_json(path).options()
        assert options == {name: options[name] for name in values if name in options} | options
        for name, value in values.items():
            if name in options:
                assert options[name] == (tuple(value) if isinstance(value, list) else value), name
            else:
                assert families_with(name), name  # of another family than the model's


def test_a_recipe_of_a_later_version_is_refused(tmp_path):
    (tmp_path / "recipe.json").write_text('{"version": 3}')
    with pytest.raises(RecipeError, match="has version 3, this program reads 1 to 2"):
        Recipe.from_json(tmp_path / "recipe.json")


def test_an_option_of_another_family_is_named():
    with pytest.raises(RecipeError, match="--mvf_alpha belongs to mvf models, and the model is tsm_r50: add --model"):
        Recipe.of(model="tsm_r50", mvf_alpha=0.5)
    recipe = Recipe.of(model="tsm_r50", shift_div=4, dropout=0.25).with_(model="mvf_r50")
    assert recipe.network == network_of("mvf_r50", dropout=0.25)


def test_a_model_and_an_option_that_belongs_to_it_change_together():
    mobile = Recipe.of(model="tsm_mobilenet_v2", same_padding=True)
    assert mobile.with_(model="tsm_r50", same_padding=False).network == network_of("tsm_r50")
    with pytest.raises(RecipeError, match="same_padding must be off for tsm_r50"):
        mobile.with_(model="tsm_r50")


def test_clear_errors_is_one_line_and_code_1(capsys, own_signals):
    with pytest.raises(SystemExit) as stop, command.clear_errors():
        raise RecipeError("lr must be above 0, got -1")
    assert stop.value.code == "error: lr must be above 0, got -1"
    with pytest.raises(SystemExit) as stop, command.clear_errors():
        raise KeyboardInterrupt
    assert stop.value.code == 130
