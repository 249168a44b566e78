"""What every strategy promises. A strategy in `STRATEGIES` without a row here fails."""

import copy
import math
import pickle
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from parle_ray.errors import InputError
from parle_ray.fold import Fold
from parle_ray.runs.trial import Trial
from parle_ray.schedules import Cosine, Geometric, Plan, Steps
from parle_ray.strategies import (
    PAPA,
    SGD,
    STRATEGIES,
    Asynchronous,
    AsynchronousEASGD,
    AutoSplash,
    BoundedAdvance,
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
    WeedOut,
)
from parle_ray.task import Task
from tests.problems import Batch, batches, crew, play_round, run, same_batches, sgd


@dataclass(frozen=True)
class Row:
    """A strategy at work; whether n equal replicas do as one; whether ranks are but names."""

    strategy: Strategy
    equal_is_one: bool = True
    ranks_are_names: bool = True


OUTER: dict[str, Any] = {"outer_lr": 0.4, "outer_momentum": 0.5}
ASYNCHRONOUS = {"equal_is_one": False, "ranks_are_names": False}
"""Equal replicas find the master where others have left it, and the first rank comes first."""
ROWS: dict[str, Row] = {
    "asynchronous": Row(Asynchronous(sync_every=2), **ASYNCHRONOUS),
    "asynchronous_easgd": Row(AsynchronousEASGD(sync_every=2, moving_rate=0.3), **ASYNCHRONOUS),
    # Degrees are tried up to the number of replicas.
    "auto_splash": Row(AutoSplash(sync_every=2), equal_is_one=False),
    "bounded_advance": Row(BoundedAdvance(sync_every=2, max_advance=1), **ASYNCHRONOUS),
    "diloco": Row(DiLoCo(sync_every=3, **OUTER)),
    "elastic_sgd": Row(ElasticSGD(sync_every=2)),
    # Every EASGD replica pulls the centre by its own moving rate, so n of them pull n times.
    "elastic_sgd, EASGD": Row(ElasticSGD(sync_every=2, moving_rate=0.2), equal_is_one=False),
    "entropy_sgd": Row(EntropySGD(sync_every=3, gamma=Geometric(10.0, 1.0), **OUTER)),
    "hierarchical_parle": Row(HierarchicalParle(sync_every=6, meetings=2, gamma=10.0, **OUTER)),
    "local_sgd": Row(LocalSGD(sync_every=3)),
    "local_sgd, weighted": Row(LocalSGD(sync_every=3, weighting="samples")),
    "local_sgd, growing": Row(LocalSGD(sync_every=Steps((1, 3), (0.4,)))),
    "papa": Row(PAPA(sync_every=2, alpha=0.8)),
    "parameter_mixing": Row(ParameterMixing(sync_every=2, tail=0.3)),
    "parle": Row(Parle(sync_every=3, gamma=Geometric(10.0, 1.0), **OUTER)),
    "parle, growing": Row(Parle(sync_every=Steps((2, 4), (0.3,)), gamma=10.0, **OUTER)),
    "parle, mean_z": Row(Parle(sync_every=3, gamma=10.0, reference="mean_z", **OUTER)),
    # Every replica moves but its own block, so n equal ones walk n blocks that one walks as one.
    "rotation": Row(Rotation(sync_every=2), equal_is_one=False, ranks_are_names=False),
    "sgd": Row(SGD(sync_every=2)),
    "slowmo": Row(SlowMo(sync_every=2, **OUTER)),
    # The weight is the number of replicas, so n of them step n times as far.
    "splash": Row(Splash(sync_every=2), equal_is_one=False),
    "streaming_diloco": Row(StreamingDiLoCo(sync_every=3, fragments=2, **OUTER)),
    "streaming_diloco, one fragment": Row(
        StreamingDiLoCo(sync_every=3, fragments=1, outer_lr=0.4, outer_momentum=0.0, alpha=0.0)
    ),
    "tail_averaging": Row(TailAveraging(sync_every=2, tail=0.3)),
    "weed_out": Row(WeedOut(sync_every=2, factor=2.0, rounds_remembered=1.0), **ASYNCHRONOUS),
}
every = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())

