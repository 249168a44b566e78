"""Whether a Ray cluster asks for a token, and takes ours: one call without one, one with it.

Ray's public way to know is to connect, which takes 20 s to fail and says "Failed to connect". So
its control store is asked the cheapest thing it answers, whether it is alive.
"""

import os
from enum import Enum
from pathlib import Path

import grpc

IS_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"


class Door(Enum):
    """What stands at an address; the value says it after "Ray at host:port"."""

    OPEN = "has no authentication"
    ASKS_FOR_TOKEN = "asks for a token, and RAY_AUTH_MODE is not token here"
    REFUSES_TOKEN = "does not take the token of this machine"
    LETS_US_IN = "takes the token of this machine"
    UNKNOWN = "does not answer as Ray does"


def ask(address: str, patience_s: float) -> Door:
    """What the control store at `host:port` says."""
    without = _call(address, patience_s, "")
    if without is grpc.StatusCode.OK:
        return Door.OPEN
    if without is not grpc.StatusCode.UNAUTHENTICATED:
        return Door.UNKNOWN
    if os.environ.get("RAY_AUTH_MODE") != "token":
        return Door.ASKS_FOR_TOKEN
    with_ours = _call(address, patience_s, token())
    return Door.LETS_US_IN if with_ours is grpc.StatusCode.OK else Door.REFUSES_TOKEN


def token() -> str:
    """The token of this machine, where Ray looks for it; empty if there is none."""
    if "RAY_AUTH_TOKEN" in os.environ:
        return os.environ["RAY_AUTH_TOKEN"].strip()
    path = token_path()
    return path.read_text().strip() if path.is_file() else ""


def token_path() -> Path:
    """The file in which Ray keeps and looks for it."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))


def _call(address: str, patience_s: float, token: str) -> grpc.StatusCode:
    """How a call with this token ends."""
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(IS_ALIVE)
        try:
            call(
                b"",
                timeout=patience_s,
                metadata=[("authorization", f"Bearer {token}")] if token else None,
            )
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK
