"""Configurations: what is refused, how classes are chosen, and what a recipe makes of them."""

import math
import pickle

import pytest
import torch
import yaml

from parle_ray.compression import CODECS
from parle_ray.console.arguments import make_parser, read, to_yaml
from parle_ray.console.config import Config, DataConfig, InnerOptimizer, ModelConfig
from parle_ray.console.recipe import LearningRate, make_recipe
from parle_ray.errors import InputError, check_name
from parle_ray.schedules import Constant, Cosine, Geometric, Scoping
from parle_ray.simulate import simulate
from parle_ray.strategies import (
    STRATEGIES,
    AsynchronousEASGD,
    DiLoCo,
    ElasticSGD,
    Parle,
    StreamingDiLoCo,
)


def parse(*argv):
    return read(make_parser("parle", ""), ["--num_rounds", "4", *argv])[0]


def test_without_arguments_everything_is_the_default_of_its_class():
    assert parse() == Config(num_rounds=4)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_is_chosen_by_either_name_and_keeps_its_own_defaults(name):
    kind = STRATEGIES[name]
    assert parse("--strategy", name).strategy == kind()
    assert parse(f"--strategy={name}").strategy == kind()
    assert parse("--strategy", kind.__name__).strategy == kind()


def test_a_run_cannot_start_with_more_replicas_than_it_may_have():
    assert parse("--num_replicas", "4", "--min_replicas", "4").min_replicas == 4
    with pytest.raises(InputError, match="min_replicas must be <= num_replicas = 3, got 4"):
        parse("--min_replicas", "4")


def test_arguments_of_the_default_strategy_need_no_class_name():
    assert parse("--strategy.outer_lr", "0.3").strategy == Parle(outer_lr=0.3)


def test_a_schedule_is_a_number_or_a_class_with_arguments():
    argv = ["--strategy.gamma", "Scoping", "--strategy.gamma.initial", "50"]
    assert parse(*argv).strategy == Parle(gamma=Scoping(50.0))
    assert parse("--strategy.gamma", ".inf").strategy == Parle(gamma=math.inf)


def test_another_optimizer_does_not_inherit_the_arguments_of_sgd():
    assert parse("--optimizer", "AdamW").optimizer == InnerOptimizer("torch.optim.AdamW", {})


def test_an_argument_of_sgd_leaves_the_others_at_the_papers():
    made = parse("--optimizer.lr", "0.05").optimizer([torch.nn.Parameter(torch.zeros(1))])
    group = made.param_groups[0]
    assert (group["lr"], group["momentum"], group["nesterov"]) == (0.05, 0.9, True)
    plain = parse("--optimizer.momentum", "0").optimizer([torch.nn.Parameter(torch.zeros(1))])
    assert plain.param_groups[0]["nesterov"] is False


def test_the_command_line_wins_over_the_file(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("num_replicas: 5\ndata: {batch_size: 7, fraction: 0.5}\nstrategy: DiLoCo\n")
    config = parse("--config", str(file), "--data.batch_size", "9")
    assert config.num_replicas == 5
    assert config.data == DataConfig(batch_size=9, fraction=0.5)
    assert config.strategy == DiLoCo()


@pytest.mark.parametrize(
    "config",
    [
        Config(num_rounds=4),
        Config(
            num_epochs=3,
            data=DataConfig(name="cifar10", augment=True, held_out=100),
            model=ModelConfig(name="resnet18", args={"zero_init_residual": True}),
            strategy=Parle(gamma=Constant(3.0), rho=Geometric(2.0, 0.5), outer_lr=Cosine(0.2)),
            optimizer=InnerOptimizer("torch.optim.AdamW", {"lr": 1e-5}),
            gpus_per_replica=0.33,
            name="a-run",
        ),
        Config(num_rounds=4, strategy=ElasticSGD(rho=math.inf)),
    ],
)
def test_what_is_written_is_read_as_the_same(tmp_path, config):
    file = tmp_path / "run.yaml"
    file.write_text(to_yaml(config))
    again, _ = read(make_parser("parle", ""), ["--config", str(file)])
    assert to_yaml(again) == to_yaml(config)
    assert (again.strategy, again.data, again.model) == (config.strategy, config.data, config.model)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"num_rounds": 3, "num_epochs": 3},
        {"num_rounds": 0},
        {"num_epochs": -1},
        {"num_rounds": 3, "num_replicas": 0},
        {"num_rounds": 3, "evaluate_every": 0},
        {"num_rounds": 3, "checkpoint_every": 0},
        {"num_rounds": 3, "gpus_per_replica": -1},
        {"num_rounds": 3, "gpus_per_replica": 2.5},
        {"num_rounds": 3, "max_failures": -1},
        {"num_rounds": 3, "name": "a/b"},
    ],
)
def test_what_cannot_be_is_refused(arguments):
    with pytest.raises(InputError):
        Config(**arguments)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/tmp/x", "a b", "-x", "x" * 65, "a\n"])
