"""Config files are read by line number, exactly, or refused with the number of the line."""

import re
from pathlib import Path

import pytest

from test_tipc.config import FORMS, MODES, ConfigError, read_config

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "test_tipc" / "configs").glob("*/*.txt"))
MVF = ROOT / "test_tipc" / "configs" / "mvf" / "train_infer_python.txt"


@pytest.fixture
def changed(tmp_path):
    """Writes MVF's config with other lines: {number: text, or None to leave it out} -> its path."""

    def change(lines, append=()):
        rows = MVF.read_text().splitlines()
        kept = [lines.get(number, row) for number, row in enumerate(rows, start=1)]
        path = tmp_path / "train_infer_python.txt"
        path.write_text("\n".join(row for row in [*kept, *append] if row is not None) + "\n")
        return path

    return change


def shell_reads(path):
    """What PaddleMVF's shell functions make of a file: blank lines dropped, the text between the first two colons."""
    rows = [row for row in path.read_text().split("\n") if row]
    return [tuple([*row.split(":"), ""][:2]) for row in rows]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_ours_read_as_the_shell_of_paddlemvf_reads_them(path):
    config = read_config(path)
    shell = shell_reads(path)
    assert config["model_name"] == path.parent.name
    assert len(config.lines) >= 10
    for line in config.lines.values():
        assert shell[line.number - 1] == (line.key, line.value)
        assert "*" not in line.value


def test_there_is_a_config_of_each_form_for_each_model():
    names = {path.parent.name for path in CONFIGS}
    lacking = {name: {"lite_infer_params"} for name in ("slowfast", "i3d", "x3d")}  # no convolution over clips
    lacking["unet"] = {"serving_params"}  # a server takes videos
    assert names == {"mvf", "tsn", "tsm", "tsm_mobilenet_v2", *lacking}
    found = {name: [read_config(path).form for path in CONFIGS if path.parent.name == name] for name in names}
    for name, forms in found.items():
        assert set(forms) == set(FORMS) - lacking.get(name, set())
        assert len(forms) == len(set(forms)) + 1, "and one more of the trainings, for several nodes"
    assert {read_config(path).form for path in CONFIGS} == set(FORMS)


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (1, "=====serving_params=====", "line 1: must be =====train_params=====, found '=====serving_params====='"),
        (2, "", "line 2: must be model_name:value (model_name), found ''"),
        (2, "model_name:../mvf", "line 2: the value of model_name must be the name of a folder, found '../mvf'"),
        (3, "python:python -u", "line 3: the value of python must be one executable"),
        (4, "gpu_list:10.0.0.1,10.0.0.2;0,1", "line 4: the value of gpu_list must be entries separated by |"),
        (7, "--max_epochs 1", "line 7: must be a key:value (epochs), found '--max_epochs 1'"),
        (9, ":4", "line 9: must be a key:value (batch_size), found ':4'"),
        (13, None, "line 13: must be a key:value (train_param), found '##'"),
        (14, "null:null", "line 14: must be ##, found 'null:null'"),
        (16, "train:train.py", "line 16: the key must be norm_train, found 'train': is a line missing above"),
        (20, "", "line 20: must be a key:value (train_5), found '': readers of this format drop a blank line"),
        (23, "##", "line 23: must be the banner =====eval_params=====, found '##'"),
        (30, None, "line 30: the key must be norm_export, found 'quant_export'"),
        (46, "null:fp32|bf16", "line 46: the values fp32|bf16 have no flag: the key is null"),
        (50, "--enable_benchmark:true", "line 50: the value of --enable_benchmark must be True or False"),
        (2, "model_name:..", "line 2: the value of model_name must be the name of a folder"),
        (42, "--enable_mkldnn:true", "line 42: the value of --enable_mkldnn must be True, False or True|False"),
        (46, "--precision:fp32|tf32", "line 46: the value of --precision must be fp32, fp16, bf16 or int8"),
        (52, "=====other_params=====", "line 52: '=====other_params=====' cannot stand here; known: infer_benchmark"),
        (7, "--max_epochs:lite_train_lite_infer=one", "line 7: the value of --max_epochs must be a number, or mode="),
        (57, "flags:FLAGS_a=1;FLAGS_b", "line 57: the value of flags must be NAME=VALUE separated by ;"),
        (
            63,
            "top1_acc:whole_infer=90",
            "line 63: the value of top1_acc must be a fraction from 0 to 1, or mode=fraction",
        ),
        (64, "int8_drop:five", "line 64: the value of int8_drop must be a fraction from 0 to 1, found 'five'"),
        (58, "max-iters:many", "line 58: the value of max-iters must be a number, found 'many'"),
    ],
)
def test_a_line_that_is_not_what_its_number_says_is_refused(line, text, message, changed):
    path = changed({line: text})
    with pytest.raises(ConfigError, match=re.escape(f"{path}, {message}")):
        read_config(path, "train_params")