BAD: dict[str, list[Any]] = {  # values to refuse; a new field needs a line
    "weighting": ["batches", "sample", True, None],
    "uneven": [1, 0, None, "yes"],
    "sync_every": [0, -1, 2.5, True, None, Cosine(3.0)],
    "gamma": [0.0, -1.0, math.nan, "1", True, Cosine(1.0), Cosine(1.0, -1.0)],
    "rho": [0.0, -1.0, math.nan, None, Cosine(1.0)],
    "outer_lr": [0.0, -0.1, math.nan, math.inf, Cosine(-1.0)],
    "alpha": [-0.1, 1.0, math.nan, None],
    "outer_momentum": [-0.1, 1.0, math.nan, True],
    "moving_rate": [0.0, 1.0, -0.5, math.nan],
    "noise": [-1e-4, math.nan, math.inf],
    "tail": [0.0, -0.5, 1.5, math.nan, True, None],
    "num_rounds": [0, -1, 2.5, True],
    "factor": [0.5, -1.0, math.nan, math.inf, True, "n"],
    "max_advance": [-1, 0.5, True, None],
    "rounds_remembered": [0.5, -1.0, math.nan, True, None],
    "max_weight": [0.5, -1.0, math.nan, True, None],
    "held_out": [-0.1, 1.0, math.nan, True, None],
    "reference": ["mean", None],
    "fragments": [0, -1, 2.0, True, None],
    "meetings": [0, -1, 4, 2.0, True, None],
    "node_rho": [0.0, -1.0, math.nan, None],
}


def test_every_strategy_of_the_table_has_a_row() -> None:
    assert {name.split(",")[0] for name in ROWS} == set(STRATEGIES)
    for name, row in ROWS.items():
        assert type(row.strategy) is STRATEGIES[name.split(",")[0]]


