"""What a method may spend: gradients of single examples, the same number for all."""

from dataclasses import dataclass, replace

from parle_ray.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Walk:
    """How a method spends the budget.

    Attributes:
        workers: processes that compute gradients.
        batch_size: examples in a mini-batch of one worker.
        steps: mini-batches of one worker.
    """

    workers: int
    batch_size: int
    steps: int

    @property
    def gradients(self) -> int:
        """Gradients of single examples, all workers together."""
        return self.workers * self.batch_size * self.steps


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The budget, said as the walk of n replicas with mini-batches of their own.

    Attributes:
        num_replicas: n.
        batch_size: B, examples in a mini-batch of one replica.
        steps: S, mini-batches of one replica.
    """

    num_replicas: int
    batch_size: int
    steps: int

    @property
    def gradients(self) -> int:
        """n S B."""
        return self.num_replicas * self.steps * self.batch_size

    def part(self, part: float) -> "Budget":
        """So much of it."""
        return replace(self, steps=max(1, round(part * self.steps)))

    def walk(self, *, workers: int, whole_batch: bool = False, sync_every: int = 1) -> Walk:
        """The walk of so many workers that comes nearest to the budget.

        Args:
            workers: how many; a mini-batch of B is cut among them.
            whole_batch: each has mini-batches of B.
            sync_every: steps in a round; whole rounds are walked, one at least.

        Raises:
            InputError: there are more workers than examples in a mini-batch.
        """
        batch_size = self.batch_size if whole_batch else self.batch_size // workers
        if batch_size < 1:
            raise InputError(
                f"num_replicas: a mini-batch of {self.batch_size} cannot be cut among {workers} "
                "workers; raise data.batch_size"
            )
        rounds = max(1, round(self.gradients / (workers * batch_size * sync_every)))
        return Walk(workers=workers, batch_size=batch_size, steps=rounds * sync_every)


def scaled_rounds(rounds: int, scale: float) -> int:
    """So much of a run of `rounds`, one at least.

    Raises:
        InputError: scale is not above zero.
    """
    if not scale > 0.0:
        raise InputError(f"--scale must be > 0, got {scale:g}; 0.1 is a tenth of the budget")
    return max(1, round(rounds * scale))
