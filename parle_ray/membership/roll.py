"""Who takes part in a run, who has answered in the open round, and who has to start again."""

import math
from collections.abc import Iterable
from typing import Any

from parle_ray.errors import InputError, all_diverged
from parle_ray.membership.ledger import Entry, Fate

NOT_FINITE = "not finite"
MERGED = (Fate.MERGED, Fate.LATE)
STRIKES = 3
"""So many refusals in a row, and a replica is given up."""


class Roll:
    """The call of the roll, round after round; it knows of answers, and nothing of vectors.

    Answers of one replica come in the order of the rounds it was asked for. A round waits for the
    *prompt* replicas; one that a round closed without *trails*, and is not waited for, until it
    has answered no later than in the round after the one that it was asked for.

    Args:
        ranks: the replicas that take part.
        merges_late: a push that was asked for in an earlier round may be merged in this one.
        measured: pushes are differences to the reply that the replica had, and mean nothing to a
            master that has moved on.

    Attributes:
        round: k, the round that is open.
        faults: answers that were refused so far, and replicas that were lost.
        answered: the ranks of which nothing more is expected in the open round.
        trailing: the ranks that nobody waits for.
        restart: rank -> the round from whose opening on it is told to start again.
        entry: the ledger of the round closed last.
    """

    def __init__(
        self, ranks: Iterable[int], *, merges_late: bool = True, measured: bool = False
    ) -> None:
        self.ranks = sorted(ranks)
        self._merges_late, self._measured = merges_late, measured
        self.round = 0
        self.faults = 0
        self.answered: set[int] = set()
        self.trailing: set[int] = set()
        self.restart: dict[int, int] = {}
        self.entry = Entry(-1)
        self._open = Entry(0)
        self._heard: set[int] = set()  # who is prompt in the next round
        self._last = dict.fromkeys(self.ranks, -1)  # rank -> the last round it answered
        self._seen: dict[int, int] = {}  # rank -> the round that the reply opened which it had
        self._strikes: dict[int, int] = {}
        self._prefix = 0  # so many of the first ranks have answered, at least

    @property
    def version(self) -> int:
        """The number of the master as it is, and of the question that it is sent with."""
        return self.round

    @property
    def waiting(self) -> list[int]:
        """The ranks whose answer the open round waits for."""
        return [rank for rank in self.ranks if self._awaited(rank)]

    @property
    def quorum(self) -> int:
        """Answers without which no round closes while somebody is waited for."""
        return max(1, math.ceil(len(self.ranks) / 2))

    @property
    def has_quorum(self) -> bool:
        """Whether so many have answered."""
        return len(self.answered) >= self.quorum

    def may_close(self, patience_is_over: bool) -> bool:
        """Whether the round need not stay open."""
        if not self.answered:
            return False
        return not self.waiting or (self.has_quorum and patience_is_over)

    def lowest_waiting(self) -> float:
        """The first of `waiting`, without a look at all ranks for every answer."""
        while self._prefix < len(self.ranks) and not self._awaited(self.ranks[self._prefix]):
            self._prefix += 1
        return self.ranks[self._prefix] if self._prefix < len(self.ranks) else math.inf

    def follows(self, rank: int) -> bool:
        """Whether it had the reply before the newest, and so can be sent a difference."""
        return rank not in self.restart and self._seen.get(rank) == self.round - 1

    def admit(self, rank: int) -> None:
        """A replica starts from the master, before anybody answered; nobody waits for it yet."""
        self.ranks = sorted({*self.ranks, rank})
        self._last[rank] = self.round - 1
        self.trailing.add(rank)
        past: dict[int, int]
        for past in (self.restart, self._seen, self._strikes):
            past.pop(rank, None)

    def part(self, rank: int) -> None:
        """A replica leaves; nothing is waited for from it, or taken."""
        self.ranks.remove(rank)
        self.trailing.discard(rank)
        self._prefix = 0

    def strike(self, rank: int) -> None:
        """A replica was lost."""
        self.part(rank)
        self.faults += 1
        self._open.fates.setdefault((rank, self.version), Fate.LOST)

    def tick(self, rank: int, round: int, seen: int, *, empty: bool = False) -> bool:
        """An answer is in: whether its push is to be merged.

        Args:
            round: that it was asked for.
            seen: the round that the newest reply opened which the replica had.
            empty: it has no push.
        """
        if rank not in self.ranks or not self._last[rank] < round <= self.round:
            self._open.strays += 1
            return False
        self._last[rank], self._seen[rank] = round, seen
        if seen >= self.restart.get(rank, math.inf):
            del self.restart[rank]
        usable = rank not in self.restart and rank not in self._open.reasons
        late = round < self.round
        if late:
            usable &= self._merges_late and (not self._measured or seen == self.round)
        if round >= self.round - 1:
            self._heard.add(rank)
        if not late or (usable and round == self.round - 1):
            self.answered.add(rank)
        merged = usable and not empty
        if merged:
            earlier = self._counted(rank)
            if earlier is not None:  # a replica counts once in a round: its newest push does
                self._open.fates[earlier] = Fate.DROPPED
        fate = Fate.LATE if late else Fate.MERGED
        self._open.fates[rank, round] = fate if merged else Fate.EMPTY if usable else Fate.DROPPED
        return merged

    def skip(self, rank: int, round: int) -> None:
        """A replica says that it did not walk a round which was over."""
        if rank in self.ranks and self._last[rank] < round:
            self._last[rank] = round
            self._open.fates[rank, round] = Fate.SKIPPED

    def refuse(self, rank: int, reason: str) -> None:
        """What it pushed cannot be merged after all: it has to start again."""
        self.faults += 1
        self._uncount(rank, Fate.REFUSED)
        self._open.reasons[rank] = reason
        self._strikes[rank] = self._strikes.get(rank, 0) + 1

    def lose(self, rank: int) -> None:
        """What it pushed was lost on its way; as for the replica, it goes on."""
        self._uncount(rank, Fate.LOST)

    def check(self) -> None:
        """Before a round is closed.

        While a replica is away, those that are left are no witnesses against the run: a round
        without a push is closed, until one of them has been refused too often.

        Raises:
            Diverged: every replica pushed values that are not finite.
            InputError: every replica pushed what is no vector of this model.
        """
        reasons = self._open.reasons
        if self._open.num_merged or not reasons or not self.answered >= set(self.ranks):
            return
        somebody_is_away = self._last.keys() > set(self.ranks)
        if somebody_is_away and min(self._strikes[rank] for rank in reasons) < STRIKES:
            return
        if NOT_FINITE in reasons.values():
            raise all_diverged(self.round)
        raise InputError(
            f"round {self.round}: every replica's push was refused ({next(iter(reasons.values()))})"
            "; model_fn must build the same model everywhere"
        )

    def turn(self) -> None:
        """Open the next round."""
        self.round += 1
        refused = [rank for rank in self._open.reasons if rank in self.ranks]
        self.restart |= dict.fromkeys(refused, self.round)
        self.trailing = set(self.ranks) - self._heard
        for rank in self._open.ranks(*MERGED):
            self._strikes.pop(rank, None)
        self.entry, self._open = self._open, Entry(self.round)
        self.answered.clear()
        self._heard.clear()
        self._prefix = 0

    def unfit(self) -> list[int]:
        """The replicas that were refused too often in a row."""
        return [rank for rank in self.ranks if self._strikes.get(rank, 0) >= STRIKES]

    def roll_dict(self) -> dict[str, object]:
        """What the next round depends on, at a moment when no answer is in."""
        assert not self.answered
        return {"round": self.round, "faults": self.faults, "restart": sorted(self.restart)}

    def load_roll(self, state: dict[str, Any]) -> None:
        """Go on from a saved state, where nobody is out."""
        self.round, self.faults = state["round"], state["faults"]
        self.restart = dict.fromkeys(state["restart"], self.round)
        self._last = dict.fromkeys(self.ranks, self.round - 1)
        self._open = Entry(self.round)

    def _awaited(self, rank: int) -> bool:
        return rank not in self.answered and rank not in self.trailing

    def _uncount(self, rank: int, fate: Fate) -> None:
        counted = self._counted(rank)
        assert counted is not None
        self._open.fates[counted] = fate

    def _counted(self, rank: int) -> tuple[int, int] | None:
        """The answer by which it counts in the open round, as things stand."""
        fates = self._open.fates.items()
        return next((key for key, fate in fates if key[0] == rank and fate in MERGED), None)
