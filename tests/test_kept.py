"""The master's state in the hands of replicas: of a round that moves a stretch, the stretch."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parle_ray.cluster import keeping, whole
from parle_ray.cluster.enlisted import Enlisted
from parle_ray.cluster.keeping import Keeping
from parle_ray.cluster.kept import Kept
from parle_ray.cluster.states import cut_state
from parle_ray.cluster.whole import Whole
from parle_ray.cluster.wire import Packed, pack_tree
from parle_ray.strategies import DiLoCo, Strategy, StreamingDiLoCo
from tests.fake_ray import Actor, FakeRay, Process
from tests.problems import NUM_PARAMS, task

DEPTH = 2
VECTOR = 8 * NUM_PARAMS


def state(round: int, vector: np.ndarray) -> Any:
    """A master's whose momentum is twice its vector."""
    return {
        "round": round,
        "vector": Packed(vector, "float64"),
        "strategy": {
            "momentum": Packed(2 * vector, "float64"),
            "steps": Packed(np.array(float(round)), "float64"),
        },
        "inner": None,
        "end": {},
    }


def check(kept: Kept, round: int, vector: np.ndarray) -> None:
    held = kept.state(round)
    assert held["round"] == round
    np.testing.assert_array_equal(held["vector"].array, vector)
    np.testing.assert_array_equal(held["strategy"]["momentum"].array, 2 * vector)
    assert held["strategy"]["steps"].array == round


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 6)), min_size=1))
def test_the_last_states_are_there_whatever_of_them_was_given(
    given: list[tuple[bool, int, int]],
) -> None:
    """As wholes, and as stretches of what was before, some of which are empty."""
    kept, vectors = Kept(DEPTH), [np.arange(6.0)]
    kept.put(0, 0, [state(0, vectors[0])], None)
    for round, (is_whole, *marks) in enumerate(given, start=1):
        moved = vectors[-1].copy()
        part = slice(*sorted(marks))
        moved[part] += round
        if is_whole:
            moved += 0.5
        vectors.append(moved)
        there = state(round, moved)
        kept.put(
            round,
            round,
            [there if is_whole else cut_state(there, part)],
            None if is_whole else part,
        )
        last = list(range(round + 1))[-DEPTH:]
        assert kept.generations == {k: k for k in last}
        for k in last:
            check(kept, k, vectors[k])


def test_what_was_given_is_never_written_to() -> None:
    first = state(0, np.arange(6.0))
    kept, part = Kept(DEPTH), slice(0, 3)
    kept.put(0, 0, [first], None)
    for round in range(1, 5):
        kept.put(0, round, [cut_state(state(round, np.full(6, 9.0)), part)], part)
        kept.state(round)
    np.testing.assert_array_equal(first["vector"].array, np.arange(6.0))


def test_a_stretch_alone_is_refused_and_a_whole_drops_what_another_coordinator_gave_after_it() -> (
    None
):
    kept, part = Kept(DEPTH), slice(2, 4)
    with pytest.raises(LookupError, match="what round 4 moved is of no use"):
        kept.put(0, 5, [cut_state(state(5, np.zeros(6)), part)], part)
    kept.put(0, 5, [state(5, np.zeros(6))], None)
    kept.put(0, 6, [cut_state(state(6, np.ones(6)), part)], part)
    kept.put(1, 5, [state(5, np.full(6, 7.0))], None)
    assert kept.generations == {5: 1}
    check(kept, 5, np.full(6, 7.0))


class Holder:
    """A replica that is asked to hold states, and may be unable to."""

    def __init__(self) -> None:
        self.kept, self.told, self.fails = Kept(DEPTH), list[tuple[Any, int]](), False

    def keep(self, generation: int, round: int, part: slice | None, *states: Any) -> int:
        if self.fails:
            raise OSError("no memory")
        self.kept.put(generation, round, states, part)
        num_bytes = sum(one["vector"].array.nbytes for one in states)
        self.told.append((part, num_bytes))
        return num_bytes


def new(monkeypatch: pytest.MonkeyPatch, strategy: Strategy) -> tuple[Whole, Keeping]:
    for module in (keeping, whole):
        monkeypatch.setattr(module, "ray", FakeRay)
    fitted = task(strategy, num_replicas=1, num_rounds=9).fitted_to(3)
    return Whole(fitted, [], [0]), Keeping(0, coded=False, sharded=False)


def turn(master: Whole, keeper: Keeping, holder: Actor) -> int:
    """A round, whose state is given; the bytes that crossed to another node."""
    keeper.give(master.roll.round, master, {0: Enlisted(holder, "elsewhere", ())})
    crossed = keeper.settle()
    roll = master._master
    push = roll.vector[: roll.place(0, roll.round).stop - roll.place(0, roll.round).start]
    roll.take(0, roll.round, push + 1.0)
    master.close()
    return crossed


def test_who_holds_the_state_before_is_given_what_has_moved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    master, keeper = new(monkeypatch, StreamingDiLoCo(fragments=3))
    holder = Actor(Holder, (), Process())
    crossed = [turn(master, keeper, holder) for _ in range(5)]
    assert crossed == [VECTOR, *[VECTOR // 3] * 4]
    assert [part for part, _ in holder.instance.told[:3]] == [None, slice(0, 2), slice(2, 4)]
    keeper.give(master.roll.round, master, {0: Enlisted(holder, "elsewhere", ())})
    keeper.settle()
    held = holder.instance.kept.state(5)
    expected = pack_tree(master._master.state_dict())
    np.testing.assert_array_equal(held["vector"].array, expected["vector"].array)
    momentum = held["strategy"]["momentum"].array
    np.testing.assert_array_equal(momentum, expected["strategy"]["momentum"].array)


def test_who_could_not_hold_it_or_is_another_is_given_all(monkeypatch: pytest.MonkeyPatch) -> None:
    master, keeper = new(monkeypatch, StreamingDiLoCo(fragments=3))
    holder, other = (Actor(Holder, (), Process()) for _ in range(2))
    turn(master, keeper, holder)
    holder.instance.fails = True
    turn(master, keeper, holder)
    holder.instance.fails = False
    assert [turn(master, keeper, one) for one in (holder, holder, other)] == [
        VECTOR,
        VECTOR // 3,
        VECTOR,
    ]


def test_of_rounds_that_move_all_it_is_all(monkeypatch: pytest.MonkeyPatch) -> None:
    master, keeper = new(monkeypatch, DiLoCo())
    holder = Actor(Holder, (), Process())
    assert [turn(master, keeper, holder) for _ in range(3)] == [VECTOR] * 3
