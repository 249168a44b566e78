"""What a replica holds beside its walk, so that a coordinator can be replaced under it. No I/O.

    reply j     opens round j; it is the master S_j, where no state lies beside the master
    state j     S_j whole, where it does: on the replicas that keep it (see `keeping`)
    answer j    closes round j, together with those of the others

The last two of each are held. A new coordinator that begins at S_j asks for the answers j again
and gets the same ones, so it closes the round to the same bits and makes the report that its
predecessor may have taken with it; what it sends a second time is not read a second time.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from parle_ray.cluster.kept import Kept
from parle_ray.cluster.states import told_by_reply
from parle_ray.cluster.wire import Packed
from parle_ray.replica import Reply

DEPTH = 2


class Superseded(Exception):
    """A question of a coordinator that has been replaced; nobody waits for its answer."""


@dataclass(frozen=True)
class Held:
    """A reply as it came.

    Attributes:
        generation: of the coordinator that sent it.
        stretches: of its vector, or of its code: views of where they lie in the object store.
        whole: it is all that the master's next round depends on, with `roll`.
        roll: `Roll.roll_dict` of the round that it opens.
        part: see `Reply`.
    """

    generation: int
    stretches: tuple[Packed, ...]
    whole: bool
    roll: dict[str, Any]
    part: slice | None = None


@dataclass(frozen=True)
class Standing:
    """Where a replica is, for a new coordinator.

    Attributes:
        full: round -> generation of the masters S_round that it can give.
        newest: the round that its newest reply opens; -1 if none has come.
        answers: rounds whose answers it holds.
        next: the first round that it has not answered; None if it has not started.
    """

    full: dict[int, int]
    newest: int
    answers: list[int]
    next: int | None

    def fits(self, round: int) -> bool:
        """Whether it can go on with a coordinator that begins at S_round."""
        return round in self.answers or round == self.next


class Memory:
    """Written and read by two threads: one walks, in the other the coordinator's word arrives.

    Attributes:
        left: the reply that was taken last before all was abandoned.
    """

    def __init__(self) -> None:
        self.left: Held | None = None
        self._changed = threading.Condition()
        self._generation = self._least = 0
        self._clear()

    def _clear(self) -> None:
        self._reply: Reply | None = None
        self._newest = self._taken = -1
        self._replies: dict[int, Held] = {}
        self._kept = Kept(DEPTH)
        self._answers: dict[int, tuple[Any, ...]] = {}
        self._next: int | None = None

    @property
    def has_started(self) -> bool:
        """Whether the replica stands anywhere."""
        return self._next is not None

    def start(self, round: int) -> None:
        """The replica stands where `round` begins."""
        with self._changed:
            self._next = round

    def put(self, round: int, reply: Reply, held: Held) -> bool:
        """A reply has come; False if it says nothing new."""
        with self._changed:
            if held.generation < self._generation:
                return False
            self._generation = held.generation
            self._replies[round] = held
            _keep_last(self._replies)
            if round <= self._newest:
                return False
            self._reply, self._newest = reply, round
            self._changed.notify_all()
            return True

    def take(self, generation: int, round: int) -> tuple[int, Reply]:
        """Wait for the reply that opens `round`, or a newer one; which it is.

        One that was taken in a round before, which was over by then, may be taken again.

        Args:
            generation: that asked for the walk.

        Raises:
            Superseded: the walk is lost.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: (self._reply and self._newest >= round) or generation < self._least
            )
            if generation < self._least:
                raise Superseded
            assert self._reply is not None
            self._taken = self._newest
            return self._newest, self._reply

    def is_over(self, round: int) -> bool:
        """Whether the round was closed, and walking it is of no use."""
        return self._newest > round

    def begin(self, generation: int, round: int) -> tuple[Any, ...] | None:
        """A round is asked for; its answer, if it has been walked.

        Raises:
            Superseded: by a coordinator that has been replaced.
        """
        with self._changed:
            if generation < self._generation:
                raise Superseded
            self._generation = generation
            return self._answers.get(round)

    def answer(self, generation: int, round: int, answer: tuple[Any, ...]) -> tuple[Any, ...]:
        """A round has been walked; `answer` lies in memory that nobody writes to.

        Returns:
            What is handed over.

        Raises:
            Superseded: the walk is lost.
        """
        with self._changed:
            if generation < self._least:
                raise Superseded
            self._answers[round] = answer
            self._next = round + 1
            _keep_last(self._answers)
            return answer

    def again(self, round: int) -> tuple[Any, ...] | None:
        """The answer of a round that has been walked; None of one that has not, or long ago."""
        return self._answers.get(round)

    def keep(
        self, generation: int, round: int, states: Sequence[Any], part: slice | None = None
    ) -> None:
        """Hold S_round: see `Kept.put`."""
        with self._changed:
            if generation >= self._generation:
                self._kept.put(generation, round, states, part)

    def stand(self, generation: int, *, ends_walk: bool = False) -> Standing:
        """Where the replica is; from here on it refuses the questions of older generations.

        Args:
            ends_walk: nobody will ask for what is being walked, or send what it waits for.

        Raises:
            Superseded: the question itself is of an older one.
        """
        with self._changed:
            if generation < self._generation:
                raise Superseded
            self._generation = generation
            if ends_walk:
                self._least = generation
                self._changed.notify_all()
            told = {k: held.generation for k, held in self._replies.items() if held.whole}
            full = told | self._kept.generations
            return Standing(full, self._newest, list(self._answers), self._next)

    def abandon(self, generation: int) -> None:
        """Forget all, and end the walk that is under way: the replica will start anew."""
        with self._changed:
            self.left = self._replies.get(self._taken)
            self._generation = self._least = generation
            self._clear()
            self._changed.notify_all()

    def full(self, round: int) -> Any:
        """S_round, packed, as `Master.state_dict` has it."""
        with self._changed:
            if round in self._kept.generations:
                return self._kept.state(round)
            return told_by_reply(self._replies[round].roll, self._replies[round].stretches)


def _keep_last(held: dict[int, Any]) -> None:
    for round in sorted(held)[:-DEPTH]:
        del held[round]
