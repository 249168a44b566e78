"""What a run wrote, as whoever reads it later finds it."""

import json
from pathlib import Path
from typing import Any


def rounds_of(result: Any) -> list[int]:
    """The rounds in the `result.json` of a run in a local folder, in the order of its lines."""
    lines = (Path(result.path) / "result.json").read_text().splitlines()
    return [json.loads(line)["round"] for line in lines]
