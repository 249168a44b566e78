"""`python -m parle_ray flatness` on runs."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from parle_ray.cli import main
from parle_ray.console.config import Config, DataConfig, ModelConfig, to_dict
from parle_ray.console.recipe import make_recipe
from parle_ray.runs import checkpoint
from parle_ray.runs.storage import open_folder
from parle_ray.simulate import simulate
from parle_ray.strategies import SGD, Parle, Strategy, TailAveraging
from tests.cuts import Crew


def keep(folder: Path, strategy: Strategy, num_rounds: int = 2) -> dict[str, Any]:
    """A perceptron on the digits, run without Ray, in a folder as `train` leaves it; its task."""
    config = Config(
        data=DataConfig(name="digits", batch_size=64),
        model=ModelConfig(name="mlp", args={"hidden": 8}),
        strategy=strategy,
        num_replicas=2,
        num_rounds=num_rounds,
        name=folder.name,
    )
    recipe = make_recipe(config)
    crew = Crew(recipe.task.fitted_to(22))
    crew.play(num_rounds)
    run = open_folder(folder)
    run.make()
    checkpoint.save(run, num_rounds, spec={}, **crew.cut())
    run.write("config.yaml", yaml.safe_dump(to_dict(config)).encode())
    return recipe.arguments


QUICK = ["--num_examples", "100", "--measures.directions", "2", "--measures.pairs", "2"]
QUICK += ["--measures.probes", "2", "--measures.iterations", "3"]


def test_the_command_measures_runs_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = keep(tmp_path / "parle", Parle(sync_every=2))
    keep(tmp_path / "sgd", SGD())
    runs = [str(tmp_path / name) for name in ("parle", "sgd")]
    assert main(["flatness", *runs, *QUICK, "--json", str(tmp_path / "told.json")]) == 0
    told = json.loads((tmp_path / "told.json").read_text())
    assert list(told["runs"]) == runs
    parle, sgd = told["runs"].values()
    assert parle["checkpoint"] == "checkpoint_000002"
    assert [rise["radius"] for rise in parle["rise"]] == [0.1, 0.2, 0.4]
    assert len(parle["distances"]) == 2
    assert parle["num_examples"] == 100
    evaluated = parle["evaluated"]
    assert evaluated["master"]["error"] == simulate(**task, num_replicas=2).history[-1]["error"]
    assert evaluated["mean"]["test_loss"] == pytest.approx(evaluated["master"]["test_loss"])
    assert len(evaluated["replicas"]) == 2
    assert 0.0 < parle["overlaps"][0] < 1.0
    assert sgd["overlaps"] == pytest.approx([1.0])
    shown = capsys.readouterr().out
    for words in ("largest eigenvalue", "local entropy, gamma = 0.01", "Parle, 2", "SGD, 2"):
        assert words in shown


def test_it_looks_at_the_model_where_that_is_not_the_master(tmp_path: Path) -> None:
    run, said = tmp_path / "tail", tmp_path / "told.json"
    task = keep(run, TailAveraging(tail=1.0), num_rounds=6)
    assert main(["flatness", str(run), *QUICK, "--json", str(said)]) == 0
    told = json.loads(said.read_text())["runs"][str(run)]["evaluated"]["master"]
    outcome = simulate(**task | {"num_rounds": 6}, num_replicas=2)
    assert not torch.equal(outcome.model, outcome.master)
    assert told["test_loss"] == outcome.history[-1]["test_loss"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "RUN: none is given"),
        ("{}/nothing", "has no checkpoint"),
        ("{} --num_examples 0", "num_examples must be >= 1, got 0"),
        ("{} --measures.directions 0", "directions must be >= 1, got 0"),
        ("{} --measures.radii [0]", "radii: each must be > 0"),
        ("{} --measures.gammas [-1]", "gammas: each must be > 0"),
        ("{} --measure.pairs 3", "Did you mean 'measures.pairs'"),
        ("{} --checkpoint checkpoint_000009", "has checkpoint_000002, not"),
        ("{} --json {}/no/where.json", "there is no folder for"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    if "checkpoint_" in arguments:
        keep(tmp_path, Parle(sync_every=2))
    assert main(["flatness", *arguments.replace("{}", str(tmp_path)).split()]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_a_run_of_another_model_or_made_in_python_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(tmp_path, Parle(sync_every=2), num_rounds=1)
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    config["model"]["args"]["hidden"] = 9
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["flatness", str(tmp_path)]) == 2
    assert "it is of another model" in capsys.readouterr().err
    (tmp_path / "config.yaml").write_text("name: mine\nstrategy: {class: Parle}\n")
    assert main(["flatness", str(tmp_path)]) == 2
    assert "measure its model with parle_ray.flatness" in capsys.readouterr().err
