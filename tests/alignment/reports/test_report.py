"""The report: verdict, table, JSON and tensors there and back, another tolerance, the page, the README's table."""

import json
import math
import re
import warnings
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from alignment.command import STEPS
from alignment.reports import page
from alignment.reports.environment import environment
from alignment.reports.files import from_json, read_report, to_json, write_report
from alignment.reports.markdown import OWN, THIRD_PARTY, between_marks, table, update_table
from alignment.reports.report import Report
from alignment.reports.tolerance import rejudge, with_tolerance
from alignment.sides.pair import Sides
from alignment.verdicts.record import Record, Stage, exact, missing, tensor
from runtime.errors import UserError

NASTY = "<script>alert('x')</script> & \"quotes\" \x1b[31m \ud800 Schicht"


def measured(name, error, tolerance=1e-6, kind="activation", dtype="float64"):
    """A record whose largest error is exactly `error` of the scale, which is 1."""
    reference = np.linspace(0, 1, 64).astype(dtype).reshape(4, 16)
    candidate = reference.copy()
    candidate[2, 5] += error
    return tensor(name, kind, reference, candidate, tolerance)


def nan_record(name, kind="activation"):
    return tensor(name, kind, np.ones(3), np.array([1.0, math.nan, 1.0]), 1e-6)


def passing_report():
    forward = [measured(f"backbone.layer{i}", i * 1e-9, kind="eval activation") for i in range(1, 5)]
    forward += [measured(f"backbone.layer{i}", i * 1e-8, kind="train activation") for i in range(1, 5)]
    config = [exact("backbone.bn1.eps", "constant", 1e-5, 1e-5), exact("stride", "constant", (2, 2), (2, 2))]
    return Report(
        "mvf_tiny",
        "float32",
        [
            Stage("config", config, seconds=0.2),
            Stage("forward", forward, notes=["BatchNorm's rule differs"], seconds=12.5),
        ],
        {"date": "2026-11-22T10:00:00+00:00", "paddle": "3.3.1", "torch": "2.13.0", "cpu": "some | CPU"},
        {"seed": 0, "shape": (2, 4, 3, 32, 32)},
    )


def failing_report():
    report = passing_report()
    report.stages[0].records.append(exact("backbone.bn1.momentum", "constant", 0.9, 0.1))
    broken = [
        measured("backbone.shift", 0.25, kind="eval activation"), nan_record("backbone.fusion", kind="eval activation")
    ]  # fmt: skip
    report.stages[1].records[2:2] = broken
    report.stages[1].sentence = "the shift moves frames the other way"
    report.stages[1].place = "backbone.shift"
    report.stages.append(Stage("backward", [missing("backbone.conv1.weight", "gradient", "candidate")]))
    return report


def rich_report():
    """Every kind of value that a report may hold."""
    report = failing_report()
    report.settings |= {
        "nested": {"a": [1, (2, math.inf)], 3: None},
        "dollar": {"$float": "kept"},
        "flag": True,
        "nan": math.nan,
    }
    report.stages[0].records += [
        exact("p", "constant", math.nan, -math.inf),
        exact("padding", "constant", ("same", (1, [2])), "same"),
        exact("indices", "indices", np.arange(4), np.array([0, 1, 3, 2])),
        Record("guard", "guard", True, required=0.0, tolerance=1.0),
        measured("zero", 0.0, dtype="float32"),
    ]
    return report


