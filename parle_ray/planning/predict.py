"""`predict`: a scenario played, and what came of it."""

from dataclasses import dataclass

from parle_ray.planning.protocol import Run
from parle_ray.planning.scenario import Scenario


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A run in its steady state. The names are those of `parle_ray.metrics`, where it has them.

    Attributes:
        num_replicas, nodes, sync_every: of the scenario.
        round_s: from one round to the next.
        steps_s: of it, the L local steps, as long as they take where replicas share cores.
        stall_s: of it, spent storing the push and waiting for the reply, mean over the replicas.
        exchange_s: from a push to its answer, hidden behind the next round as far as it overlaps.
        samples_per_s: of all replicas.
        bytes_per_step: sent and received over its link by a node, mean over the nodes.
        busiest_bytes_per_step: of the node with most, a coordinator's.
    """

    num_replicas: int
    nodes: int
    sync_every: int
    round_s: float
    steps_s: float
    stall_s: float
    exchange_s: float
    samples_per_s: float
    bytes_per_step: float
    busiest_bytes_per_step: float

    @property
    def stall_share(self) -> float:
        """The part of the time in which a replica does not compute."""
        return self.stall_s / self.round_s

    @property
    def lost_share(self) -> float:
        """The part of the time that steps alone would not take: stalls, and cores taken away."""
        return max(0.0, 1.0 - self.steps_s / self.round_s)


def predict(scenario: Scenario) -> Prediction:
    """Play the scenario on a virtual clock; the same scenario gives the same figures.

    >>> from parle_ray.planning import Scenario, predict
    >>> scenario = Scenario(num_replicas=8, nodes=8, num_params=10**6, step_s=0.1)
    >>> print(f"{predict(scenario).stall_share:.2%}")
    0.03%
    """
    s = scenario
    run = Run(s)
    run.play()
    first = (s.num_rounds - 1) // 2  # up to this one replicas find their places in the queue
    num_rounds = s.num_rounds - 1 - first
    walked = sum(r.ends[-1] - r.ends[first] for r in run.replicas)
    stalled = sum(sum(r.stalls[first + 1 :]) for r in run.replicas)
    hidden = sum(sum(r.exchanges[first + 1 :]) for r in run.replicas)
    round_s = walked / s.num_replicas / num_rounds
    sync_every = s.strategy.steps(0)
    crossed = [(node.sent + node.received) / (s.num_rounds * sync_every) for node in run.nodes]
    return Prediction(
        num_replicas=s.num_replicas,
        nodes=s.nodes,
        sync_every=sync_every,
        round_s=round_s,
        steps_s=s.walk_s * s.crowding,
        stall_s=stalled / s.num_replicas / num_rounds,
        exchange_s=hidden / s.num_replicas / num_rounds,
        samples_per_s=s.num_replicas * sync_every * s.batch_size / round_s,
        bytes_per_step=sum(crossed) / s.nodes,
        busiest_bytes_per_step=max(crossed),
    )
