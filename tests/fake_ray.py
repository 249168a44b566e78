"""Ray in one process: actors are threads, and one of them can be killed at its k-th call of Ray.

It has what `parle_ray.cluster` asks of Ray, no more. A process that is killed does nothing after
the call at which it dies; what it had asked for is carried out all the same, and what it owned is
lost, as with Ray.
"""

import collections
import copy
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ray.exceptions import ActorDiedError, OwnerDiedError, RayTaskError

LOCAL = threading.local()
NODE = "node"


class Killed(BaseException):
    """The process that makes this call is no more."""


class Process:
    """Who calls: the driver or an actor."""

    def __init__(self, die_at: int | None = None) -> None:
        self.calls, self.die_at, self.dead = 0, die_at, False

    def count(self) -> None:
        self.calls += 1
        if self.calls == self.die_at:
            self.dead = True
        self.go_on()

    def go_on(self) -> None:
        """After a wait: what follows may be after the test, where the real Ray is back."""
        if self.dead:
            raise Killed


class Ref:
    """A reference, to be set once."""

    def __init__(self) -> None:
        self.owner = me()
        self.done = threading.Event()
        self.value: Any = None
        self.error: BaseException | None = None

    def __deepcopy__(self, memo: Any) -> "Ref":
        return self

    def set(self, value: Any = None, error: BaseException | None = None) -> None:
        if not self.done.is_set():
            self.value, self.error = value, error
            self.done.set()
            with FakeRay.CHANGED:
                FakeRay.CHANGED.notify_all()

    def get(self) -> Any:
        self.done.wait(20.0)
        assert self.done.is_set(), "nobody answers"
        if self.owner.dead:
            raise OwnerDiedError("0" * 56, None, "", "")
        if self.error is not None:
            raise self.error
        return self.value


def me() -> Process:
    """The process that this thread belongs to."""
    if not hasattr(LOCAL, "process"):
        LOCAL.process = Process()
    return LOCAL.process


class Thread:
    """Carries out an actor's calls of one concurrency group, one after the other."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._calls: queue.Queue[tuple[Callable[[], Any] | None, list[Ref]]] = queue.Queue()
        threading.Thread(target=self._work, daemon=True).start()

    def put(self, call: Callable[[], Any], refs: list[Ref]) -> None:
        self._calls.put((call, refs))

    def end(self) -> None:
        self._calls.put((None, []))

    def _work(self) -> None:
        LOCAL.process = self._process
        while True:
            call, refs = self._calls.get()
            if call is None:
                return
            if self._process.dead:
                error: BaseException = ActorDiedError()
                values: Any = None
            else:
                values, error = self._carry_out(call)
            for i, ref in enumerate(refs):
                ref.set(values[i] if values and len(refs) > 1 else values, error)

    @staticmethod
    def _carry_out(call: Callable[[], Any]) -> tuple[Any, Any]:
        try:
            return copy.deepcopy(call()), None
        except Killed:
            return None, ActorDiedError()
        except Exception as error:
            return None, RayTaskError("call", "traceback", error).as_instanceof_cause()


class Stream:
    """What a generator yields, and at its end how it ended."""

    def __init__(self) -> None:
        self._items: collections.deque[Ref | None] = collections.deque()
        self.done = threading.Event()

    def fill(self, made: Iterator[Any]) -> None:
        try:
            for item in made:
                self._yield(value=copy.deepcopy(item))
            self._add(None)
        except Killed:
            self._yield(error=ActorDiedError())
        except Exception as error:
            self._yield(error=RayTaskError("run", "traceback", error).as_instanceof_cause())

    def _yield(self, **outcome: Any) -> None:
        ref = Ref()
        ref.owner = DRIVER
        ref.set(**outcome)
        self._add(ref)

    def _add(self, ref: Ref | None) -> None:
        with FakeRay.CHANGED:
            self._items.append(ref)
            self.done.set()
            FakeRay.CHANGED.notify_all()

    def __next__(self) -> Ref:
        assert self.done.wait(20.0), "nothing is yielded"
        with FakeRay.CHANGED:
            if (ref := self._items[0]) is None:
                raise StopIteration
            self._items.popleft()
            if not self._items:
                self.done.clear()
        return ref


class Method:
    def __init__(self, actor: "Actor", name: str, num_returns: Any = 1) -> None:
        self._actor, self._name, self._num_returns = actor, name, num_returns

    def options(self, num_returns: Any = 1, **_: Any) -> "Method":
        return Method(self._actor, self._name, num_returns)

    def remote(self, *args: Any) -> Any:
        me().count()
        method = self._method()
        group = getattr(method, "__ray_concurrency_group__", None)

        def call() -> Any:
            return method(*(arg.get() if isinstance(arg, Ref) else arg for arg in args))

        if self._num_returns == "streaming":
            stream = Stream()
            self._actor.threads(group).put(lambda: stream.fill(method(*args)), [])
            return stream
        refs = [Ref() for _ in range(self._num_returns)]
        self._actor.threads(group).put(call, refs)
        return refs[0] if self._num_returns == 1 else refs

    def _method(self) -> Any:
        instance = self._actor.instance
        if self._name == "__ray_call__":
            return lambda function, *args: function(instance, *args)
        return getattr(instance, self._name)


class Actor:
    """An actor and its handle in one."""

    def __init__(self, kind: Any, args: tuple[Any, ...], process: Process) -> None:
        self.process = process
        self._threads: dict[str | None, Thread] = {}
        self.instance = kind(*args)

    def end(self) -> None:
        """Its threads end when they have done what they were asked."""
        for thread in self._threads.values():
            thread.end()

    def threads(self, group: str | None) -> Thread:
        return self._threads.setdefault(group, Thread(self.process))

    def __getattr__(self, name: str) -> Method:
        return Method(self, name)


DRIVER = Process()


class FakeRay:
    """Takes the place of the module `ray`."""

    CHANGED = threading.Condition()
    ObjectRef = Ref

    @staticmethod
    def put(value: Any) -> Ref:
        me().count()
        ref = Ref()
        ref.set(copy.deepcopy(value))
        return ref

    @staticmethod
    def get(refs: Any, timeout: float | None = None) -> Any:
        me().count()
        got = [ref.get() for ref in refs] if isinstance(refs, list) else refs.get()
        me().go_on()
        return got

    @staticmethod
    def wait(
        refs: list[Ref], num_returns: int = 1, timeout: float | None = None
    ) -> tuple[list[Ref], list[Ref]]:
        me().count()

        def ready() -> list[Ref]:
            return [ref for ref in refs if ref.done.is_set()]

        with FakeRay.CHANGED:
            FakeRay.CHANGED.wait_for(lambda: len(ready()) >= num_returns, timeout)
            first = ready()[:num_returns]
        me().go_on()
        return first, [ref for ref in refs if ref not in first]

    @staticmethod
    def kill(actor: Actor, no_restart: bool = True) -> None:
        actor.process.dead = True

    @staticmethod
    def get_runtime_context() -> Any:
        return FakeRay

    @staticmethod
    def get_node_id() -> str:
        return NODE

    @staticmethod
    def get_actor_name() -> str:
        return "run/coordinator"

    @staticmethod
    def get_gpu_ids() -> list[str]:
        return []

    @staticmethod
    def get_assigned_resources() -> dict[str, float]:
        return {}