class TestVerdict:
    def test_needs_a_stage_and_records(self):
        assert passing_report().passed
        assert not Report("a", "float32", []).passed
        assert "nothing was compared" in Report("a", "float32", []).text()
        empty = Report("a", "float32", [Stage("forward")])
        assert not empty.passed
        assert empty.first_divergence.place == "forward"
        assert empty.first_divergence.sentence == "nothing was compared"

    def test_first_divergence_is_that_of_the_first_failing_stage(self):
        divergence = failing_report().first_divergence
        assert (divergence.stage, divergence.place) == ("config", "backbone.bn1.momentum")
        assert "0.1, the reference has 0.9" in divergence.sentence
        report = failing_report()
        del report.stages[0].records[-1]
        assert report.first_divergence.sentence == "the shift moves frames the other way"
        assert report.first_divergence.place == "backbone.shift"
        assert [stage.name for stage in report.failed_stages] == ["forward", "backward"]
        assert passing_report().first_divergence is None


class TestText:
    def test_a_line_for_each_stage_with_its_worst_record(self):
        lines = passing_report().text().splitlines()
        assert lines[0] == "mvf_tiny, float32: passed (10 comparisons in 2 stages)"
        (config,) = [line for line in lines if line.startswith("config")]
        (forward,) = [line for line in lines if line.startswith("forward ")]
        assert config.split() == ["config", "passed", "2", "0", "-", "-", "-", "0.2"]
        assert forward.split()[:5] == ["forward", "passed", "8", "0", "backbone.layer4"]
        assert forward.split()[6:] == ["1e-06", "12.5"]
        assert "forward: BatchNorm's rule differs" in lines
        assert not any("divergence" in line for line in lines)

    def test_columns_stand_below_their_titles(self):
        lines = failing_report().text().splitlines()
        (head,) = [line for line in lines if line.startswith("stage")]
        rows = [
            line
            for line in lines
            if line.split()[:1] in (["config"], ["forward"], ["backward"]) and "/" not in line[:9]
        ]
        assert len(rows) == 3
        for row in rows:
            assert len(row) == len(head)
            assert row[head.index("verdict") :].startswith("DIFFERS ")
            assert row[head.index("worst") - 2 : head.index("worst")] == "  "

    def test_on_failure_the_first_sentence_then_a_line_for_each_further_stage(self):
        text = failing_report().text()
        first = "First divergence: config, backbone.bn1.momentum:\n  the constant backbone.bn1.momentum is the first"
        assert first in text
        assert "\nAlso differs: forward, backbone.shift: the shift moves frames the other way\n" in text
        assert "\nAlso differs: backward, backbone.conv1.weight: the gradient" in text

    def test_a_failure_without_a_number_is_worse_than_any_number(self):
        report = Report("a", "float32", [Stage("forward", [measured("big", 0.9), nan_record("broken")])])
        (line,) = [line for line in report.text().splitlines() if line.startswith("forward ")]
        assert line.split() == ["forward", "DIFFERS", "2", "2", "broken", "-", "1e-06", "0.0"]

    def test_is_ascii_of_120_columns_whatever_the_names(self):
        path = "backbone." + "sequence_of_blocks." * 12 + "last_convolution"
        stages = [Stage("forward", [measured(path, 0.5), measured(NASTY, 0.5)], f"{NASTY} is wrong " * 20, NASTY)]
        stages.append(Stage("a stage with a very long name" * 3, [measured(path, 0.5)], notes=[NASTY * 9]))
        text = Report(NASTY * 5, "float32", stages, settings={"shape": tuple(range(90))}).text()
        assert all(" " <= letter <= "~" or letter == "\n" for letter in text)
        assert max(map(len, text.splitlines())) <= 120
        assert "backbone." in text
        assert "last_convolution" in text


