"""`python -m parle_ray COMMAND`: finds the command, and turns every end into an exit status.

0 done; 1 a mistake of ours; 2 the user's input cannot be used; 3 the user's code failed; 4 the
model diverged; 5 storage failed; 6 too few replicas for too long; 7 cluster or authentication; 130
and 143 interrupted and terminated.
"""

import importlib
import re
import signal
import sys
import sysconfig
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from parle_ray.errors import (
    ClusterError,
    Diverged,
    InputError,
    StorageError,
    TooFewReplicas,
    UserCodeError,
    nearest,
    printable,
)

PROG = "python -m parle_ray"
PACKAGE = Path(__file__).parent

COMMANDS: dict[str, tuple[str, str]] = {
    "quickstart": ("parle_ray.console.commands", "train three replicas on the bundled digits"),
    "train": (
        "parle_ray.console.commands",
        "train on a Ray cluster, or one started for it",
    ),
    "simulate": ("parle_ray.console.commands", "the same run in one process, without Ray"),
    "chaos": ("parle_ray.chaos.command", "the same run under faults, and what they did to it"),
    "tune": ("parle_ray.tuning.command", "search for good values with Ray Tune"),
    "plan": ("parle_ray.console.plan", "predict rounds and stalls on a cluster of any size"),
    "flatness": ("parle_ray.console.flatness", "how flat the loss is where runs ended"),
    "report": ("dashboards.report", "the figures of runs, as one HTML file"),
    "live": ("dashboards.live", "runs in the browser, while they go"),
    "export": ("parle_ray.console.export", "the model of a run, for use without this package"),
    "strategies": ("parle_ray.console.commands", "list the algorithms"),
    "doctor": ("parle_ray.console.doctor", "check this machine and the way to the cluster"),
}
"""Command -> the module that has it, imported when it is asked for; what it does.

Nothing else here knows of `dashboards`, which is beside this package and imports it.
"""

LONGEST_WORD = 300
"""Characters that a word of a message about the user's input may have."""

STATUS: list[tuple[type[BaseException], int]] = [
    (InputError, 2),
    (UserCodeError, 3),
    (Diverged, 4),
    (StorageError, 5),
    (TooFewReplicas, 6),
    (ClusterError, 7),
]


class _Terminated(BaseException):
    """SIGTERM came."""


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Run a command; the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return exit_status(lambda: _run(argv, prog), debug="--debug" in argv)


def exit_status(run: Callable[[], int], *, debug: bool = False) -> int:
    """The status that `run` ends with, however it ends, and one message where it fails."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    try:
        return run()
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except _Terminated:
        return _say("terminated", 143)
    except SystemExit as end:
        # Ray replaces the handler of SIGTERM by one that exits with the signal's number; `fit`
        # ends with the status of a shell.
        terminated = end.code in (signal.SIGTERM, 128 + signal.SIGTERM)
        return _say("terminated", 143) if terminated else _status_of(end)
    except Exception as error:
        return _explain(error, debug)


def no_arguments(argv: Sequence[str], prog: str, help: str | None) -> None:
    """Answer `--help`, refuse everything else."""
    if "-h" in argv or "--help" in argv:
        print(f"usage: {prog}\n\n{help}")
        raise SystemExit(0)
    if argv:
        raise InputError(f"unexpected {argv[0]!r}; {prog} takes no arguments")


def _run(argv: list[str], prog: str) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage(prog))
        return 0
    name, *rest = argv
    if name not in COMMANDS:
        hint = nearest(name, COMMANDS) or f" Commands: {', '.join(COMMANDS)}."
        raise InputError(f"there is no command {name!r}.{hint}")
    command: Callable[[list[str], str], int | None]
    command = getattr(importlib.import_module(COMMANDS[name][0]), name)
    return command(rest, prog) or 0


def _usage(prog: str) -> str:
    lines = [f"  {name:<12} {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [f"usage: {prog} COMMAND [ARGUMENTS]", "", *lines, "", f"{prog} COMMAND --help says more."]
    )


def _explain(error: Exception, debug: bool) -> int:
    """One message for what we foresaw, the traceback for all else."""
    status = next((status for kind, status in STATUS if isinstance(error, kind)), None)
    if status is None or debug:
        traceback.print_exception(error)
    if status is None:
        status = 3 if _is_users(error) else 1
    text = str(error) or repr(error)
    if status == 2:  # it quotes what was given, which may be of any length
        text = re.sub(rf"\S{{{LONGEST_WORD},}}", lambda word: word[0][:80] + "...", text)
        text = "\n".join(printable(line, len(line)) for line in text.split("\n"))
    return _say(text, status)


def _is_users(error: Exception) -> bool:
    """Whether it was raised by code that is neither ours nor that of an installed library."""
    libraries = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).is_relative_to(PACKAGE):
            return False
        if not any(Path(frame.filename).is_relative_to(library) for library in libraries):
            return True
    return False


def _say(text: str, status: int) -> int:
    sys.stdout.flush()
    print(f"parle: {text}", file=sys.stderr)
    return status


def _status_of(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    return _say(str(end.code), 1)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated
