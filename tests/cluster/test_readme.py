"""Every Python block of the README runs, in order, as it stands."""

import re
from pathlib import Path
from typing import Any

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_code_of_the_readme_runs(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Runs are kept in ~/ray_results, which Ray Train looks up when it is imported.
    monkeypatch.setattr("ray.train.constants.DEFAULT_STORAGE_PATH", str(tmp_path))
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks:
        exec(block, names)
    assert names["result"].metrics["accuracy"] > 0.9
    assert names["results"].num_errors == 0
    assert len(names["results"]) == 2
