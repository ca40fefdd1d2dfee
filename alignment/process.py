"""One process with two frameworks: threads and CPU settings, made before either computes."""

from __future__ import annotations

import os


def prepare(threads: int) -> None:
    """Sets up this process: Paddle, before anything imports it, and PyTorch with as many threads; 0: all cores."""
    from runtime import native, preparation

    # Two frameworks bring two pools of threads; those that wait must not keep the cores from those that work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    preparation.tune_mkl()
    # With freed blocks kept, two frameworks would need twice the memory.
    preparation.prepare("cpu", threads, tune=False)
    native.refuse("")  # what trains is what is aligned
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
