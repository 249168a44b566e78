"""Asynchronous schemes: against SpeeDO's own, their special cases, and any order of events."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from parle_ray.asynchronous import AsynchronousMaster
from parle_ray.errors import Diverged, InputError
from parle_ray.membership.ledger import Fate
from parle_ray.planning.coordinator import stand_in
from parle_ray.race import Race
from parle_ray.strategies import (
    Asynchronous,
    AsynchronousEASGD,
    BoundedAdvance,
    LocalSGD,
    Strategy,
    WeedOut,
)
from tests.problems import START, Batch, Pieces, gradient_of, run, sgd, squares
from tests.reference_asynchronous import speedo

UNEVEN = [1.0, 2.5, 7.0]
ROUNDING: dict[str, float] = {"rtol": 0.0, "atol": 1e-12}


def order_of(speeds: Sequence[float], count: int) -> list[int]:
    """Who arrives, where nobody is held."""
    race, order = Race(speeds), []
    for rank in range(len(speeds)):
        race.start(rank)
    for i in range(count):
        order.append(race.next())
        if i + len(speeds) < count:  # nobody sets out for what would come after the end
            race.start(order[-1])
    return order


SCHEMES: list[tuple[Strategy, dict[str, Any]]] = [
    (Asynchronous(sync_every=2, factor=3.0), {"L": 2, "factor": 3.0}),
    (WeedOut(sync_every=2, rounds_remembered=1.0), {"L": 2, "last": 3, "factor": 3.0}),
    (WeedOut(sync_every=1, factor=1, rounds_remembered=2.0), {"L": 1, "last": 6}),
    (AsynchronousEASGD(sync_every=3, moving_rate=0.3), {"L": 3, "moving_rate": 0.3}),
    (
        BoundedAdvance(sync_every=1, factor=2.0, max_advance=1),
        {"L": 1, "factor": 2.0, "max_advance": 1},
    ),
]


@pytest.mark.parametrize(("strategy", "how"), SCHEMES, ids=lambda given: repr(given)[:40])
def test_simulate_equals_the_papers_scheme_for_an_uneven_order(
    strategy: Strategy, how: dict[str, Any]
) -> None:
    held = isinstance(strategy, BoundedAdvance)  # replica 2, for the first time after two walks
    order = [2, 2, 0, 1, 2, 1, 0, 1, 0] if held else order_of(UNEVEN, 18)
    ours = run(
        strategy,
        num_replicas=3,
        num_rounds=len(order) // 3,
        arrivals=order,
        inner_optimizer_fn=sgd(0.05),
    )
    w, dropped = speedo(order, start=START, gradient=gradient_of(squares), n=3, lr=0.05, **how)
    np.testing.assert_allclose(ours.master.numpy(), w, rtol=0.0, atol=1e-12)
    assert sum(report["merged"] for report in ours.history) == len(order) - dropped
    assert isinstance(strategy, WeedOut) is (dropped > 0)


def whole_numbers(rank: int, num_replicas: int) -> list[Batch]:
    """Small whole numbers, so that no step of a short run is rounded."""
    rng = np.random.default_rng(rank)
    draw = [rng.integers(-1, 2, size=(2, 6)).astype(float) for _ in range(3)]
    return [(torch.from_numpy(a), torch.from_numpy(a[:, 0])) for a in draw]


@pytest.mark.parametrize("kind", [Asynchronous, BoundedAdvance, WeedOut])
def test_one_replica_is_sequential_sgd_to_the_bit_where_nothing_is_rounded(kind: Any) -> None:
    options = {"lr": 0.25, "momentum": 0.5}
    ours = run(
        kind(sync_every=2),
        num_replicas=1,
        batches_fn=whole_numbers,
        inner_optimizer_fn=sgd(**options),
    )
    module, rows = Pieces(), itertools.cycle(whole_numbers(0, 1))
    inner = torch.optim.SGD(module.parameters(), **options)
    for _ in range(6):
        inner.zero_grad()
        squares(module, next(rows)).backward()
        inner.step()
    assert torch.equal(ours.master, torch.nn.utils.parameters_to_vector(module.parameters()))
    assert [report["staleness_max"] for report in ours.history] == [0, 0, 0]


@pytest.mark.parametrize("speeds", [None, UNEVEN])
def test_weeding_out_with_an_endless_memory_is_asynchronous(speeds: Any) -> None:
    ours, plain = (
        run(strategy, num_replicas=3, num_rounds=5, speeds=speeds)
        for strategy in (WeedOut(rounds_remembered=math.inf), Asynchronous())
    )
    assert torch.equal(ours.master, plain.master)


def test_replicas_in_step_are_held_by_no_bound_of_one_or_more() -> None:
    ours, plain = (
        run(strategy, num_replicas=3, num_rounds=5)
        for strategy in (BoundedAdvance(max_advance=1), Asynchronous())
    )
    assert torch.equal(ours.master, plain.master)
    assert order_of([1.0, 1.0, 1.0], 9) == [0, 1, 2] * 3


def test_with_no_advance_and_steps_averaged_it_is_local_sgd_at_any_speeds() -> None:
    ours = run(BoundedAdvance(max_advance=0), num_replicas=3, speeds=UNEVEN)
    theirs = run(LocalSGD(sync_every=5), num_replicas=3)
    torch.testing.assert_close(ours.master, theirs.master, **ROUNDING)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_replicas_in_step_are_stale_by_all_the_others(n: int) -> None:
    told = run(Asynchronous(), num_replicas=n).history[-1]
    assert (told["staleness"], told["staleness_max"], told["merged"]) == (n - 1, n - 1, n)


def test_a_fast_replica_pushes_as_often_as_it_is_faster() -> None:
    assert order_of([1.0, 3.0], 9) == [1, 1, 0, 1, 1, 1, 0, 1, 0]


def test_the_rate_follows_the_rounds_and_not_a_replicas_own() -> None:
    told = run(
        Asynchronous(factor=2.0),
        num_rounds=6,
        speeds=[9.0, 1.0],
        lr_scheduler_fn=lambda inner: torch.optim.lr_scheduler.StepLR(inner, 2, gamma=0.5),
    ).history
    assert [report["lr"] for report in told[1:]] == [0.1, 0.05, 0.05, 0.025, 0.025]


@pytest.mark.parametrize("codec", ["int8", "bf16"])
def test_steps_may_travel_compressed(codec: str) -> None:
    coded, plain = (
        run(Asynchronous(factor=2.0), num_rounds=8, compression=name) for name in (codec, "none")
    )
    assert not torch.equal(coded.master, plain.master)
    torch.testing.assert_close(coded.master, plain.master, rtol=0.0, atol=0.05)


@pytest.mark.parametrize(
    ("strategy", "changes", "says"),
    [
        (LocalSGD(), {"speeds": [1.0, 1.0]}, "LocalSGD has the same bits in any order"),
        (Asynchronous(), {"speeds": [1.0]}, "speeds must be 2 finite numbers > 0"),
        (Asynchronous(), {"speeds": [1.0, 0.0]}, "speeds must be 2 finite numbers > 0"),
        (Asynchronous(), {"speeds": [1.0, 1.0], "arrivals": []}, "not both"),
        (Asynchronous(), {"arrivals": [0, 1]}, "arrivals: None cannot be the next"),
        (BoundedAdvance(max_advance=0), {"arrivals": [0, 0]}, r"only \[1\]"),
        (Asynchronous(), {"tree": 2}, "tree: 2 with Asynchronous"),
    ],
)
def test_what_does_not_fit_is_refused(strategy: Strategy, changes: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        run(strategy, **changes)


def test_a_state_of_other_replicas_goes_on_where_its_round_begins() -> None:
    two, three = (AsynchronousMaster(stand_in(Asynchronous(), n, 9), range(n)) for n in (2, 3))
    for _ in range(2):
        for rank in two.ready:
            two.take(rank, two.ask(rank), torch.ones(1))
        two.close()
    three.load_state_dict(two.state_dict())
    assert (two.version, three.version, three.round, three.ready) == (4, 6, 2, [0, 1, 2])
    assert three.vector.item() == 4.0


class Schedule:
    """A master under events of every kind, with a ledger of its own beside it."""

    def __init__(self, strategy: Strategy, n: int) -> None:
        self.master = AsynchronousMaster(stand_in(strategy, n, 9, 2), range(n))
        self.strategy, self.n = strategy, n
        self.walked = dict.fromkeys(range(n), 0)  # of the living
        self.pushes: dict[tuple[int, int], Tensor] = {}
        self.ledger: list[tuple[tuple[int, int], str]] = []
        self.count = 0
        self.ask()

    def ask(self) -> None:
        master = self.master
        for rank in master.ready:
            assert rank in self.walked
            assert rank not in master.asked
            assert self.walked[rank] - min(self.walked.values()) <= self.strategy.most_ahead
            assert master.ask(rank) == self.count
            assert torch.equal(master.reply(rank).vector, master.vector)
        if self.walked and self.count < 9 * self.n:
            assert master.asked, "nobody walks, and nobody will"

    def arrive(self, rank: int, kind: str) -> None:
        master = self.master
        version = master.asked.get(rank)
        if version is None:
            return
        push = torch.tensor([0.1 * (self.count + 1), float(rank)])
        if kind == "nan":
            push[0] = math.nan
        if kind == "shape":
            push = push[:1]
        self.pushes[rank, version] = push
        self.count += 1
        self.walked[rank] += 1
        merges = master.take(rank, version, push)
        assert merges <= (kind == "push")
        assert master.reply(rank).restart is (kind != "push" and not self._weeded(rank, version))
        after = master.vector.clone()
        assert not master.take(rank, version, push), "twice"
        assert torch.equal(master.vector, after)
        if master.answered:
            master.close()
            entry = master.entry
            self.ledger += [(key, str(entry.fates[key])) for key in entry.staleness]

    def _weeded(self, rank: int, version: int) -> bool:
        return self.count - 1 - version >= self.strategy.most_stale_rounds * self.n

    def kill(self, rank: int) -> None:
        if rank in self.walked:
            self.master.leave(rank)
            del self.walked[rank]

    def join(self, rank: int) -> None:
        if rank not in self.walked:
            self.master.join(rank)
            self.walked[rank] = min(self.walked.values(), default=0)

    def check(self) -> None:
        """The master is the fold of the ledger, which has each push once."""
        assert len(dict(self.ledger)) == len(self.ledger)
        open_entry = self.master._open
        last = [(key, str(open_entry.fates[key])) for key in open_entry.staleness]
        w = torch.zeros(2)
        for key, fate in [*self.ledger, *last]:
            if fate == Fate.MERGED:
                w += self.pushes[key]
        assert torch.equal(self.master.vector, w)


KINDS = ["push"] * 12 + ["nan", "shape", "kill", "join", "join"]
EVENTS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 3)), max_size=60)
STRATEGIES = [
    Asynchronous(),
    BoundedAdvance(max_advance=0),
    BoundedAdvance(max_advance=1, factor=3.0),
    WeedOut(rounds_remembered=1.0),
]


@settings(max_examples=25)
@given(strategy=st.sampled_from(STRATEGIES), n=st.integers(1, 4), events=EVENTS)
def test_whatever_happens_the_master_is_the_fold_of_its_ledger(
    strategy: Any, n: int, events: list[tuple[str, int]]
) -> None:
    schedule = Schedule(strategy, n)
    for kind, i in events:
        rank = i % n
        try:
            if kind in ("kill", "join"):
                getattr(schedule, kind)(rank)
            else:
                schedule.arrive(rank, kind)
        except (Diverged, InputError):
            break  # nobody has anything finite
        schedule.ask()
    schedule.check()
