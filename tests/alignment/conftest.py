"""What all tests of the suite share: one thread, and nothing left changed behind them."""

import paddle
import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """PyTorch on one thread: more only wait for each other on clips this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    assert paddle.get_default_dtype() == "float32"