class TestJson:
    @pytest.mark.parametrize("build", [passing_report, failing_report, rich_report])
    def test_there_and_back_nothing_is_lost(self, build):
        report = build()
        again = from_json(to_json(report))
        assert repr(again) == repr(report)
        assert to_json(again) == to_json(report)
        assert again.text() == report.text()

    def test_is_strict_and_tells_ci_the_verdict(self):
        def refuse(constant):
            raise AssertionError(f"{constant} is not JSON")

        content = json.loads(to_json(rich_report()), parse_constant=refuse)
        assert content["passed"] is False
        assert content["first_divergence"]["place"] == "backbone.bn1.momentum"
        assert [stage["passed"] for stage in content["stages"]] == [False, False, False]
        assert json.loads(to_json(passing_report()))["first_divergence"] is None

    def test_a_file_of_an_earlier_release_reads_and_would_be_written_alike(self):
        file = Path(__file__).with_name("report_0.4.0.json")
        report = from_json(file.read_text(encoding="utf-8"))
        assert report.text() == file.with_suffix(".txt").read_text(encoding="utf-8")
        assert to_json(report) == file.read_text(encoding="utf-8")

    def test_values_that_json_has_no_word_for_become_text(self):
        values = [np.float32(0.5), np.int64(3), np.bool_(True), np.dtype("float32")]
        records = [exact("constant", "constant", value, value) for value in values]
        again = from_json(to_json(Report("a", "float32", [Stage("config", records)])))
        found = [record.values[0] for record in again.stages[0].records]
        assert found == [0.5, 3, True, "dtype('float32')"]
        assert [type(value) for value in found] == [float, int, bool, str]

    @pytest.mark.parametrize(
        "change",
        [
            lambda c: c.pop("stages"),
            lambda c: c.update(stages=5),
            lambda c: c.update(format=99),
            lambda c: c["stages"][1]["records"][0].pop("name"),
            lambda c: c["stages"][1]["records"][0].update(required="much"),
            lambda c: c["stages"][1]["records"][0].update(passed="yes"),
            lambda c: c["stages"][1]["records"][0].update(surprise=1),
            lambda c: c["stages"][1]["records"][0].update(difference=7),
            lambda c: c.update(settings={"x": {"$float": "text"}}),
            lambda c: c.update(environment=None),
        ],
    )
    def test_a_broken_file_is_a_sentence(self, change):
        content = json.loads(to_json(passing_report()))
        change(content)
        with pytest.raises(UserError) as caught:
            from_json(json.dumps(content))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "5", '"text"', "[" * 100_000])
    def test_what_is_no_report_is_a_sentence(self, text):
        with pytest.raises(UserError, match="no whole report"):
            from_json(text)


class TestFiles:
    def test_writes_and_reads(self, tmp_path):
        report = rich_report()
        rng = np.random.default_rng(0)
        report.tensors["forward/logits"] = Sides(rng.standard_normal((2, 3)), rng.standard_normal((2, 3)))
        report.tensors["loss/cross entropy"] = Sides(np.float32(1.5), np.asarray(math.nan))
        files = write_report(report, tmp_path / "new" / "out")
        logs = ["forward_diff.log", "loss_diff.log"]
        assert [file.name for file in files] == ["report.json", "report.html", "tensors.npz", *logs]
        assert all(file.stat().st_size for file in files)
        again = read_report(tmp_path / "new" / "out")
        assert to_json(again) == to_json(report)
        assert list(again.tensors) == list(report.tensors)
        for name, sides in report.tensors.items():
            for one, other in zip(sides, again.tensors[name], strict=True):
                np.testing.assert_array_equal(one, other)
                assert np.asarray(one).dtype == other.dtype

    def test_tensors_hold_no_pickle(self, tmp_path):
        report = passing_report()
        report.tensors["forward/logits"] = Sides(np.zeros(2), np.array([None, {}]))
        with pytest.raises(UserError, match="forward/logits of the candidate"):
            write_report(report, tmp_path)
        assert not list(tmp_path.iterdir())

    def test_tensors_of_an_earlier_run_go(self, tmp_path):
        report = passing_report()
        report.tensors["forward/logits"] = Sides(np.zeros(2), np.zeros(2))
        write_report(report, tmp_path)
        assert read_report(tmp_path).tensors
        write_report(passing_report(), tmp_path)
        assert read_report(tmp_path).tensors == {}

    def test_bad_directories_are_a_sentence(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(UserError, match="cannot write the report to"):
            write_report(passing_report(), tmp_path / "file" / "out")
        with pytest.raises(UserError, match=r"there is no report\.json in .*nowhere"):
            read_report(tmp_path / "nowhere")
        write_report(passing_report(), tmp_path / "mvf_tiny")
        with pytest.raises(UserError, match=r"there is one in .*mvf_tiny"):
            read_report(tmp_path)

    @pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"not an archive", b"\x80\x04."])
    def test_damaged_files_are_a_sentence(self, tmp_path, damage):
        write_report(passing_report(), tmp_path)
        (tmp_path / "tensors.npz").write_bytes(damage)
        with pytest.raises(UserError, match=r"tensors\.npz is not a whole archive"):
            read_report(tmp_path)
        (tmp_path / "report.json").write_bytes(damage)
        with pytest.raises(UserError, match=r"report\.json cannot be read"):
            read_report(tmp_path)

    def test_half_a_pair_of_tensors_is_a_sentence(self, tmp_path):
        write_report(passing_report(), tmp_path)
        np.savez(tmp_path / "tensors.npz", **{"forward/logits/reference": np.zeros(2)})
        with pytest.raises(UserError, match="not a whole archive"):
            read_report(tmp_path)
        with zipfile.ZipFile(tmp_path / "tensors.npz", "w") as archive:
            archive.writestr("forward/logits/reference.npy", b"\x93NUMPY")
        with pytest.raises(UserError, match="not a whole archive"):
            read_report(tmp_path)


