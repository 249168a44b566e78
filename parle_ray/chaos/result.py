"""What a run wrote, as whoever reads it later finds it."""

from ray.train import Result

from parle_ray.runs.reports import read
from parle_ray.runs.storage import open_folder


def rounds_of(result: Result) -> list[int]:
    """The rounds in the `result.json` of a run, in the order of its lines."""
    folder = open_folder(result.path, filesystem=result.filesystem)
    return [report["round"] for report in read(folder)]
