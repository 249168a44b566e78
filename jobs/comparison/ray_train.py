"""Runs of Ray Train's `TorchTrainer`, the real one."""

import os
import tempfile
import time
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.distributed as dist
from ray.train import RunConfig, ScalingConfig, get_context
from ray.train.torch import TorchTrainer, prepare_model
from torch import Tensor, nn

from jobs.comparison import loop
from jobs.comparison.budget import Walk
from jobs.comparison.cases import Case, Setup
from jobs.comparison.methods import Workers
from jobs.comparison.store import Run, extra_of
from jobs.comparison.traffic import bytes_sent
from parle_ray.cluster.placement import replica_resources
from parle_ray.console.recipe import Recipe, make_recipe
from parle_ray.execution import Execution


def run(setup: Setup, cases: Sequence[Case], scaling: ScalingConfig) -> list[Run]:
    """The cases, of one method, one after the other in the same workers.

    A case that is to be timed comes alone.
    """
    how = cases[0].how
    assert isinstance(how, Workers)
    recipes = [make_recipe(setup.configure(case)) for case in cases]
    load, began = os.getloadavg()[0], time.perf_counter()
    found = _fit(how, recipes, scaling)
    fit_s = time.perf_counter() - began
    return [
        Run(
            evaluations=[_row(how, setup.walk(case), recipe, row) for row in told],
            fit_s=fit_s if len(cases) == 1 else None,
            diverged=not told[-1]["test_loss"] < float("inf"),
            load=load,
        )
        for case, recipe, told in zip(cases, recipes, found, strict=True)
    ]


def _fit(
    how: Workers, recipes: Sequence[Recipe], scaling: ScalingConfig
) -> list[list[dict[str, float]]]:
    lengths = [(recipe.planned_rounds, recipe.config.evaluate_every) for recipe in recipes]
    tasks = [recipe.task for recipe in recipes]
    resources: dict[str, float] = replica_resources(scaling)
    with tempfile.TemporaryDirectory() as folder:
        result: Any = TorchTrainer(
            cast(Any, _train),  # Ray's annotation has no room for a returned value
            train_loop_config={"how": how, "tasks": tasks, "lengths": lengths},
            scaling_config=ScalingConfig(
                num_workers=scaling.num_workers,
                use_gpu=scaling.use_gpu,
                resources_per_worker=resources,
            ),
            run_config=RunConfig(name=f"compare_{time.time_ns()}", storage_path=folder),
        ).fit()
    found: list[list[dict[str, float]]] = result.return_value
    return found


def _row(how: Workers, walk: Walk, recipe: Recipe, told: dict[str, float]) -> dict[str, float]:
    """An evaluation as it is kept."""
    step = int(told["step"])
    return {
        "gradients": walk.workers * walk.batch_size * step,
        "train_s": told["train_s"],
        "bytes_sent": bytes_sent(how, walk.workers, recipe.num_params, step),
        "error": told["error"],
        "test_loss": told["test_loss"],
        **extra_of(told),
    }


def _train(config: dict[str, Any]) -> list[list[dict[str, float]]]:
    """In a worker: the evaluations of each task, at rank 0."""
    how: Workers = config["how"]
    context = get_context()
    place = loop.Place(
        rank=context.get_world_rank(),
        workers=context.get_world_size(),
        wrap=prepare_model if how.together == "ddp" else _on_device,
        gather=_gather,
    )
    found = []
    for task, (steps, every) in zip(config["tasks"], config["lengths"], strict=True):
        execution: Execution = task.execution
        with execution.threads():
            found.append(loop.walk(task, how, place, steps=steps, every=every))
        if dist.is_initialized():
            dist.barrier()
    return found


def _on_device(module: nn.Module) -> nn.Module:
    return prepare_model(module, parallel_strategy=None)


def _gather(vector: Tensor) -> list[Tensor]:
    if not dist.is_initialized():  # a worker alone
        return [vector]
    vectors = [torch.empty_like(vector) for _ in range(dist.get_world_size())]
    dist.all_gather(vectors, vector)
    return vectors
