"""Writes what goes into a graph and what comes out, for programs that decode no video, and predicts with it.

    python -m test_tipc.clips --model_dir DIR --video FILE_OR_FOLDER... --output FOLDER

`clips.npy`: float32 [N, T, 3, H, W], every view of every video, decoded and normalized as the artifact's recipe says;
of pictures [N, 3, H, W]. `logits.npy`: what Paddle Inference makes of them, float32 [N, K], of pictures [N, K, H, W].
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from configs import cli
from datasets import ClipLoader, unlabeled
from deploy.artifact import open_artifact
from deploy.engines import open_engine
from deploy.infer import predict
from runtime import command
from runtime.owned import create
from tasks import task_of

CLIPS, LOGITS = "clips.npy", "logits.npy"


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the two files and prints the predictions as predict.py does."""
    parser = command.parser(__doc__)
    parser.add_argument("--model_dir", required=True, help="folder that deploy.export wrote")
    parser.add_argument("--video", required=True, nargs="+", help="video files, folders of frames, or of videos")
    parser.add_argument("--output", required=True, type=Path, help="folder for the two files")
    args = parser.parse_args(argv)
    artifact, engine = open_artifact(args.model_dir), open_engine("paddle", args.model_dir)
    (clips,), (logits,) = engine.signature.inputs, engine.signature.outputs
    passes: dict[str, list[np.ndarray]] = {clips.name: [], logits.name: []}

    def recorded(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        results = engine.run(arrays)
        for name, values in (arrays | results).items():
            passes[name].append(values.copy())
        return results

    recorder = dataclasses.replace(engine, run=recorded)
    task, mode = task_of(artifact.recipe), cli.VIEWS[artifact.record["views"]]
    dataset = task.dataset(unlabeled(task.find(args.video)), artifact.recipe, mode)
    with ClipLoader(dataset, 1) as loader:
        for path, probabilities in predict(recorder, loader, []):
            command.say(
                path,
                *task.prediction_lines(probabilities, artifact.class_names, len(probabilities)),
            )
    for file, spec in ((CLIPS, clips), (LOGITS, logits)):
        content = io.BytesIO()
        np.save(content, np.concatenate(passes[spec.name]))
        create(args.output / file, content.getvalue(), overwrite=True)


if __name__ == "__main__":
    with command.clear_errors():
        main()
