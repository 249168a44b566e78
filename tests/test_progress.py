"""The progress display: the text of a line, and which lines stay."""

import io

import pytest
from rich.console import Console

from parle_ray.console.summary import size
from parle_ray.progress import NUM_LINES, Progress, duration, line

REPORT = {"round": 10, "num_rounds": 40, "loss": 0.1444, "distance": 0.005}


def shown(num_rounds, seconds_a_round, terminal=False, first=1, **more):
    """What a run of that pace writes."""
    now = 0.0
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=120, color_system=None)
    with Progress(console, clock=lambda: now) as progress:
        for round in range(first, num_rounds + 1):
            now += seconds_a_round
            progress.update(REPORT | {"round": round, "num_rounds": num_rounds} | more)
    return file.getvalue()


def test_a_line_has_what_the_report_has():
    report = REPORT | {"accuracy": 0.98055, "gamma": 73.04, "rho": 0.73}
    assert line(report, 12, 36) == (
        "round 10/40  loss 0.1444  master 98.1 %  distance 0.0050  gamma 73  rho 0.73"
        "  0:12, 0:36 left"
    )


def test_an_older_evaluation_names_its_round_and_faults_are_told():
    text = line(REPORT | {"accuracy": 0.5, "evaluated_round": 8, "faults": 2}, 0, 0)
    assert "master 50.0 % (round 8)" in text
    assert "faults 2" in text


def test_the_last_line_has_no_time_left():
    assert line(REPORT | {"round": 40}, 61, 0).endswith("distance 0.0050  1:01")


def test_a_strategy_without_gauges_has_none():
    assert "gamma" not in line(REPORT, 1, 1)


@pytest.mark.parametrize("num_rounds", [1, 2, 40, 1000, 12345])
def test_a_log_has_few_lines_the_first_and_the_last_among_them(num_rounds):
    lines = shown(num_rounds, 3.0).splitlines()
    assert lines[0].startswith(f"round {1:>{len(str(num_rounds))}}/{num_rounds} ")
    assert lines[-1].startswith(f"round {num_rounds}/{num_rounds} ")
    assert len(lines) <= 2 * NUM_LINES + 2


def test_a_run_of_a_second_does_not_flood_the_log():
    assert len(shown(1000, 0.001).splitlines()) == 2


def test_a_slow_run_is_heard_of_every_half_hour():
    assert len(shown(100, 1900.0).splitlines()) == 100


def test_a_log_has_no_control_characters():
    assert shown(40, 1.0).isprintable() is False  # line ends
    assert all(text.isprintable() for text in shown(40, 1.0).splitlines())


def test_a_terminal_has_the_same_lines_that_stay_and_a_live_one():
    told = shown(40, 1.0, terminal=True)
    for text in shown(40, 1.0).splitlines():
        assert text in told
    assert "\x1b[2K" in told  # a line that is drawn over


def test_the_time_left_is_that_of_the_rounds_seen_here():
    first, second = shown(100, 2.0, first=51).splitlines()[:2]
    assert first.startswith("round  51/100")
    assert first.endswith("distance 0.0050  0:02")
    assert second.startswith("round  55/100")
    assert second.endswith("0:10, 1:30 left")


def test_the_newest_accuracy_is_remembered():
    file = io.StringIO()
    progress = Progress(Console(file=file, width=120), clock=lambda: 0.0)
    progress.update(REPORT | {"round": 1, "num_rounds": 2, "accuracy": 0.9})
    progress.update(REPORT | {"round": 2, "num_rounds": 2})
    assert "master 90.0 % (round 1)" in file.getvalue().splitlines()[1]


def test_sizes_and_durations_are_as_people_read_them():
    assert [size(n) for n in (12, 1_500, 9_225_600, 2e12)] == ["12 B", "1.5 kB", "9.2 MB", "2.0 TB"]
    assert [duration(s) for s in (0, 59.6, 3723)] == ["0:00", "1:00", "1:02:03"]
