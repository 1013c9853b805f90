"""Benchmarks: `python -m tests.bench [name …]`. Each compares with a raw limit of the same run."""
