"""The training loop of `jobs.compare` without Ray: its rivals, averages, and what is recorded."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from jobs.comparison import loop
from jobs.comparison.averaging import EMA, SWA
from jobs.comparison.budget import Budget
from jobs.comparison.methods import Workers
from jobs.comparison.recorded import Recorded, by_round, evaluations
from jobs.comparison.traffic import bytes_sent
from parle_ray.console.recipe import Recipe, make_recipe
from parle_ray.simulate import simulate
from tests.test_comparison import case, setup


def small(method: str, **changes: object) -> Recipe:
    """A run of a few mini-batches."""
    config = setup().configure(case(method))
    return make_recipe(replace(config, num_rounds=4, evaluate_every=2, **changes))  # type: ignore[arg-type]


def alone(vectors: Tensor) -> list[Tensor]:
    return [vectors]


def here(module: nn.Module) -> nn.Module:
    return module


HERE = loop.Place(rank=0, workers=1, wrap=here, gather=alone)


def test_one_worker_of_the_loop_is_data_parallel_sgd_of_one_replica() -> None:
    recipe = small("ray_train_ddp", num_replicas=1)
    found = loop.walk(recipe.task, Workers(), HERE, steps=4, every=2)
    ours = simulate(**recipe.arguments, num_replicas=1).history
    assert [row["step"] for row in found] == [2, 4]
    for row, report in zip(found, ours[1::2], strict=True):
        assert row["error"] == report["error"]
        assert row["test_loss"] == pytest.approx(report["test_loss"], rel=1e-5)


def test_an_average_is_of_weights_and_an_ensemble_of_probabilities() -> None:
    task = small("sgd_average").task
    first, second = (replace(task, seed=seed).build().vector for seed in (0, 1))
    mean = loop.Judge(task, Workers())([(first + second) / 2])
    assert loop.Judge(task, Workers(together="weights"))([first, second]) == mean
    members = [loop.Judge(task, Workers())([vector]) for vector in (first, second)]
    together = loop.Judge(task, Workers(together="predictions"))
    assert together([first, first])["test_loss"] == pytest.approx(members[0]["test_loss"])
    # The logarithm is concave: the ensemble's loss is below the mean of its members'.
    assert together([first, second])["test_loss"] < sum(m["test_loss"] for m in members) / 2


def test_members_of_an_ensemble_start_apart_and_those_of_an_average_together() -> None:
    def start(together: str, rank: int) -> Tensor:
        seen: list[Tensor] = []

        def look(module: nn.Module) -> nn.Module:
            seen.append(torch.cat([p.detach().flatten() for p in module.parameters()]).clone())
            return module

        place = loop.Place(rank=rank, workers=2, wrap=look, gather=alone)
        task = small("sgd_average", num_replicas=2).task
        loop.walk(task, Workers(together=together), place, steps=1, every=1)  # type: ignore[arg-type]
        return seen[0]

    assert torch.equal(start("weights", 0), start("weights", 1))
    assert not torch.equal(start("predictions", 0), start("predictions", 1))


def test_swa_keeps_its_rate_lets_it_fall_and_averages_the_passes_after_that() -> None:
    swa = SWA()
    assert [swa.factor(p) for p in (0.0, 0.375, 0.675, 1.0)] == pytest.approx([1, 1, 0.5, 0.5])
    assert [step for step in range(1, 101) if swa.due(step, 100, 10)] == [80, 90, 100]
    module = nn.Linear(1, 1, bias=False)
    mean = swa.start(module, 100)
    assert mean is not None
    for value in (1.0, 2.0, 6.0):
        nn.init.constant_(module.weight, value)
        mean.update_parameters(module)
    assert mean.module.weight.item() == pytest.approx(3.0)


def test_ema_forgets_over_a_part_of_the_run() -> None:
    module = nn.Linear(1, 1, bias=False)
    mean = EMA(memory=0.05).start(module, 100)  # 5 mini-batches: decay 0.8
    assert mean is not None
    for value in (1.0, 2.0):
        nn.init.constant_(module.weight, value)
        mean.update_parameters(module)
    assert mean.module.weight.item() == pytest.approx(0.8 * 1.0 + 0.2 * 2.0)


def test_ddp_sends_a_ring_each_step_and_who_walks_alone_sends_once() -> None:
    assert bytes_sent(Workers(), 3, 1000, 5) == 3 * (2 * 2 / 3) * 4000 * 5
    assert bytes_sent(Workers(together="weights"), 3, 1000, 5) == 8000


REPORTS: list[dict[str, float | None]] = [
    {"round": k, "round_s": 1.0 + k, "bytes_sent": 10, "evaluated_round": k - 1 if k > 2 else None}
    | {"accuracy": 0.9, "test_loss": 0.1 * k}
    for k in (1, 2, 3, 4)
]
"""An evaluation is told a round after its own; those of the first and the last are lost."""


def test_every_recorded_evaluation_is_kept_with_the_time_and_bytes_of_its_round() -> None:
    recorded = [{"accuracy": a, "test_loss": 0.5} for a in (0.5, 0.75)]
    told = by_round(REPORTS, recorded, every=3)  # rounds 3 and, at the end, 4
    walk = Budget(num_replicas=2, batch_size=8, steps=10).walk(workers=2, sync_every=5)
    first, last = evaluations(REPORTS, told, walk, 5)
    assert (first["gradients"], last["gradients"]) == (2 * 4 * 15, 2 * 4 * 20)
    assert (first["train_s"], last["train_s"]) == (2 + 3 + 4, 2 + 3 + 4 + 5)
    assert (first["bytes_sent"], last["error"]) == (30, 0.25)


def test_without_all_its_recorded_evaluations_a_run_has_those_that_were_reported() -> None:
    assert list(by_round(REPORTS, [], every=3)) == [2, 3]


def test_what_is_recorded_is_what_is_returned(tmp_path: Path) -> None:
    record = Recorded(lambda module: {"accuracy": 0.5}, tmp_path / "lines")
    assert [record(nn.Identity()) for _ in range(2)] == [{"accuracy": 0.5}] * 2
    assert (tmp_path / "lines").read_text() == '{"accuracy": 0.5}\n' * 2