def test_a_name_that_is_no_plain_folder_name_is_refused(name):
    with pytest.raises(InputError, match="storage_path"):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "run_1", "2026-11-22", "x" * 64])
def test_a_plain_name_is_kept(name):
    assert check_name(name) == name


def test_the_planned_rounds_are_those_that_the_run_has():
    config = Config(num_epochs=3, num_replicas=2, strategy=Parle(sync_every=10))
    recipe = make_recipe(config)
    assert recipe.planned_rounds == math.ceil(3 * 11 / 10)
    outcome = simulate(**recipe.arguments, num_replicas=2)
    assert len(outcome.history) == recipe.planned_rounds
    rates = [report["lr"] for report in outcome.history]
    waves = [(1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)]
    assert rates == pytest.approx([0.1 * wave for wave in waves])


@pytest.mark.parametrize("codec", [*CODECS, "auto"])
@pytest.mark.parametrize("strategy", [Parle(), StreamingDiLoCo(fragments=3), AsynchronousEASGD()])
def test_what_is_exchanged_is_counted_in_the_bytes_of_its_codes(strategy, codec):
    """Of answers to pushes that are merged one by one there are none."""
    recipe = make_recipe(Config(num_rounds=3, num_replicas=2, strategy=strategy, compression=codec))
    moved = [strategy.moves(round, recipe.num_params) for round in range(3)]
    vectors = [torch.zeros(part.stop - part.start) for part in moved]
    exact = sum(4 * len(vector) for vector in vectors)
    coder = CODECS["none" if codec == "auto" else codec]()
    coded = sum(coder.encode(vector).nbytes for vector in vectors)
    assert recipe.num_exchanged == 2 * 2 * exact / 4
    assert recipe.bytes_exchanged == 2 * (coded + (coded if strategy.synchronous else exact))


def test_steps_divide_the_rate_by_5_at_40_70_and_90_percent():
    schedule = LearningRate(kind="steps", strategy=Parle(), num_rounds=10)
    factors = [schedule.factor(k) for k in range(10)]
    assert factors == pytest.approx([1] * 4 + [0.2] * 3 + [0.04] * 2 + [0.008])


def test_held_out_images_are_taken_from_the_training_set():
    recipe = make_recipe(Config(num_rounds=1, data=DataConfig(held_out=100)))
    assert (len(recipe.train), len(recipe.test)) == (1337, 100)


def test_the_functions_travel_with_their_images_out_of_band():
    recipe = make_recipe(Config(num_rounds=1))
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(recipe.task.batches_fn, protocol=5, buffer_callback=buffers.append)
    assert len(data) < 2000
    assert sum(buffer.raw().nbytes for buffer in buffers) == 1437 * (64 + 8)
    for function in vars(recipe.task).values():
        pickle.dumps(function)


def test_a_printed_configuration_is_plain_yaml():
    printed = yaml.safe_load(to_yaml(Config(num_rounds=4)))
    assert printed["optimizer"]["class_path"] == "torch.optim.SGD"
    assert printed["strategy"]["class_path"].endswith(".Parle")
    assert printed["strategy"]["init_args"]["sync_every"] == 25
