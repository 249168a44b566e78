"""A checkpoint's states, tried on a model and an optimiser that are thrown away afterwards.

The checksums of a checkpoint tell damage. That every state has the form of this run's own, so that
no replica fails over it later, is seen here: each is loaded as a replica would load it, but for the
position in the data, which only the replicas have.
"""

import warnings
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from parle_ray.cluster.states import Resume
from parle_ray.cluster.wire import unpack_tree
from parle_ray.errors import printable
from parle_ray.generators import Generators
from parle_ray.task import Task

BATCHES_A_ROUND = 10_000
"""Mini-batches at most, but for a larger `sync_every`: up to there a stream is drawn again."""


class Trial:
    """Takes states, and raises ValueError, or what torch and NumPy raise, where they do not fit.

    Args:
        task: whose functions have been called once already, and work.
        round: that the states are said to be of.
    """

    def __init__(self, task: Task, round: int) -> None:
        self._task, self._round = task, round
        self._flat = task.build()
        self._inner, self._scheduler = task.optimizer(self._flat)
        self._groups = deepcopy(self._inner.state_dict()["param_groups"])
        self._steps = self._can_step()
        self._slots = {
            p: {name: value.shape for name, value in state.items() if isinstance(value, Tensor)}
            for p, state in self._inner.state.items()
        }

    def master(self, state: Any) -> None:
        """The coordinator's."""
        _expect("round", state["round"], state["round"] == self._round)
        _count("faults", state["faults"])
        for rank in state["restart"]:
            _count("restart", rank)
        strategy = self._task.strategy
        if not strategy.synchronous:
            _count("version", state["version"])
        self._vectors(state, strategy.init_master(self._flat.vector), {"known"})
        if strategy.steps_master and state["inner"] is not None:
            self._optimiser(state)

    def replica(self, state: Any) -> None:
        """A replica's, and those of its processes if they walk apart."""
        if self._task.strategy.walks_apart:
            others = state.get("others", [])
            size = 1 + len(others)
            _expect("num_processes", size, size == self._task.execution.num_processes)
            for other in others:
                self._process(other)
        self._process(state)

    def _process(self, state: Any) -> None:
        _expect("fresh", state["fresh"], isinstance(state["fresh"], bool))
        own = self._task.strategy.init_replica(self._flat.vector)
        self._vectors(state, own, {"known", "residual"})
        self._optimiser(state)
        for name, buffer in self._flat.module.named_buffers():
            buffer.clone().copy_(state["buffers"][name])
        _expect("scheduler", "absent", (state["scheduler"] is None) == (self._scheduler is None))
        scheduled = state.get("scheduled", self._round)
        _count("scheduled", scheduled)
        _expect("scheduled", scheduled, scheduled <= self._round)
        stream = state["stream"]
        _count("pass", stream["pass"])
        _count("batch", stream["batch"])
        every = self._task.strategy.sync_every
        most = (self._round + 1) * max(BATCHES_A_ROUND, every if isinstance(every, int) else 0)
        _expect("pass", stream["pass"], stream["pass"] + stream["batch"] <= most)
        for saved in (state["generators"], stream["entered_with"]):
            generators = Generators(0)
            generators.load_state_dict(saved)
            with generators:
                pass

    def _vectors(self, state: Any, own: Mapping[str, Tensor], ends: set[str]) -> None:
        like = self._flat.vector
        _alike("vector", state["vector"], like)
        _expect("strategy", list(state["strategy"]), state["strategy"].keys() == own.keys())
        for name, vector in own.items():
            _alike(name, state["strategy"][name], vector)
        _expect("end", list(state["end"]), state["end"].keys() in (set(), ends))
        for name, vector in state["end"].items():
            _alike(name, vector, like.float())

    def _optimiser(self, state: Any) -> None:
        saved = state["inner"]
        groups = [_options(*g) for g in zip(saved["param_groups"], self._groups, strict=True)]
        self._inner.load_state_dict({"state": saved["state"], "param_groups": groups})
        for p, slots in self._slots.items():
            for name, value in self._inner.state.get(p, {}).items():
                shape = value.shape if isinstance(value, Tensor) else None
                _expect(name, shape, name not in slots or shape in (None, slots[name]))
        if self._steps:
            self._inner.step()
        if self._scheduler is not None and state["scheduler"] is not None:
            self._scheduler.load_state_dict(state["scheduler"])
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
                self._scheduler.step()

    def _can_step(self) -> bool:
        """Whether a step without a closure works, and on this device."""
        try:
            self._inner.step()
        except Exception:
            return False
        return True


def misfit(task: Task, resume: Resume) -> str | None:
    """Why a run cannot go on with these states; None if it can."""
    part = "master"
    try:
        trial = Trial(task, resume.round)
        trial.master(unpack_tree(resume.master))
        for rank, state in resume.replicas.items():
            part = f"replica-{rank}"
            trial.replica(unpack_tree(state))
    # What torch, NumPy and the user's own optimiser raise at a wrong state is not to be listed.
    except Exception as error:
        return f"{part} cannot be gone on with ({printable(f'{type(error).__name__}: {error}')})"
    return None


def _expect(name: str, value: object, holds: bool) -> None:
    if not holds:
        raise ValueError(f"{name} is {printable(value, 80)}")


def _count(name: str, value: object) -> None:
    """A whole number that is not negative, and that a machine word holds."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    _expect(name, value, whole and 0 <= value < 2**63)  # type: ignore[operator]


def _options(saved: Any, own: dict[str, Any]) -> dict[str, Any]:
    """The saved numbers; switches as they are here, for some of them are for another device."""
    _expect("params", saved["params"], saved["params"] == own["params"])
    both = saved.keys() & own.keys() - {"params"}
    for name in both:
        _expect(name, saved[name], _same_kind(saved[name], own[name]))
    numbers = {n for n in both if not isinstance(own[n], bool) and saved[n] is not None}
    return deepcopy(own) | {n: saved[n] for n in numbers if own[n] is not None}


def _alike(name: str, value: Any, like: Tensor) -> None:
    form = (value.shape, value.dtype) if isinstance(value, Tensor) else type(value).__name__
    _expect(name, form, form == (like.shape, like.dtype))


def _same_kind(saved: Any, own: Any) -> bool:
    """Numbers where we have numbers, and so on; an option that is off here may be on there."""
    if own is None or saved is None:
        return saved is None or isinstance(saved, bool | int | float | Tensor)
    if isinstance(own, list | tuple):
        fits = isinstance(saved, list | tuple) and len(saved) == len(own)
        return fits and all(_same_kind(*pair) for pair in zip(saved, own, strict=True))
    if isinstance(own, bool):
        return isinstance(saved, bool)
    if isinstance(own, int | float | Tensor):
        number = isinstance(saved, int | float) and abs(saved) <= torch.finfo(torch.float64).max
        return number or isinstance(saved, Tensor)
    return isinstance(saved, type(own))