class TestAnotherTolerance:
    def test_a_looser_one_passes_what_was_judged_by_one(self):
        report = Report(
            "a", "float32", [Stage("forward", [measured("one", 1e-3), measured("two", 1e-2)], "old", "one")]
        )
        again = with_tolerance(report, 5e-3)
        assert not again.passed
        assert [record.passed for record in again.stages[0].records] == [True, False]
        assert again.first_divergence.place == "two"
        assert "off by 0.01 of its scale, allowed 0.005" in again.first_divergence.sentence
        again = with_tolerance(report, 5e-2)
        assert again.passed
        assert (again.stages[0].sentence, again.stages[0].place) == ("", "")
        assert {record.reason for record in again.stages[0].records} == {""}
        assert not report.passed, "the report itself must stay as it was"
        assert report.stages[0].sentence == "old"

    def test_a_tighter_one_fails_what_passed(self):
        again = with_tolerance(passing_report(), 2.5e-9, "/eval activation/")
        assert [stage.name for stage in again.failed_stages] == ["forward"]
        assert again.first_divergence.place == "backbone.layer3"
        assert again.stages[1].records[2].tolerance == 2.5e-9

    def test_equality_and_what_has_no_number_is_never_excused(self):
        hopeless = [
            exact("constant", "constant", 1, 2),
            exact("indices", "indices", np.arange(4), np.array([0, 1, 3, 2])),
            nan_record("nan"),
            tensor("shape", "activation", np.ones((3, 4)), np.ones((4, 3)), 1e-6),
            tensor("type", "activation", np.ones(3), np.ones(3, np.float32), 1e-6),
            missing("missing", "gradient", "candidate"),
            Record("vacuous", "guard", False, "nothing changed", required=2.0, tolerance=1.0),
            Record("spread", "moments", False, "too wide", required=9.0, tolerance=5.0),
            Record("sign", "loss", False, "the loss is the same for all inputs", required=1e-9, tolerance=1e-6),
        ]
        for record in hopeless:
            report = Report("a", "float32", [Stage("forward", [record], "why", "where")])
            again = with_tolerance(report, 1e9)
            assert not again.passed, record.name
            assert again.stages == report.stages, record.name

    def test_moments_and_guards_keep_their_rules_when_it_is_tighter(self):
        records = [Record("spread", "moments", True, required=2.0, tolerance=5.0), measured("one", 0.0)]
        assert with_tolerance(Report("a", "float32", [Stage("init", records)]), 1e-9).passed

    def test_only_some_records(self):
        report = Report("a", "float32", [Stage(name, [measured("conv", 1e-3)]) for name in ("forward", "backward")])
        one = with_tolerance(report, 1, "^forward/activation/conv$")
        assert [stage.passed for stage in one.stages] == [True, False]
        assert [stage.passed for stage in with_tolerance(report, 1, "conv").stages] == [True, True]
        with pytest.raises(
            UserError, match="--only linear fits no record with a tolerance; the first is forward/activation/conv"
        ):
            with_tolerance(report, 1, "linear")
        with pytest.raises(UserError, match="is no regular expression"):
            with_tolerance(report, 1, "(")

    @pytest.mark.parametrize("rtol", [0.0, -1e-3, math.nan, math.inf])
    def test_must_be_a_positive_number(self, rtol):
        with pytest.raises(UserError, match="--rtol must be a number above 0"):
            with_tolerance(passing_report(), rtol)

    def test_a_written_report_is_judged_again_without_a_run(self, tmp_path):
        report = Report("tsm_tiny", "float32", [Stage("forward", [measured("one", 1e-3)])])
        write_report(report, tmp_path)
        assert rejudge(tmp_path).text() == report.text()
        again = rejudge(tmp_path, 1e-2)
        assert again.passed
        assert "tsm_tiny, float32: passed" in again.text()
        assert "judged again 1 records at 0.01" in again.text()
        assert not rejudge(tmp_path).passed, "the files must stay as they were"
        with pytest.raises(UserError, match="--only one needs --rtol"):
            rejudge(tmp_path, None, "one")


