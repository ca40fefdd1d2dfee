"""What the chains share that end in a program of another language or engine: it must give Paddle's logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deploy.parity import OTHER_PIXELS
from test_tipc.clips import CLIPS, LOGITS
from test_tipc.config import Config
from test_tipc.prepare import videos_of
from test_tipc.session import Session, Step, StepError
from test_tipc.steps import PREDICTIONS, converted, inference_check
from test_tipc.toolchains import missing

# Of the largest logit, and, if that is less, a tenth of what tells the clips apart: as deploy.export allows it.
TOLERANCE = 1e-4
FRACTION = 0.1


def comparable(config: Config, mode: str, session: Session) -> Path | None:
    """Exports the trained model, and writes clips and Paddle's logits of them, which must fit the ground truth.

    Returns:
        The artifact; None if the program's tools are absent, for which the whole chain is skipped, or a step failed.
    """
    if reason := missing(config, mode):
        session.skip(mode, reason)
        return None
    artifact = converted(config, session, "trans_model", "save_dir")
    if artifact and _write_clips(config, session, artifact).passed:
        return artifact
    session.skip("program", "there is nothing to compare it with")
    return None


def _write_clips(config: Config, session: Session, artifact: Path) -> Step:
    log = session.folder / "clips.log"
    argv = [
        config.need("python"), "-m", "test_tipc.clips", "--model_dir", str(artifact), "--output", str(session.folder),
        *config.flag("input", *videos_of(config)),
    ]  # fmt: skip
    outputs = [session.folder / CLIPS, session.folder / LOGITS]
    return session.run("clips", argv, log, outputs, inference_check(session.folder / PREDICTIONS, log))


def run_program(config: Config, session: Session, name: str, model: Path, log: str) -> Step:
    """Runs the program of a config on the clips; its logits must be Paddle's.

    Args:
        name: Of the step.
        model: What its `model` flag is given.
        log: Name of its log and of its file of logits, without a suffix.
    """
    found = session.folder / f"{log}.npy"
    argv = [
        *config.argv("inference"), *config.flag("model", str(model)),
        *config.flag("clips", str(session.folder / CLIPS)), *config.flag("logits", str(found)),
    ]  # fmt: skip
    return session.run(
        name, argv, found.with_suffix(".log"), [found], lambda: compare_logits(session.folder / LOGITS, found)
    )


def compare_logits(expected: Path, found: Path) -> dict[str, Any]:
    """Compares two .npy files of logits [N, K, ...]; raises StepError if they differ, or the first says nothing."""
    truth, logits = _read_logits(expected), _read_logits(found)
    if truth.shape != logits.shape:
        raise StepError(f"{found} holds logits {list(logits.shape)}, not {list(truth.shape)}")
    difference, scale = float(np.abs(logits - truth).max()), float(np.abs(truth).max())
    allowed = min(TOLERANCE * max(scale, 1.0), FRACTION * float(np.abs(truth - truth[:1]).max()))
    if not allowed > 0:
        raise StepError(f"{expected} holds the same logits for every clip: train the model")
    if not difference <= allowed:  # as it stands, so that NaN fails
        raise StepError(f"{found} is off by {difference:.1e}, {allowed:.1e} is allowed")
    same = logits.argmax(axis=1) == truth.argmax(axis=1)
    if 1 - same.mean() > (OTHER_PIXELS if same.ndim > 1 else 0):
        raise StepError(f"top-1 agreement of {found} with Paddle Inference is {same.sum()} of {same.size}")
    return {"clips": len(truth), "logits_difference": difference, "of_largest_logit": difference / scale}


def _read_logits(path: Path) -> np.ndarray:
    """Raises StepError unless it is a .npy file of float32 [N, K], or [N, K, H, W]."""
    try:
        logits: np.ndarray = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise StepError(f"{path} is no .npy file, or truncated: {error}") from error
    if logits.dtype != np.float32 or logits.ndim not in (2, 4) or not len(logits):
        raise StepError(f"{path} holds {logits.dtype} {list(logits.shape)}, not float32 [N, K] or [N, K, H, W]")
    return logits
