"""A cluster on a virtual clock, for the protocol alone: a real `Master` and real `Questions`.

Vectors have two numbers, replicas are queues. The ledger is checked after every close.
"""

import itertools
import math
import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from parle_ray.master import Master
from parle_ray.membership.ledger import Fate
from parle_ray.membership.patience import Patience, RoundClock
from parle_ray.membership.questions import Questions
from parle_ray.planning.coordinator import stand_in
from parle_ray.strategies import LocalSGD, Parle, Strategy

LENGTH = 2
Event = tuple[str, int]
OVERLAPS: list[Strategy] = [LocalSGD(), Parle()]
WALKS = [2.0, 0.5, 9.0, 1.0]
"""Seconds that each rank says it has walked."""
ENOUGH = 200
"""Events by which a round must have closed that somebody lives to close."""


@dataclass
class Walker:
    """A replica: its questions, the newest reply, and what its next push is to be spoilt by."""

    alive: bool = True
    born: int = 0
    queue: list[tuple[int, int]] = field(default_factory=list)  # (round, token)
    newest: int = -1
    restart: bool = False
    spoil: str = ""


@dataclass
class Sent:
    """An answer on its way."""

    token: int
    rank: int
    round: int
    born: int
    seen: int
    push: Tensor | None
    skipped: bool = False


