"""The coordinator and its replicas: it asks, listens, delivers, and gives up who is dead."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ray
from ray.exceptions import ActorUnavailableError, ObjectLostError, RayError

from parle_ray.cluster.enlisted import Enlisted
from parle_ray.cluster.haste import Haste
from parle_ray.cluster.losses import cause_of, reason_of
from parle_ray.cluster.shards import Shards
from parle_ray.cluster.whole import Whole
from parle_ray.cluster.wire import Parcel
from parle_ray.errors import UserCodeError
from parle_ray.learner import Answer
from parle_ray.membership.local_updates import LocalUpdates
from parle_ray.membership.patience import Patience, RoundClock
from parle_ray.membership.questions import Questions

PUSHED = np.empty(0)
"""In an answer, where the push itself has gone elsewhere."""
TIMES = ("stall_s", "exchange_s", "walk_s")
NOTICE_S = 1.0
"""How often the coordinator looks up from waiting, to see who joined."""


@dataclass
class Member:
    """A replica as the coordinator knows it.

    Attributes:
        replica: it, and the answers that it can give again.
        asked: round -> the references of its answer.
        told: round -> what it said, of pushes that are still on their way.
        delivery: of the newest reply.
        repeated: the round whose answer was lost on its way, and is asked for again.
        missed: it has not been sent the newest reply, as an earlier one has not arrived.
        saves: it sends its state with every answer.
    """

    replica: Enlisted
    asked: dict[int, list[ray.ObjectRef]] = field(default_factory=dict)
    told: dict[int, dict[str, Any]] = field(default_factory=dict)
    delivery: ray.ObjectRef | None = None
    repeated: int | None = None
    missed: bool = False
    saves: bool = False


@dataclass
class Heard:
    """What came in a round.

    Attributes:
        states: rank -> the state after the round, where it is there.
        stateless: the ranks whose state is not there.
        lost: rank -> why it was given up; the driver is told, and replaces it.
    """

    answers: dict[int, Answer] = field(default_factory=dict)
    states: dict[int, ray.ObjectRef] = field(default_factory=dict)
    stateless: set[int] = field(default_factory=set)
    times: dict[int, dict[str, Any]] = field(default_factory=dict)
    bytes_sent: int = 0
    lost: dict[int, str | UserCodeError] = field(default_factory=dict)


class Exchange:
    """Reads answers only through the references it holds.

    Args:
        master: whole or in shards.
        steps: the mini-batches of a round.
        uneven: each replica is asked for as many of them as it can walk while the fastest does all.
        generation: of the coordinator; replicas refuse older ones.
        ahead: see `Questions`.
        num_pushes: stretches in which a push travels.
        want_state: whether the state of the replicas after a round is wanted.
        haste: when the run has to end before its last round.

    Attributes:
        master: what answers are brought to.
        came_by: when it listened last.
    """

    def __init__(
        self,
        master: Whole | Shards,
        patience: Patience,
        *,
        steps: Callable[[int], int],
        uneven: bool,
        generation: int,
        ahead: int,
        num_rounds: int,
        num_pushes: int,
        want_state: Callable[[int], bool],
        haste: Haste,
    ) -> None:
        self.master, self._roll = master, master.roll
        self._generation = generation
        self._num_pushes, self._want_state, self._haste = num_pushes, want_state, haste
        self._clock, self._steps = RoundClock(patience), steps
        self._updates = LocalUpdates() if uneven else None
        self._questions: Questions[ray.ObjectRef] = Questions(
            self._roll, ahead=ahead, num_rounds=num_rounds
        )
        self._members: dict[int, Member] = {}
        self._early: set[ray.ObjectRef] = set()
        self.heard = Heard()
        self.came_by = time.perf_counter()

    @property
    def replicas(self) -> dict[int, Enlisted]:
        """Those that take part, by rank."""
        return {rank: member.replica for rank, member in self._members.items()}

    def meet(self, rank: int, replica: Enlisted) -> None:
        """A replica that takes part from now on."""
        self._members[rank] = Member(replica)
        self.master.meet(rank, replica.node)
        self._questions.meet(rank, time.perf_counter())

    def open(self, parcels: dict[int, Parcel]) -> None:
        """A round opens with these replies; nothing is heard in it yet."""
        self._clock.open(time.perf_counter(), self._steps(self._roll.round))
        self._opened = self._roll.roll_dict()
        self.deliver(parcels)
        self._early.clear()
        self.heard = Heard(lost=self.heard.lost)

    def part(self, nodes: Collection[str]) -> list[int]:
        """Go on without the replicas on these nodes, before anybody answered; their ranks."""
        gone = [rank for rank, member in self._members.items() if member.replica.node in nodes]
        for rank in gone:
            self._forget(rank)
            self.master.leave(rank, lost=False)
        return gone

    def collect(self, somebody_joins: Callable[[], bool]) -> None:
        """Ask and listen until the round may close, or there is something to see to first.

        Raises:
            InputError: something that the user gave cannot be used, says a replica.
        """
        while not self._roll.may_close(time.perf_counter() >= self._clock.deadline):
            self.came_by = time.perf_counter()
            self._give_up_the_silent()
            if self._haste.is_over:
                return
            nobody_yet = not self._roll.answered
            if not self._members or (nobody_yet and (self.heard.lost or somebody_joins())):
                return
            self._catch_up()
            self._have_saved()
            for rank, round in self._wanted():
                self._ask(rank, round)
            self._listen()

    def close(self) -> dict[int, Parcel]:
        """Close the round; the replies that open the next."""
        parcels = self.master.close()
        self._clock.close(time.perf_counter())
        for rank in self._roll.unfit():
            self._lose(rank, f"refused too often in a row ({self._roll.entry.reasons[rank]})")
        return parcels

    def deliver(self, parcels: dict[int, Parcel]) -> None:
        """Send replies, but none to who trails and has not taken in the one before."""
        for rank, parcel in parcels.items():
            if rank not in self._members:
                continue
            member = self._members[rank]
            member.missed = rank in self._roll.trailing and not _arrived(member.delivery)
            if not member.missed:
                self.heard.bytes_sent += parcel.num_bytes
                told = {
                    "restart": parcel.restart,
                    "coded": parcel.coded,
                    "part": parcel.part,
                    "numbers": parcel.numbers,
                    "whole": self.master.replies_all,
                    "roll": self._opened,
                }
                member.delivery = member.replica.actor.deliver.remote(
                    self._generation, self._roll.version, told, *parcel.refs
                )

    def take_lost(self) -> dict[int, str | UserCodeError]:
        """Who was lost since this was last asked, and why."""
        lost, self.heard.lost = self.heard.lost, {}
        return lost

    def _wanted(self) -> list[tuple[int, int]]:
        """Rank and number of all that is to be asked now."""
        return self._questions.wanted()

    def _wants_state(self, round: int) -> bool:
        """Whether an answer is to have the state of its replica."""
        return self._want_state(round)

    def _ask(self, rank: int, round: int) -> None:
        member, want_state = self._members[rank], self._wants_state(round)
        walked, actor = round in member.replica.answers, member.replica.actor
        method = (actor.again if walked else actor.round).options(num_returns=2 + self._num_pushes)
        steps = self._updates.steps(rank, self._steps(round)) if self._updates else None
        refs = method.remote(self._generation, round, want_state, steps)
        member.asked[round] = refs
        self._questions.ask(rank, round, refs[0], time.perf_counter())

    def _listen(self) -> None:
        oldest = self._questions.oldest()
        tokens = {ref: asked for ref, asked in oldest.items() if ref not in self._early}
        left = max(0.0, self._clock.deadline - time.perf_counter())
        ready, _ = ray.wait(list(tokens), num_returns=1, timeout=min(NOTICE_S, left))
        for ref in ready:
            rank, round = tokens[ref]
            try:
                if round > self._roll.version:  # walked for a coordinator that is no more
                    ray.get(ref)
                    self._early.add(ref)
                else:
                    self._hear(rank, round, ref)
            except RayError as error:
                if not _may_be_there(error) or not self._repeat(rank, round):
                    self._lose(rank, reason_of(error))
        if not ready:
            self._deliver_again()

    def _hear(self, rank: int, round: int, ref: ray.ObjectRef) -> None:
        member = self._members[rank]
        _, *pushes, state = member.asked[round]
        if round not in member.told:
            told = ray.get(ref)
            if told is None and member.repeated != round:
                self._roll.skip(rank, round)
                self._done(rank, round)
                return
            if told is None or told.pop("round") != round:
                if not self._repeat(rank, round):
                    self._lose(rank, f"its answer for round {round} was lost on its way")
                return
            member.told[round] = told
            travels = self.master.bring(rank, round, told, pushes)
            if travels is not None:
                self._questions.travels(rank, round, travels)
                return
        told, heard = member.told.pop(round), self.heard
        seen, weight, numbers = told.pop("seen"), told["weight"], told["numbers"]
        num_bytes = self.master.take(rank, round, seen, weight, numbers)
        if self._roll.has_quorum:
            self._clock.quorum(time.perf_counter())
        heard.bytes_sent += num_bytes or 0
        has_state = told.pop("has_state")
        times = {name: told.pop(name) for name in TIMES}
        heard.times[rank] = times
        if rank not in self._roll.trailing:
            self._clock.told(rank, times["walk_s"], times["exchange_s"])
        answer = Answer(None if num_bytes is None else PUSHED, **told)
        if self._updates:
            self._updates.told(rank, times["walk_s"], answer.steps)
        self._note(rank, round, answer, state if has_state else None)
        self._done(rank, round)

    def _note(self, rank: int, round: int, answer: Answer, state: ray.ObjectRef | None) -> None:
        """Keep what was heard, and the state after the open round if it is there."""
        self.heard.answers[rank] = answer
        if round == self._roll.round:
            self.heard.stateless.discard(rank)
            if state is None:
                self.heard.stateless.add(rank)
            else:
                self.heard.states[rank] = state

    def _repeat(self, rank: int, round: int) -> bool:
        """Ask once more for an answer that was lost on its way; False if that has been tried."""
        member = self._members[rank]
        if member.repeated == round:
            return False
        member.repeated = round
        member.told.pop(round, None)
        again = member.replica.actor.again.options(num_returns=2 + self._num_pushes)
        refs = again.remote(self._generation, round, False)
        member.asked[round] = refs
        self._questions.travels(rank, round, refs[0])
        return True

    def _deliver_again(self) -> None:
        """A reply that was lost on its way to a replica which may be there."""
        lost = [rank for rank, member in self._members.items() if _was_lost(member.delivery)]
        if lost:
            replies = self.master.replies()
            self.deliver({rank: replies[rank] for rank in lost})

    def _done(self, rank: int, round: int) -> None:
        self._questions.answered(rank, round, time.perf_counter(), self._clock.opened)
        del self._members[rank].asked[round]

    def _catch_up(self) -> None:
        """Send the newest reply to those who missed it and have taken in the one before."""
        late = {
            rank: member
            for rank, member in self._members.items()
            if member.missed and _arrived(member.delivery)
        }
        if late:
            replies = self.master.replies()
            self.deliver({rank: replies[rank] for rank in late})

    def _have_saved(self) -> None:
        """Once the run has to end, the first state of each replica will do."""
        for member in self._members.values() if self._haste.is_on else ():
            if not member.saves:
                member.replica.actor.save.remote()
                member.saves = True

    def _give_up_the_silent(self) -> None:
        for rank, seconds in self._questions.hung(self._clock, time.perf_counter()).items():
            self._lose(rank, f"silent for {seconds:.0f} s")

    def _lose(self, rank: int, why: str | UserCodeError) -> None:
        self._forget(rank)
        self.master.leave(rank)
        self.heard.lost[rank] = why
        if self._roll.has_quorum:
            self._clock.quorum(time.perf_counter())

    def _forget(self, rank: int) -> None:
        del self._members[rank]
        self._questions.forget(rank)
        self._clock.forget(rank)
        if self._updates:
            self._updates.forget(rank)


def _may_be_there(error: RayError) -> bool:
    """Whether a replica may be at work of which a call, or what it returned, has failed so."""
    return isinstance(cause_of(error), ActorUnavailableError | ObjectLostError)


def _was_lost(delivery: ray.ObjectRef | None) -> bool:
    if delivery is None or not _arrived(delivery):
        return False
    try:
        ray.get(delivery)
    except ActorUnavailableError:
        return True
    except RayError:
        return False  # the replica itself is lost, or as good as that: its answer will tell
    return False


def _arrived(delivery: ray.ObjectRef | None) -> bool:
    return delivery is None or bool(ray.wait([delivery], timeout=0)[0])