class TestTable:
    def test_one_row_for_each_report(self):
        failing = failing_report()
        failing.title = "tsm|tiny"
        failing.stages[2] = Stage("backward", [measured("conv", 0.0), measured("bn", 0.0)])
        lines = table([passing_report(), failing]).splitlines()
        assert lines[0] == "| model | precision | config | forward | backward | verdict |"
        forward = [record.required for record in passing_report().stages[1].records]
        assert lines[2] == f"| mvf_tiny | float32 | 2 passed | {max(forward):.2g} / 1e-06 |  | passed |"
        assert lines[3].startswith("| tsm\\|tiny | float32 | **DIFFERS**: `backbone.bn1.momentum` |")
        assert lines[3].endswith("| 2 equal | **DIFFERS** |")

    @pytest.mark.parametrize("marks", [OWN, THIRD_PARTY])
    def test_a_run_replaces_its_own_rows(self, tmp_path, marks):
        def report(title, precision, value):
            stages = [Stage("config", [exact("stride", "constant", 1, value)])]
            facts = {**passing_report().environment, "date": "2026-01-02 03:04"}
            return Report(title, precision, stages, facts, {"inputs": [[2, 4, 3, 32, 32]]})

        page = tmp_path / "page.md"
        page.write_text(f"before\n{marks[0]}\n{marks[1]}\nafter\n")
        update_table(
            page, [report("tsn_r18_vs_timm", "float32", 2), report("tsn_r18_vs_timm", "float64", 1)], marks, STEPS
        )
        update_table(page, [report("tsn_r18_vs_timm", "float32", 1), report("tsm_r18", "float32", 1)], marks, STEPS)
        before, inside, after = between_marks(page, *marks)
        assert (before, after) == (f"before\n{marks[0]}\n", f"{marks[1]}\nafter\n")
        head, _, *rows = inside.splitlines()
        assert head.startswith("The last run: paddle 3.3.1, torch 2.13.0, ")
        assert rows[0] == "| model | precision | config | verdict | clips, date |"
        assert [row.split(" | ")[:3] for row in rows[2:]] == [
            ["| tsm_r18", "float32", "1 passed"],
            ["| tsn_r18_vs_timm", "float64", "1 passed"],
            ["| tsn_r18_vs_timm", "float32", "1 passed"],
        ]
        assert rows[2].endswith("| passed | 2 x 4 x 3 x 32 x 32, 2026-01-02 |")
        with pytest.raises(UserError, match=marks[0]):
            update_table(tmp_path / "absent.md", [], marks, STEPS)

    @pytest.mark.parametrize("text", ["", f"{OWN[0]}\n", f"{OWN[1]}\n{OWN[0]}\n", f"{OWN[0]}\n{OWN[0]}\n{OWN[1]}\n"])
    def test_needs_both_markers_once(self, tmp_path, text):
        readme = tmp_path / "README.md"
        readme.write_text(text)
        with pytest.raises(UserError, match="once each"):
            update_table(readme, [passing_report()], OWN, STEPS)
        assert readme.read_text() == text


