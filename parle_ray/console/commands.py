"""What `train`, `simulate`, `quickstart` and `strategies` do, each given its arguments."""

import importlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyarrow.fs import LocalFileSystem

from parle_ray.cli import COMMANDS, no_arguments
from parle_ray.console.arguments import make_parser, read, to_yaml
from parle_ray.console.config import Config, to_dict
from parle_ray.console.recipe import Recipe, make_recipe
from parle_ray.console.summary import amounts, header, outcome, traffic
from parle_ray.progress import Progress

QUICKSTART = Path(__file__).with_name("quickstart.yaml")


def train(argv: Sequence[str], prog: str) -> None:
    """Train on a Ray cluster, or on one started here for the run."""
    config = _configure(argv, f"{prog} train", train.__doc__)
    if config is not None:
        _train(config, "train")


def quickstart(argv: Sequence[str], prog: str) -> None:
    """Train three replicas on the bundled digits: less than a minute. Takes train's arguments."""
    argv = ["--config", str(QUICKSTART), *argv]
    config = _configure(argv, f"{prog} quickstart", quickstart.__doc__)
    if config is None:
        return
    _train(config, "quickstart")
    print(
        f"  next     {prog} live, which shows this run in the browser\n"
        f"           {prog} train --data.name fashion_mnist --model.name lenet --num_epochs 12\n"
        f"           your own network: --model.name package.module:callable; all settings: "
        f"{prog} train --help"
    )


def simulate(argv: Sequence[str], prog: str) -> None:
    """The same run in this one process, without Ray: the bits are those of train."""
    config = _configure(argv, f"{prog} simulate", simulate.__doc__)
    if config is None:
        return
    from parle_ray.simulate import simulate as run

    recipe = make_recipe(config)
    print(header(recipe, f"{config.execution.resolve_device().type.upper()}, one process"))
    with Progress() as progress:
        told = run(
            **recipe.arguments,
            num_replicas=config.num_replicas,
            on_round=lambda report: progress.update(report | {"num_rounds": recipe.planned_rounds}),
        )
    moved = traffic(recipe, recipe.planned_rounds, recipe.bytes_exchanged)
    print(outcome(told.history[-1], moved))


def strategies(argv: Sequence[str], prog: str) -> None:
    """List the algorithms: name, equation, what travels in a round, source."""
    from parle_ray.strategies import STRATEGIES

    no_arguments(argv, f"{prog} strategies", strategies.__doc__)
    for name in sorted(STRATEGIES):
        kind, usual = STRATEGIES[name], STRATEGIES[name]()
        up, down = kind.travels
        much, back = amounts(usual)
        steps = f"{usual.steps(0)} steps" if usual.steps(0) > 1 else "step"
        hidden = ", behind the next round" if usual.overlaps else ""
        print(f"{kind.__name__:<17} {kind.equation}")
        print(f"{'':<17} every {steps}: {much} vector up ({up}), {back} down ({down}){hidden}")
        print(f"{'':<17} {kind.source}")
    print(f"\nTheir arguments: {prog} train --strategy.help Parle")


def _configure(argv: Sequence[str], prog: str, help: str | None) -> Config | None:
    """The configuration; None if it has been printed and nothing is to be run."""
    config, only_print = read(make_parser(prog, help or ""), argv)
    if only_print:
        sys.stdout.write(to_yaml(config))
        return None
    return config


def _train(config: Config, command: str) -> None:
    recipe = make_recipe(config)
    trainer = make_trainer(recipe, name_of_run(config, command))
    result = trainer.fit()
    reports = result.metrics_dataframe
    assert reports is not None
    assert result.metrics is not None
    moved = traffic(recipe, len(reports), int(reports["bytes_sent"].sum()))
    print(outcome(result.metrics, moved, result, _report(result)))


def _report(result: Any) -> Path | None:
    """The page with the figures of a run that ended; None where its folder is not here.

    A run does not fail for want of it.
    """
    if not isinstance(result.filesystem, LocalFileSystem):
        return None
    try:
        page: Path = importlib.import_module(COMMANDS["report"][0]).write([result.path])
    except (ImportError, OSError) as error:
        print(f"no report: {error}", file=sys.stderr)
        return None
    return page


def name_of_run(config: Config, command: str) -> str:
    """The one that is given, or the command and the time."""
    return config.name or f"{command}_{time.strftime('%Y-%m-%d_%H-%M-%S')}"


def make_trainer(
    recipe: Recipe,
    name: str,
    callbacks: Sequence[Any] = (),
    on_report: Callable[[Mapping[str, Any]], None] | None = None,
) -> Any:
    """The `ParleTrainer` of a recipe, after its header line; connects to Ray.

    Args:
        callbacks: of `RunConfig`.
        on_report: takes the report of each round; None shows progress.
    """
    config = recipe.config
    device = f"{config.gpus_per_replica:g} GPU each" if config.gpus_per_replica else "CPU"
    if config.execution.num_processes > 1:
        shared_by = "".join(f" ({name})" for name in config.execution.shared_by)
        device += f", {config.execution.num_processes} processes each{shared_by}"
    print(header(recipe, device), flush=True)
    from ray.train import FailureConfig, RunConfig

    from parle_ray.cluster.connect import connect
    from parle_ray.trainer import ParleTrainer

    connect(config.address)
    return ParleTrainer(
        **recipe.arguments,
        checkpoint_every=config.checkpoint_every,
        shards=config.shards,
        config=to_dict(config),
        on_report=on_report,
        scaling_config=scaling_of(config),
        run_config=RunConfig(
            name=name,
            storage_path=config.storage_path,
            failure_config=FailureConfig(
                max_failures=-1 if config.max_failures is None else config.max_failures
            ),
            callbacks=list(callbacks),
        ),
    )


def scaling_of(config: Config) -> Any:
    """Ray Train's `ScalingConfig`."""
    from ray.train import ScalingConfig

    asked = {"CPU": config.cpus_per_replica, "GPU": config.gpus_per_replica or None}
    num_workers: Any = config.num_replicas
    if config.min_replicas is not None:
        num_workers = config.min_replicas, config.num_replicas
    return ScalingConfig(
        num_workers=num_workers,
        use_gpu=config.gpus_per_replica > 0,
        resources_per_worker={name: amount for name, amount in asked.items() if amount is not None},
    )
