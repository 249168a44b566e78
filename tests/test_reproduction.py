"""`python -m jobs.reproduce` without Ray: the paper's experiments, their length, the refusals."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from jobs import reproduce
from jobs.comparison.tasks import configuration
from jobs.reproduction import result
from jobs.reproduction.configure import check_data, configure, length
from jobs.reproduction.experiments import BEST, EXPERIMENTS
from parle_ray.console.config import to_dict
from parle_ray.data.catalogue import FACTS
from parle_ray.errors import InputError
from parle_ray.schedules import Plan, Scoping, Steps, at
from parle_ray.strategies import Parle

each = pytest.mark.parametrize("name", EXPERIMENTS)

PAPERS_EPOCHS = {"allcnn": 10, "lenet": 5, "wrn": 5}
"""Of Parle, L data passes each (the authors' scripts)."""


@each
def test_an_experiment_is_the_authors_parle_for_the_authors_epochs(name: str) -> None:
    experiment = EXPERIMENTS[name]
    config = configuration(experiment.config)
    strategy = config.strategy
    assert isinstance(strategy, Parle)
    assert (strategy.sync_every, strategy.alpha, strategy.reference) == (25, 0.75, "mean_z")
    run = length(config, FACTS[config.data.name].num_train, 1.0)
    epochs = PAPERS_EPOCHS[name.split("_")[0]]
    assert config.num_epochs == 25 * epochs
    assert run.rounds == epochs * run.rounds_per_epoch
    bound = strategy.bind(Plan(num_rounds=run.rounds, batches_per_pass=run.batches_per_pass))
    begins = [at(bound.outer_lr, int(run.rounds * p)) for p in (0, 0.201, 0.401, 0.601)]
    assert begins == [0.1, 0.02, 0.004, 0.001]


@each
def test_an_experiment_names_the_images_and_the_replicas_of_its_title(name: str) -> None:
    experiment = EXPERIMENTS[name]
    config = configuration(experiment.config)
    assert f"n = {experiment.num_replicas}" in experiment.title
    assert config.data.name in experiment.title.lower().replace("-", "")
    part = 0.5 if "half" in experiment.title else 0.25 if "quarter" in experiment.title else 1.0
    assert config.data.fraction == part
    assert experiment.errors["Parle"] > 0


def test_a_shorter_run_has_the_same_schedules_in_less_time() -> None:
    """1/rho is as far at the end of a tenth of the run as it was at the end of all of it."""
    ends = []
    for scale in (1.0, 0.1):
        config = configure(EXPERIMENTS["allcnn_cifar10"], scale=scale, seed=0, stand_in="digits")
        assert isinstance(config.strategy, Parle)
        assert config.num_rounds is not None
        assert isinstance(config.strategy.gamma, Scoping)
        ends.append(config.strategy.gamma(config.num_rounds))
        assert config.evaluate_every == config.num_rounds // 10
    assert ends[1] == pytest.approx(ends[0], rel=0.5)
    assert ends[0] < 2.0


def test_images_that_are_not_here_are_refused_in_a_line_that_says_where_to_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PARLE_DATA", str(tmp_path))
    assert reproduce.main(["wrn_cifar100"]) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    for part in (f"train.bin, test.bin into {tmp_path}", "--stand_in fashion_mnist or digits"):
        assert part in told
    check_data("digits", None)
    with pytest.raises(InputError, match="train_32x32"):
        check_data("svhn", str(tmp_path))


def reports() -> list[dict[str, float | None]]:
    """Four rounds, evaluated after the second and the fourth; the first was the better."""
    return [
        {
            "round": k,
            "round_s": 2.0,
            "evaluated_round": k if k % 2 == 0 else None,
            "error": 0.05 + 0.01 * k if k % 2 == 0 else None,
        }
        for k in (1, 2, 3, 4)
    ]


def test_a_result_has_the_last_error_and_the_best_and_says_which_was_published() -> None:
    run = result.of_run(reports(), 0)
    assert (run["last"], run["best"], run["train_s"]) == pytest.approx((9.0, 7.0, 8.0))
    experiment = EXPERIMENTS["wrn_cifar100"]
    found = result.summary("wrn_cifar100", experiment, "fashion_mnist", 0.1, [run])
    assert (found["last_mean"], found["best_std"], found["convention"]) == (9.0, 0.0, BEST)
    json.dumps(found)
    console = Console(width=120)
    with console.capture() as shown:
        console.print(result.table(found, 3))
    text = shown.get()
    for part in ("Parle, published", "17.64", "fashion_mnist, scale 0.1", "9.00", "whiten"):
        assert part in text


MISTAKES = {
    "": ["which experiment", "lenet_mnist"],
    "wrn_cifar1000": ["no experiment 'wrn_cifar1000'", "'wrn_cifar100'"],
    "lenet_mnist --stand_in cifar10": ["--stand_in", "fashion_mnist"],
    "lenet_mnist --seeds 0": ["--seeds must be >= 1"],
    "lenet_mnist --sale 1": ["--sale", "'--scale'"],
    "lenet_mnist --scale 0 --stand_in digits": ["--scale must be > 0"],
    "--paper splsh": ["no paper 'splsh'", "'splash'"],
    "lenet_mnist --paper splash": ["name is not for --paper"],
    "--paper splash --scale 0.1": ["scale is not for --paper"],
    "--paper splash --seeds 0": ["--seeds must be >= 1"],
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_message_and_status_2(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce.main(line.split()) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    for part in MISTAKES[line]:
        assert part in told


def test_steps_are_read_from_yaml_and_written_to_it() -> None:
    config = configuration("cifar10_wrn")
    assert isinstance(config.strategy, Parle)
    steps = config.strategy.outer_lr
    assert steps == Steps((0.1, 0.02, 0.004, 0.001), (0.2, 0.4, 0.6))
    assert to_dict(steps)["init_args"]["drops"] == [0.2, 0.4, 0.6]
