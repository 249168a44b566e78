"""A search over a configuration: what is varied, what a trial is told, what is refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from parle_ray.cluster import placement
from parle_ray.errors import InputError
from parle_ray.runs.storage import open_folder
from parle_ray.tuning import outcome, trial
from parle_ray.tuning.command import tune as command
from parle_ray.tuning.space import parse, sample

LENGTH = "--num_rounds=20"


def test_each_kind_of_space_gives_values_of_it() -> None:
    space = parse(
        [
            "strategy.rho=loguniform(1, 16)",
            "strategy.alpha=uniform(0.5, 0.9)",
            "strategy.sync_every=choice(5, 25)",
            "data.batch_size=grid(32, 64)",
            "seed=randint(3, 5)",
        ]
    )
    drawn = sample(space)
    assert 1 <= drawn["strategy.rho"] <= 16
    assert 0.5 <= drawn["strategy.alpha"] <= 0.9
    assert drawn["strategy.sync_every"] in (5, 25)
    assert drawn["data.batch_size"] == 32
    assert drawn["seed"] in (3, 4)
    config = trial.configure([LENGTH], drawn)
    assert config.strategy.sync_every == drawn["strategy.sync_every"]
    assert config.data.batch_size == 32


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "nothing is varied; write NAME=KIND"),
        (["--vary", "strategy.rho"], "write NAME=KIND"),
        (["--vary", "strategy.rho=loguniformly(1, 2)"], "there is no 'loguniformly'.*loguniform"),
        (["--vary", "strategy.rho=uniform(1)"], "strategy.rho=uniform"),
        (["--vary", "strategy.rho=choice(__import__('os'))"], "malformed"),
        (["--vary", "seed=grid(1)", "--vary", "seed=grid(2)"], "seed: given twice"),
        (["--vary", "strategy.rhoo=grid(1)"], "rhoo"),
        (["--vary", "strategy.rho=grid(-1)"], "rho must be > 0"),
        (["--vary", "seed=grid(1)", "--num_samples", "0"], "num_samples must be >= 1"),
        (["--vary", "seed=grid(1)", "--num_samples", "many"], "num_samples"),
        (["--vary", "optimizer.lr=grid(1)", "--scheduler", "pbt"], "vary strategy.* only"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_started(
    argv: list[str], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        command([LENGTH, *argv], "parle")


def test_tune_hears_of_evaluations_and_is_handed_each_checkpoint_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[int, list[str]]] = []

    def report(metrics: dict[str, Any], checkpoint: Any = None) -> None:
        held = [f.name for f in Path(checkpoint.path).iterdir()] if checkpoint else []
        heard.append((metrics["round"], held))

    monkeypatch.setattr(trial.tune, "report", report)
    run = open_folder(tmp_path, "run")
    run.make()
    told = trial.Told(run)
    told({"round": 1})
    told({"round": 2, "error": 0.5})
    keep(run, 2)
    told({"round": 3, "error": 0.4})
    told({"round": 4, "error": 0.4})
    keep(run, 5)
    told({"round": 6, "error": 0.3})
    assert heard == [(2, []), (3, ["checkpoint_000002"]), (4, []), (6, ["checkpoint_000005"])]
    trial.Told(None)({"round": 7, "error": 0.3})
    assert heard[-1] == (7, [])


def test_a_trial_that_starts_from_anothers_checkpoint_has_no_other(tmp_path: Path) -> None:
    mine, theirs = open_folder(tmp_path, "mine"), open_folder(tmp_path, "theirs")
    for run, rounds in ((mine, (3, 9)), (theirs, (5,))):
        run.make()
        for round in rounds:
            keep(run, round)
    trial._start_from(mine, tmp_path / "theirs")
    assert mine.kept() == ["checkpoint_000005"]
    assert (tmp_path / "mine" / "checkpoint_000005" / "manifest.json").read_text() == "5"


def keep(run: Any, round: int) -> None:
    """A checkpoint as far as its folder goes."""
    with run.keep(f"checkpoint_{round:06d}") as draft:
        (draft / "manifest.json").write_text(str(round))


@pytest.mark.parametrize(("bundles", "lies"), [(2, [1, 2]), (3, [1, 2]), (1, ["DEFAULT"] * 2)])
def test_replicas_lie_in_the_placement_group_of_their_trial(
    monkeypatch: pytest.MonkeyPatch, bundles: int, lies: list[Any]
) -> None:
    group = SimpleNamespace(bundle_specs=[{"CPU": 0.1}, *[{"CPU": 1.0}] * bundles])
    monkeypatch.setattr(placement.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(placement.ray.util, "get_current_placement_group", lambda: group)
    found = placement.scheduling("PACK", {"CPU": 1.0}, 2)
    assert [getattr(one, "placement_group_bundle_index", one) for one in found] == lies


def test_the_table_has_the_best_first_and_says_what_failed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def result(rho: float, errors: list[float], error: Exception | None = None) -> Any:
        metrics = {"error": errors[-1], "loss": 0.1, "round": 9, "trial_id": f"t{rho:g}"}
        return SimpleNamespace(
            config={"rho": rho},
            metrics=metrics | {"time_total_s": 2.0} if not error else {},
            metrics_dataframe=pd.DataFrame({"error": errors}) if not error else None,
            error=error,
        )

    grid: Any = [
        result(1.0, [0.5, 0.4]),
        result(2.0, [0.2, 0.3]),
        result(3.0, [0.0], ValueError("in a trial\nlost")),
    ]
    found = outcome.frame(grid, ["rho"])
    assert list(found["rho"]) == [2.0, 1.0, 3.0]
    assert list(found["best_error"])[:2] == [0.2, 0.4]
    outcome.show(found, ["rho"], "all")
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "20.00" in line and "30.00" in line and "t2" in line]
    assert [line for line in lines if "lost" in line]
