"""Flags of trainings that are over in seconds."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    "--preset", "demo_tsm", "--short_side", 40, "--crop_size", 32, "--test_size", 32, "--batch_size", 4, "--threads", 1,
)  # fmt: skip


def train_flags(data, run, *more):
    return [str(flag) for flag in ("--dataset_root", data, "--output_dir", run, "--num_workers", 1, *SMALL, *more)]
