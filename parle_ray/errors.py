"""What a user did wrong, said in one message: the field, the value, the rule and the way out."""

import difflib
import re
from collections.abc import Iterable


class InputError(ValueError):
    """The user's input cannot be used as it is; the command line ends with status 2.

    The message stands alone: it names the field, the value that was given and what to do.
    """


def nearest(name: str, choices: Iterable[str]) -> str:
    """A hint `" Did you mean 'x'?"` for a mistyped name, or an empty string.

    >>> nearest("fashon_mnist", ["digits", "fashion_mnist"])
    " Did you mean 'fashion_mnist'?"
    """
    close = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def printable(value: object, most: int = 200) -> str:
    """What a file says, cut and on one line, with nothing in it that a terminal obeys.

    >>> printable("a\\x1b[2J\\nb")
    'a\\\\x1b[2J\\\\nb'
    """
    text = str(value)
    text = text if len(text) <= most else f"{text[:most]}..."
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class Diverged(RuntimeError):
    """No replica has a finite parameter left. Exit status 4."""


class UserCodeError(RuntimeError):
    """A function of the user raised; the message holds the traceback. Exit status 3.

    It goes `<who>, <when>: <type>: <text>`, and then the traceback.
    """

    @property
    def mistake(self) -> str:
        """Type and text of what was raised, whoever and whenever it was."""
        return str(self).partition(": ")[2].partition("\nTraceback")[0]


class StorageError(RuntimeError):
    """A run folder cannot be written or read; the message names the path. Exit status 5."""


class ClusterError(RuntimeError):
    """Ray cannot be reached, or has lost what a run needs. Exit status 7."""


class MasterLost(ClusterError):
    """Nobody has the master any more but the last checkpoint."""


class TooFewReplicas(ClusterError):
    """There were fewer replicas than the run needs, for too long. Exit status 6."""


def all_diverged(round: int) -> Diverged:
    """No replica has finite parameters left."""
    return Diverged(
        f"round {round}: every replica's parameters became NaN or infinite; lower the "
        "learning rate (inner optimiser or outer_lr), or raise gamma and rho"
    )


def check_name(name: str) -> str:
    """A run name that is one plain folder name.

    Raises:
        InputError: it has a path in it, or characters that folders and actors cannot share.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise InputError(
            f"name: {name!r} is not a plain name; use up to 64 letters, digits, '.', '_' and '-', "
            "starting with a letter or digit, and storage_path for the folder above"
        )
    return name
