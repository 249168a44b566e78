"""Runs of `ParleTrainer`; candidates of the search run in one process each, to the same bits."""

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from ray.train import FailureConfig, RunConfig, ScalingConfig

from jobs.comparison.budget import Walk
from jobs.comparison.cases import Case, Setup
from jobs.comparison.recorded import Recorded, by_round, evaluations
from jobs.comparison.store import Run
from parle_ray.console.recipe import Recipe, make_recipe
from parle_ray.errors import Diverged
from parle_ray.simulate import simulate
from parle_ray.trainer import ParleTrainer


def run(setup: Setup, case: Case, scaling: ScalingConfig) -> Run:
    """A run on the cluster, timed."""
    recipe, walk = _prepared(setup, case)
    reports: list[dict[str, Any]] = []
    load, began = os.getloadavg()[0], time.perf_counter()
    diverged = False
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "evaluations"
        try:
            _trainer(recipe, scaling, Recorded(recipe.task.evaluate_fn, record), reports).fit()
        except Diverged:
            diverged = True
        fit_s = time.perf_counter() - began
        recorded = record.read_text().splitlines() if record.exists() else []
    every = recipe.config.evaluate_every or 1
    faults = max((report["faults"] for report in reports), default=0)
    told = by_round(reports, [json.loads(line) for line in recorded], every)
    return Run(
        evaluations=evaluations(reports, told, walk, recipe.config.strategy.steps(0)),
        fit_s=fit_s,
        diverged=diverged,
        late=faults + sum(report["late"] for report in reports),
        load=load,
    )


def score(setup: Setup, case: Case) -> Run:
    """A candidate of the search, in this process, evaluated at its end."""
    recipe, walk = _prepared(setup, case)
    try:
        history = simulate(**recipe.arguments, num_replicas=walk.workers).history
    except Diverged:
        return Run(evaluations=[], diverged=True)
    reports = [report | {"round_s": 0.0, "bytes_sent": 0} for report in history]
    last = {len(reports): reports[-1]}
    return Run(evaluations=evaluations(reports, last, walk, recipe.config.strategy.steps(0)))


def _trainer(
    recipe: Recipe, scaling: ScalingConfig, evaluate_fn: Recorded, reports: list[dict[str, Any]]
) -> ParleTrainer:
    return ParleTrainer(
        **recipe.arguments | {"evaluate_fn": evaluate_fn},
        checkpoint_every=recipe.planned_rounds,
        scaling_config=ScalingConfig(
            num_workers=recipe.config.num_replicas,
            use_gpu=scaling.use_gpu,
            resources_per_worker=scaling.resources_per_worker,
        ),
        run_config=RunConfig(
            name=f"compare_{time.time_ns()}",
            storage_path=str(evaluate_fn.file.parent),
            failure_config=FailureConfig(max_failures=-1),
        ),
        on_report=reports.append,
    )


def _prepared(setup: Setup, case: Case) -> tuple[Recipe, Walk]:
    return make_recipe(setup.configure(case)), setup.walk(case)
