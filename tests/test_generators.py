"""A replica's random numbers are its own."""

import copy
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parle_ray.generators import Generators, reseeded

Drawn = tuple[float, float, float, float]


def draw() -> Drawn:
    """One number of every global generator; `gauss` and `normal` keep a second one in hand."""
    return torch.rand(()).item(), np.random.normal(), random.random(), random.gauss(0.0, 1.0)


def drawn_within(generators: Generators) -> Drawn:
    with generators:
        return draw()


def outside() -> tuple[object, ...]:
    return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()


def test_nobody_outside_notices() -> None:
    before = outside()
    generators = Generators(0, 1)
    assert outside() == before
    inside = drawn_within(generators)
    assert outside() == before
    assert drawn_within(generators) != inside
    generators.load_state_dict(generators.state_dict())
    assert outside() == before


def test_reseeded_draws_the_same_numbers_and_nobody_outside_notices() -> None:
    before = outside()
    with reseeded(0, 1):
        seen = draw()
    assert outside() == before
    assert seen == drawn_within(Generators(0, 1))


def test_the_numbers_depend_on_nothing_but_their_name_and_how_many_were_drawn() -> None:
    one, other = Generators(7, 0), Generators(7, 0)
    first = drawn_within(one)
    draw()
    assert drawn_within(other) == first
    assert drawn_within(one) == drawn_within(other)


@settings(max_examples=15)
@given(
    names=st.lists(
        st.lists(st.integers(0, 2**40), min_size=1, max_size=3).map(tuple),
        min_size=2,
        max_size=6,
        unique=True,
    )
)
def test_different_names_draw_different_numbers(names: list[tuple[int, ...]]) -> None:
    assert len({drawn_within(Generators(*name)) for name in names}) == len(names)


def test_the_first_replica_does_not_draw_the_numbers_that_made_the_model() -> None:
    """NumPy's SeedSequence alone takes (5,), (5, 0) and (5, 0, 0) for the same name."""
    first = [drawn_within(Generators(*name)) for name in ((5,), (5, 0), (5, 0, 0))]
    assert len(set(first)) == 3


@pytest.mark.parametrize("entered", [False, True])
def test_a_saved_state_draws_the_same_numbers_again(entered: bool) -> None:
    generators = Generators(3)
    drawn_within(generators)
    if entered:
        with generators:
            draw()
            saved = copy.deepcopy(generators.state_dict())
            expected = draw()
            generators.load_state_dict(saved)
            assert draw() == expected
    else:
        saved = copy.deepcopy(generators.state_dict())
        expected = drawn_within(generators)
    elsewhere = Generators(99)
    elsewhere.load_state_dict(saved)
    assert drawn_within(elsewhere) == expected


def test_a_state_is_tensors_and_plain_numbers_and_does_not_move_on() -> None:
    generators = Generators(3)
    saved = generators.state_dict()
    before = copy.deepcopy(saved)
    drawn_within(generators)
    assert torch.equal(saved["torch"], before["torch"])
    assert torch.equal(saved["numpy"]["keys"], before["numpy"]["keys"])
    assert torch.equal(saved["python"]["words"], before["python"]["words"])
    for part in (saved["numpy"]["rest"], saved["python"]["rest"]):
        assert all(value is None or isinstance(value, int | float) for value in part)


def test_an_error_inside_puts_the_outside_back() -> None:
    before = outside()
    generators = Generators(1)

    def fail() -> None:
        with generators:
            draw()
            raise KeyError("user code")

    with pytest.raises(KeyError, match="user code"):
        fail()
    assert outside() == before
    drawn_within(generators)  # can be entered again


def test_a_state_that_would_read_beside_numpys_memory_is_refused() -> None:
    for position in (-1, 625, 10**9):
        generators = Generators(0)
        state = generators.state_dict()
        state["numpy"]["rest"][0] = position
        generators.load_state_dict(state)
        before = torch.get_rng_state()
        with pytest.raises(ValueError, match=f"cannot stand at {position}"), generators:
            pass
        assert torch.equal(torch.get_rng_state(), before)


def test_a_replica_on_a_gpu_goes_on_from_the_state_of_one_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: torch.zeros(16, dtype=torch.uint8))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state: None)
    on_cpu, on_gpu = Generators(0), Generators(1, cuda=True)
    on_gpu.load_state_dict(on_cpu.state_dict())
    drawn = []
    for generators in (on_cpu, on_gpu):
        with generators:
            drawn.append(torch.rand(3))
    assert torch.equal(*drawn)
