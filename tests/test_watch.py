"""When a coordinator is taken for hung; on times that are given."""

from parle_ray.cluster.watch import (
    ANSWER_S,
    ASK_S,
    FIRST_ANSWER_S,
    STUCK_ROUNDS,
    STUCK_S,
    Pulse,
)


def pulse(*took: float) -> Pulse:
    """After rounds that took so long, at second 100."""
    made = Pulse()
    made.begins(0.0)
    for round_s in took:
        made.reported(100.0, round_s)
    return made


def test_before_a_round_was_reported_only_silence_counts() -> None:
    made = pulse()
    made.reported(100.0, None)
    assert made.asks(110.0)
    assert made.answered(111.0, 1e6) is None
    assert made.asks(120.0)
    assert made.silent(120.0 + FIRST_ANSWER_S) is None
    assert made.silent(120.1 + FIRST_ANSWER_S) == "it has not answered for 60 s"


def test_it_is_asked_once_when_nothing_was_reported_for_a_while() -> None:
    made = pulse(0.1)
    assert not made.asks(100.0 + ASK_S - 0.1)
    assert made.asks(100.0 + ASK_S)
    assert not made.asks(100.0 + 2 * ASK_S), "the question is out"
    assert made.answered(103.0, 0.5) is None
    assert not made.asks(103.0 + ASK_S - 0.1)
    assert made.asks(103.0 + ASK_S)


def test_one_that_does_not_answer_hangs_after_ten_seconds_or_a_usual_round() -> None:
    for usual_s, patience_s in ((0.1, ANSWER_S), (60.0, 60.0)):
        made = pulse(usual_s, usual_s, 1e4)
        assert made.asks(110.0)
        assert made.silent(110.0 + patience_s) is None
        assert made.silent(110.1 + patience_s) == f"it has not answered for {patience_s:.0f} s"


def test_what_is_reported_meanwhile_is_an_answer() -> None:
    made = pulse(0.1)
    assert made.asks(110.0)
    made.reported(111.0, 0.1)
    assert made.silent(1e6) is None


def test_one_that_answers_hangs_if_its_rounds_do_not_come_by() -> None:
    for usual_s, patience_s in ((0.1, STUCK_S), (60.0, 60.0 * STUCK_ROUNDS)):
        made = pulse(usual_s)
        assert made.asks(110.0)
        assert made.answered(110.1, patience_s) is None
        assert made.answered(110.1, patience_s + 1) == (
            f"its rounds have stood still for {patience_s + 1:.0f} s"
        )


def test_another_coordinator_is_given_its_own_time() -> None:
    made = pulse(0.1)
    assert made.asks(110.0)
    made.begins(120.0)
    assert made.silent(1e6) is None
    assert not made.asks(120.0 + ASK_S - 0.1)
