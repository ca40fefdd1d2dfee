"""Node: ONNX Runtime's package of npm runs the ONNX graph."""

from __future__ import annotations

from test_tipc.config import Config
from test_tipc.programs import comparable, run_program
from test_tipc.session import Session


def inference_node(config: Config, mode: str, session: Session) -> None:
    """Runs test_tipc/node/infer.mjs."""
    if artifact := comparable(config, mode, session):
        run_program(
            config, session, "inference, onnxruntime-node", artifact / "inference.onnx",
            "node_infer_cpu_precision_fp32_batchsize_1",
        )  # fmt: skip
