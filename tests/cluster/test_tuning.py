"""A search with Ray Tune: its trials are runs in placement groups of their own, and leave none."""

from pathlib import Path

import pandas as pd
import pytest
import ray
from ray.util import list_named_actors

from parle_ray.tuning.command import tune

pytestmark = pytest.mark.nightly


def test_a_search_leaves_a_table_a_run_for_each_trial_and_nothing_else(
    cluster: None, tmp_path: Path
) -> None:
    argv = ["--num_rounds=6", "--num_replicas=2", "--evaluate_every=2", "--cpus_per_replica=0.5"]
    argv += ["--vary", "strategy.rho=grid(1, 4)", "--num_samples=1", "--scheduler=none"]
    argv += ["--name=search", f"--storage_path={tmp_path}"]
    assert tune(argv, "parle") == 0
    found = pd.read_parquet(tmp_path / "search" / "trials.parquet")
    assert sorted(found["strategy.rho"]) == [1, 4]
    assert set(found["round"]) == {6}
    runs = sorted(run.name for run in (tmp_path / "search_runs").iterdir())
    assert runs == sorted(found["trial"])
    assert list_named_actors(all_namespaces=True) == []
    groups = ray.util.placement_group_table().values()
    assert {group["state"] for group in groups} <= {"REMOVED"}
    assert tune(argv, "parle") == 0, "all trials are done: nothing is run again"