class Cluster:
    """Events move it; after each, the coordinator does what it can, and the ledger is checked.

    Args:
        master_kind: `Master`, or a mutant of it.
    """

    def __init__(
        self, n: int, strategy: Strategy, num_rounds: int, master_kind: type[Master] = Master
    ) -> None:
        self.master = master_kind(stand_in(strategy, n, num_rounds, LENGTH), range(n))
        self.clock, self.now = RoundClock(Patience()), 0.0
        self.questions: Questions[int] = Questions(
            self.master, ahead=1 + strategy.overlaps, num_rounds=num_rounds
        )
        self.num_rounds, self.overlaps = num_rounds, strategy.overlaps
        self.walkers = [Walker() for _ in range(n)]
        self.wire: list[Sent] = []
        self.read: list[Sent] = []
        self.entered: dict[tuple[int, int], Sent] = {}
        self.merged: set[tuple[int, int]] = set()
        self.must_restart: dict[int, int] = {}
        self.on_time: set[int] = set()
        self.walks: dict[int, float] = {}
        self.purse_s, self.beyond_s = 1.0, 0.0
        self.quorum_at: float | None = None
        self._tokens = itertools.count()
        for rank in range(n):
            self.questions.meet(rank, self.now)
        self._open([self.master.reply(rank).restart for rank in range(n)])
        self._coordinate()

    @property
    def done(self) -> bool:
        return self.master.round >= self.num_rounds

    def events(self) -> list[Event]:
        """What can happen now."""
        found: list[Event] = [("wait", 0)]
        for rank, walker in enumerate(self.walkers):
            if walker.alive:
                found += [("kill", rank), ("nan", rank), ("shape", rank)]
                found += [("walk", rank)] * self._can_walk(walker)
            elif not self.master.answered:
                found.append(("join", rank))
        found += [("arrive", i) for i in range(len(self.wire))]
        found += [("again", i) for i in range(len(self.wire))]
        return found + [("replay", i) for i in range(len(self.read))]

    def do(self, event: Event) -> None:
        """Let it happen, and the coordinator react."""
        kind, i = event
        if kind == "wait":
            self.now += 6.0
        elif kind in ("nan", "shape"):
            self.walkers[i].spoil = kind
        elif kind == "walk":
            self._walk(i)
        elif kind == "arrive":
            self._arrive(self.wire.pop(i))
        elif kind == "again":
            self._arrive(self.wire[i])
        elif kind == "replay":
            self._enter(self.read[i])
        elif kind == "kill":
            self._kill(i)
        elif kind == "join":
            self._join(i)
        self._coordinate()

    def settle(self) -> None:
        """A round closes if anybody lives, whatever happened before."""
        before = self.master.round
        for _ in range(ENOUGH):
            if self.done or self.master.round > before or not self.master.ranks:
                return
            self.do(("wait", 0))
            for rank, walker in enumerate(self.walkers):
                if walker.alive and self._can_walk(walker):
                    self.do(("walk", rank))
            while self.wire:
                self.do(("arrive", 0))
        raise AssertionError(f"round {before} does not close")

    def _can_walk(self, walker: Walker) -> bool:
        return bool(walker.queue) and walker.newest >= walker.queue[0][0]

    def _walk(self, rank: int) -> None:
        walker = self.walkers[rank]
        round, token = walker.queue.pop(0)
        sent = Sent(token, rank, round, walker.born, walker.newest, None)
        if walker.newest > round:
            sent.skipped = True
        elif not (walker.restart and self.overlaps):
            sent.push = self._push(rank, round, walker)
        walker.restart &= sent.skipped
        self.wire.append(sent)

    def _push(self, rank: int, round: int, walker: Walker) -> Tensor:
        spoil, walker.spoil = walker.spoil, ""
        values = [1.0 + rank + 10.0 * round, float(walker.born)]
        if spoil == "nan":
            values[0] = math.nan
        return torch.tensor(values[: 1 if spoil == "shape" else LENGTH])

    def _arrive(self, sent: Sent) -> None:
        """The coordinator reads the oldest answer of each replica first, by its token."""
        held = self.questions.oldest()
        if sent.token not in held:
            later = {
                token for asked in self.questions._asked.values() for token in asked.out.values()
            }
            if sent.token in later:
                self.wire.append(sent)
            return
        assert self.walkers[sent.rank].born == sent.born, "an answer of a stale incarnation"
        self.questions.answered(sent.rank, sent.round, self.now, self.clock.opened)
        self._enter(sent)
        self.read.append(sent)

    def _enter(self, sent: Sent) -> None:
        rank, round, master = sent.rank, sent.round, self.master
        current = self.walkers[rank].alive and self.walkers[rank].born == sent.born
        if sent.skipped:
            master.skip(rank, round)
            return
        if sent not in self.read and current:
            self.entered[rank, round] = sent
            if round == master.round:
                self.on_time.add(rank)
            if rank not in master.trailing:
                self.walks[rank] = WALKS[rank]
                self.clock.told(rank, WALKS[rank], None)
            if sent.seen >= self.must_restart.get(rank, 10**9):
                del self.must_restart[rank]
        elif not current and rank in master.ranks:
            return  # its token is gone; nothing but a token tells incarnations apart
        master.take(rank, round, sent.push, sent.seen)

    def _kill(self, rank: int) -> None:
        self.walkers[rank].alive = False
        self.questions.forget(rank)
        self.clock.forget(rank)
        self.walks.pop(rank, None)
        self.master.leave(rank)
        self.must_restart.pop(rank, None)
        self.on_time.discard(rank)

    def _join(self, rank: int) -> None:
        self.walkers[rank] = Walker(born=self.walkers[rank].born + 1, newest=self.master.round)
        self.questions.meet(rank, self.now)
        self.master.join(rank)

    def _coordinate(self) -> None:
        while not self.done:
            for rank, round in self.questions.wanted():
                token = next(self._tokens)
                self.questions.ask(rank, round, token, self.now)
                self.walkers[rank].queue.append((round, token))
            if self.master.has_quorum:
                self.clock.quorum(self.now)
            if not self.master.may_close(self.now >= self.clock.deadline):
                break
            self._close()
        self._check_patience()

    def _check_patience(self) -> None:
        """With half of the living heard in time, the round is not open for longer than it may."""
        live = set(self.master.ranks)
        if self.done or not live or 2 * len(self.on_time & live) < len(live):
            return
        if self.quorum_at is None:
            self.quorum_at = self.now
        needed, tolerated = self._needed()
        spare = self.purse_s if self.master.round else 10.0
        open_s = self.now - self.clock.opened
        assert open_s < max(tolerated, needed + spare), "beyond patience"

    def _needed(self) -> tuple[float, float]:
        """What the open round needs, and how long it may be open on no one's account."""
        walks = sorted(self.walks.values())
        usual = walks[(len(walks) - 1) // 2] if walks else 0.0
        taken = 0.0 if self.quorum_at is None else self.quorum_at - self.clock.opened
        needed = max(usual, taken)
        return needed, max(0.1, 3 * needed)

    def _check_purse(self) -> None:
        """At a close: those that were late have cost a second, and 2 % of the time, at most."""
        needed, tolerated = self._needed()
        took = self.now - self.clock.opened
        if self.master.round > 1 and took > tolerated:
            self.beyond_s += max(0.0, min(took, needed + self.purse_s) - tolerated)
            self.purse_s = max(0.0, self.purse_s - took + needed)
        self.purse_s = min(10.0, self.purse_s + 0.02 * took)
        assert self.beyond_s <= 1.0 + 0.02 * self.now + 1e-9, "the late cost too much"

    def _close(self) -> None:
        master, before = self.master, self.master.vector.clone().numpy()
        closed, live = master.round, set(master.ranks)
        replies = master.close()
        entry = master.entry
        assert (entry.round, master.round) == (closed, closed + 1), "rounds are contiguous"
        merged = [key for key, fate in entry.fates.items() if fate in (Fate.MERGED, Fate.LATE)]
        assert not self.merged & set(merged), "merged twice"
        assert len({rank for rank, _ in merged}) == len(merged), "twice in a round"
        self.merged |= set(merged)
        pushes = [self.entered[key].push for key in merged]
        assert all(p.shape == (LENGTH,) and torch.isfinite(p).all() for p in pushes)
        expected = np.mean([p.double().numpy() for p in pushes], axis=0) if pushes else before
        np.testing.assert_allclose(master.vector.numpy(), expected, rtol=1e-5)
        for rank, round in merged:
            assert self.entered[rank, round].seen >= self.must_restart.get(rank, 0)
        self.must_restart |= {rank: closed + 1 for rank in entry.reasons if rank in live}
        assert all(replies[r].restart for r in self.must_restart if r in replies), "no restart"
        assert not self.on_time & master.trailing, "prompt again, but not waited for"
        unheard = live - {rank for rank, round in entry.fates if round >= closed - 1}
        assert unheard <= master.trailing, "waited for again before it was heard"
        self._check_purse()
        self.clock.close(self.now)
        self._open(
            [replies[r].restart if r in replies else False for r in range(len(self.walkers))]
        )

    def _open(self, restarts: list[bool]) -> None:
        self.on_time, self.quorum_at = set(), None
        self.clock.open(self.now)
        for rank, restart in enumerate(restarts):
            walker = self.walkers[rank]
            if rank in self.master.ranks:
                walker.newest, walker.restart = self.master.round, restart


def random_schedule(seed: int, master_kind: type[Master] = Master, num_events: int = 40) -> Any:
    """A cluster after a random schedule of events, with a round that must close now and then."""
    rng = random.Random(seed)
    cluster = Cluster(rng.choice([1, 2, 2, 3, 3, 4]), rng.choice(OVERLAPS), 30, master_kind)
    weights = {"walk": 8, "arrive": 8, "wait": 2, "kill": 0.4, "join": 2, "nan": 0.4, "shape": 0.4}
    for _ in range(num_events):
        if cluster.done:
            break
        if rng.random() < 0.15:
            cluster.settle()
            continue
        events = cluster.events()
        cluster.do(rng.choices(events, [weights.get(kind, 0.3) for kind, _ in events])[0])
    return cluster
