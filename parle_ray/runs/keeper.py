"""Writes the checkpoints of a run, one after the other, beside the training."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import ray
from ray.exceptions import ObjectLostError

from parle_ray.cluster.states import join_states
from parle_ray.cluster.wire import num_bytes
from parle_ray.errors import StorageError
from parle_ray.runs import checkpoint
from parle_ray.runs.attempts import Attempts
from parle_ray.runs.storage import Folder

LAST_S = (1.0, 3.0, 6.0)
"""The last checkpoint is tried again after so many seconds, and so many more."""


class Keeper:
    """Takes the cuts of a run; leaving its `with` waits until all are written.

    A checkpoint that cannot be written leaves the one before, and the run goes on; see `Attempts`.
    The last is tried again: the storage may be full, or away, for a moment only.

    Args:
        run: the run folder.
        spec: what the run is made with.
        num_to_keep: checkpoints that stay.
        let_go: takes the round of a cut whose states have been fetched.
        say: takes a line for the user.
    """

    def __init__(
        self,
        run: Folder,
        spec: dict[str, Any],
        num_to_keep: int,
        *,
        let_go: Callable[[int], None],
        say: Callable[[str], None],
    ) -> None:
        self._run, self._spec, self._num_to_keep = run, spec, num_to_keep
        self._let_go, self._say = let_go, say
        self._attempts = Attempts("checkpoint", say)
        self._last_error: StorageError | None = None
        self._unsaved: tuple[int, dict[str, Any]] | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._under_way: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.shutdown(wait=True)
        if error is None:
            self.check()
            for seconds in LAST_S:
                self._try_again(seconds)
            if self._last_error is not None:
                raise self._last_error

    def keep(self, cut: dict[str, Any]) -> None:
        """Write a cut in the background."""
        self._under_way.append(self._writer.submit(self._write, cut))

    def check(self) -> None:
        """Raise what ended the writing, if anything did.

        Raises:
            StorageError: three checkpoints in a row could not be written.
        """
        for earlier in [f for f in self._under_way if f.done()]:
            self._under_way.remove(earlier)
            earlier.result()

    def _write(self, cut: dict[str, Any]) -> None:
        lost: list[int] = []
        try:
            replicas = {rank: _fetched(rank, ref, lost) for rank, ref in cut["replicas"].items()}
            states = {
                "master": join_states(ray.get(cut["master"])),
                "model": ray.get(cut["model"])["model"],
                "replicas": {r: state for r, state in replicas.items() if state is not None},
            }
        except ObjectLostError:
            return  # with the coordinator; the one that takes its place makes the last cut again
        finally:
            self._let_go(cut["round"])
        for rank in lost:
            self._say(
                f"the state of replica {rank} was lost before it was saved: by the checkpoint of "
                f"round {cut['round']} it would start from the master"
            )
        if self._attempts.make(lambda: self._save(cut["round"], states)):
            self._prune(cut["round"])

    def _try_again(self, seconds: float) -> None:
        """The last checkpoint, if it could not be written."""
        if self._unsaved is not None:
            time.sleep(seconds)
            round, states = self._unsaved
            with suppress(StorageError):
                self._save(round, states)
                self._prune(round)

    def _save(self, round: int, states: dict[str, Any]) -> None:
        try:
            checkpoint.save(self._run, round, spec=self._spec, **states)
        except StorageError as error:
            needed = num_bytes(list(states.values()))
            self._last_error = StorageError(f"{error}; it takes {needed / 1e6:.1f} MB")
            self._unsaved = round, states
            raise self._last_error from error
        self._last_error = self._unsaved = None

    def _prune(self, round: int) -> None:
        """Remove what is too many, and what came after `round` in a run that was given up."""
        names = checkpoint.names(self._run)
        mine = [name for name in names if checkpoint.round_of(name) <= round]
        for name in {*names} - {*mine[-self._num_to_keep :]}:
            try:
                self._run.remove(name)
            except OSError as error:
                self._say(f"{self._run}/{name} cannot be removed: {error}")


def _fetched(rank: int, ref: ray.ObjectRef, lost: list[int]) -> Any:
    """The state of a replica; None, and it is among the `lost`, if it went with its node."""
    try:
        return ray.get(ref)
    except ObjectLostError:
        lost.append(rank)
        return None
