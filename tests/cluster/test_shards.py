"""A master in shards: the bits of one that is whole, whatever happens on the way."""

from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from parle_ray import simulate
from parle_ray.errors import InputError
from parle_ray.strategies import Parle
from tests.cluster import task
from tests.cluster.test_fit import STRATEGIES, master_of, nightly
from tests.cluster.test_resume import Unplugged, kill_replica_at, unplug_at


@pytest.mark.parametrize(
    ("name", "shards"),
    [("parle", 3), ("diloco", 2), ("auto_splash", 2), pytest.param("sgd", 3, marks=nightly)],
)
def test_shards_give_the_bits_of_simulate(trainer: Any, name: str, shards: int) -> None:
    result = trainer(STRATEGIES[name], 3, shards=shards).fit()
    outcome = simulate(strategy=STRATEGIES[name], num_replicas=3, **task.arguments())
    assert torch.equal(master_of(result), outcome.master)
    whole = outcome.history[-1]
    told = {key: result.metrics[key] for key in whole if key in result.metrics}
    for name in {"distance", "overlap"} & told.keys():
        assert told.pop(name) == pytest.approx(whole.pop(name))
    assert told == {key: whole[key] for key in told}
    vector_bytes = 4 * outcome.master.numel()
    sent = list(result.metrics_dataframe["bytes_sent"])[1:]
    assert sent == [2 * 3 * vector_bytes] * (task.NUM_ROUNDS - 1)


@pytest.mark.parametrize(
    ("name", "before", "after"), [("parle", 1, 3), pytest.param("sgd", 3, 2, marks=nightly)]
)
def test_a_run_is_resumed_with_another_number_of_shards(
    trainer: Any, name: str, before: int, after: int
) -> None:
    strategy = STRATEGIES[name]
    with pytest.raises(Unplugged):
        trainer(strategy, checkpoint_every=3, on_report=unplug_at(5), shards=before).fit()
    result = trainer(strategy, shards=after).fit()
    outcome = simulate(strategy=strategy, num_replicas=2, **task.arguments())
    assert torch.equal(master_of(result), outcome.master)
    assert list(result.metrics_dataframe["round"]) == list(range(1, task.NUM_ROUNDS + 1))


def test_a_push_that_is_not_finite_is_refused_by_all(trainer: Any) -> None:
    strategy = Parle(sync_every=4)
    x, labels = task.data()

    def batches_fn(rank: int, num_replicas: int) -> list[tuple[Tensor, Tensor]]:
        batches = list(zip(x.repeat(4, 1).split(32), labels.repeat(4).split(32), strict=True))
        if rank == 1:
            batches[9] = (batches[9][0] * float("nan"), batches[9][1])
        return batches

    arguments = task.arguments() | {"batches_fn": batches_fn, "evaluate_fn": None}
    result = trainer(strategy, 2, shards=2, **arguments).fit()
    outcome = simulate(strategy=strategy, num_replicas=2, **arguments)
    assert result.metrics["faults"] == outcome.history[-1]["faults"] == 1
    alive = [report["replicas_alive"] for report in outcome.history]
    assert list(result.metrics_dataframe["replicas_alive"]) == alive
    assert torch.equal(master_of(result), outcome.master)


def test_codes_are_cut_too(trainer: Any) -> None:
    def model_fn() -> nn.Module:
        return nn.Sequential(nn.Linear(10, 5000), nn.ReLU(), nn.Linear(5000, 3))

    changes = {"model_fn": model_fn, "compression": "int8", "num_rounds": 4}
    result = trainer(STRATEGIES["parle"], 2, shards=2, **changes).fit()
    arguments = task.arguments() | changes
    outcome = simulate(strategy=STRATEGIES["parle"], num_replicas=2, **arguments)
    module = model_fn()
    module.load_state_dict(load_file(f"{result.checkpoint.path}/model.safetensors"))
    assert torch.equal(nn.utils.parameters_to_vector(module.parameters()), outcome.master)


@nightly
def test_a_replica_is_replaced_while_the_shards_go_on(trainer: Any) -> None:
    reports: list[dict[str, Any]] = []
    kill = kill_replica_at(5, rank=1)

    def listen(report: dict[str, Any]) -> None:
        reports.append(report)
        kill(report)

    arguments = {"max_failures": -1, "num_rounds": 400, "shards": 2, "on_report": listen}
    result = trainer(STRATEGIES["parle"], 2, **arguments).fit()
    alive = [report["replicas_alive"] for report in reports]
    assert (len(reports), min(alive), alive[-1]) == (400, 1, 2)
    assert result.metrics["faults"] == 1
    assert result.metrics["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("shards", "message"), [(0, r"shards must be .*>= 1, got 0"), (500, r"shards must be <= 259 ")]
)
def test_what_cannot_be_cut(trainer: Any, shards: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        trainer(STRATEGIES["parle"], shards=shards).fit()
