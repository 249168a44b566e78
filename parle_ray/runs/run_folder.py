"""The folder of a run: what is in it, and who may write there.

storage_path/name/
    config.yaml           what was asked for; from the command line, as `--config` reads it
    environment.json      the versions that ran, and the command
    result.json           one JSON line a round, readable while it runs: see `reports`
    arrivals.json         of an asynchronous strategy, the ledger: see `Entry.arrivals`
    metrics.parquet       the same as a table, when the run ends
    checkpoint_000040/    see `checkpoint`
"""

import io
import json
import secrets
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import ray
import torch
import yaml
from pyarrow.fs import FileSystem
from ray.train import Checkpoint, Result

from parle_ray.errors import InputError, StorageError, check_name
from parle_ray.runs import checkpoint
from parle_ray.runs.storage import LocalFolder, open_folder


class RunFolder:
    """Reads and writes one run's folder.

    Args:
        storage_path: the folder above, or its URI; made if missing.
        name: of the run.
        filesystem: on which `storage_path` is; None: that of the URI, or of this machine.

    Attributes:
        folder: with the verbs of `parle_ray.runs.storage`.

    Raises:
        InputError: the folder cannot be written to, or is on a kind of storage we cannot use.
    """

    def __init__(
        self, storage_path: str | Path, name: str, filesystem: FileSystem | None = None
    ) -> None:
        self.folder = open_folder(storage_path, check_name(name), filesystem)
        try:
            self.folder.make()
            trial = f".writable-{secrets.token_hex(4)}"  # nobody else's: two may come at once
            self.folder.write(trial, b"")
            self.folder.remove(trial)
        except (OSError, ValueError) as error:  # ValueError: of a NUL
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"storage_path: {self.folder} cannot be written to ({reason}); "
                "give a folder that you may write to"
            ) from error

    @property
    def path(self) -> str:
        """On the filesystem of `folder`."""
        return self.folder.path

    @property
    def name(self) -> str:
        """Of the run."""
        return self.folder.name

    @property
    def is_local(self) -> bool:
        """It is a folder of this machine, which others may not see."""
        return isinstance(self.folder, LocalFolder)

    def describe(self, config: dict[str, Any], environment: dict[str, Any]) -> None:
        """Say what was asked for, and with what it runs."""
        self._write("config.yaml", yaml.safe_dump(config, sort_keys=False).encode())
        self._write("environment.json", json.dumps(environment, indent=1).encode() + b"\n")

    def result(self, reports: list[dict[str, Any]]) -> Result:
        """What `fit` returns; writes `metrics.parquet`, one row a round, one column a metric.

        Raises:
            StorageError: it cannot be written.
        """
        table, content = pd.DataFrame(reports), io.BytesIO()
        table.to_parquet(content)
        self._write("metrics.parquet", content.getvalue())
        by_round = {report["round"]: report for report in reports}
        filesystem = self.folder.filesystem
        kept = [
            (
                Checkpoint(f"{self.path}/{name}", filesystem),
                by_round.get(checkpoint.round_of(name), {}),
            )
            for name in checkpoint.names(self.folder)
        ]
        return Result(
            metrics=reports[-1] if reports else None,
            checkpoint=kept[-1][0] if kept else None,
            error=None,
            path=self.path,
            metrics_dataframe=table,
            best_checkpoints=kept,
            _storage_filesystem=filesystem,
        )

    def _write(self, name: str, content: bytes) -> None:
        try:
            self.folder.write(name, content)
        except OSError as error:
            raise StorageError(f"{self.path}/{name} cannot be written: {error}") from error


def versions() -> dict[str, str]:
    """Of what a run's figures depend on."""
    return {
        "python": sys.version.split()[0],
        "ray": ray.__version__,
        "torch": str(torch.__version__),
    }
