"""Class names against the official lists, and what the two orders of one data set have in common."""

import json
from pathlib import Path

import pytest

from datasets import KNOWN_LABELS, DataError, known_class_names

COUNTS = {
    "ucf101": 101, "hmdb51": 51, "kinetics400": 400, "something_v1": 174, "something_v2": 174, "jester_csv": 27,
    "jester_alphabetical": 27,
}  # fmt: skip
OFFICIAL = Path(__file__).resolve().parents[3] / "shared" / "annotations"


def lines(path):
    return (OFFICIAL / path).read_text().splitlines()


def numbered(path):
    """Names of a file of `number name`, which counts from 1."""
    pairs = [line.split() for line in lines(path)]
    assert [int(number) for number, _ in pairs] == list(range(1, len(pairs) + 1))
    return [name for _, name in pairs]


def of_json(path):
    numbers = json.loads((OFFICIAL / path).read_text())
    return sorted(numbers, key=lambda name: int(numbers[name]))


SOURCES = {
    "ucf101": (numbered, "ucf101/classInd.txt"),
    "hmdb51": (lines, "hmdb51/label_map.txt"),
    "kinetics400": (lines, "kinetics400/label_map_k400.txt"),
    "something_v1": (lines, "something_v1/label_map.txt"),
    "something_v2": (of_json, "something_v2/something-something-v2-labels.json"),
    "jester_csv": (lines, "jester/label_map_csv_order.txt"),
    "jester_alphabetical": (numbered, "jester/classInd_alphabetical.txt"),
}


def test_every_list_has_its_count_and_no_name_twice():
    assert {name: len(set(known_class_names(name))) for name in KNOWN_LABELS} == COUNTS
    assert {name: len(known_class_names(name)) for name in KNOWN_LABELS} == COUNTS
    assert all(text == text.strip() != "" for name in KNOWN_LABELS for text in known_class_names(name))


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the official lists are not beside this checkout")
@pytest.mark.parametrize("name", SOURCES)
def test_names_and_order_are_the_official_ones(name):
    read, path = SOURCES[name]
    assert list(known_class_names(name)) == read(path)


def test_two_orders_of_one_set_of_names():
    by_file, by_alphabet = (known_class_names(f"jester_{order}") for order in ("csv", "alphabetical"))
    assert tuple(sorted(name.replace(" ", "_") for name in by_file)) == tuple(sorted(by_alphabet))
    first, second = known_class_names("something_v1"), known_class_names("something_v2")
    assert set(first) == set(second)
    assert first != second


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("something_v1", ((2, 4), (30, 41), (52, 66))),
        ("something_v2", ((86, 87), (93, 94), (166, 167))),
        ("jester_csv", ((0, 1), (6, 7))),
        ("jester_alphabetical", ((16, 17), (11, 12))),
    ],
)
def test_the_pairs_that_a_flip_exchanges_differ_in_left_and_right(name, pairs):
    def mirrored(text):
        return text.lower().replace("left", "*").replace("right", "left").replace("*", "right")

    names = known_class_names(name)
    assert all(mirrored(names[one]) == names[other].lower() for one, other in pairs)


def test_an_unknown_data_set_lists_the_known_ones():
    with pytest.raises(DataError, match=r"known of hmdb51, jester_alphabetical, .* got 'ucf102'"):
        known_class_names("ucf102")