def test_a_file_that_ends_too_early_or_goes_on_is_refused(changed, tmp_path):
    path = changed(dict.fromkeys(range(41, 100)))
    with pytest.raises(ConfigError, match=r"ends after line 40; line 41 must be a key:value \(use_gpu\)"):
        read_config(path)
    path = changed({}, append=["more:lines"])
    with pytest.raises(ConfigError, match="line 65: 'more:lines' cannot stand here"):
        read_config(path)
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ConfigError, match="line 1: must be =====train_params====="):
        read_config(tmp_path / "empty.txt", "train_params")
    with pytest.raises(ConfigError, match=r"absent\.txt cannot be read"):
        read_config(tmp_path / "absent.txt")


def test_colons_globs_and_quotes_are_kept_as_they_are(changed):
    path = changed({
        16: """norm_train:train.py --list http://host:80/a:b --glob videos/*.mp4 --name 'two words'""",
        48: "--video:C:\\videos\\*.mp4",
    })  # fmt: skip
    config = read_config(path)
    assert config.trainer("norm_train") == [
        "train.py", "--list", "http://host:80/a:b", "--glob", "videos/*.mp4", "--name", "two words",
    ]  # fmt: skip
    assert config["input"] == "C:\\videos\\*.mp4"


def test_values_by_mode_flags_and_nulls(changed):
    config = read_config(
        changed({7: "-o epochs:lite_train_lite_infer=1|whole_infer=2", 10: "--pretrained:null", 15: "trainer:other"})
    )
    assert config.by_mode("epochs", "lite_train_lite_infer") == "1"
    assert config.by_mode("epochs", "whole_infer") == "2"
    with pytest.raises(ConfigError, match=r"line 7: .* names no value for the mode klquant_whole_infer"):
        config.by_mode("epochs", "klquant_whole_infer")
    assert config.by_mode("train_model_name", "any") == "best.pdparams"
    assert config.flag("epochs", "3") == ["-o", "epochs=3"]
    assert config.flag("pretrained", config["pretrained"]) == []
    assert config.flag("train_param", "3") == []  # its key is null
    assert config.flag("input", "a.mp4", "b.mp4") == ["--video", "a.mp4", "b.mp4"]
    with pytest.raises(ConfigError, match="line 10: --pretrained is null, this chain needs a value"):
        config.need("pretrained")
    with pytest.raises(ConfigError, match="line 15: no line from 16 to 21 has a command for other"):
        config.trainer("other")


def test_a_section_may_be_absent_until_it_is_needed(changed):
    config = read_config(changed(dict.fromkeys(range(52, 100))))
    assert config["int8_drop"] == ""
    with pytest.raises(ConfigError, match="has no section certification_params: this chain needs its line int8_drop"):
        config.need("int8_drop")


def test_every_mode_has_its_numbers_in_every_training_config():
    for path in CONFIGS:
        config = read_config(path)
        for mode in MODES[:3] if config.form == "train_params" else ():
            assert int(config.by_mode("epochs", mode)) >= 1
            assert int(config.by_mode("batch_size", mode)) >= 1
            assert 0 <= float(config.by_mode("accuracy", mode)) < 1
