"""Labels videos by the million: `python -m cluster.predict --model_dir DIR --input LIST|DIR|s3://... --output DIR`.

Ray spreads shards of the list over workers, on this machine or on those of `--address`. Each shard is one file of
results, written as a whole: the same command, after whatever has ended the one before, computes those that are missing.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from configs import cli
from deploy.infer import add_graph_flags
from runtime import command
from runtime.errors import UserError

if TYPE_CHECKING:
    from cluster.storage import Storage

CSV = "labels.csv"
TOLD_S = 30  # between two lines of progress where there is no terminal


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Flags of the command; the artifact decides what they leave open."""
    parser = command.parser(__doc__ or "", "python -m cluster.predict --model_dir DIR --input NAME... --output DIR")
    run = parser.add_argument_group("run")
    run.add_argument("--model_dir", required=True, help="folder that deploy.export wrote, which all workers see")
    run.add_argument(
        "--input", required=True, nargs="+", help="videos, folders, patterns, .txt lists, or s3:// addresses"
    )
    run.add_argument(
        "--output", required=True, help="folder of the results, which all workers see, or an s3:// address"
    )
    run.add_argument("--views", choices=tuple(cli.VIEWS), help="test views, or one center view (default: as exported)")
    run.add_argument("--csv", action="store_true", help=f"also write all rows, without scores, to {CSV}")
    run.add_argument("--shard_size", type=command.positive, default=64, help="videos in a file of results")
    run.add_argument(
        "--max_bad_samples", type=float, default=0.01,
        help="fraction of the videos that may be unreadable before the exit code is 1 (default: %(default)s)",
    )  # fmt: skip
    where = parser.add_argument_group("cluster")
    where.add_argument(
        "--address", default="",
        help="of a Ray cluster: HOST:PORT, ray://HOST:PORT, auto (default: none, one of this machine, which ends with "
        "the command)",
    )  # fmt: skip
    where.add_argument("--workers", type=command.count, default=0, help="that share the shards; 0: one for each core")
    where.add_argument("--ahead", type=command.positive, default=2, help="videos that a worker decodes at a time")
    add_graph_flags(parser)
    cli.add_limit_flags(parser)
    args = parser.parse_args(argv)
    if not 0 <= args.max_bad_samples <= 1:
        raise UserError(f"--max_bad_samples must be from 0 to 1, got {args.max_bad_samples:g}")
    if args.use_gpu or not args.enable_mkldnn:
        raise UserError("--use_gpu and --enable_mkldnn are deploy.infer's: workers compute on CPU")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Begins the job, or goes on with it."""
    args = parse_args(argv)
    from cluster import job, shards
    from cluster.labels import Labels, Work, counts_of
    from cluster.storage import Storage
    from deploy.artifact import RECORD, open_artifact
    from runtime.owned import digest_of

    artifact = open_artifact(args.model_dir)
    views = args.views or artifact.record["views"]
    storage = Storage(args.output)
    facts = {
        "artifact": digest_of(artifact.directory / RECORD), "engine": args.engine or "", "views": views,
        "precision": args.precision or "",
    }  # fmt: skip
    parts = shards.begin(storage, shards.sources_of(args.input), args.shard_size, facts)
    work = Work(
        storage, str(artifact.directory.resolve()), args.engine, args.precision, views, args.threads or 1, args.ahead,
        cli.limits_of(args),
    )  # fmt: skip
    left, videos = parts.unfinished(), parts.num_videos
    before = [counts_of(storage, number) for number in set(range(len(parts))) - set(left)]
    begin = time.perf_counter()
    with job.cluster(args.address):
        workers = args.workers or max(1, job.cores() // work.threads)
        telling = Progress(videos, sum(count for count, _ in before))
        count = job.run(Labels, work, left, workers, work.threads, telling.tell)
    telling.end()
    if args.csv:
        write_csv(storage, len(parts))
    failed = count.failed + sum(failed for _, failed in before)
    seconds = time.perf_counter() - begin
    summary = {
        "videos": videos, "failed": failed, "shards": len(parts), "shards_before": len(before),
        "seconds": round(seconds, 1), "videos_per_second": round(count.videos / seconds, 2),
    }  # fmt: skip
    storage.write("summary.json", (json.dumps(summary, indent=2) + "\n").encode())
    storage.clear_unfinished()
    command.say(
        f"{videos} videos in {len(parts)} files in {args.output}/{shards.SHARDS}, {failed} unreadable; "
        f"{count.videos} computed now, {count.videos / seconds:.1f} videos/s"
    )
    if failed > args.max_bad_samples * videos:
        raise UserError(
            f"{failed} of {videos} videos could not be read (the column error says why), --max_bad_samples "
            f"{args.max_bad_samples:g} allows {args.max_bad_samples * videos:g}"
        )


class Progress:
    """A bar on a terminal, else a line now and then.

    Args:
        videos: Of the job.
        before: Of these, those whose rows were there already.
    """

    def __init__(self, videos: int, before: int) -> None:
        from engine.progress import progress

        self._videos, self._failed = videos, 0
        self._done = self._begun = before
        self._bar = progress(videos, "videos", self._done)
        self._start = self._told = time.monotonic()

    def tell(self, videos: int, failed: int) -> None:
        """A shard is done."""
        self._done += videos
        self._failed += failed
        self._bar.update(videos)
        self._bar.set_postfix(unreadable=self._failed)
        now = time.monotonic()
        if not sys.stderr.isatty() and now - self._told > TOLD_S:
            self._told = now
            rate = (self._done - self._begun) / (now - self._start)
            left = (self._videos - self._done) / max(rate, 1e-9)
            command.say(f"{self._done} of {self._videos} videos, {self._failed} unreadable, {rate:.1f} videos/s, "
                        f"{left / 60:.0f} min left")  # fmt: skip

    def end(self) -> None:
        """The bar goes."""
        self._bar.close()


def write_csv(storage: Storage, count: int) -> None:
    """Writes the rows of all shards as CSV, one shard after the other."""
    from pyarrow import parquet

    from cluster.shards import file_of

    columns = ["source", "label", "name", "probability", "error"]
    with storage.writing(CSV) as stream:
        for number in range(count):
            text = io.StringIO()
            writer = csv.writer(text, lineterminator=os.linesep)
            if number == 0:
                writer.writerow(columns)
            with storage.reading(file_of(number)) as file:
                rows = parquet.read_table(file, columns=columns).to_pylist()
            writer.writerows([row[column] for column in columns] for row in rows)
            stream.write(text.getvalue().encode(errors="backslashreplace"))


if __name__ == "__main__":
    with command.clear_errors():
        main()
