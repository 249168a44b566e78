"""`python -m parle_ray tune`: a search over the values of a configuration."""

import argparse
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from parle_ray.cluster import placement
from parle_ray.cluster.connect import connect
from parle_ray.console import own
from parle_ray.console.commands import name_of_run, scaling_of
from parle_ray.console.parser import Parser
from parle_ray.console.recipe import make_recipe
from parle_ray.console.summary import header
from parle_ray.errors import InputError
from parle_ray.runs.storage import open_folder
from parle_ray.tuning import outcome
from parle_ray.tuning.search import Search
from parle_ray.tuning.space import EXAMPLE, parse, sample
from parle_ray.tuning.trial import Trial, configure

HELD_OUT = 0.2
"""The part of the training images on which trials are judged, 10,000 images at most."""
PARTS = 10
"""Evaluations of a trial where nothing is said: a scheduler may decide as often."""


def tune(argv: Sequence[str], prog: str) -> int:
    """Search for the values of a configuration that give the lowest error on held-out data.

    Takes train's arguments too. Each trial is a run of its own, in a placement group of its own.
    Killed and run again under the same --name, the search goes on, and each of its runs. Ends
    with status 1 if a trial failed.
    """
    given = own.split(_parser(prog), argv)
    if given is None:
        return 0
    asked, config, rest = given
    space = _space(asked)
    name, storage = name_of_run(config, "tune"), _absolute(config.storage_path)
    recipe = make_recipe(config)
    interval = config.evaluate_every or max(1, recipe.planned_rounds // PARTS)
    rest = [*rest, f"--evaluate_every={interval}"]
    if config.data.held_out is None:
        rest.append(f"--data.held_out={min(10_000, int(HELD_OUT * len(recipe.train)))}")
    if asked.scheduler == "pbt":
        rest.append(f"--checkpoint_every={interval}")
    recipe = make_recipe(configure(rest, sample(space)))
    print(header(recipe, f"{asked.num_samples} trials over {', '.join(space)}"), flush=True)
    connect(config.address, logs=False)
    resources = placement.replica_resources(scaling_of(config), config.execution.num_processes)
    placement.check_room(resources, config.num_replicas)
    if "CPU" in resources:  # of all the cluster's, if nothing was said; a trial must ask the same
        rest.append(f"--cpus_per_replica={resources['CPU']:g}")
    runs = f"{storage}/{name}_runs"
    search = Search(
        trial=Trial(argv=tuple(rest), runs=runs, hands_over=asked.scheduler == "pbt"),
        space=space,
        num_samples=asked.num_samples,
        scheduler=asked.scheduler,
        num_rounds=recipe.planned_rounds,
        interval=interval,
        resources=resources,
        num_replicas=config.num_replicas,
        storage_path=storage,
        name=name,
    )
    if search.begun:
        print(f"  going on with the search {storage}/{name}", flush=True)
    trials = outcome.frame(search.run(), list(space))
    _keep(trials, storage, name)
    outcome.show(trials, list(space), f"lowest error on {len(recipe.test):,} held-out images")
    print(f"  table    {storage}/{name}/trials.parquet\n  runs     {runs}")
    return 1 if trials["failed"].notna().any() else 0


def _parser(prog: str) -> Parser:
    parser = Parser(f"{prog} tune [TRAIN'S ARGUMENTS]", tune.__doc__ or "")
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="NAME=KIND(VALUES)",
        help="one value of the configuration, again for the next; a KIND is grid, choice, uniform, "
        "loguniform or randint",
    )
    parser.add_argument("--num_samples", type=int, default=8, help="trials, or times the grid: 8")
    parser.add_argument(
        "--scheduler",
        choices=["none", "asha", "pbt"],
        default="asha",
        help="asha ends the worse half early, again and again; pbt goes on from the better ones",
    )
    return parser


def _space(asked: argparse.Namespace) -> Mapping[str, Any]:
    space = parse(asked.vary)
    if not space:
        raise InputError(f"--vary: nothing is varied; {EXAMPLE}")
    if asked.num_samples < 1:
        raise InputError(f"--num_samples must be >= 1, got {asked.num_samples}")
    kept = [name for name in space if not name.startswith("strategy.")]
    if asked.scheduler == "pbt" and kept:
        raise InputError(
            f"--vary {kept[0]}: pbt goes on from checkpoints, which have it as it was; vary "
            "strategy.* only, or take --scheduler asha"
        )
    return space


def _absolute(storage_path: str) -> str:
    if "://" in storage_path:
        return storage_path.rstrip("/")
    return str(Path(storage_path).expanduser().absolute())


def _keep(trials: Any, storage: str, name: str) -> None:
    content = io.BytesIO()
    trials.to_parquet(content)
    open_folder(storage, name).write("trials.parquet", content.getvalue())
