"""Every process of a run may die, and the run goes on: to the same bits, where nothing is lost."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from torch import Tensor, nn

from parle_ray import simulate
from parle_ray.chaos.result import rounds_of
from parle_ray.errors import UserCodeError
from parle_ray.membership.patience import Patience
from tests.cluster import task
from tests.cluster.test_fit import STRATEGIES, master_of

Report = dict[str, Any]


GROUPS = {"coordinator": "control", "replica-0": "delivery", "replica-1": "delivery"}
"""Where an actor that is at work still answers."""


def pid_of(role: str) -> int:
    """Of the actor `run/<role>`."""
    ask = ray.get_actor(f"run/{role}", namespace="parle_ray").__ray_call__
    if role in GROUPS:
        ask = ask.options(concurrency_group=GROUPS[role])
    return ray.get(ask.remote(lambda self: os.getpid()))


def kill(role: str) -> None:
    """As the kernel does it: the process has no last word."""
    os.kill(pid_of(role), signal.SIGKILL)


def at_rounds(deeds: dict[int, Callable[[], None]], seen: list[Report]) -> Callable[[Report], None]:
    """A listener that keeps the reports, and does what is due at a round."""

    def listen(report: Report) -> None:
        seen.append(report)
        deeds.get(report["round"], lambda: None)()

    return listen


@pytest.mark.parametrize(
    ("name", "shards"),
    [("parle", 1), ("diloco", 2), ("streaming_diloco", 1), ("auto_splash", 2)],
)
def test_a_run_that_loses_its_coordinator_ends_with_the_same_bits(
    trainer: Any, name: str, shards: int
) -> None:
    """Three times, once before the last cut is written; and once a shard, if there are any."""
    role = "coordinator" if shards == 1 else "shard-1"
    deeds = {2: lambda: kill("coordinator"), 5: lambda: kill(role), 8: lambda: kill("coordinator")}
    seen: list[Report] = []
    result = trainer(
        STRATEGIES[name], shards=shards, on_report=at_rounds(deeds, seen), checkpoint_every=4
    ).fit()
    outcome = simulate(strategy=STRATEGIES[name], num_replicas=2, **task.arguments())
    assert rounds_of(result) == [one["round"] for one in seen] == list(range(1, 9))
    assert [one["loss"] for one in seen] == [one["loss"] for one in outcome.history]
    assert torch.equal(master_of(result), outcome.master)
    assert result.metrics["accuracy"] == outcome.history[-1]["accuracy"]
    assert result.metrics["faults"] == 0


def test_a_run_that_loses_all_at_once_goes_on_from_its_last_checkpoint(
    trainer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def kill_all() -> None:
        del deeds[5]  # which comes again
        for victim in [pid_of(role) for role in ("replica-0", "replica-1", "coordinator")]:
            os.kill(victim, signal.SIGKILL)

    deeds, seen = {5: kill_all}, []
    result = trainer(
        STRATEGIES["parle"],
        max_failures=-1,
        checkpoint_every=2,
        on_report=at_rounds(deeds, seen),
    ).fit()
    assert capsys.readouterr().err.count("all start anew from the last checkpoint") == 1
    assert rounds_of(result) == list(range(1, task.NUM_ROUNDS + 1))
    outcome = simulate(strategy=STRATEGIES["parle"], num_replicas=2, **task.arguments())
    assert torch.equal(master_of(result), outcome.master)


def test_what_fails_is_replaced_alone_and_a_mistake_is_pardoned_once(
    trainer: Any, tmp_path: Path
) -> None:
    """A replica raises, another is stopped, the evaluator dies; then a replica raises again."""
    mistakes = tmp_path / "mistakes"

    def loss_fn(module: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        if mistakes.exists():
            mistakes.unlink()
            raise KeyError("the user's own mistake")
        return nn.functional.cross_entropy(module(batch[0]), batch[1])

    stopped: list[int] = []

    def stop_replica() -> None:
        stopped.append(pid_of("replica-1"))
        os.kill(stopped[0], signal.SIGSTOP)

    seen: list[Report] = []
    deeds = {
        3: mistakes.touch,
        200: lambda: kill("evaluator"),
        400: stop_replica,
    }

    def listen(report: Report) -> None:
        at_rounds(deeds, seen)(report)
        back = [one for one in seen[-50:] if one["faults"] == 2 and one["replicas_alive"] == 3]
        if len(back) == 50 and not mistakes.exists():
            mistakes.touch()

    ours = trainer(
        STRATEGIES["parle"],
        3,
        max_failures=-1,
        num_rounds=1_000_000,
        loss_fn=loss_fn,
        evaluate_every=10,
        on_report=listen,
        patience=Patience(full_s=0.5, hung_floor_s=15.0, hung_factor=3.0),
    )
    with pytest.raises(UserCodeError, match=r"(?s)KeyError: .the user's own.*in loss_fn"):
        ours.fit()
    assert [one["round"] for one in seen] == list(range(1, len(seen) + 1))
    assert min(one["replicas_alive"] for one in seen) >= 1
    assert not Path(f"/proc/{stopped[0]}").exists()
    assert max(one.get("evaluated_round", 0) for one in seen) > 400
