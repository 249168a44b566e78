"""`fit()` on Ray against `simulate()`: the cluster adds distance, never mathematics."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import ray
import torch
from ray.train import ScalingConfig
from safetensors.torch import load_file
from torch import Tensor

from parle_ray import simulate
from parle_ray.compression import CODECS
from parle_ray.console.config import Config
from parle_ray.console.recipe import make_recipe
from parle_ray.metrics import UNITS
from parle_ray.schedules import Scoping
from parle_ray.strategies import (
    PAPA,
    SGD,
    AutoSplash,
    DiLoCo,
    ElasticSGD,
    EntropySGD,
    HierarchicalParle,
    LocalSGD,
    ParameterMixing,
    Parle,
    Rotation,
    SlowMo,
    Splash,
    Strategy,
    StreamingDiLoCo,
    TailAveraging,
)
from parle_ray.strategies import STRATEGIES as BY_NAME
from tests.cluster import task

STRATEGIES: dict[str, Strategy] = {
    "auto_splash": AutoSplash(sync_every=4),
    "parle": Parle(sync_every=4),
    "parle_mean_z": Parle(sync_every=4, reference="mean_z", gamma=Scoping(100, floor=1)),
    "entropy_sgd": EntropySGD(sync_every=4, noise=1e-3),
    "elastic_sgd": ElasticSGD(),
    "easgd": ElasticSGD(sync_every=3, moving_rate=0.3),
    "sgd": SGD(sync_every=2),
    "hierarchical_parle": HierarchicalParle(sync_every=4),
    "local_sgd": LocalSGD(sync_every=4),
    "diloco": DiLoCo(sync_every=4),
    "papa": PAPA(sync_every=4),
    "parameter_mixing": ParameterMixing(sync_every=4),
    "rotation": Rotation(sync_every=4),
    "slowmo": SlowMo(sync_every=4),
    "splash": Splash(sync_every=4, max_weight=2.0),
    "streaming_diloco": StreamingDiLoCo(sync_every=4, fragments=3),
    "tail_averaging": TailAveraging(sync_every=2),
}


nightly = pytest.mark.nightly


def master_of(result: Any) -> Tensor:
    """The parameters in the checkpoint's plain `state_dict`, `(num_params,)`."""
    with result.checkpoint.as_directory() as folder:
        state = load_file(Path(folder) / "model.safetensors")
    module = task.arguments()["model_fn"]()
    module.load_state_dict(state)
    return torch.nn.utils.parameters_to_vector(module.parameters()).detach()


EVERY_TIME = [
    ("parle", 1),
    ("parle", 3),
    ("sgd", 2),
    ("diloco", 2),
    ("streaming_diloco", 2),
    ("auto_splash", 3),
]
NIGHTLY = [*((name, 2) for name in STRATEGIES), ("sgd", 1), ("diloco", 3)]
SLOWER = [pytest.param(*case, marks=nightly) for case in NIGHTLY if case not in EVERY_TIME]


@pytest.mark.parametrize(("name", "num_replicas"), [*EVERY_TIME, *SLOWER])
def test_fit_gives_the_bits_of_simulate(trainer: Any, name: str, num_replicas: int) -> None:
    strategy = STRATEGIES[name]
    result = trainer(strategy, num_replicas).fit()
    outcome = simulate(strategy=strategy, num_replicas=num_replicas, **task.arguments())
    assert torch.equal(master_of(result), outcome.model)
    told = {k: v for k, v in outcome.history[-1].items() if k in result.metrics}
    assert {k: result.metrics[k] for k in told} == told


SCHEMES = [kind(sync_every=4) for kind in BY_NAME.values() if not kind.synchronous]


@pytest.mark.parametrize(
    "strategy", [SCHEMES[0], *(pytest.param(s, marks=nightly) for s in SCHEMES[1:])], ids=repr
)
def test_an_asynchronous_fit_gives_the_bits_of_simulate_in_the_order_of_its_ledger(
    trainer: Any, strategy: Strategy
) -> None:
    result = trainer(strategy, 3).fit()
    lines = (Path(result.path) / "arrivals.json").read_text().splitlines()
    order = [rank for line in lines for rank, *_ in json.loads(line)["arrivals"]]
    outcome = simulate(strategy=strategy, num_replicas=3, arrivals=order, **task.arguments())
    assert torch.equal(master_of(result), outcome.model)
    told = {k: v for k, v in outcome.history[-1].items() if k in result.metrics}
    assert {k: result.metrics[k] for k in told} == told


@pytest.mark.parametrize("name", ["parle", pytest.param("local_sgd", marks=nightly)])
def test_a_ten_times_slower_replica_changes_no_bit(trainer: Any, name: str) -> None:
    arguments = task.arguments()
    plain = arguments["batches_fn"]

    def slow_for_one(rank: int, num_replicas: int) -> Any:
        batches = plain(rank, num_replicas)
        return task.Slow(batches) if rank == 1 else batches

    result = trainer(STRATEGIES[name], 3, batches_fn=slow_for_one).fit()
    outcome = simulate(strategy=STRATEGIES[name], num_replicas=3, **arguments)
    assert torch.equal(master_of(result), outcome.master)


