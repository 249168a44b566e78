"""The calls of an exchange with nothing around them: what Ray itself needs for its round trip."""

import threading
import time
from typing import Any

import numpy as np
import ray


class Pusher:
    """Answers with its vector, as a replica does, and stops the clock when the sum has come."""

    def __init__(self, num_params: int) -> None:
        self._vector = np.ones(num_params, np.float32)
        self._arrived = threading.Event()
        self._at: list[float] = []

    def push(self, round: int) -> tuple[float, np.ndarray]:
        """Wait for the sum of the round before; the time, and the vector."""
        if round:
            self._arrived.wait()
            self._arrived.clear()
        return time.perf_counter(), self._vector

    @ray.method(concurrency_group="delivery")
    def deliver(self, total: np.ndarray) -> None:
        """The sum is here."""
        self._at.append(time.perf_counter())
        self._arrived.set()

    def arrivals(self) -> list[float]:
        """Round -> when the sum came."""
        return self._at


class Middle:
    """Takes the vectors, puts one sum into the store, and calls everybody with it."""

    def rounds(self, pushers: list[Any], num: int) -> list[float]:
        """Round -> when the last vector was ready to go."""
        ready = []
        for k in range(num):
            asked = [pusher.push.options(num_returns=2).remote(k) for pusher in pushers]
            at: list[float] = ray.get([when for when, _ in asked])
            total: np.ndarray = sum(ray.get([vector for _, vector in asked]))
            ready.append(max(at))
            reference = ray.put(total)
            for pusher in pushers:
                pusher.deliver.remote(reference)
        return ready


def round_trips_s(num_params: int, num_rounds: int) -> list[float]:
    """Seconds from the last of two vectors to the sum at both, for each round."""
    remote: Any = ray.remote
    kinds = remote(num_cpus=0.5, concurrency_groups={"delivery": 1})(Pusher)
    pushers = [kinds.remote(num_params) for _ in range(2)]
    middle = remote(num_cpus=0)(Middle).remote()
    try:
        ready = ray.get(middle.rounds.remote(pushers, num_rounds))
        ray.get([pusher.push.remote(1) for pusher in pushers])  # the last sum is awaited
        arrived = ray.get([pusher.arrivals.remote() for pusher in pushers])
        return [max(both) - sent for sent, *both in zip(ready, *arrived, strict=True)]
    finally:
        for actor in (*pushers, middle):
            ray.kill(actor)
