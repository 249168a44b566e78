"""How long rounds wait, and when silence is too long; on times that are given."""

import math

import pytest

from parle_ray.membership.patience import Patience, RoundClock
from parle_ray.membership.questions import Questions
from parle_ray.membership.roll import Roll

PATIENCE = Patience()


def clock(*took: float) -> RoundClock:
    """After rounds that took so long; the next has opened at their end."""
    made, now = RoundClock(PATIENCE), 0.0
    for seconds in took:
        made.open(now)
        made.quorum(now + seconds)
        now += seconds
        made.close(now)
    made.open(now)
    return made


@pytest.mark.parametrize(
    ("took", "walks", "exchange_s", "quorum_s", "open_s"),
    [
        ([], [], None, 1.0, 11.0),  # the first round
        ([], [], None, 20.0, 60.0),
        ([0.1], [0.01] * 3, None, 0.01, 0.01 + 1.002),  # short rounds live on the purse
        ([50.0], [0.01] * 3, None, 0.01, 0.01 + 2.0),
        ([5000.0], [0.01] * 3, None, 0.01, 0.01 + 10.0),  # which is full at 10 s
        ([0.1], [8.0] * 3, None, 0.0, 24.0),  # long ones on three times what they need
        ([0.1], [8.0] * 3, None, 9.0, 27.0),
        ([0.1], [8.0, 80.0, 9.0], None, 0.0, 27.0),  # the slower half does not count
        ([0.1], [8.0, 80.0], None, 0.0, 24.0),
        ([0.1], [1.0] * 3, 20.0, 0.0, 60.0),  # vectors travel for longer than replicas walk
    ],
)
def test_a_round_with_a_quorum_is_open_for_so_long(
    took: list[float], walks: list[float], exchange_s: float | None, quorum_s: float, open_s: float
) -> None:
    made = clock(*took)
    for rank, walk_s in enumerate(walks):
        made.told(rank, walk_s, exchange_s)
    assert made.deadline == math.inf
    made.quorum(made.opened + quorum_s)
    made.quorum(made.opened + quorum_s + 1000.0)
    assert made.deadline == pytest.approx(made.opened + open_s)


def test_a_longer_round_is_given_more_time_in_proportion() -> None:
    made = clock(2.0)
    made.told(0, 1.5, None)
    made.open(2.0, steps=50)
    assert made.needed_s == 75.0
    assert made.usual_s == 100.0
    assert made.silence_s(2.0) == PATIENCE.hung_factor * 100.0
    made.close(102.0)
    made.open(102.0, steps=50)
    assert made.usual_s == 100.0


def test_the_shortest_exchange_counts_and_the_lost_do_not() -> None:
    made = clock(0.1)
    for rank, exchange_s in enumerate([30.0, 5.0, None]):
        made.told(rank, 1.0, exchange_s)
    assert made.needed_s == 5.0
    made.forget(1)
    assert made.needed_s == 30.0
    made.forget(0)
    assert made.needed_s == 1.0


@pytest.mark.parametrize("walk_s", [0.01, 0.1, 0.5, 2.0, 30.0])
@pytest.mark.parametrize("slower", [4.0, 10.0, 1000.0])
def test_a_slow_replica_costs_the_others_two_hundredths_and_no_more(
    walk_s: float, slower: float
) -> None:
    """It is waited for again after each round that closed without it, which is the worst case."""
    made, now, needed = clock(walk_s), walk_s, 0.0
    for rank in range(3):
        made.told(rank, walk_s, 0.0)
    while now < 10_000 * walk_s:
        made.open(now)
        made.quorum(now)
        late = now + slower * walk_s
        now = min(late, max(made.deadline, now + walk_s))
        made.close(now)
        needed += max(PATIENCE.grace_s, PATIENCE.factor * walk_s)
    assert now <= 1.02 * needed + 1.0 + walk_s


def test_a_pause_between_short_rounds_is_forgiven_once_they_have_earned_it() -> None:
    made = clock(*[0.1] * 3000)
    assert made.purse_s == pytest.approx(1.0 + 0.02 * 300.0)
    made.told(0, 0.1, None)
    made.quorum(made.opened)
    made.close(made.opened + 4.1)
    assert made.purse_s == pytest.approx(1.0 + 0.02 * (300.0 + 4.1) - 4.0)


@pytest.mark.parametrize(
    ("took", "slowest_s", "silence_s"),
    [
        ([], None, math.inf),
        ([1.0], None, 60.0),
        ([40.0, 1.0, 1.0], None, 400.0),
        ([40.0, 1.0, 1.0], 0.5, 60.0),
        ([9.0, 9.0], 0.5, 90.0),
        ([1.0], 12.0, 120.0),
    ],
)
def test_a_replica_may_be_silent_for_so_long(
    took: list[float], slowest_s: float | None, silence_s: float
) -> None:
    assert clock(*took).silence_s(slowest_s) == silence_s


def asked(ahead: int = 1) -> tuple[Roll, Questions[str], RoundClock]:
    """Two replicas, both asked at 0; a round has been closed before, in a second."""
    roll, made = Roll(range(2)), clock(1.0)
    questions: Questions[str] = Questions(roll, ahead=ahead, num_rounds=9)
    for rank in roll.ranks:
        questions.meet(rank, 0.0)
    for rank, round in questions.wanted():
        questions.ask(rank, round, f"{rank}, {round}", made.opened)
    return roll, questions, made


def test_only_who_owes_an_answer_is_taken_for_dead() -> None:
    roll, questions, made = asked()
    questions.answered(0, 0, made.opened + 1.0, made.opened)
    assert questions.hung(made, made.opened + 60.0) == {}
    assert questions.hung(made, made.opened + 61.0) == {1: 61.0}


def test_a_slow_answer_buys_ten_times_its_time() -> None:
    roll, questions, made = asked(ahead=2)
    questions.answered(0, 0, made.opened + 8.0, made.opened)
    roll.tick(0, 0, 0)
    roll.tick(1, 0, 0)
    roll.turn()
    made.close(made.opened + 9.0)
    made.open(made.opened + 9.0)
    assert sorted(questions.hung(made, made.opened + 71.0)) == [1]
    assert sorted(questions.hung(made, made.opened + 81.0)) == [0, 1]


def test_a_question_asked_ahead_counts_from_the_opening_of_its_round() -> None:
    roll, questions, made = asked(ahead=2)
    questions.answered(0, 0, made.opened + 1.0, made.opened)
    assert list(questions.hung(made, made.opened + 500.0)) == [1]
    for rank in (0, 1):
        roll.tick(rank, 0, 0)
    roll.turn()
    made.open(made.opened + 500.0)
    assert questions.hung(made, made.opened + 59.0) == {}
    assert list(questions.hung(made, made.opened + 61.0)) == [0, 1]


def test_who_trails_has_one_question_at_a_time_for_the_open_round() -> None:
    roll, questions, _ = asked(ahead=2)
    assert questions.wanted() == []
    roll.tick(0, 0, 0)
    questions.answered(0, 0, 1.0, 0.0)
    roll.turn()
    roll.tick(0, 1, 1)
    roll.turn()
    assert roll.trailing == {1}
    assert [rank for rank, _ in questions.wanted()] == [0, 0]
    questions.answered(1, 0, 2.0, 0.0)
    questions.answered(1, 1, 2.0, 0.0)
    assert [round for rank, round in questions.wanted() if rank == 1] == [2]
