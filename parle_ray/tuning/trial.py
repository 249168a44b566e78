"""A trial: a run with some values in place of the configuration's, told to Tune as it goes."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ray import tune

from parle_ray.console.arguments import make_parser, read
from parle_ray.console.commands import make_trainer
from parle_ray.console.config import Config
from parle_ray.console.recipe import make_recipe
from parle_ray.runs import checkpoint
from parle_ray.runs.storage import Folder, open_folder


def configure(argv: Sequence[str], values: Mapping[str, Any]) -> Config:
    """The configuration of `argv` with these values, checked like any other.

    Raises:
        InputError: names the value that cannot be.
    """
    given = [f"--{name}={value}" for name, value in values.items()]
    return read(make_parser("tune", ""), [*argv, *given])[0]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What Tune calls with the values of one trial.

    Killed and called again it goes on from its run's last checkpoint.

    Attributes:
        argv: the configuration's arguments.
        runs: where the runs of all trials are, a folder or a URI; each has its trial's id.
        hands_over: Tune is given the checkpoints, and may start this trial from another's.
    """

    argv: tuple[str, ...]
    runs: str
    hands_over: bool

    def __call__(self, values: dict[str, Any]) -> None:
        name = tune.get_context().get_trial_id()
        config = replace(configure(self.argv, values), name=name, storage_path=self.runs)
        run = open_folder(self.runs, name)
        taken = tune.get_checkpoint()
        if taken is not None:
            with taken.as_directory() as folder:
                _start_from(run, Path(folder))
        told = Told(run if self.hands_over else None)
        make_trainer(make_recipe(config), name, on_report=told).fit()


class Told:
    """Takes the reports of a run, and tells Tune of those that have an evaluation.

    Args:
        run: where to find checkpoints to hand over; None: none are.
    """

    def __init__(self, run: Folder | None) -> None:
        self._run, self._handed_over = run, ""

    def __call__(self, report: Mapping[str, Any]) -> None:
        if "error" not in report:
            return
        names = checkpoint.names(self._run) if self._run is not None else []
        if not names or names[-1] == self._handed_over:
            tune.report(dict(report))
            return
        assert self._run is not None
        self._handed_over = names[-1]
        with tempfile.TemporaryDirectory() as folder:
            with self._run.fetch(names[-1]) as found:
                shutil.copytree(found, Path(folder, names[-1]))
            tune.report(dict(report), checkpoint=tune.Checkpoint.from_directory(folder))


def _start_from(run: Folder, folder: Path) -> None:
    """Put what Tune has kept in the place of the run's own checkpoints."""
    for name in checkpoint.names(run):
        run.remove(name)
    for name in checkpoint.names(open_folder(folder)):
        with run.keep(name) as draft:
            shutil.copytree(folder / name, draft, dirs_exist_ok=True)
