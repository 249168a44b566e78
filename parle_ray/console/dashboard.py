"""Ray's dashboard: who can reach it, and whether it asks them who they are.

It takes jobs, and a job runs what it likes. `doctor` asks it for its version without a token.
"""

import http.client
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from urllib.parse import urlsplit

from parle_ray.console.finding import Finding

PORT = 8265
PATIENCE_S = 3.0
LISTENS = "0A"
"""The state of a listening socket in /proc/net/tcp."""


def dashboard() -> Iterator[Finding]:
    """Ray's dashboard, where `ray job submit` would look for it."""
    host, port = address()
    where = f"Ray's dashboard at {host}:{port}"
    status = _status(host, port)
    if status is None:
        yield Finding("ok", f"no dashboard answers at {host}:{port}")
        return
    far = _is_far(host, port)
    reach = "can be reached from other machines" if far else "listens on this machine alone"
    if status in (401, 403):
        yield Finding("ok", f"{where} asks for a token and {reach}")
    elif status == 200:
        others = "" if far else ", by other users of it too"
        yield Finding(
            "warn",
            f"{where} asks for no token and {reach}{others}: who reaches it can run code there",
            "export RAY_AUTH_MODE=token on every node before `ray start`, and start the head with "
            "--dashboard-host=127.0.0.1",
        )
    else:
        yield Finding(
            "warn",
            f"{where} answers with HTTP status {status}, which is not Ray's way",
            "look what listens there, or set RAY_API_SERVER_ADDRESS to the dashboard",
        )


def address() -> tuple[str, int]:
    """Host and port, of `RAY_API_SERVER_ADDRESS`, else beside `RAY_ADDRESS`, else here."""
    told = os.environ.get("RAY_API_SERVER_ADDRESS")
    parts = urlsplit(told if told and "://" in told else f"//{told or ''}")
    if parts.hostname:
        return parts.hostname, parts.port or PORT
    cluster = os.environ.get("RAY_ADDRESS", "").rpartition("://")[2]
    return urlsplit(f"//{cluster}").hostname or "127.0.0.1", PORT


def _status(host: str, port: int) -> int | None:
    """Of a question without a token; None if there is no answer."""
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/api/version")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _is_far(host: str, port: int) -> bool:
    """Whether others than this machine can reach it; what is elsewhere can be, as we see."""
    try:
        near = ip_address(socket.gethostbyname(host)).is_loopback
    except OSError:
        near = False
    return not near or any(not at.is_loopback for at in _listening(port))


def _listening(port: int) -> Iterator[IPv4Address | IPv6Address]:
    """The addresses of this machine at which somebody listens on a port."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:  # not a Linux
            continue
        for local, _, state in (line.split()[1:4] for line in lines):
            at, _, number = local.partition(":")
            if state == LISTENS and int(number, 16) == port:
                words = struct.unpack(f">{len(at) // 8}I", bytes.fromhex(at))
                yield ip_address(struct.pack(f"={len(words)}I", *words))
