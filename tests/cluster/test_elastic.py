"""A run that grows with its cluster, and shrinks with it, without a restart."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_run_grows_and_shrinks_with_its_cluster(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.cluster.elastic", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=220,
    )
    assert "seen it all\n" in told.stdout, told.stderr
    for line in ("replica 2 has joined", "has left a node that is being drained", "was lost"):
        assert line in told.stderr
