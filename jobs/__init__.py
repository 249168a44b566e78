"""What one submits to a cluster: `python -m jobs.train`, here and under `ray job submit`."""
