"""What `plan` is not told about this machine and the model, measured in a few seconds."""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from parle_ray import planning
from parle_ray.compression import CODECS, ChunkedCodec, Receiver, Sender
from parle_ray.console.config import Config
from parle_ray.console.plan_config import SPEEDS, PlanConfig
from parle_ray.console.recipe import make_recipe
from parle_ray.learner import Learner
from parle_ray.master import Master
from parle_ray.moving import length
from parle_ray.planning import Codec
from parle_ray.planning.coordinator import stand_in
from parle_ray.replica import Reply
from parle_ray.strategies import Strategy

STEPS_FOR_S, VECTORS_FOR_S, CODECS_FOR_S = 3.0, 0.5, 0.1
LARGEST_VECTOR, CODED = 25_000_000, 2**20
"""Parameters; a longer vector, which no cache holds either, goes at the same speed."""


def measure(config: PlanConfig) -> PlanConfig:
    """The same with everything known."""
    with config.execution.threads():
        if config.step_s is None or config.num_params is None:
            step_s, num_params = _step(config)
            config = replace(
                config,
                step_s=step_s if config.step_s is None else config.step_s,
                num_params=config.num_params or num_params,
            )
        assert config.num_params is not None
        size = min(config.num_params, LARGEST_VECTOR)
        if config.memory_bytes_per_s is None:
            config = replace(config, memory_bytes_per_s=_memory(size))
        if config.fold_bytes_per_s is None:
            config = replace(config, fold_bytes_per_s=_fold(config.strategy, size))
    return config


def _step(config: PlanConfig) -> tuple[float, int]:
    """Seconds of a local step of the real recipe, if wanted, and the length of its vector."""
    data = config.data
    if config.batch_size is not None:
        data = replace(data, batch_size=config.batch_size)
    recipe = make_recipe(
        Config(
            data=data,
            model=config.model,
            strategy=config.strategy,
            execution=config.execution,
            num_replicas=1,
            num_rounds=1,
        )
    )
    if config.step_s is not None:
        return config.step_s, recipe.num_params
    learner = Learner(recipe.task, 0)
    master = learner.vector.clone()

    def play(num_steps: int) -> float:
        strategy = replace(recipe.task.strategy, sync_every=num_steps)
        at_master = strategy.init_master(master)
        learner.start(replace(recipe.task, strategy=strategy).fitted_to(1), 0, master)
        before = time.perf_counter()
        learner.play(0, lambda: Reply(master, numbers=strategy.announce(at_master)))
        return (time.perf_counter() - before) / num_steps

    play(1)  # torch imports and allocates
    usual = config.sync_every or config.strategy.steps(0)
    several = max(1, min(usual, int(STEPS_FOR_S / 6 / play(1))))
    return _median(partial(play, several), STEPS_FOR_S), recipe.num_params


def _memory(num_params: int) -> float:
    """Bytes per second of a copy."""
    source, target = torch.zeros(num_params), torch.zeros(num_params)
    return 4 * num_params / _of_call(partial(target.copy_, source), VECTORS_FOR_S)


def _fold(strategy: Strategy, num_params: int) -> float:
    """Bytes per second at which a real master takes and merges pushes."""
    n = 3
    master = Master(stand_in(strategy, n, 1, num_params), range(n))
    pushes = [torch.full((num_params,), 0.01 * (rank + 1)) for rank in range(n)]
    strategy, num_moved = master.strategy, length(master.moving)
    numbers = strategy.tell(strategy.init_replica(pushes[0]), torch.zeros(1), 1, 0)

    def close() -> None:
        for rank, push in enumerate(pushes):
            place = master.place(rank, master.round)
            master.take(rank, master.round, push[: length(place)], numbers=numbers)
        master.close()

    return n * 4 * num_moved / _of_call(close, VECTORS_FOR_S)


def measure_codecs(config: PlanConfig) -> dict[str, Codec]:
    """The codecs to look at, at the speed that is given or that they have here."""
    assert config.num_params is not None
    length = min(config.num_params, CODED)
    vector, known = torch.linspace(-1.0, 1.0, length), torch.zeros(length)
    measured = config.codecs(planning.CODECS)
    for name, codec in measured.items():
        real = CODECS[name]()
        given = all(getattr(config, speed) is not None for speed in SPEEDS)
        if given or not isinstance(real, ChunkedCodec):  # a vector that travels as it is
            continue
        sender, receiver = Sender(real, known), Receiver(real, known)
        code = sender.send(vector)
        measured[name] = replace(
            codec,
            encode_s_per_param=_of_call(partial(sender.send, vector), CODECS_FOR_S) / length,
            decode_s_per_param=_of_call(partial(receiver.receive, code), CODECS_FOR_S) / length,
        )
    return config.codecs(measured)


def _of_call(call: Callable[[], object], for_s: float) -> float:
    """Seconds of a call."""

    def seconds() -> float:
        before = time.perf_counter()
        call()
        return time.perf_counter() - before

    return _median(seconds, for_s)


def _median(seconds: Callable[[], float], for_s: float) -> float:
    """Of what calls say, repeated for about so long; twice at least."""
    began = time.perf_counter()
    said: list[float] = []
    while len(said) < 2 or time.perf_counter() - began < for_s:
        said.append(seconds())
    return statistics.median(said)
