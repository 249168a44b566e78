"""What torchrun gives to the processes that it starts."""

import os
import socket

import pytest


def join(monkeypatch: pytest.MonkeyPatch, **names: str) -> None:
    """The environment of a process of a group that meets on this machine.

    Args:
        names: RANK, WORLD_SIZE and others.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), **names}.items():
        monkeypatch.setitem(os.environ, name, value)
