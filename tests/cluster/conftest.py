"""One Ray cluster for all tests here, with four CPUs whatever the machine has."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig

from parle_ray import ParleTrainer
from parle_ray.strategies import Strategy
from tests.cluster import task
from tests.problems import PATIENT

NUM_CPUS = 4


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
        return task.patient(ParleTrainer(strategy=strategy, **(arguments | changes)), patience)

    return make
