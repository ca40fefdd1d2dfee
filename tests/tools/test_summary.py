"""Operations of networks over clips are those that their sources publish, multiply-adds within half a percent.

The sources give those of a test crop of 256, X3D's of its training crop; of some the count was taken by running them.
"""

import pytest

from tools.summary import measure

# model, classes, frames, side, 10^9 multiply-adds, options
FIGURES = [
    ("i3d_r50", 400, 32, 256, 43.27, {}),
    ("slowonly_r50", 400, 4, 256, 27.26, {}),
    ("slowonly_r50", 400, 8, 256, 54.52, {}),
    ("slowfast_r50", 400, 32, 256, 65.71, {}),
    ("r2plus1d_r34", 400, 8, 256, 52.98, {}),
    ("r2plus1d_r18", 400, 16, 112, 40.52, {}),
    ("r3d_r18", 400, 16, 112, 40.70, {}),
    ("mc3_r18", 400, 16, 112, 43.34, {}),
    ("r3d_r18", 700, 16, 112, 8.31, {"r3d_pooled_stem": True}),
    ("r3d_r50", 700, 16, 112, 10.1, {"r3d_pooled_stem": True}),
    ("x3d_xs", 400, 4, 160, 0.605, {}),
    ("x3d_s", 400, 13, 160, 1.963, {}),
    ("x3d_m", 400, 16, 224, 4.732, {}),
    ("x3d_l", 400, 16, 312, 18.37, {}),
    ("i3d_inception", 400, 16, 224, 27.79, {}),
    ("c3d", 101, 16, 112, 38.55, {}),
    ("shufflenet3d_x0_25", 600, 16, 112, 0.1105, {}),
    ("shufflenet3d_x1_0", 600, 16, 112, 0.1865, {}),
    ("shufflenet3d_x1_5", 600, 16, 112, 0.2809, {}),
    ("shufflenet3d_x2_0", 600, 16, 112, 0.4249, {}),
    ("mobilenet3d_x0_2", 600, 16, 112, 0.0549, {}),
    ("mobilenet3d_x0_45", 600, 16, 112, 0.158, {}),
    ("mobilenet3d_x0_7", 600, 16, 112, 0.2957, {}),
    ("mobilenet3d_x1_0", 600, 16, 112, 0.519, {}),
]


@pytest.mark.parametrize(
    ("model", "classes", "frames", "side", "giga", "options"),
    [pytest.param(*figures, marks=() if figures[4] < 5 else pytest.mark.whole) for figures in FIGURES],
)
def test_multiply_adds_are_those_published(model, classes, frames, side, giga, options):
    total = sum(cost.multiply_adds for cost in measure(model, classes, frames, side, **options).values())
    assert total / 1e9 == pytest.approx(giga, rel=5e-3)
