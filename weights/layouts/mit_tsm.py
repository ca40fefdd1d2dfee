"""The authors of TSM: github.com/mit-han-lab/temporal-shift-module, ops/models.py, archs/mobilenet_v2.py."""

from weights.layout import TORCH, Layout
from weights.quirks import COUNT, END, dense_in_name, like_a_resnet, shifts
from weights.tables import flat_mobilenet, head

LAYOUT = Layout(
    TORCH,
    # Without dropout the classifier stays where the image network has it.
    (
        (head("new_fc"), head("base_model.classifier"), *flat_mobilenet("base_model.")),
        (head("new_fc"), head("base_model.fc"), ("backbone.{shifted}", "base_model.{shifted}")),
    ),
    wraps=True,
    prefix="module.",
    key="state_dict",
    protocol={"sampling": "mit", "consensus": "scores", "average_views": "scores"},
    network_in_name=(rf"_shift(?P<shift_div>{COUNT})_",),
    protocol_in_name=(rf"_segment(?P<num_segments>{COUNT}){END}",),
    protocol_of=dense_in_name,
    built_in=shifts("mit"),
    refuses_file=like_a_resnet,
)
