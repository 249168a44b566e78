"""Two hosts on one machine, joined by a line of any speed: Linux namespaces and `tc tbf`.

    python -m jobs.benchmarks.namespaces 100 -m jobs.compare --data fashion_mnist --num_replicas 2

runs Python with these arguments on the first, at 100 Mbit/s each way.

Each host has its own network, processes, /dev/shm and /tmp/ray; all else of the file system is
shared, as on a cluster with a network file system. Needs root and Debian's iproute2.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from parle_ray.cli import exit_status
from parle_ray.errors import ClusterError, InputError

DEVICE = "eth0"
STORE_BYTES = 10**9
START_S = 120.0
PATIENCE_S = 1800.0
ISOLATED = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL"]
"""The network's namespace is one of those that `ip` knows by name."""


class Hosts:
    """A Ray cluster of two hosts with a CPU each; the first is the head.

    Args:
        folder: for tokens and logs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names = [f"parle_{os.getpid()}_{i}" for i in range(2)]
        self._roots: list[subprocess.Popen[bytes]] = []
        token = folder / "token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        self._env = os.environ | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            # Ray asks again for what has not come in 10 s, and gets all of it again: at 10 Mbit/s
            # that is twice the time of an exchange.
            "RAY_object_manager_pull_timeout_ms": "600000",
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": DEVICE,
        }
        for name in ("RAY_ADDRESS", "RAY_JOB_CONFIG_JSON_ENV_VAR"):
            self._env.pop(name, None)

    def connect(self) -> None:
        """The namespaces and the line between them, not limited yet."""
        for name in self._names:
            _call("ip", "netns", "add", name)
        first, second = (f"{DEVICE} netns {name}" for name in self._names)
        _call(*f"ip link add {first} type veth peer name {second}".split())
        for i, name in enumerate(self._names):
            _call(*f"ip -n {name} address add {address(i)}/24 dev {DEVICE}".split())
            for device in ("lo", DEVICE):
                _call(*f"ip -n {name} link set {device} up".split())

    def limit(self, mbit: int) -> None:
        """Let no more through than `mbit` Mbit/s, each way."""
        burst = max(32, mbit)  # kB: a millisecond's worth at least, or the rate is not reached
        for name in self._names:
            rule = f"tc -n {name} qdisc replace dev {DEVICE} root tbf"
            _call(*f"{rule} rate {mbit}mbit burst {burst}kb latency 100ms".split())

    def start_ray(self) -> None:
        """A head on the first host, a node on the second."""
        common = f"--num-cpus=1 --object-store-memory={STORE_BYTES} --block"
        roles = [f"--head --port=6379 --include-dashboard=false --node-ip-address={address(0)}"]
        roles += [f"--address={address(0)}:6379 --node-ip-address={address(1)}"]
        ray = f"{sys.executable} -m ray.scripts.scripts start"
        for i, role in enumerate(roles):
            private = self._folder / f"ray_{i}"
            private.mkdir()
            script = (
                "mount --make-rprivate / && mount -t tmpfs tmpfs /dev/shm && mkdir -p /tmp/ray && "
                f"mount --bind {private} /tmp/ray && exec {ray} {role} {common}"
            )
            log = (self._folder / f"host_{i}.log").open("w")
            self._roots.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", self._names[i], *ISOLATED, "sh", "-c", script],
                    env=self._env,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
            self._await(Path(log.name))

    def _await(self, log: Path) -> None:
        began = time.monotonic()
        while "Ray runtime started" not in log.read_text():
            if time.monotonic() - began > START_S or self._roots[-1].poll() is not None:
                raise ClusterError(
                    f"Ray did not start in its namespace:\n{log.read_text()[-2000:]}"
                )
            time.sleep(0.5)

    def python(self, *arguments: str) -> str:
        """What Python prints when it runs on the head with these arguments."""
        done = subprocess.run(
            self._inside(*arguments),
            env=self._inside_env,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
        return done.stdout

    def figures(self, *arguments: str) -> dict[str, float]:
        """The same, of what prints its figures in its last line, as JSON."""
        found: dict[str, float] = json.loads(self.python(*arguments).splitlines()[-1])
        return found

    def call(self, *arguments: str) -> int:
        """Run Python on the head with these arguments, in our terminal; its exit status."""
        return subprocess.call(self._inside(*arguments), env=self._inside_env)

    @property
    def _inside_env(self) -> dict[str, str]:
        return self._env | {"RAY_ADDRESS": f"{address(0)}:6379"}

    def _inside(self, *arguments: str) -> list[str]:
        # The namespaces are those of the child of `unshare`, which is process 1 in there.
        child = Path(f"/proc/{self._roots[0].pid}/task/{self._roots[0].pid}/children").read_text()
        enter = f"nsenter -t {child.split()[0]} --net --mount --pid --wd={os.getcwd()} --".split()
        return [*enter, sys.executable, *arguments]

    def stop(self) -> None:
        """End all that was started; everything in a host dies with its process 1."""
        for root in reversed(self._roots):
            root.kill()
            root.wait()
        for name in self._names:
            with suppress(ClusterError):
                _call("ip", "netns", "delete", name)


def address(host: int) -> str:
    """The address of a host on the line between the two."""
    return f"10.199.0.{host + 1}"


@contextmanager
def hosts() -> Iterator[Hosts]:
    """Two hosts with Ray, until the end of the block.

    Raises:
        InputError: we are not root, or a program is missing.
    """
    if os.geteuid() != 0:
        raise InputError("network: namespaces need root; run it with sudo, or in a container")
    missing = [program for program in ("ip", "tc", "unshare") if shutil.which(program) is None]
    if missing:
        raise InputError(f"network: {', '.join(missing)} not found; apt-get install iproute2")
    with tempfile.TemporaryDirectory() as folder:
        made = Hosts(Path(folder))
        try:
            made.connect()
            made.start_ray()
            yield made
        finally:
            made.stop()


def _call(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise ClusterError(f"{' '.join(words)}: {done.stderr.strip()}")


def main(argv: Sequence[str]) -> int:
    """`MBIT ARGUMENTS ...`: Python with these arguments on the first of two hosts."""
    if len(argv) < 2 or not argv[0].isdigit():
        raise InputError("give the speed in Mbit/s, and what Python is to run: 100 -m jobs.compare")
    with hosts() as made:
        made.limit(int(argv[0]))
        return made.call(*argv[1:])


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