@pytest.mark.parametrize(
    ("name", "codec"), [("parle", "int8"), pytest.param("sgd", "int4", marks=nightly)]
)
def test_compressed_too_and_the_bytes_are_counted(trainer: Any, name: str, codec: str) -> None:
    result = trainer(STRATEGIES[name], 2, compression=codec).fit()
    settings = task.arguments() | {"compression": codec}
    outcome = simulate(strategy=STRATEGIES[name], num_replicas=2, **settings)
    assert torch.equal(master_of(result), outcome.master)
    size = CODECS[codec]().encoded_bytes(outcome.master.numel())
    assert list(result.metrics_dataframe["bytes_sent"])[1:] == [4 * size] * (task.NUM_ROUNDS - 1)


def test_a_round_that_moves_a_stretch_sends_and_counts_that_alone(trainer: Any) -> None:
    def sent(name: str, **changes: Any) -> tuple[list[int], int]:
        result = trainer(STRATEGIES[name], 2, name=name, **changes).fit()
        return list(result.metrics_dataframe["bytes_sent"])[1:], master_of(result).numel()

    bytes_of, num_params = {}, 0
    for name in ("diloco", "streaming_diloco", "rotation"):
        bytes_of[name], num_params = sent(name)
    rounds, vector = range(1, task.NUM_ROUNDS), 4 * num_params
    assert bytes_of["diloco"] == [4 * vector for _ in rounds]
    fragments = [STRATEGIES["streaming_diloco"].moves(k, num_params) for k in rounds]
    # Up in the round that moves a fragment, and down when it is over; the last is sent as well.
    assert bytes_of["streaming_diloco"] == [
        4 * 2 * 2 * (part.stop - part.start) for part in fragments
    ]
    assert sum(bytes_of["streaming_diloco"]) == pytest.approx(sum(bytes_of["diloco"]) / 3, rel=0.01)
    assert bytes_of["rotation"] == [vector + 2 * vector for _ in rounds]


@nightly
def test_compression_auto_sends_as_it_is_on_one_node(trainer: Any) -> None:
    result = trainer(STRATEGIES["parle"], 2, compression="auto").fit()
    outcome = simulate(strategy=STRATEGIES["parle"], num_replicas=2, **task.arguments())
    assert torch.equal(master_of(result), outcome.master)


def test_the_run_folder_and_the_result_tell_the_same_story(trainer: Any) -> None:
    seen: list[dict[str, Any]] = []
    result = trainer(STRATEGIES["parle"], on_report=seen.append, name="story").fit()
    folder = Path(result.path)
    lines = [json.loads(line) for line in (folder / "result.json").read_text().splitlines()]
    assert lines == seen
    assert [line["round"] for line in lines] == list(range(1, task.NUM_ROUNDS + 1))
    assert len(result.metrics_dataframe) == task.NUM_ROUNDS
    assert list(pd.read_parquet(folder / "metrics.parquet")["loss"]) == [s["loss"] for s in seen]
    extra = {"outer_lr", "num_rounds", "evaluated_round"}
    extra |= {f"replica/{rank}/{name}" for rank in (0, 1) for name in ("loss", "walk_s")}
    assert set(result.metrics) == (set(UNITS) | extra) - {"staleness", "staleness_max", "degree"}
    assert (folder / "config.yaml").exists()
    assert result.metrics["replicas_alive"] == 2
    assert result.error is None
    assert not [a for a in ray.util.list_named_actors(all_namespaces=True) if "story" in a["name"]]


def test_replicas_and_evaluation_have_processes_of_their_own(trainer: Any) -> None:
    def tell_pid(module: torch.nn.Module) -> dict[str, float]:
        return {"pid": float(os.getpid())}

    result = trainer(STRATEGIES["local_sgd"], evaluate_fn=tell_pid).fit()
    assert result.metrics["pid"] != os.getpid()


@pytest.mark.parametrize("placement", [pytest.param("SPREAD", marks=nightly), "STRICT_PACK"])
def test_fractions_of_a_cpu_and_placement_are_honoured(trainer: Any, placement: str) -> None:
    scaling = ScalingConfig(
        num_workers=2, resources_per_worker={"CPU": 0.5}, placement_strategy=placement
    )
    epochs = {"num_rounds": None, "num_epochs": 2}  # passes over the data of one replica
    result = trainer(STRATEGIES["parle"], scaling_config=scaling, **epochs).fit()
    assert result.metrics["step"] == 2 * 256 // 32


def test_the_images_lie_once_on_a_node_and_are_mapped_by_whoever_needs_them(cluster: None) -> None:
    recipe = make_recipe(Config(num_rounds=1))
    task = ray.put(recipe.task)

    @ray.remote(num_cpus=1)
    def look(refs: list[ray.ObjectRef]) -> tuple[str, bool]:
        array = ray.get(refs[0]).batches_fn.examples.images
        while isinstance(array.base, np.ndarray):
            array = array.base
        return type(array.base).__name__, array.flags.writeable

    assert ray.get(look.remote([task])) == ("SubBuffer", False)  # Ray's view of the store
