"""Data-parallel SGD on the same links, for comparison: a ring all-reduce in every step."""

from dataclasses import dataclass

from parle_ray.planning.scenario import Scenario

BACKWARD = 2 / 3
"""The part of a step's time that is its backward pass, twice the work of the forward pass."""


@dataclass(frozen=True, kw_only=True)
class Ring:
    """Data-parallel SGD, in float32.

    Attributes:
        step_s: compute, then exchange.
        overlapped_step_s: with the exchange hidden behind the backward pass as far as it fits.
        samples_per_s, overlapped_samples_per_s: of all replicas.
        bytes_per_step: sent and received over its link by a node.
    """

    step_s: float
    overlapped_step_s: float
    samples_per_s: float
    overlapped_samples_per_s: float
    bytes_per_step: float


def ring(scenario: Scenario) -> Ring:
    """`2 (n-1)/n bytes / link + 2 (n-1) latency` a step, beside the step itself.

    Replicas of one node are neighbours in the ring, so each node's link carries the stream once;
    on a single node it goes through memory.
    """
    s, n = scenario, scenario.num_replicas
    compute_s = s.step_s * s.crowding
    stream = 2 * (n - 1) / n * 4 * s.num_params
    if s.nodes > 1:
        exchange_s = stream / s.link_bytes_per_s + 2 * (n - 1) * s.latency_s
    else:
        exchange_s = stream / s.memory_bytes_per_s
    step_s = compute_s + exchange_s
    overlapped_s = (1 - BACKWARD) * compute_s + max(BACKWARD * compute_s, exchange_s)
    return Ring(
        step_s=step_s,
        overlapped_step_s=overlapped_s,
        samples_per_s=n * s.batch_size / step_s,
        overlapped_samples_per_s=n * s.batch_size / overlapped_s,
        bytes_per_step=2 * stream if s.nodes > 1 else 0.0,
    )