class Net(nn.Module):
    """A net with everything that a resumed run may forget: dropout, batch norm, float32."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 1)
        )

    def forward(self, a: Tensor) -> Tensor:
        return self.layers(a).squeeze(1)


def loss_fn(module: nn.Module, batch: Batch) -> Tensor:
    return (module(batch[0]) - batch[1]).square().mean()


def shuffled(rank: int, num_replicas: int) -> DataLoader[Any]:
    """Five mini-batches a pass, in an order of the global generator."""
    generator = torch.Generator().manual_seed(rank)
    rows = torch.randn(20, 6, generator=generator)
    return DataLoader(TensorDataset(rows, rows.sum(1)), batch_size=4, shuffle=True)


def forgetful(strategy: Strategy, seed: int = 0) -> Task:
    return Task(
        model_fn=Net,
        loss_fn=loss_fn,
        batches_fn=shuffled,
        strategy=strategy,
        inner_optimizer_fn=lambda parameters: torch.optim.Adam(parameters, lr=0.02),
        lr_scheduler_fn=lambda inner: torch.optim.lr_scheduler.StepLR(inner, 2, gamma=0.5),
        num_replicas=2,
        num_rounds=6,
        seed=seed,
    ).fitted_to(5)


def bits(task: Task, num_rounds: int) -> tuple[list[Tensor], Any, Any]:
    """All vectors after some rounds, and the master and learners that hold them."""
    master, learners = crew(task)
    for _ in range(num_rounds):
        play_round(master, learners)
    return [master.vector, master.model, *(a.vector for a in learners)], master, learners


@every
def test_equal_replicas_do_what_one_replica_does(row: Row) -> None:
    if not row.equal_is_one:
        one, two = (run(row.strategy, num_replicas=n, batches_fn=same_batches) for n in (1, 2))
        assert not torch.allclose(one.master, two.master)
        return
    one, three = (run(row.strategy, num_replicas=n, batches_fn=same_batches) for n in (1, 3))
    torch.testing.assert_close(three.master, one.master, rtol=0.0, atol=1e-14)
    for replica in three.replicas:
        torch.testing.assert_close(replica, one.replicas[0], rtol=0.0, atol=1e-14)


@every
def test_ranks_are_only_names(row: Row) -> None:
    order = [1, 2, 0]
    ours = run(row.strategy, num_replicas=3)
    permuted = run(row.strategy, num_replicas=3, batches_fn=lambda r, n: batches(order[r], n))
    same = torch.allclose(permuted.master, ours.master, rtol=0.0, atol=1e-12)
    assert same is row.ranks_are_names


@every
def test_the_same_seed_gives_the_same_bits_whatever_the_process_drew(row: Row) -> None:
    first = bits(forgetful(row.strategy), 2)[0]
    torch.rand(7)
    before = torch.get_rng_state()
    again = bits(forgetful(row.strategy), 2)[0]
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    other = bits(forgetful(row.strategy, seed=1), 2)[0]
    assert not torch.equal(first[0], other[0])


@every
def test_a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(row: Row) -> None:
    task, cut = forgetful(row.strategy), 3  # in the middle of the second pass, or of the third
    uninterrupted, _, walked = bits(task, 5)
    _, master, learners = bits(task, cut)
    saved = copy.deepcopy([master.state_dict(), *(a.state_dict() for a in learners)])
    play_round(master, learners)  # what was saved must not move on with the run
    trial = Trial(replace(task, strategy=row.strategy), cut)  # before its length is known
    trial.master(copy.deepcopy(saved[0]))
    for state in saved[1:]:
        trial.replica(copy.deepcopy(state))

    resumed, again = crew(task)
    resumed.load_state_dict(saved[0])
    for learner, state in zip(again, saved[1:], strict=True):
        learner.start(task, round=cut)
        learner.load_state_dict(state)
    for _ in range(cut, 5):
        play_round(resumed, again)
    ended = [resumed.vector, resumed.model, *(a.vector for a in again)]
    assert all(torch.equal(a, b) for a, b in zip(uninterrupted, ended, strict=True))
    for learner, other in zip(again, walked, strict=True):
        buffers = learner.state_dict()["buffers"], other.state_dict()["buffers"]
        torch.testing.assert_close(*buffers, rtol=0.0, atol=0.0)


@every
def test_it_finds_the_optimum_of_least_squares(row: Row) -> None:
    optimum = torch.linspace(2.0, -1.0, 6, dtype=torch.float64)

    def solvable(rank: int, num_replicas: int) -> list[Batch]:
        # Orthogonal rows: every mini-batch has the Hessian I and the same optimum.
        squares = [torch.cat([a, a.flip(1)])[:6] for a, _ in batches(rank, num_replicas)]
        rows = [6**0.5 * torch.linalg.qr(a)[0] for a in squares]
        return [(a, a @ optimum) for a in rows]

    outcome = run(
        row.strategy,
        batches_fn=solvable,
        inner_optimizer_fn=sgd(0.3, momentum=0.3),
        num_rounds=28,
    )
    torch.testing.assert_close(outcome.master, optimum, rtol=0.0, atol=1e-3)
    torch.testing.assert_close(outcome.model, optimum, rtol=0.0, atol=1e-3)
    assert outcome.history[-1]["distance"] < 1e-3
    assert outcome.history[-1]["loss"] < 1e-5 < outcome.history[0]["loss"]


@pytest.mark.parametrize("kind", STRATEGIES.values())
def test_bad_hyper_parameters_are_refused_by_name_and_value(kind: type[Strategy]) -> None:
    for field in fields(kind):
        for value in BAD[field.name]:
            with pytest.raises(InputError) as refusal:
                kind(**{field.name: value})
            assert field.name in str(refusal.value)
            assert repr(value) in str(refusal.value)


@every
def test_it_pickles_prints_compares_and_does_not_change(row: Row) -> None:
    bound = row.strategy.bind(Plan(num_rounds=10, batches_per_pass=3))
    for strategy in (row.strategy, bound, type(row.strategy)()):
        assert pickle.loads(pickle.dumps(strategy)) == strategy  # noqa: S301
        assert repr(strategy).startswith(f"{type(strategy).__name__}(sync_every=")
        assert hash(strategy) == hash(copy.deepcopy(strategy))
        assert "<-" in strategy.equation
        assert "arXiv" in strategy.source or "doi" in strategy.source
        with pytest.raises(FrozenInstanceError):
            strategy.sync_every = 2  # type: ignore[misc]


@every
@settings(max_examples=20)
@given(cut=st.integers(1, 5), seed=st.integers(0, 99))
def test_it_is_coordinate_wise_so_a_vector_may_be_cut_anywhere(
    row: Row, cut: int, seed: int
) -> None:
    """Of a strategy whose replicas are not, what the coordinator does is."""
    strategy = row.strategy.bind(Plan(num_rounds=10, batches_per_pass=3))
    values = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

    def one_exchange(part: slice) -> Tensor:
        master, y = values[0, part].clone(), values[1, part].clone()
        master.grad, y.grad = torch.zeros_like(master), values[4, part].clone()
        state, at_master = strategy.init_replica(y), strategy.init_master(master)
        inner = torch.optim.SGD([y], lr=0.1, momentum=0.9)
        strategy.local_step(y, state, inner, 2)
        fold = Fold(master)
        push = strategy.push(y, state, inner, 2) if strategy.coordinate_wise else values[3, part]
        numbers = strategy.tell(state, torch.ones(strategy.steps(2)), 1, 2)
        fold.add(values[2, part], numbers=numbers)
        fold.add(push, numbers=numbers)
        strategy.merge(master, at_master, fold.close(), 2)
        if strategy.coordinate_wise:
            strategy.pull(y, state, strategy.reply(master, at_master), 2)
        return torch.stack([master, master.grad, y])

    whole = one_exchange(slice(None))
    pieces = torch.cat([one_exchange(slice(0, cut)), one_exchange(slice(cut, None))], dim=1)
    torch.testing.assert_close(pieces, whole, rtol=0.0, atol=1e-15)
