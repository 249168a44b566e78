"""Benchmarks, one file each; `python -m jobs.bench NAME` runs one."""
