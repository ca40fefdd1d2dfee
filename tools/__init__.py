"""Programs around the project: converters of public checkpoints, dataset preparation, summaries and benchmarks."""
