"""Writes a chosen network as an artifact that `deploy.infer` and the other commands run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from deploy.artifact import RECORD, whole_artifact, write_record
from deploy.export import export
from scaling.compose import Choice, Descendants
from scaling.job import Job
from scaling.original import network_of
from scaling.store import read_manifest
from scaling.tuning import load, start_of


def write(folder: Path, choice: Choice, target: str, formats: Sequence[str], run: str = "") -> None:
    """Exports the network of a choice; every graph is held against it before the artifact is kept.

    Args:
        folder: Of a job.
        choice: Sparsity of each block.
        target: Folder of the artifact; an artifact that is there is replaced.
        formats: Keys of `deploy.formats.FORMATS`.
        run: Folder, in the job's, of its fine-tuning (`Tuned.folder`); without one of the descendants as they are.

    Raises:
        UserError: Weights are missing, a format cannot be written, or its graph gives other logits.
    """
    job = Job.from_record(folder, read_manifest(folder)["job"])
    model, recipe, blocks = network_of(job)
    made = start_of(Descendants(model, blocks, folder), choice)
    if run:
        load(made, folder / run)
    with whole_artifact(target) as unfinished:
        export(made, recipe, job.pretrained, unfinished, formats)
        record = json.loads((unfinished / RECORD).read_text(encoding="utf-8"))
        write_record(unfinished, {**record, "sparsities": dict(zip([b.path for b in blocks], choice, strict=True))})
