"""What all tests of the suite share: nothing is left changed behind them."""

import paddle
import pytest


@pytest.fixture(autouse=True)
def default_type_stays():
    """A comparison in float64 must not change what others create."""
    yield
    assert paddle.get_default_dtype() == "float32"
