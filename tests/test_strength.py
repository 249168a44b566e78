"""How long a run does with too few replicas, and what may leave it without being a fault."""

import pytest
from ray.train import ScalingConfig

from parle_ray.cluster.placement import fewest_replicas, num_replicas
from parle_ray.cluster.rhythm import Rhythm
from parle_ray.cluster.strength import ENOUGH_S, LINE_S, Strength
from parle_ray.errors import InputError
from parle_ray.membership.roll import Roll


def test_too_few_replicas_are_told_of_now_and_then_and_end_the_run_in_the_end() -> None:
    lines: list[str] = []
    now = 50.0
    strength = Strength(2, lines.append, lambda: now)
    strength.look(2)
    now += 10 * ENOUGH_S
    strength.look(1)
    assert strength.reason() is None, "enough there were, until now"
    for _ in range(4):
        now += LINE_S / 2
        strength.look(1)
    assert [line.partition(":")[0] for line in lines] == [
        "1 of at least 2 replicas for 30 s",
        "1 of at least 2 replicas for 60 s",
    ]
    now += ENOUGH_S
    strength.look(1)
    assert strength.reason() == "fewer than 2 replicas for 10 minutes"
    strength.look(2)
    assert strength.reason() is None


def test_a_replica_that_leaves_in_order_is_no_fault() -> None:
    roll = Roll([0, 1, 2])
    roll.part(1)
    roll.strike(0)
    assert (roll.ranks, roll.waiting, roll.faults) == ([2], [2], 1)


def test_what_is_wanted_soon_is_due_once_at_the_next_round_that_is_open() -> None:
    rhythm = Rhythm(100, last=1000)
    assert not rhythm.due(1)
    rhythm.soon()
    assert [rhythm.due(round) for round in (1, 2, 2, 3)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("num_workers", "fewest", "most"), [(3, 3, 3), ((2, 4), 2, 4), ((1, 1), 1, 1)]
)
def test_an_elastic_run_has_a_fewest_and_a_most(num_workers, fewest: int, most: int) -> None:
    scaling = ScalingConfig(num_workers=num_workers)
    assert (fewest_replicas(scaling), num_replicas(scaling)) == (fewest, most)


def test_an_elastic_run_is_not_pinned_to_nodes() -> None:
    scaling = ScalingConfig(num_workers=(1, 2), placement_strategy="STRICT_SPREAD")
    with pytest.raises(InputError, match="pins replicas to nodes"):
        num_replicas(scaling)
    with pytest.raises(InputError, match=r"num_workers must be .* got \(0, 2\)"):
        num_replicas(ScalingConfig(num_workers=(0, 2)))
