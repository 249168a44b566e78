"""Leave torch's compiler out of a process that does not compile: a third of the time of its start.

Every optimiser of torch asks its compiler, torch._dynamo, to pause in `step` and in `zero_grad`
(`graph_break`, `disable`), and for that imports it: 2 s of CPU, in each replica, at its first
start and whenever it is replaced. Code that is not being compiled has nothing to pause, so these
two do nothing until somebody asks the module for anything else, such as `torch.compile` does.
"""

import functools
import importlib
import sys
from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch

NAME = "torch._dynamo"


class LazyDynamo(ModuleType):
    """Stands for torch._dynamo until it is needed."""

    def graph_break(self, msg: str = "") -> None:
        """There is no graph."""

    def disable(
        self, fn: Callable[..., Any], recursive: bool = True, **options: Any
    ) -> Callable[..., Any]:
        """`fn`, which the compiler passes over once there is one."""
        passed_over: list[Callable[..., Any]] = []

        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            now: Any = sys.modules[NAME]
            if now is self:
                return fn(*args, **kwargs)
            if not passed_over:
                passed_over.append(now.disable(fn, recursive, **options))
            return passed_over[0](*args, **kwargs)

        return call

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # of which Python asks any module
            raise AttributeError(name)
        if sys.modules.get(NAME) is self:
            del sys.modules[NAME]
            delattr(torch, "_dynamo")
            importlib.import_module(NAME)
        return getattr(sys.modules[NAME], name)


def install() -> None:
    """From now on this process imports torch._dynamo when it compiles, if it has not yet."""
    if NAME not in sys.modules:
        stand_in = LazyDynamo(NAME)
        stand_in.__spec__ = find_spec(NAME)
        sys.modules[NAME] = stand_in
        setattr(torch, "_dynamo", stand_in)  # noqa: B010 as an import would
