"""One Ray cluster for all tests here, with four CPUs whatever the machine has."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig

from parle_ray import ParleTrainer
from parle_ray.membership.patience import Patience
from parle_ray.strategies import Strategy
from tests.cluster import task

NUM_CPUS = 4
PATIENT = Patience(floor_s=60.0)
"""A busy machine must not decide who is in time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "cluster" in Path(item.fspath).parts:
            item.add_marker(pytest.mark.ray)
            item.add_marker(pytest.mark.timeout(240))


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    ray.init(
        address="local",
        num_cpus=NUM_CPUS,
        include_dashboard=False,
        object_store_memory=200 * 2**20,
        log_to_driver=False,
    )
    yield
    ray.shutdown()


@pytest.fixture
def trainer(cluster: None, tmp_path: Path) -> Any:
    """Makes a trainer of the small task; reports are kept quiet unless asked for."""

    def make(strategy: Strategy, num_replicas: int = 2, **changes: Any) -> ParleTrainer:
        max_failures = changes.pop("max_failures", 0)
        patience = changes.pop("patience", PATIENT)
        arguments = task.arguments() | {
            "scaling_config": ScalingConfig(num_workers=num_replicas),
            "run_config": RunConfig(
                name=changes.pop("name", "run"),
                storage_path=str(tmp_path),
                failure_config=FailureConfig(max_failures=max_failures),
            ),
            "on_report": lambda report: None,
        }
        made = ParleTrainer(strategy=strategy, **(arguments | changes))
        made._task = replace(made._task, patience=patience)
        return made

    return make
