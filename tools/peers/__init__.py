"""Other programs that do the work of ours, for `tools.bench_machine`; each is a program of one file."""
