"""What earlier implementations of Parle got wrong stays right here."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from parle_ray.learner import Learner
from parle_ray.master import Master
from parle_ray.replica import Reply
from parle_ray.schedules import Scoping
from parle_ray.strategies import EntropySGD, Parle, Strategy
from tests.problems import NUM_PARAMS, START, Batch, crew, play_round, run, squares, task

ANCHORED: list[Strategy] = [
    Parle(sync_every=3),
    Parle(sync_every=3, reference="mean_z"),
    EntropySGD(sync_every=3),
]


class Whole(nn.Module):
    """The model of `Pieces` in one parameter tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.from_numpy(START).clone())

    def forward(self, a: Tensor) -> Tensor:
        return a @ self.w


class Shreds(nn.Module):
    """The model of `Pieces` in six parameter tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.ParameterList([torch.tensor(value) for value in START])

    def forward(self, a: Tensor) -> Tensor:
        return a @ torch.stack(list(self.w))


def test_a_round_counts_once_whatever_the_number_of_parameter_tensors() -> None:
    strategy = Parle(sync_every=2, gamma=Scoping(100.0, floor=1.0), rho=Scoping(1.0, floor=0.1))
    whole, shreds = (run(strategy, model_fn=model, num_rounds=5) for model in (Whole, Shreds))
    for name in ("round", "gamma", "rho"):
        assert [r[name] for r in whole.history] == [r[name] for r in shreds.history]
    assert [report["round"] for report in whole.history] == [1, 2, 3, 4, 5]
    torch.testing.assert_close(whole.master, shreds.master, rtol=0.0, atol=1e-14)


def anchored(strategy: Strategy, num_rounds: int) -> tuple[Master, list[Learner]]:
    """After some rounds, each replica with the last reply taken in: where the next one starts."""
    master, learners = crew(task(strategy, num_rounds=4).fitted_to(3))
    for _ in range(num_rounds):
        play_round(master, learners)
    for learner in learners:
        learner.settle(num_rounds, master.reply(learner.rank))
    return master, learners


@pytest.mark.parametrize("num_rounds", [1, 2])
@pytest.mark.parametrize("strategy", ANCHORED, ids=repr)
def test_weights_and_z_stand_at_the_anchor_when_a_round_starts(
    strategy: Strategy, num_rounds: int
) -> None:
    for learner in anchored(strategy, num_rounds)[1]:
        state = learner.state_dict()
        x = state["strategy"]["x"]
        assert not torch.equal(x, torch.from_numpy(START))
        assert torch.equal(state["vector"], x)
        assert torch.equal(state["strategy"]["z"], x)


@pytest.mark.parametrize("strategy", ANCHORED, ids=repr)
def test_the_loss_of_a_round_is_first_seen_at_the_anchor(strategy: Strategy) -> None:
    seen: list[Tensor] = []

    def watched(module: nn.Module, batch: Batch) -> Tensor:
        seen.append(nn.utils.parameters_to_vector(module.parameters()).detach().clone())
        return squares(module, batch)

    outcome = run(strategy, loss_fn=watched, num_rounds=4)
    assert len(seen) == 2 * 4 * 3
    for k in (1, 2, 3):
        _, learners = anchored(strategy, k)
        for rank, learner in enumerate(learners):
            first = seen[2 * 3 * k + 3 * rank]
            assert torch.equal(first, learner.vector)
    assert not torch.equal(seen[-1], outcome.replicas[1])


@pytest.mark.parametrize("strategy", ANCHORED, ids=repr)
def test_no_vector_of_a_replica_aliases_another(strategy: Strategy) -> None:
    master, learners = crew(task(strategy).fitted_to(3))
    for _ in range(2):
        play_round(master, learners)
        vectors = [master.vector, *master.state.values()]
        for learner in learners:
            state = learner.state_dict()
            vectors += [state["vector"], *state["strategy"].values()]
        vectors = [vector for vector in vectors if vector.numel() == NUM_PARAMS]
        places = {vector.untyped_storage().data_ptr() for vector in vectors}
        assert len(places) == len(vectors)


def test_what_the_coordinator_was_sent_is_not_written_to() -> None:
    for strategy in (Parle(sync_every=2), Parle(sync_every=2, reference="mean_z")):
        master, learners = crew(task(strategy).fitted_to(3))
        reply = {0: Reply(master.vector.clone()), 1: Reply(master.vector.clone())}
        before = master.vector.clone()
        for learner in learners:
            answer: Any = learner.play(0, partial(reply.__getitem__, learner.rank))
            master.take(learner.rank, 0, answer.push)
        pushed = {a.rank: a.state_dict()["vector"].clone() for a in learners}
        assert torch.equal(reply[0].vector, before)
        assert torch.equal(reply[1].vector, before)
        master.close()
        assert all(torch.equal(a.vector, pushed[a.rank]) for a in learners)
