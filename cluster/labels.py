"""What a worker does with a shard of videos: decodes some ahead, labels each, and writes the rows as one file.

It runs in a process of Ray's, possibly on another machine.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from cluster.shards import Shards, file_of
from cluster.storage import Storage, fetched
from configs import cli
from configs.limits import Limits
from runtime.errors import UserError, errors_called

FAILED = b"failed"  # key of the number of failures in a file's metadata


class Work(NamedTuple):
    """What every worker is told.

    Attributes:
        storage: Of the job.
        model_dir: Folder of the artifact, which all workers see.
        engine: A key of `deploy.engines.ENGINES`; None for the default.
        precision: Of the engine; None for the artifact's.
        views: A key of `cli.VIEWS`.
        threads: Of one operation of the engine.
        ahead: Videos that are decoded at a time.
        limits: What a video may cost.
    """

    storage: Storage
    model_dir: str
    engine: str | None
    precision: str | None
    views: str
    threads: int
    ahead: int
    limits: Limits


class Labels:
    """A worker, as Ray Data calls it: opens its engine once, then takes one shard after the other.

    Args:
        work: What it is told.
    """

    def __init__(self, work: Work) -> None:
        from deploy.artifact import open_artifact
        from deploy.engines import open_engine
        from deploy.timeline.labeler import Labeler

        self._work, self._storage = work, work.storage
        self._shards = Shards(self._storage)
        artifact = open_artifact(work.model_dir)
        engine = open_engine(work.engine, work.model_dir, work.precision, threads=work.threads)
        turn = threading.Lock()

        def run(clips: np.ndarray) -> np.ndarray:
            with turn:
                return engine(clips)

        mode = cli.VIEWS[work.views]
        self._labeler = Labeler(run, artifact.recipe, artifact.class_names, mode, limits=work.limits)
        self._ahead = ThreadPoolExecutor(work.ahead)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Sequence[int]]:
        """Writes the rows of the shards of a batch, but for those that another worker has written before it died.

        Args:
            batch: `item`: Numbers of shards.

        Returns:
            `shard`, `videos` and `failed`, of each of them.
        """
        from pyarrow import parquet

        numbers = [int(number) for number in batch["item"]]
        counts = []
        for number in numbers:
            if self._storage.exists(file_of(number)):
                counts.append(counts_of(self._storage, number))
                continue
            rows = list(self._ahead.map(self._row, self._shards.sources(number)))
            failed = sum(row["error"] is not None for row in rows)
            with self._storage.writing(file_of(number)) as stream:
                parquet.write_table(table_of(rows, failed), stream)
            counts.append((len(rows), failed))
        return {
            "shard": numbers, "videos": [videos for videos, _ in counts], "failed": [failed for _, failed in counts],
        }  # fmt: skip

    def _row(self, source: str) -> dict[str, Any]:
        try:
            most = self._work.limits.max_video_megabytes * 2**20
            with fetched(source, most) as path, errors_called(source, path):
                found = self._labeler.whole(path)
        except UserError as error:
            return {"source": source, "label": None, "name": None, "probability": None, "scores": None,
                    "error": str(error)}  # fmt: skip
        label, scores = found.label, found.scores
        return {"source": source, "label": label, "name": found.names[label], "probability": scores[label],
                "scores": scores, "error": None}  # fmt: skip


def counts_of(storage: Storage, number: int) -> tuple[int, int]:
    """Videos of a shard that is done, and how many of them have failed."""
    from pyarrow import parquet

    with storage.reading(file_of(number)) as file:
        about = parquet.read_metadata(file)
    return about.num_rows, int(about.metadata[FAILED])


def table_of(rows: Sequence[dict[str, Any]], failed: int) -> Any:
    """The rows of a shard as an Arrow table, which knows how many of them have failed."""
    import pyarrow as pa

    schema = pa.schema(
        [
            ("source", pa.string()), ("label", pa.int32()), ("name", pa.string()), ("probability", pa.float32()),
            ("scores", pa.list_(pa.float32())), ("error", pa.string()),
        ],
        metadata={FAILED: str(failed)},
    )  # fmt: skip
    return pa.Table.from_pylist(list(rows), schema)
