"""The coordinator's part in the end of a run before its last round."""

import time

PATIENCE_S = 20.0
"""How long replicas are waited for that have to end a round: the rest of the driver's grace is
for the checkpoint."""


class Haste:
    """Whether the run has to end, and whether what is not there yet has to be left out."""

    def __init__(self) -> None:
        self._since: float | None = None

    def begin(self) -> None:
        """The run has to end."""
        if self._since is None:
            self._since = time.monotonic()

    @property
    def is_on(self) -> bool:
        """The first round that can have a cut is the last of this run."""
        return self._since is not None

    @property
    def is_over(self) -> bool:
        """A cut is made of what there is."""
        return self._since is not None and time.monotonic() - self._since >= PATIENCE_S
