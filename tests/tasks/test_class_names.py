"""Class names of weights: beside them, by the name of the file, of the data set."""

import pytest

from datasets import DataError, known_class_names
from tasks.class_names import names_of_weights


@pytest.mark.parametrize(
    ("name", "classes", "labels"),
    [
        ("tsm_something-something_v2.pth", 174, "something_v2"),
        ("tsm_r50_1x1x8_50e_sthv2_rgb.pth", 174, "something_v2"),
        ("TSM_something_v2_x.pth", 174, "something_v2"),
        ("TSM_somethingv2_RGB_x.pth", 174, "something_v2"),
        ("TSM_something_RGB_resnet50.pth", 174, "something_v1"),
        ("tsm_sthv1.pth", 174, "something_v1"),
        ("something.pth", 174, None),
        ("tsm_kinetics400_x.pth", 400, "kinetics400"),
        ("tsm_kinetics600_x.pth", 400, None),
        ("tsm_kinetics400_x.pth", 101, None),
        ("tsm_jester.pth", 27, None),
        ("tsn_ucf101.pth", 101, "ucf101"),
    ],
)
def test_class_names_by_the_name_of_the_file(tmp_path, name, classes, labels):
    assert names_of_weights(str(tmp_path / name), classes) == (list(known_class_names(labels)) if labels else [])


def test_class_names_must_be_those_of_the_data_set(tmp_path):
    names = list(known_class_names("ucf101"))
    with pytest.raises(DataError, match=r"class 34 is Hammering in the list ucf101.* and HammerThrow in the data set"):
        names_of_weights(str(tmp_path / "tsn_ucf101.pth"), 101, sorted(names))
    kinetics = list(known_class_names("kinetics400"))
    folders = [name.replace(" ", "_") for name in kinetics]
    assert names_of_weights(str(tmp_path / "tsn_k400.pth"), 400, folders) == kinetics
    (tmp_path / "classes.txt").write_text("\n".join(known_class_names("something_v1")))
    with pytest.raises(DataError, match=r"classes.txt has other names than something_v2"):
        names_of_weights(str(tmp_path / "tsm_sthv2.pth"), 174)
    assert (
        names_of_weights(str(tmp_path / "mine.pth"), 174, names="something_v2")[0]
        == known_class_names("something_v2")[0]
    )
