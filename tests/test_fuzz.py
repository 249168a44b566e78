"""A few of the fuzzer's cases; `python -m tests.fuzz` runs as many as you like."""

from pathlib import Path

from tests.fuzz import checkpoints, configs, hostile
from tests.fuzz.harness import run


def test_mutated_configurations_are_read_or_refused_in_one_message(tmp_path: Path) -> None:
    tally = run(configs.cases(25, 0, tmp_path))
    assert not tally.failures
    assert tally.count == sum(tally.ends.values()) == 25
    assert min(tally.ends["read"], tally.ends["refused"]) > 0


def test_a_damaged_or_forged_checkpoint_is_gone_on_with_or_passed_over(tmp_path: Path) -> None:
    tally = run(checkpoints.cases(8, 1, tmp_path))
    assert not tally.failures
    assert tally.count == sum(tally.ends.values()) == 8
    assert min(tally.ends["read"], tally.ends["refused"]) > 0


def test_hostile_files_are_refused_in_one_line_and_run_nothing(tmp_path: Path) -> None:
    tally = run(hostile.cases(24, 3, tmp_path))
    assert not tally.failures
    assert tally.count == sum(tally.ends.values()) >= 24
    assert tally.ends["refused"] > tally.ends["passed over"] > 0


def test_the_fuzzer_notices_code_that_runs_and_another_error(tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    def touches() -> str:
        canary.touch()
        return "refused"

    def fails() -> str:
        raise OverflowError

    cases = [("touches", hostile.watching(touches, canary)), ("fails", fails)]
    failures = dict(run(cases).failures)
    assert failures == {"touches": "AssertionError: it ran code", "fails": "OverflowError: "}
