"""`ParleTrainer`: train a PyTorch model with any strategy on a Ray cluster."""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray.train import Result, RunConfig, ScalingConfig

from parle_ray.cluster import placement
from parle_ray.cluster.connect import connect
from parle_ray.cluster.supervisor import Supervisor
from parle_ray.errors import InputError, MasterLost
from parle_ray.execution import Execution
from parle_ray.progress import Progress
from parle_ray.runs import checkpoint
from parle_ray.runs.keeper import Keeper
from parle_ray.runs.reports import ARRIVALS, Report, Reports, read
from parle_ray.runs.resume import newest
from parle_ray.runs.run_folder import RunFolder, versions
from parle_ray.runs.spec import settings, spec
from parle_ray.signals import Signals
from parle_ray.strategies import Strategy
from parle_ray.stretches import check_shards
from parle_ray.task import (
    BatchesFn,
    EvaluateFn,
    LossFn,
    ModelFn,
    OptimizerFn,
    SchedulerFn,
    Task,
)
from parle_ray.tree import check_tree

Listener = Callable[[Report], None]

KEEP = 2
"""Checkpoints kept where CheckpointConfig says nothing."""


class ParleTrainer:
    """Trains n replicas of a model, each in a Ray actor of its own, coupled through a master.

    Args:
        model_fn: `() -> nn.Module`. Called with the same seed everywhere.
        loss_fn: `(module, batch) -> scalar Tensor`.
        batches_fn: `(rank, num_replicas) -> iterable of batches`, gone through again and again.
            One with `state_dict()` and `load_state_dict()` is restored by them on resume, any
            other is fast-forwarded. One with `to(device)` is told where its batches should go.
        strategy: the algorithm, such as `Parle()`.
        inner_optimizer_fn: `(parameters) -> torch.optim.Optimizer`, for the local steps.
        lr_scheduler_fn: `(optimizer) -> torch lr scheduler`, stepped once a round.
        num_rounds: length of the run in rounds of `strategy.sync_every` mini-batches.
        num_epochs: the same in passes over one replica's data; give one of the two.
        checkpoint_every: rounds; None: about once a minute. There is always one at the end.
        evaluate_fn: `(module) -> {"accuracy": ...}`, called on the master in `eval()` mode, with
            batch-norm statistics re-estimated, in a process that no replica waits for.
        evaluate_every: rounds; None: as often as takes a tenth of the time, and at the end.
        scaling_config: `num_workers` is the number of replicas; `(fewest, most)` starts with the
            fewest and grows when there is room, the data cut for the most; `use_gpu`,
            `resources_per_worker` and `placement_strategy` as in Ray Train.
        run_config: `name` and `storage_path` of the run folder, which may be a URI of any
            `pyarrow.fs` filesystem or be on `storage_filesystem`; a run with the name of an
            earlier one goes on from its last checkpoint that fits, or is refused if none does.
            `checkpoint_config.num_to_keep` (2 if not given) and `failure_config.max_failures`
            (replicas that may be lost and replaced; -1: no limit) as in Ray Train, `callbacks` too.
        compression: how vectors travel: `"none"`, exactly; `"bf16"`, `"int8"`, `"int4"`, with what
            a code loses fed back; `"auto"` measures the links and takes what pays.
        shards: actors among which the master is cut, spread over the nodes, so that a round
            takes the links of all of them; 1: the coordinator keeps it. A run may be resumed
            with another number. Where the strategy steps the master by the user's optimiser,
            parameters stay whole and the optimiser must treat each by itself, as torch's do.
        tree: k: what ranks 0 to k - 1, k to 2k - 1, ... push is folded for each such group on the
            node of its first rank, and the coordinator gets one vector of each; give the replicas
            of a node. None: it gets them all. Not with `compression` or `shards`.
        execution: device, precision, `torch.compile`, threads.
        seed: of parameters, data order and dropout.
        on_report: takes the report of each round; None shows progress.
        config: what `config.yaml` should say; None: a description of these arguments.

    Raises:
        InputError: something cannot be used as it is; the message says what to change.

    Source: Chaudhari et al., arXiv 1707.00424.
    """

    def __init__(
        self,
        model_fn: ModelFn,
        loss_fn: LossFn,
        batches_fn: BatchesFn,
        *,
        strategy: Strategy,
        inner_optimizer_fn: OptimizerFn,
        lr_scheduler_fn: SchedulerFn | None = None,
        num_rounds: int | None = None,
        num_epochs: int | None = None,
        checkpoint_every: int | None = None,
        evaluate_fn: EvaluateFn | None = None,
        evaluate_every: int | None = None,
        scaling_config: ScalingConfig | None = None,
        run_config: RunConfig | None = None,
        compression: str = "none",
        shards: int = 1,
        tree: int | None = None,
        execution: Execution | None = None,
        seed: int = 0,
        on_report: Listener | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self._scaling = scaling_config or ScalingConfig()
        self._run_config = run_config or RunConfig()
        self._task = Task(
            model_fn=model_fn,
            loss_fn=loss_fn,
            batches_fn=batches_fn,
            strategy=strategy,
            inner_optimizer_fn=inner_optimizer_fn,
            lr_scheduler_fn=lr_scheduler_fn,
            evaluate_fn=evaluate_fn,
            num_replicas=placement.num_replicas(self._scaling),
            num_rounds=num_rounds,
            num_epochs=num_epochs,
            seed=seed,
            compression=compression,
            tree=tree,
            execution=execution or Execution(),
        )
        for name, value in (
            ("checkpoint_every", checkpoint_every),
            ("evaluate_every", evaluate_every),
        ):
            if value is not None and value < 1:
                raise InputError(f"{name} must be >= 1 or None, got {value}")
        check_shards(shards, strategy, compression)
        check_tree(tree, compression, shards)
        self._shards = shards
        self._checkpoint_every, self._evaluate_every = checkpoint_every, evaluate_every
        self._on_report, self._config = on_report, dict(config or {})

    def fit(self) -> Result:
        """Train to the end.

        Returns:
            Ray Train's `Result`: `metrics` of the last round, `metrics_dataframe` of all,
            `checkpoint` (its folder has `model.safetensors`), `path` of the run folder.

        Raises:
            InputError: something cannot be used as it is.
            UserCodeError: a function of the user raised; the message has the traceback.
            Diverged: no replica has a finite parameter left.
            ClusterError: replicas or coordinator were lost for good.
            StorageError: the run folder cannot be read, or not be written any more.
            KeyboardInterrupt: SIGINT came (Ctrl-C), and `fit` runs in the main thread: the open
                round has been finished and a checkpoint written. A second one ends at once.
            SystemExit: the same for SIGTERM, with 143.
        """
        config = self._run_config
        connect()
        name = config.name or f"parle_{time.strftime('%Y-%m-%d_%H-%M-%S')}"
        folder = RunFolder(
            config.storage_path or Path.home() / "ray_results", name, config.storage_filesystem
        )
        if folder.is_local:  # what is no folder of a machine is the same from all
            placement.check_shared(Path(folder.path))
        with Signals() as signals, Progress() as progress:
            result = self._persevere(folder, signals, progress)
            if signals.caught:
                progress.say(_where(result))
            return result

    def _persevere(self, folder: RunFolder, signals: Signals, progress: Progress) -> Result:
        """Run; all anew from the last checkpoint where nobody else has the master any more."""
        failures, before = self._run_config.failure_config, -1
        while True:
            supervisor = Supervisor(
                self._task,
                name=folder.name,
                scaling=self._scaling,
                shards=self._shards,
                max_failures=failures.max_failures if failures else 0,
                say=progress.say,
                reason=signals.reason,
            )
            try:
                with supervisor:  # from here on the name is ours, and so is the folder
                    listen = self._on_report or progress.update
                    return self._run(supervisor, folder, listen, progress.say)
            except MasterLost as error:
                reported = len(read(folder.folder))
                if signals.caught or reported <= before:  # it was of no use the last time
                    raise MasterLost(
                        f"{error}; run again under the same name and storage_path to go on from "
                        "the last checkpoint"
                    ) from error
                before = reported
                progress.say(f"{error}; all start anew from the last checkpoint")

    def _run(
        self,
        supervisor: Supervisor,
        folder: RunFolder,
        listen: Listener,
        say: Callable[[str], None],
    ) -> Result:
        config, run = self._run_config, folder.folder
        processes = self._task.execution.num_processes
        resources = placement.replica_resources(self._scaling, processes)
        made_with = spec(self._task, self._config, resources)
        round, resume = newest(run, self._task, made_with, say)
        reports = Reports(run, say)
        reports.keep_until(round)
        ledger = Reports(run, say, ARRIVALS)
        if ledger.all:
            ledger.keep_until(round)
        if self._task.num_rounds is not None and round >= self._task.num_rounds:
            say(f"nothing is left to train: {round} of {self._task.num_rounds} rounds are done")
            return folder.result(reports.all)
        run.sweep(checkpoint.PREFIX)
        folder.describe(
            self._config or self._described(folder.name),
            {"command": sys.argv, "versions": versions()},
        )
        kept = config.checkpoint_config.num_to_keep if config.checkpoint_config else None
        callbacks: list[Any] = list(config.callbacks or ())
        keeper = Keeper(run, made_with, kept or KEEP, let_go=supervisor.let_go, say=say)
        with reports, ledger, keeper:
            for report in supervisor.run(
                resume=resume,
                checkpoint_every=self._checkpoint_every,
                evaluate_every=self._evaluate_every,
            ):
                cut, arrivals = report.pop("cut", None), report.pop("arrivals", None)
                news = report.get("round", 0) > reports.last_round
                if news:
                    reports.append(report)
                if news and arrivals:
                    ledger.append({"round": report["round"], "arrivals": arrivals})
                if cut is not None:
                    keeper.keep(cut)
                    reports.flush()
                    ledger.flush()
                keeper.check()
                if not news:  # a cut alone, or a round that a new coordinator has closed again
                    continue
                listen(report)
                for callback in callbacks:
                    callback.after_report(None, [report], None)
        return folder.result(reports.all)

    def _described(self, name: str) -> dict[str, Any]:
        return {"name": name, **settings(self._task), "shards": self._shards}


def _where(result: Result) -> str:
    """What there is to go on from, and what is lost, of a run that had to end early."""
    last = result.metrics["round"] if result.metrics else 0
    if result.checkpoint is None:
        return f"ended after round {last}, before there was a checkpoint"
    saved = checkpoint.round_of(Path(result.checkpoint.path).name)
    lost = f"; what came after round {saved} is lost" if saved < last else ""
    return (
        f"ended after round {last}, checkpoint {result.checkpoint.path}{lost}; run again under "
        "the same name and storage_path to go on"
    )
