"""The planner's command: what it takes, measures and says."""

import json
from dataclasses import replace
from typing import Any

import pytest

from parle_ray.cli import main
from parle_ray.console import measure
from parle_ray.planning import CODECS, Scenario, predict
from parle_ray.strategies import Parle

GIVEN = (
    "plan --step_s 0.1 --num_params 11000000 --batch_size 64 --memory_bytes_per_s 5e9 "
    "--fold_bytes_per_s 3e9 --cores_per_node 2"
)


def test_the_command_predicts_what_the_library_does(
    capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    file = tmp_path / "plan.json"
    rest = "--num_replicas 6 --replicas_per_node 2 --link 1Gbit/s --latency_ms 1 --call_ms 1"
    flags = (
        "--sync_every 50 --compression int8 --encode_s_per_param 4e-9 --decode_s_per_param 3e-9 "
        "--shards 2"
    )
    status = main([*f"{GIVEN} {rest} {flags}".split(), "--json", str(file)])
    out = capsys.readouterr().out
    assert status == 0
    assert "Parle L=50 · 11,000,000 parameters · 100 ms a step · batch 64 · 1Gbit/s" in out
    assert "measured here" not in out
    assert "RECOMMENDATION for 6 replicas: --strategy.sync_every 50 --compression int8" in out
    written = json.loads(file.read_text())
    assert [row["num_replicas"] for row in written["rows"]] == [1, 2, 4, 6]
    expected = predict(
        Scenario(
            num_replicas=6,
            nodes=3,
            num_params=11_000_000,
            step_s=0.1,
            batch_size=64,
            strategy=Parle(sync_every=50),
            cores_per_node=2.0,
            link_bytes_per_s=1.25e8,
            latency_s=0.001,
            memory_bytes_per_s=5e9,
            fold_bytes_per_s=3e9,
            call_s=0.001,
            codec=replace(CODECS["int8"], encode_s_per_param=4e-9, decode_s_per_param=3e-9),
            shards=2,
            num_rounds=8,
        )
    )
    assert written["rows"][-1]["round_s"] == expected.round_s
    assert written["recommendation"]["shards"] == 2
    assert f"{expected.samples_per_s:,.0f}" in out


def test_what_is_not_given_is_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "STEPS_FOR_S", 0.0)
    monkeypatch.setattr(measure, "VECTORS_FOR_S", 0.0)
    monkeypatch.setattr(measure, "CODECS_FOR_S", 0.0)
    assert main(["plan", "--nodes", "1", "--num_replicas", "2", "--sync_every", "25"]) == 0
    assert "10,026 parameters (measured here)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("--num_replica 3", ["--num_replica", "'num_replicas'"]),
        ("--link 10Gbit", ["link", "'10Gbit'", "25Gbit/s"]),
        ("--compression int7", ["compression", "'int7'", "'int8'"]),
        ("--strategy Parl", ["strategy", "'Parle'"]),
        ("--strategy.sync_evry 3", ["strategy.sync_evry", "'sync_every'"]),
        ("--sync_every 0", ["sync_every must be >= 1, got 0"]),
        ("--nodes 2 --shards 4", ["shards must be <= nodes", "2", "4"]),
        ("--nodes 2 --replicas_per_node 2 --num_replicas 5", ["num_replicas must be <=", "4", "5"]),
        ("--decode_s_per_param 1e-9", ["decode_s_per_param", "--compression"]),
        ("--latency_ms -1", ["latency_ms must be a number >= 0", "-1.0"]),
        ("--tree maybe", ["tree", "'maybe'", "true or false"]),
        ("--json nowhere/plan.json", ["json", "nowhere/plan.json"]),
    ],
)
def test_a_mistake_is_told_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str], wrong: str, named: list[str]
) -> None:
    assert main(f"{GIVEN} {wrong}".split()) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("parle: ")
    assert told.err.count("\n") == 1
    for what in named:
        assert what in told.err
