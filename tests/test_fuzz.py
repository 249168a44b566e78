"""A few of the fuzzer's cases; `python -m tests.fuzz` runs as many as you like."""

from pathlib import Path

from tests.fuzz import configs
from tests.fuzz.harness import run


def test_mutated_configurations_are_read_or_refused_in_one_message(tmp_path: Path) -> None:
    tally = run(configs.cases(25, 0, tmp_path))
    assert not tally.failures
    assert sum(tally.ends.values()) == 25
    assert min(tally.ends["read"], tally.ends["refused"]) > 0
