"""Join a Ray cluster or start one here, and say within seconds when that cannot be."""

import logging
import os
import secrets
import socket

import ray

from parle_ray.cluster.door import Door, ask, token_path
from parle_ray.errors import ClusterError, InputError

PATIENCE_S = 3.0
"""How long an address may take to accept a connection."""

_log = logging.getLogger(__name__)

FIX = {
    Door.ASKS_FOR_TOKEN: "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH if the token is not in "
    "~/.ray/auth_token",
    Door.REFUSES_TOKEN: "copy the token of its head, ~/.ray/auth_token there, to this machine",
}
"""What to do where the cluster does not let us in."""


def connect(address: str | None = None, *, dashboard: bool = True, logs: bool = True) -> None:
    """Make sure that this process is connected to Ray.

    An existing connection is kept. Else `address`, else `RAY_ADDRESS` (which `ray job submit`
    sets), else a cluster of this machine's own, which has token authentication unless
    `RAY_AUTH_MODE` says otherwise. A cluster without authentication is joined with a warning.
    `logs`: what actors of a cluster started here print is shown.

    Raises:
        InputError: nothing listens at the address.
        ClusterError: what listens there refuses us.
    """
    if ray.is_initialized():
        return
    target = address or os.environ.get("RAY_ADDRESS") or "local"
    if target == "local":
        keep_token_private()
        ray.init(address="local", include_dashboard=dashboard, log_to_driver=logs)
        return
    _knock(target)
    try:
        ray.init(address=target)
    except Exception as error:
        raise ClusterError(
            f"address: Ray at {target} does not let us in ({type(error).__name__}: {error}); "
            f"if the cluster uses token authentication, {FIX[Door.ASKS_FOR_TOKEN]}"
        ) from error


def _knock(address: str) -> None:
    """Ray itself would try for 20 s, and then not say what is wrong."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdigit():
        raise InputError(f"address: {address!r} is not host:port, 'auto' or 'local'")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE_S).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"address: nothing listens at {address} ({error}); start a cluster there with "
            "`ray start --head`, or leave the address out to use this machine alone"
        ) from error
    if address.startswith("ray://"):
        return
    door = ask(address, PATIENCE_S)
    if door in FIX:
        raise ClusterError(f"address: Ray at {address} {door.value}; {FIX[door]}")
    if door is Door.OPEN:
        _log.warning(
            "parle: Ray at %s %s: whoever reaches its ports can run code there. Set "
            "RAY_AUTH_MODE=token and the token on every node before `ray start`, and here",
            address,
            door.value,
        )


def keep_token_private() -> None:
    """A token that only its owner reads; Ray would make it readable by everybody."""
    if os.environ.get("RAY_AUTH_MODE") == "disabled" or "RAY_AUTH_TOKEN" in os.environ:
        return
    path = token_path()
    try:
        if path.exists():
            if path.stat().st_uid == os.getuid() and path.stat().st_mode & 0o077:
                path.chmod(0o600)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    except OSError as error:
        raise ClusterError(
            f"the token of Ray's authentication cannot be kept at {path} ({error.strerror}); set "
            "RAY_AUTH_TOKEN_PATH to a file of your own"
        ) from error
