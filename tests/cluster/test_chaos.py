"""The storm that docs/reliability.md shows, as it stands there."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from parle_ray.chaos import fixture
from parle_ray.chaos.kinds import KINDS

faults = fixture.faults
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()


def test_a_run_survives_every_kind_of_fault(
    cluster: None, faults: fixture.Faults, tmp_path: Path
) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(block, names)
    names["test_my_training_survives"](faults, tmp_path)
    assert {one.fault.kind for one in faults.struck} == {
        name for name, kind in KINDS.items() if not kind.node
    }
    with pytest.raises(AssertionError, match="did not report"):
        fixture.Faults([fixture.Fault(kind="kill", rank=0, round=1)]).check(None)


def test_a_node_that_is_killed_leaves_no_worker_behind() -> None:
    command = [sys.executable, "-m", "tests.cluster.lost_node"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "gone" in told.stdout.splitlines(), told.stdout


@pytest.mark.nightly
def test_a_run_survives_calls_that_are_lost_on_their_way(tmp_path: Path) -> None:
    command = (
        "-m parle_ray chaos --rpc_failures 1 --nodes 2 --num_replicas 2 --num_rounds 60 "
        f"--num_faults 2 --baseline false --model.name mlp --storage_path {tmp_path}"
    )
    told = subprocess.run(
        [sys.executable, *command.split()], cwd=ROOT, capture_output=True, text=True, timeout=230
    )
    assert told.returncode == 0, told.stderr
    assert re.search(r"^  broken +nothing$", told.stdout, re.MULTILINE), told.stdout