def test_environment_is_text_without_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("FLAGS_tensor_md5_checksum_output_path", str(tmp_path))
    monkeypatch.setenv("SECRET_TOKEN", "word")
    facts = environment()
    assert all(isinstance(name, str) and isinstance(value, str) and value for name, value in facts.items())
    assert {"date", "commit", "python", "platform", "cpu", "paddle", "torch", "numpy", "opencv"} <= facts.keys()
    assert facts["numpy"] == np.__version__
    assert facts["OMP_NUM_THREADS"] == "1"
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", facts["commit"])
    assert facts["FLAGS_tensor_md5_checksum_output_path"] == "(a path)"
    assert "SECRET_TOKEN" not in facts
    assert "not installed" not in facts.values()
    assert str(Path.cwd()) not in "".join(facts.values())


class Tags(HTMLParser):
    """Checks that every element is closed, and gathers the text outside of style."""

    VOID = ("meta", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.names, self.words = [], [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.names.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.names.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)


class TestPage:
    def test_is_whole_and_needs_nothing_from_outside(self):
        text = page.render(rich_report())
        tags = Tags(text)
        assert not {"script", "link", "img", "iframe"} & set(tags.names)
        outside = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
        assert "http" not in outside
        assert not re.search(r"(src|href)\s*=\s*[\"'](?!#)", text)

    def test_says_what_differs_first(self):
        text = page.render(failing_report())
        banner = re.search(r'<div class="banner bad">(.*?)</div>', text).group(1)
        assert "mvf_tiny, float32: DIFFERS (3 of 3 stages)" in banner
        assert "<code>backbone.bn1.momentum</code>" in banner
        assert "0.1, the reference has 0.9" in banner
        assert '<div class="banner ok">' in page.render(passing_report())
        constant = r"<td>backbone.bn1.momentum</td><td>0.9</td><td>0.1</td><td>0.1, the reference has 0.9</td>"
        assert constant in text
        assert "3 constants compared, 1 differ." in text

    def test_escapes_whatever_it_is_given(self):
        records = [measured(f"{NASTY}/{NASTY}", 0.5, kind=NASTY), exact(NASTY, "constant", NASTY, [NASTY])]
        stages = [Stage("forward", records, NASTY, NASTY, [NASTY]), Stage(NASTY, [measured(NASTY, 0.5)])]
        report = Report(NASTY, NASTY, stages, {NASTY: NASTY}, {NASTY: [NASTY]})
        text = page.render(report)
        assert "<script>" not in text
        assert "script" not in Tags(text).names
        assert "<script>alert('x')</script> & \"quotes\" \\x1b[31m \\ud800 Schicht" in Tags(text).text
        assert text.encode()

    def test_two_thousand_records_stay_small_and_no_failure_is_left_out(self, tmp_path):
        rng = np.random.default_rng(0)
        names = [f"backbone.layer{i % 4}.{i}.temporal_module.shift_convolution.bn" for i in range(2000)]
        errors = 10.0 ** rng.uniform(-9, -5.5, len(names))
        records = [measured(name, error, tolerance=1e-6) for name, error in zip(names, errors, strict=True)]
        failures = [record.name for record in records if not record.passed]
        passing = sorted((record for record in records if record.passed), key=lambda record: -record.required)
        assert len(failures) > 200
        gradients = [measured(name, 1e-8, kind="gradient") for name in names]
        report = Report("big", "float32", [Stage("forward", records), Stage("backward", gradients)])
        text = page.render(report)
        assert len(text.encode()) < 3e6
        shown = set(
            re.findall(r"<td>(backbone[^<]*)</td>", text.partition("<h2>Records</h2>")[2].partition("</details>")[0])
        )
        assert shown == set(failures) | {record.name for record in passing[:200]}
        assert f"2000 records, {len(failures)} differ; shown are all failures and the 200 others" in text

    def test_details_of_failed_stages_are_open(self):
        text = page.render(failing_report())
        assert text.count("<details open>") == 3
        assert page.render(passing_report()).count("<details>") == 2

    def test_shows_both_values_at_the_worst_index(self):
        report = Report("a", "float64", [Stage("forward", [measured("conv", 0.25)])])
        value = np.linspace(0, 1, 64)[37]
        words = Tags(page.render(report)).text
        assert "[2, 5]" in words
        assert f"{value:.17g}" in words
        assert f"{value + 0.25:.17g}" in words


class TestPlots:
    def draw(self, plot, stages):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            text = plot(stages)
        ElementTree.fromstring(text)
        return text

    def test_error_growth_has_a_curve_for_each_pass(self):
        text = self.draw(page.growth_plot, failing_report().stages)
        assert ">eval activation<" in text
        assert ">train activation<" in text
        assert page.FAILED in text
        assert page.FAILED not in self.draw(page.growth_plot, passing_report().stages)

    def test_labels_are_plain_text(self):
        records = [measured("conv", 10.0**-i, kind="$a_$") for i in range(3, 9)]
        stages = [Stage(name, records) for name in ("forward", "backward")]
        text = self.draw(page.growth_plot, stages)
        assert ">$a_$<" in text
        assert ">1e-07<" in text
        assert ">10<" in self.draw(page.histogram_plot, stages)
        assert "math" not in text

    def test_failures_without_a_number_are_marked_too(self):
        stages = [Stage("backward", [measured("a", 1e-9), measured("b", 1e-9), nan_record("c")])]
        marks = self.draw(page.growth_plot, stages).count(f"stroke: {page.FAILED}")
        stages[0].records.pop()
        assert self.draw(page.growth_plot, stages).count(f"stroke: {page.FAILED}") < marks

    def test_equal_and_lonely_and_infinite_records_can_be_drawn(self):
        zero_reference = tensor("c", "activation", np.zeros(3), np.ones(3), 1e-6)
        for records in (
            [measured("a", 0.0)],
            [measured("a", 0.0), measured("b", 0.0, 0.0)],
            [measured("a", 1e-9), zero_reference],
        ):
            assert self.draw(page.growth_plot, [Stage("forward", records)])
            assert self.draw(page.histogram_plot, [Stage("forward", records)])

    def test_nothing_measured_nothing_drawn(self):
        stages = [Stage("config", [exact("a", "constant", 1, 1)]), Stage("forward", [nan_record("a")])]
        assert page.growth_plot(stages) == page.histogram_plot(stages) == ""
        assert "<svg" not in page.render(Report("a", "float32", stages))

    def test_a_histogram_for_each_stage_that_compared_arrays(self):
        stages = [Stage(name, [measured("a", 1e-7)]) for name in ("weights", "forward", "loss", "train")]
        text = self.draw(page.histogram_plot, [*stages, Stage("config", [exact("a", "constant", 1, 1)])])
        for stage in stages:
            assert f">{stage.name}<" in text
        assert ">config<" not in text
