"""The coordinator's stream of reports, on the stand-in for Ray."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from ray.exceptions import RayError

from parle_ray.cluster import reports
from tests.fake_ray import FakeRay, Killed, Ref, Stream

TOLD = [{"round": 1}, {"round": 2}, {"round": 3}]


class Watched(Stream):
    """Says when all of it has been taken."""

    def __init__(self) -> None:
        super().__init__()
        self.empty = threading.Event()

    def __next__(self) -> Ref:
        try:
            return super().__next__()
        except StopIteration:
            self.empty.set()
            raise


def until_killed() -> Iterator[dict[str, Any]]:
    yield from TOLD
    raise Killed


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "ray", FakeRay)


def test_reports_are_taken_while_the_driver_is_busy_with_the_first() -> None:
    stream = Watched()
    told = reports.read(stream)
    stream.fill(iter(TOLD))
    assert next(told) == TOLD[0]
    assert stream.empty.wait(10.0)
    assert list(told) == TOLD[1:]


def test_all_reports_come_before_the_loss_of_who_made_them() -> None:
    stream = Watched()
    stream.fill(until_killed())
    told = reports.read(stream)
    assert [next(told) for _ in TOLD] == TOLD
    with pytest.raises(RayError):
        next(told)


def test_a_stream_that_is_left_is_not_listened_to() -> None:
    stream = Watched()
    told = reports.read(stream)
    assert next(told) == {}, "nothing for a while"
    told.close()
    assert not [one for one in threading.enumerate() if one.name == "reports"]
