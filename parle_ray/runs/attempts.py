"""How often a run lets its storage fail."""

from collections.abc import Callable

from parle_ray.errors import StorageError

MOST = 3
"""Failures in a row that end a run."""


class Attempts:
    """Lets one kind of file fail twice, and says so once.

    Args:
        what: is written, such as "checkpoint".
        say: takes a line for the user.
    """

    def __init__(self, what: str, say: Callable[[str], None]) -> None:
        self._what, self._say = what, say
        self.failures = 0
        """In a row, up to now."""

    def make(self, write: Callable[[], None], *, last: bool = False) -> bool:
        """Write, and see whether it worked.

        Args:
            write: raises StorageError if it does not.
            last: there will be no other attempt.

        Raises:
            StorageError: the last attempt failed, or the third in a row.
        """
        try:
            write()
        except StorageError as error:
            self.failures += 1
            if last:
                raise
            if self.failures >= MOST:
                raise StorageError(f"{error}; {self._what}: {MOST} failures in a row") from error
            if self.failures == 1:
                self._say(f"{error}; the run goes on, and the next {self._what} is tried")
            return False
        if self.failures:
            self._say(f"the {self._what} is written again")
        self.failures = 0
        return True
