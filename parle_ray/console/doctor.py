"""`python -m parle_ray doctor`: what is here, what is missing, and what to do about it."""

import importlib.util
import os
import re
import socket
import stat
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from parle_ray.cli import no_arguments
from parle_ray.console.dashboard import dashboard
from parle_ray.console.finding import Finding
from parle_ray.console.room import space

PATIENCE_S = 3.0
TESTED = {"torch": (2, 14), "ray": (2, 60)}
"""The versions from which on this is known to work."""
PULL_TIMEOUT = "RAY_object_manager_pull_timeout_ms"


def doctor(argv: Sequence[str], prog: str) -> int:
    """Check this machine and the way to the cluster; exit status 0 unless something fails."""
    no_arguments(argv, f"{prog} doctor", doctor.__doc__)
    failed = False
    for check in CHECKS:
        for finding in check():
            failed |= finding.state == "fail"
            print(f"{finding.state:<5} {finding.what}")
            if finding.fix:
                print(f"      -> {finding.fix}")
    return int(failed)


def versions() -> Iterator[Finding]:
    """Python and the packages a run needs."""
    known = sys.version_info[:2] >= (3, 11)
    fix = "" if known else "install Python 3.11 or newer"
    yield Finding("ok" if known else "fail", f"Python {sys.version.split()[0]}", fix)
    for name in ("torch", "ray", "numpy", "safetensors", "pyarrow", "jsonargparse", "rich"):
        try:
            yield _version(name, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding("fail", f"{name} is not installed", "pip install -r requirements.txt")
    dashboard = all(importlib.util.find_spec(name) for name in ("aiohttp", "aiohttp_cors"))
    if dashboard:
        yield Finding("ok", "ray[default]: dashboard and job submission")
    else:
        yield Finding(
            "warn",
            "ray[default] is not installed: no dashboard, no `ray job submit`",
            "pip install -r requirements.txt",
        )


def _version(name: str, version: str) -> Finding:
    least = TESTED.get(name, (0,))
    if tuple(int(part) for part in re.findall(r"\d+", version)[: len(least)]) >= least:
        return Finding("ok", f"{name} {version}")
    wanted = ".".join(map(str, least))
    return Finding(
        "warn",
        f"{name} {version} is older than {wanted}, the oldest that is tested",
        "pip install -r requirements.txt",
    )


def device() -> Iterator[Finding]:
    """GPUs that torch can use."""
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    if torch.cuda.is_available():
        names = {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
        yield Finding("ok", f"{torch.cuda.device_count()} GPU ({', '.join(sorted(names))})")
    elif Path("/dev/nvidiactl").exists():
        yield Finding(
            "fail",
            f"there is an NVIDIA GPU, which torch {torch.__version__} cannot use",
            "install a torch wheel that fits the driver (nvidia-smi shows its CUDA version)",
        )
    else:
        yield Finding("ok", f"no GPU here: CPU, {os.cpu_count()} cores")


def cluster() -> Iterator[Finding]:
    """The Ray cluster that a run would join."""
    address = os.environ.get("RAY_ADDRESS")
    if not address or address in ("local", "auto"):
        yield Finding("ok", "RAY_ADDRESS is not set: a run starts Ray on this machine")
        return
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE_S).close()
        yield _door(address.rpartition("://")[2])
    except (OSError, ValueError) as error:
        yield Finding(
            "fail",
            f"nothing listens at RAY_ADDRESS {address} ({error})",
            "start the cluster (`ray start --head` there), or unset RAY_ADDRESS",
        )


def slow_links() -> Iterator[Finding]:
    """Ray's patience with an object on its way between nodes."""
    known, name = os.environ.get(PULL_TIMEOUT), urlsplit(f"//{_address()}").hostname
    if known is not None and not known.isdigit():
        yield Finding(
            "warn", f"{PULL_TIMEOUT} is {known!r}, no number", f"export {PULL_TIMEOUT}=600000"
        )
    elif known is not None:
        yield Finding("ok", f"{PULL_TIMEOUT}: {int(known) / 1000:g} s for an object between nodes")
    elif name not in (None, "127.0.0.1", "localhost", "::1"):
        yield Finding(
            "ok",
            f"{PULL_TIMEOUT} is not set: an object that takes longer than 10 s is fetched again",
            f"if a vector does (44 MB at 35 Mbit/s): export {PULL_TIMEOUT}=600000 on every node "
            "before `ray start`",
        )


def _address() -> str:
    """host:port of `RAY_ADDRESS`; empty if a run would start Ray here."""
    address = os.environ.get("RAY_ADDRESS", "")
    return "" if address in ("local", "auto") else address.rpartition("://")[2]


def _door(address: str) -> Finding:
    """Whether Ray asks for a token there, and takes ours."""
    from parle_ray.cluster.connect import FIX
    from parle_ray.cluster.door import Door, ask

    door = ask(address, PATIENCE_S)
    what = f"RAY_ADDRESS: Ray at {address} {door.value}"
    if door in FIX:
        return Finding("fail", what, FIX[door])
    if door is Door.OPEN:
        return Finding(
            "warn",
            f"{what}: whoever reaches its ports can run code there",
            "set RAY_AUTH_MODE=token and a token on every node before `ray start`",
        )
    return Finding("ok" if door is Door.LETS_US_IN else "warn", what)


def authentication() -> Iterator[Finding]:
    """Ray's token: asked for, there, and nobody else's to read."""
    from parle_ray.cluster.door import token_path

    mode = os.environ.get("RAY_AUTH_MODE")
    path = token_path()
    if not path.exists():
        if mode == "token" and "RAY_AUTH_TOKEN" not in os.environ:
            fix = f"run `ray get-auth-token --generate`, or copy the cluster's token to {path}"
            yield Finding("fail", f"RAY_AUTH_MODE=token, but there is no token at {path}", fix)
        else:
            yield Finding("ok", "no Ray token yet: Ray makes one when it first starts here")
        return
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Finding("warn", f"{path} can be read by others on this machine", f"chmod 600 {path}")
    else:
        yield Finding("ok", f"token {path}")
    if mode != "token":
        yield Finding(
            "warn",
            "RAY_AUTH_MODE is not set: `ray job submit` and a remote address will be refused",
            "export RAY_AUTH_MODE=token",
        )


def data_sets() -> Iterator[Finding]:
    """Which data sets are here."""
    if importlib.util.find_spec("torch") is None:
        return
    from parle_ray.data import NAMES
    from parle_ray.data.python_library import NAME, source_files
    from parle_ray.data.sources import data_root, find

    root = data_root()
    by = "PARLE_DATA" if os.environ.get("PARLE_DATA") else "default; PARLE_DATA or --data.root"
    here = [name for name in NAMES if name == "digits" or find(name, root)]
    if any(source_files(Path(sysconfig.get_path("stdlib")))):
        here.append(NAME)
    away = [name for name in NAMES if name not in here]
    yield Finding("ok", f"data root {root} ({by}): {', '.join(here)}")
    if away:
        yield Finding("ok", f"downloaded when first used: {', '.join(away)}")


CHECKS: list[Callable[[], Iterator[Finding]]] = [
    versions,
    device,
    cluster,
    slow_links,
    authentication,
    dashboard,
    space,
    data_sets,
]
