"""Join a Ray cluster or start one here, and say within seconds when that cannot be."""

import os
import socket
import stat
from pathlib import Path

import ray

from parle_ray.errors import ClusterError, InputError

PATIENCE_S = 3.0
"""How long an address may take to accept a connection."""


def connect(address: str | None = None, *, dashboard: bool = True) -> None:
    """Make sure that this process is connected to Ray.

    An existing connection is kept. Else `address`, else `RAY_ADDRESS` (which `ray job submit`
    sets), else a cluster of this machine's own.

    Raises:
        InputError: nothing listens at the address.
        ClusterError: what listens there refuses us.
    """
    if ray.is_initialized():
        return
    target = address or os.environ.get("RAY_ADDRESS") or "local"
    if target == "local":
        ray.init(address="local", include_dashboard=dashboard, log_to_driver=True)
        _close_token_file()
        return
    _knock(target)
    try:
        ray.init(address=target)
    except Exception as error:
        raise ClusterError(
            f"address: Ray at {target} does not let us in ({type(error).__name__}: {error}); "
            "if the cluster uses token authentication, set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN_PATH if the token is not in ~/.ray/auth_token"
        ) from error


def _knock(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdigit():
        raise InputError(f"address: {address!r} is not host:port, 'auto' or 'local'")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE_S).close()
    except OSError as error:
        raise InputError(
            f"address: nothing listens at {address} ({error}); start a cluster there with "
            "`ray start --head`, or leave the address out to use this machine alone"
        ) from error


def _close_token_file() -> None:
    """Ray writes its token readable by everybody; keep it to its owner."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    try:
        if path.stat().st_uid == os.getuid() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o600)
    except FileNotFoundError:
        pass
