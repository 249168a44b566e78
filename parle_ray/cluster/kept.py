"""What a replica holds of the master's state, for the case that the coordinator is lost. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from parle_ray.cluster.states import join_states, moved_on, owned


@dataclass(frozen=True)
class Entry:
    """A state S_k as it came, or as far as it is another than S_(k-1).

    Attributes:
        generation: of the coordinator that gave it.
        states: packed, of its stretches.
        part: the stretch of the vector that they are of; None: they are all of S_k.
        own: they are in memory that nobody else reads.
    """

    generation: int
    states: Sequence[Any]
    part: slice | None
    own: bool = False


class Kept:
    """The last states that were given here.

    Where rounds move a stretch of the vector, a state is one whole and what was moved since; what
    is too old is moved on, so that this needs no more memory than one whole and a few stretches.

    Args:
        depth: how many are held.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._entries: dict[int, Entry] = {}

    @property
    def generations(self) -> dict[int, int]:
        """Of the states that are here, by round."""
        return {round: entry.generation for round, entry in self._entries.items()}

    def put(self, generation: int, round: int, states: Sequence[Any], part: slice | None) -> None:
        """Hold S_round.

        Raises:
            LookupError: there is a stretch of it, and no S_(round-1) here.
        """
        if part is None:  # what goes on from another S_round is no longer of use
            self._entries = {k: e for k, e in self._entries.items() if k < round or e.part is None}
        elif round - 1 not in self._entries:
            raise LookupError(f"what round {round - 1} moved is of no use without what was before")
        self._entries[round] = Entry(generation, states, part)
        for oldest in sorted(self._entries)[: -self._depth]:
            self._move_on(oldest)

    def state(self, round: int) -> Any:
        """S_round, packed, as `Master.state_dict` has it."""
        entry = self._entries[round]
        if entry.part is None:
            return join_states(entry.states)
        return moved_on(owned(self.state(round - 1)), entry.states[0], entry.part)

    def _move_on(self, round: int) -> None:
        """Drop S_round, on which the next may rest."""
        entry, after = self._entries.pop(round), self._entries.get(round + 1)
        if after is None or after.part is None:
            return
        whole = entry.states[0] if entry.own else owned(join_states(entry.states))
        whole = moved_on(whole, after.states[0], after.part)
        self._entries[round + 1] = Entry(after.generation, [whole], None, own=True)
