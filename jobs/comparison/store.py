"""A file a run, so that what is done is not done again."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from jobs.comparison.cases import Case
from parle_ray.errors import InputError
from parle_ray.runs.spec import dotted

AnyCase = TypeVar("AnyCase", bound=Case)

EXTRA = ("bits_per_byte",)
"""Metrics of an evaluation that only some tasks have."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What was seen of a run.

    Attributes:
        evaluations: in order, each with gradients (of single examples, all workers), train_s
            (seconds of training, start and end left out), bytes_sent (all processes), error,
            test_loss, and those of `EXTRA` that the task has; empty where the run diverged before
            one.
        fit_s: seconds from the call that starts the run to its end, evaluations included.
        diverged: the parameters became NaN or infinite.
        late: pushes that came late and faults, where replicas exchange.
        load: the machine's load average before.
    """

    evaluations: list[dict[str, float]]
    fit_s: float | None = None
    diverged: bool = False
    late: int = 0
    load: float = 0.0

    @property
    def score(self) -> tuple[float, float]:
        """Final error and loss; what is lower is better, and what diverged is last."""
        last = self.evaluations[-1] if self.evaluations else None
        if self.diverged or last is None or not last["test_loss"] < float("inf"):
            return float("inf"), float("inf")
        return last["error"], last["test_loss"]


class Store:
    """The runs of a comparison in a folder.

    Args:
        folder: made if missing.
        settings: what all its runs share, as JSON has it.

    Raises:
        InputError: the folder has runs of other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        file, told = folder / "settings.json", json.loads(json.dumps(settings))
        if file.exists():
            old, new = dict(dotted(json.loads(file.read_text()))), dict(dotted(told))
            differ = sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k))
            if differ:
                raise InputError(
                    f"--out {folder} has a comparison with other settings ({', '.join(differ)}); "
                    "name another folder, or remove it"
                )
        _write(file, told)

    def missing(self, cases: Iterable[Case]) -> list[Case]:
        """Those of the cases that have not been run."""
        return [case for case in cases if not self._file(case).exists()]

    def keep(self, case: Case, run: Run) -> None:
        """Write a run down; it is there as a whole or not at all."""
        _write(self._file(case), {"case": case.to_dict(), "run": asdict(run)})

    def read(self, cases: Iterable[AnyCase]) -> dict[AnyCase, Run]:
        """Those of the cases that have been run."""
        return {
            case: Run(**json.loads(self._file(case).read_text())["run"])
            for case in cases
            if self._file(case).exists()
        }

    def _file(self, case: Case) -> Path:
        return self.folder / "runs" / f"{case.key}.json"


def frame(runs: Mapping[Case, Run]) -> pd.DataFrame:
    """One row a method, length, seed and evaluation."""
    columns = ["method", "length", "seed", "lr", "evaluation", "gradients", "train_s", "bytes_sent"]
    columns += ["error", "test_loss", *_extra(runs), "fit_s", "diverged", "late", "load"]
    rows = [
        {
            "method": case.method,
            "length": case.length,
            "seed": case.seed,
            "lr": case.lr,
            "evaluation": i,
            **evaluation,
            "fit_s": run.fit_s,
            "diverged": run.diverged,
            "late": run.late,
            "load": run.load,
        }
        for case, run in runs.items()
        for i, evaluation in enumerate(run.evaluations)
    ]
    return pd.DataFrame(rows, columns=columns)


def extra_of(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those of an evaluation's metrics that only some tasks have."""
    return {name: metrics[name] for name in EXTRA if name in metrics}


def _extra(runs: Mapping[Case, Run]) -> list[str]:
    evaluated = [evaluation for run in runs.values() for evaluation in run.evaluations]
    return [name for name in EXTRA if any(name in evaluation for evaluation in evaluated)]


def _write(file: Path, content: Any) -> None:
    fresh = file.with_suffix(".part")
    fresh.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(fresh, file)
