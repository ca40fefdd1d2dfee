"""tools.summary counts what the papers count."""

import pytest

from models import create_model
from models.operations import Operations
from runtime.errors import UserError
from tools.summary import main, measure


def test_mvf_r50_at_four_frames_has_the_published_numbers():
    costs = measure("mvf_r50", num_classes=400, num_frames=4, size=224)
    total = sum(costs.values(), Operations())
    assert total.params == 24_342_416
    assert total.multiply_adds / 1e9 == pytest.approx(65.44 / 4, rel=1e-4)
    assert total.published / 1e9 == pytest.approx(16.454, abs=1e-3)
    assert costs["backbone.conv1"].multiply_adds == 4 * 112 * 112 * 64 * 3 * 49
    assert costs["backbone.conv1"].params == 64 * 3 * 49


def test_table_names_the_parts_and_the_convention(capsys):
    main(["--model", "mvf_tiny", "--num_classes", "10", "--num_frames", "2", "--size", "32"])
    printed = capsys.readouterr().out
    assert "mvf_tiny, 10 classes, clip 2 x 3 x 32 x 32" in printed
    for part in ("backbone.layer3", "cls_head.new_fc", "total", "depthwise 3-D convolutions", "GFLOPs"):
        assert part in printed


def test_the_file_of_a_network_is_as_large_as_it_says(tmp_path, capsys):
    costs = measure("unet_tiny", num_classes=2, size=32)
    model = create_model("unet_tiny", num_classes=2, num_frames=1)
    assert sum(costs.values(), Operations()).stored == sum(tensor.size for tensor in model.state_dict().values())
    for name, megabytes in (("unet_x1_0", "39.42"), ("unet_x0_25", "2.48")):  # the port's 39 MB, and 2
        main(["--model", name, "--num_classes", "2", "--size", "32"])
        assert f"with the statistics of BatchNorm: {megabytes} MiB" in capsys.readouterr().out


def test_unknown_model_is_named():
    with pytest.raises(UserError, match="got 'mvf_r51'"):
        main(["--model", "mvf_r51"])
