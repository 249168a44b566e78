"""What Prometheus is told has one table of names, and boards and rules ask for nothing else."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from dashboards.grafana.build import BOARD, build
from dashboards.grafana.panels import PANELS
from parle_ray.cluster import meters
from parle_ray.cluster.meters import Meters
from parle_ray.learner import Answer
from parle_ray.metrics import PREFIX, SERIES, UNITS

FOLDER = Path(__file__).parent.parent / "dashboards" / "prometheus"
RAYS_OWN = {"ray_object_store_memory"}
EXPORTED = {told for name, series in SERIES.items() for told in series.exported(name)}

Told = list[tuple[str, float, dict[str, str]]]


class Run:
    """Rounds of two replicas, told to somebody who writes down what he is told."""

    def __init__(self, tell_s: float = 0.0) -> None:
        self.told: Told = []
        self.now = self.round = 0.0
        self._tell_s = tell_s
        self._meters = Meters("mine", self._tell, lambda: self.now)

    def _tell(self, name: str, value: float, tags: dict[str, str]) -> None:
        self.told.append((name, value, tags))
        self.now += self._tell_s

    def close(self, seconds: float, ranks: tuple[int, ...] = (0, 1), **changes: Any) -> None:
        """A round that took so long."""
        self.now += seconds
        self.round += 1
        last = changes.pop("last", False)
        times = {"stall_s": 0.1, "exchange_s": None if self.round == 1 else 0.2, "walk_s": seconds}
        report = dict.fromkeys(UNITS, 0.5) | {"round": self.round, "num_rounds": 9}
        report |= {"evaluated_round": 1, "round_s": seconds, "bytes_sent": 100} | changes
        answers = {r: Answer(None, loss=0.5, num_samples=10, lr=0.1) for r in ranks}
        self._meters.round(report, answers, dict.fromkeys(ranks, times), last=last)

    def values(self, name: str) -> list[float]:
        return [value for told, value, _ in self.told if told == name]


def test_the_table_names_each_series_once_with_its_unit_and_help() -> None:
    assert len(SERIES) >= 25
    assert UNITS.keys() <= SERIES.keys()
    assert len(EXPORTED) == sum(len(s.exported(name)) for name, s in SERIES.items())
    for name, series in SERIES.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
        assert series.unit
        assert series.help
        made = meters._meter(name)  # Ray takes it
        assert made.info["name"] == PREFIX + name


def test_a_run_tells_all_of_the_table_and_nothing_else() -> None:
    run = Run()
    run.close(1.0, refusals=["round 0: ..."])
    run.close(1.0, last=True)
    assert {name for name, _, _ in run.told} == set(SERIES)
    for name, value, tags in run.told:
        assert isinstance(value, float | int)
        assert tags.keys() == set(SERIES[name].tags)
        assert tags["run"] == "mine"


def test_it_tells_once_a_second_and_counts_what_came_in_between() -> None:
    run = Run()
    for _ in range(28):
        run.close(0.125)
    assert run.values("round") == [1, 9, 17, 25]
    assert run.values("rounds") == [1, 8, 8, 8]
    assert run.values("bytes") == [100, 800, 800, 800]
    assert len(run.values("round_duration_s")) == 25
    run.close(0.125, last=True)
    assert run.values("samples") == [20, 160, 160, 160, 80]


def test_telling_takes_a_hundredth_of_the_time_at_most() -> None:
    run = Run(tell_s=1e-4)
    for _ in range(1000):
        run.close(0.1)
    assert 0 < len(run.told) * 1e-4 < 0.011 * run.now


def test_a_replica_that_did_not_answer_is_not_up() -> None:
    run = Run()
    run.close(1.0)
    run.close(1.0, ranks=(0,))
    newest = {tags["replica"]: v for name, v, tags in run.told if name == "replica_up"}
    assert newest == {"0": 1.0, "1": 0.0}


def test_the_board_is_what_build_makes() -> None:
    assert BOARD.read_text() == build(), "run python -m dashboards.grafana.build"


def expressions() -> Iterator[str]:
    for panel in PANELS:
        for expression in panel.queries.values():
            yield expression.replace("$__rate_interval", "1m")
    for group in yaml.safe_load((FOLDER / "parle_rules.yml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def test_every_expression_parses_and_asks_for_what_there_is() -> None:
    asked = set()
    for expression in expressions():
        promql_parser.parse(expression)
        names = set(re.findall(r"\bray_\w+", expression))
        assert names
        assert names <= EXPORTED | RAYS_OWN
        asked |= names
    assert len(asked & EXPORTED) >= 25


@pytest.mark.skipif(shutil.which("promtool") is None, reason="apt-get install prometheus")
def test_the_rules_do_what_their_own_tests_say() -> None:
    for command in ("check config --syntax-only prometheus.yml", "test rules parle_rules_test.yml"):
        told = subprocess.run(
            ["promtool", *command.split()], cwd=FOLDER, capture_output=True, text=True, timeout=30
        )
        assert told.returncode == 0, told.stdout + told.stderr
