"""The PyTorch twins of this repository, `alignment/reference`: our names, in PyTorch's words and order of axes."""

from weights.layout import TORCH, Layout
from weights.layouts import ours

# Twins take every option, so that nothing is built in which the recipe does not say.
LAYOUT = Layout(TORCH, ((),), wraps=True, keeps=ours.keeps, key="state_dict", built_in=dict)
