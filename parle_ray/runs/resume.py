"""Which checkpoint a run goes on from, and what is said about it."""

import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from parle_ray.cluster.states import Resume
from parle_ray.cluster.wire import Packed, dtype_name
from parle_ray.errors import InputError, UserCodeError, printable
from parle_ray.runs import checkpoint
from parle_ray.runs.checkpoint import Cut
from parle_ray.runs.spec import changes
from parle_ray.runs.storage import Folder
from parle_ray.runs.trial import misfit
from parle_ray.task import Task


def newest(
    run: Folder, task: Task, spec: Mapping[str, Any], say: Callable[[str], None]
) -> tuple[int, Resume | None]:
    """The newest checkpoint that can be used, and its round; 0 and None where there is none.

    What is damaged, or of another model or algorithm, is passed over, with the reason.

    Raises:
        InputError: there are checkpoints, and none can be used.
        StorageError: the storage cannot be reached.
    """
    names = checkpoint.names(run)
    if not names:
        return 0, None
    mine, refused = _Mine(task), []
    for name in reversed(names):
        try:
            cut = checkpoint.load(run, name)
            mine.check(cut, f"checkpoint {run}/{name}")
        except InputError as error:
            refused.append(str(error))
            continue
        for reason in refused:
            say(f"{reason}; passed over")
        say(f"going on from {run}/{name}")
        changed = [*changes(cut.spec, spec), *mine.options_changed(cut)]
        if changed:
            say(f"not the bits of an uninterrupted run: {'; '.join(changed)}")
        return cut.round, cut.resume
    raise InputError(
        f"name: {run} has checkpoints, and none that can be used: {'; '.join(refused)}; give "
        "another name to start anew, or remove the folder"
    )


class _Mine:
    """What a checkpoint must have to fit the task: built here once, and held against each."""

    def __init__(self, task: Task) -> None:
        try:
            flat = task.build()
            self._inner, self._scheduler = task.optimizer(flat)
        except InputError:
            raise
        except Exception as error:
            raise UserCodeError(
                f"model_fn, inner_optimizer_fn or lr_scheduler_fn: {type(error).__name__}: "
                f"{error}\n{traceback.format_exc()}"
            ) from None
        self._task, self._strategy = task, task.strategy
        self._model = {
            name: (dtype_name(tensor.dtype), list(tensor.shape))
            for name, tensor in flat.module.state_dict().items()
        }
        self._vector = (flat.vector.numel(), dtype_name(flat.vector.dtype))

    def check(self, cut: Cut, label: str) -> None:
        """Refuse what would not fit.

        Raises:
            InputError: says what is different.
        """
        try:
            reason = next(self._misfits(cut), None) or misfit(self._task, cut.resume)
        except (LookupError, TypeError, ValueError, AttributeError) as error:  # made by no run
            reason = f"has no states of a run ({printable(f'{type(error).__name__}: {error}')})"
        if reason is not None:
            raise InputError(f"{label}: {reason}")

    def options_changed(self, cut: Cut) -> Iterator[str]:
        """The optimiser's options, which go on as they were saved, where they are others now."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            for _ in range(min(cut.round, self._task.num_rounds or cut.round)):
                if self._scheduler is not None:
                    self._scheduler.step()
        for state in _first(cut):
            for saved, group in zip(state["inner"]["param_groups"], self._groups(), strict=True):
                for name in sorted(saved.keys() & group.keys() - {"params"}):
                    if not isinstance(saved[name], Packed) and saved[name] != group[name]:
                        yield (
                            f"the optimiser goes on with {name} {printable(saved[name])} as saved, "
                            f"not {group[name]}"
                        )

    def _misfits(self, cut: Cut) -> Iterator[str]:
        """Each later one can count on the earlier."""
        was, now = cut.spec.get("strategy.class"), type(self._strategy).__name__
        if was != now:
            yield f"was made by the strategy {printable(was)}, not {now}"
        for name in sorted(cut.model.keys() | self._model.keys()):
            if cut.model.get(name) != self._model.get(name):
                yield (
                    f"is of another model: {printable(name)} is {_shape(cut.model.get(name))} "
                    f"there and {_shape(self._model.get(name))} in model_fn's"
                )
        vector = cut.resume.master["vector"]
        if (vector.array.size, vector.dtype) != self._vector:
            yield (
                f"is of another model: {vector.array.size} trained parameters of {vector.dtype} "
                f"there and {self._vector[0]} of {self._vector[1]} in model_fn's"
            )
        one = torch.zeros(1)
        if cut.resume.master["strategy"].keys() != self._strategy.init_master(one).keys():
            yield f"the coordinator of {self._strategy} keeps other vectors than it has"
        for state in _first(cut):
            if state["strategy"].keys() != self._strategy.init_replica(one).keys():
                yield f"a replica of {self._strategy} keeps other vectors than it has"
            saved, mine = state["inner"]["param_groups"], self._groups()
            if [len(g["params"]) for g in saved] != [len(g["params"]) for g in mine]:
                yield "inner_optimizer_fn groups the parameters otherwise"
            if not all(_alike(*pair) for pair in zip(saved, mine, strict=True)):
                had = printable(sorted(saved[0]))
                yield f"inner_optimizer_fn gives another optimiser, that one had {had}"
            if not _alike(state["scheduler"] or {}, self._schedule()):
                yield "lr_scheduler_fn gives another schedule"

    def _groups(self) -> list[dict[str, Any]]:
        return list(self._inner.state_dict()["param_groups"])

    def _schedule(self) -> dict[str, Any]:
        return self._scheduler.state_dict() if self._scheduler else {}


def _first(cut: Cut) -> list[Any]:
    """The state of the first replica, by which all can be judged; none if there is none."""
    ranks = sorted(cut.resume.replicas)
    return [cut.resume.replicas[rank] for rank in ranks[:1]]


def _alike(saved: Mapping[str, Any], mine: Mapping[str, Any]) -> bool:
    """Options of one kind of object; another version of torch may know some more."""
    if not saved or not mine:
        return not saved and not mine
    return saved.keys() <= mine.keys() or mine.keys() <= saved.keys()


def _shape(entry: tuple[str, list[int]] | None) -> str:
    return "absent" if entry is None else printable(f"{entry[0]} {tuple(entry[1])}")
