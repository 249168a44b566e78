"""What `doctor` finds, one line of its report at a time."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        state: `"ok"`, `"warn"` or `"fail"`.
        fix: what to do; empty where all is well.
    """

    state: str
    what: str
    fix: str = ""
