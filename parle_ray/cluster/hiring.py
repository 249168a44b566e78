"""Actors of a run: sent their task, made under its name, all ended with it."""

import time
from collections.abc import Sequence
from typing import Any

import ray
from ray import cloudpickle

from parle_ray.errors import InputError
from parle_ray.task import Task

NAMESPACE = "parle_ray"
NAME_S = 5.0
"""How long a name may stay taken by an actor that has just ended."""


def put_task(task: Task) -> ray.ObjectRef:
    """The task in the object store.

    Raises:
        InputError: names the function that cannot be sent.
    """
    try:
        return ray.put(task)
    except TypeError as error:
        for name, value in vars(task).items():
            try:
                cloudpickle.dumps(value)
            except TypeError as reason:
                raise InputError(
                    f"{name} cannot be sent to the replicas ({reason}); open files, locks and "
                    "connections inside the function instead of capturing them"
                ) from error
        raise


class Hiring:
    """Makes actors called `<run>/<role>`.

    Args:
        run: the name of the run.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._actors: list[Any] = []

    def hire(self, kind: Any, role: str, *args: Any, **options: Any) -> Any:
        """A new actor; it is dismissed with the others.

        Raises:
            InputError: a run of this name is under way.
        """
        remote: Any = ray.remote
        make = remote(name=f"{self._run}/{role}", namespace=NAMESPACE, **options)(kind)
        began = time.monotonic()
        while True:
            try:
                actor = make.remote(*args)
            except ValueError as error:
                if "already" not in str(error):
                    raise
                if time.monotonic() - began > NAME_S:
                    raise InputError(
                        f"name: a run called {self._run!r} is under way on this cluster; wait "
                        "for it, or give RunConfig another name"
                    ) from error
                time.sleep(0.2)
                continue
            self._actors.append(actor)
            return actor

    def dismiss(self, actors: Sequence[Any]) -> None:
        """End these, dead or alive."""
        for actor in actors:
            ray.kill(actor, no_restart=True)
            self._actors.remove(actor)

    def dismiss_all(self) -> None:
        """End whatever was hired and has not been dismissed."""
        self.dismiss(list(self._actors))
