"""The folder of a run: what is in it, and who may write there.

storage_path/name/
    config.yaml           what was asked for; from the command line, as `--config` reads it
    environment.json      the versions that ran, and the command
    result.json           one JSON line a round, readable while it runs
    metrics.parquet       the same as a table, when the run ends
    checkpoint_000040/    see `parle_ray.checkpoint`
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from parle_ray.errors import InputError, StorageError, check_name


class RunFolder:
    """Reads and writes one run's folder.

    Args:
        storage_path: the folder above; made if missing.
        name: of the run.

    Raises:
        InputError: the folder cannot be written to, or is on a kind of storage we cannot use.
    """

    def __init__(self, storage_path: str | Path, name: str) -> None:
        if "://" in str(storage_path):
            raise InputError(
                f"storage_path: {str(storage_path)!r} is a URI; give a local or mounted folder"
            )
        self.path = Path(storage_path).expanduser().absolute() / check_name(name)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable"
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise InputError(
                f"storage_path: {self.path} cannot be written to ({error.strerror}); "
                "give a folder that you may write to"
            ) from error

    def describe(self, config: dict[str, Any], environment: dict[str, Any]) -> None:
        """Say what was asked for, and with what it runs."""
        (self.path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        (self.path / "environment.json").write_text(json.dumps(environment, indent=1) + "\n")

    def reports(self) -> list[dict[str, Any]]:
        """The lines of `result.json`; a torn last line, left by a kill, is passed over."""
        file = self.path / "result.json"
        found = []
        for line in file.read_text().splitlines() if file.exists() else []:
            try:
                found.append(json.loads(line))
            except ValueError:
                break
        return found

    def keep_reports_until(self, round: int) -> list[dict[str, Any]]:
        """Drop the lines after `round`, which a resumed run will write again; those that stay."""
        kept = [report for report in self.reports() if report["round"] <= round]
        draft = self.path / ".result.json.part"
        draft.write_text("".join(json.dumps(report) + "\n" for report in kept))
        draft.rename(self.path / "result.json")
        return kept

    def append(self, report: dict[str, Any]) -> None:
        """One more line of `result.json`.

        Raises:
            StorageError: the disk is full or gone.
        """
        try:
            with (self.path / "result.json").open("a") as file:
                file.write(json.dumps(report) + "\n")
        except OSError as error:
            raise StorageError(f"{self.path}/result.json cannot be written: {error}") from error

    def write_table(self, reports: list[dict[str, Any]]) -> pd.DataFrame:
        """`metrics.parquet`: one row a round, one column a metric."""
        table = pd.DataFrame(reports)
        draft = self.path / ".metrics.parquet.part"
        table.to_parquet(draft)
        draft.rename(self.path / "metrics.parquet")
        return table

    def prune(self, checkpoints: list[Path], keep: int) -> None:
        """Remove all but the last `keep` of `checkpoints`."""
        for folder in checkpoints[: max(0, len(checkpoints) - keep)]:
            shutil.rmtree(folder, ignore_errors=True)
