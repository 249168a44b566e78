"""`python -m parle_ray flatness RUN [RUN ...]`: how flat the loss is where runs ended."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from torch import Tensor

from parle_ray.console.finished import config_of
from parle_ray.console.flatness_config import FlatnessConfig, read_flatness
from parle_ray.console.flatness_table import table
from parle_ray.console.recipe import Recipe, make_recipe
from parle_ray.data import in_order
from parle_ray.data.scores import loss_and_error
from parle_ray.errors import StorageError
from parle_ray.evaluate import Evaluator
from parle_ray.flatness import (
    Landscape,
    distances,
    evaluate_replicas,
    measure,
    overlaps,
)
from parle_ray.runs.solution import Solution, read_solution
from parle_ray.runs.storage import Folder, open_folder

BATCH = 128
"""Examples at once, which bounds the memory of a second derivative."""
OTHERWISE = "measure its model with parle_ray.flatness"
LINE = 88
"""Of a table: narrower terminals break its lines."""


def flatness(argv: Sequence[str], prog: str) -> None:
    """Measure how flat the loss is around the masters of finished runs, and compare them.

    Of each run's newest checkpoint: loss along random directions, the Hessian's largest
    eigenvalue and trace, smoothed loss and local entropy, and how the replicas lie and err.
    """
    asked = read_flatness(argv, f"{prog} flatness", flatness.__doc__ or "")
    told = {run: _of_run(open_folder(run), asked) for run in asked.runs}
    console = Console(width=max(LINE, Console().width))
    short = len({Path(run).name for run in told}) == len(told)
    console.print(table({Path(run).name if short else run: told[run] for run in told}))
    if asked.json is not None:
        settings = {k: v for k, v in asdict(asked).items() if k not in ("runs", "json")}
        _write(Path(asked.json), {"settings": settings, "runs": told})


def _of_run(run: Folder, asked: FlatnessConfig) -> dict[str, Any]:
    """All figures of a run, as JSON has them."""
    solution = read_solution(run, asked.checkpoint)
    config = config_of(run, OTHERWISE)
    execution = replace(config.execution, device=asked.device, compile=False)
    recipe = make_recipe(replace(config, execution=execution))
    with execution.threads():
        landscape, num_examples = _landscape(recipe, solution, asked.num_examples)
        x = landscape.flat.vector.clone()
        told = {
            "checkpoint": Path(solution.name).name,
            "round": solution.round,
            "strategy": type(config.strategy).__name__,
            "num_params": x.numel(),
            "num_examples": num_examples,
            **measure(landscape, x, asked.measures),
        }
        return told | _of_replicas(recipe, solution, x.cpu())


def _of_replicas(recipe: Recipe, solution: Solution, model: Tensor) -> dict[str, Any]:
    """Where they stand, and the evaluation of the model and of all that they make together."""
    evaluator = Evaluator(recipe.task)
    replicas = list(solution.replicas.values())
    told: dict[str, Any] = {
        "distances": distances(replicas, solution.master),
        "overlaps": overlaps(replicas),
        "evaluated": {"master": evaluator.evaluate(model)},
    }
    if replicas:
        told["evaluated"] |= evaluate_replicas(evaluator, replicas)
    return told


def _landscape(recipe: Recipe, solution: Solution, wanted: int) -> tuple[Landscape, int]:
    """The loss on so many examples of the training set, evenly spread over it."""
    train, task = recipe.train, recipe.task
    num = min(wanted, len(train))
    part = train.take(np.arange(num) * len(train) // num)
    device = task.execution.resolve_device()
    flat = task.build(device)
    solution.place(flat)
    batches = in_order(part, min(BATCH, part.at_once))
    looked_at = [task.execution.place(batch, device) for batch in batches]
    return Landscape(flat, loss_and_error, looked_at), num


def _write(path: Path, content: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise StorageError(f"json: {path} cannot be written: {error.strerror}") from error
