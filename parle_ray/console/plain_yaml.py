"""YAML from anybody: plain values only, in bounded time and memory, and nothing said twice.

PyYAML's safe loader runs no code, but lets the last of two equal keys win, unfolds a kilobyte of
aliases into gigabytes, and crashes the process on deep nesting. So the events of a text, which cost
no more than its length, are looked at before anything is built from them.
"""

import re
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader

LARGEST = 2**16
"""Characters in a text."""
DEEPEST = 20
"""Lists and mappings in one another; a configuration has five."""
DIGITS = 100
"""In a whole number; beyond 308 of them it has no float, beyond 4,300 Python refuses it."""

_NUMBER = re.compile(r"[-+]?(0x[0-9a-fA-F_]+|0b[01_]+|[-+_:0-9]+)")
"""What YAML 1.1 may read as a whole number: clocks too, in base 60."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_load = get_loader("yaml")


class NotPlain(yaml.YAMLError):
    """A text that is YAML, but not of the plain kind that is read here."""


def load(text: str) -> Any:
    """The value of a text, as jsonargparse reads it.

    Raises:
        yaml.YAMLError: it is no YAML, or not plain.
    """
    check(text)
    try:
        return _load(text)
    except (ValueError, TypeError, ArithmeticError, LookupError) as error:
        # PyYAML makes numbers and keys as Python does, and leaves to it what cannot be made.
        raise NotPlain(f"a value cannot be read: {error}") from error


def dump(value: Any) -> str:
    """A text that `load` reads as the same value; PyYAML by itself leaves `1e3` unquoted."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False)


def check(text: str, deepest: int = DEEPEST) -> None:
    """Look at a text without building anything.

    A text within it that may be YAML again is looked at in the same way, because jsonargparse
    reads it so where a field can be more than text.

    Raises:
        yaml.YAMLError: it is no YAML, or not plain.
    """
    if len(text) > LARGEST:
        raise NotPlain(f"{len(text):,} characters, at most {LARGEST:,} are read")
    around: list[_Keys | None] = []  # None stands for a list
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionEndEvent):
            around.pop()
        elif isinstance(event, yaml.NodeEvent):
            _refuse_special(event)
            if around and (keys := around[-1]):
                keys.see(event)
            if isinstance(event, yaml.CollectionStartEvent):
                around.append(_Keys() if isinstance(event, yaml.MappingStartEvent) else None)
        if len(around) > deepest:
            raise NotPlain(f"more than {deepest} lists or mappings in one another")
        if isinstance(event, yaml.ScalarEvent):
            _refuse_nul(event)
            _refuse_long_number(event.value)
            if len(event.value) < len(text):
                check_text(event.value, deepest - len(around))


def check_text(text: str, deepest: int = DEEPEST) -> None:
    """The same for what need not be YAML at all.

    Raises:
        NotPlain: it is YAML, and not plain.
    """
    _refuse_long_number(text)
    if not set(text) & set("[{&*!"):
        return
    try:
        check(text, deepest)
    except NotPlain:
        raise
    except yaml.YAMLError:
        pass  # then nobody will read it as anything but text


def install() -> None:
    """Let jsonargparse read all YAML in this way."""
    set_loader("yaml", load, exceptions=(yaml.YAMLError,))


class _Dumper(yaml.SafeDumper):
    """Quotes every text that would be read as something else."""


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    try:
        same = load(text) == text
    except yaml.YAMLError:
        same = False
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if same else "'")


_Dumper.add_representer(str, _represent_text)


class _Keys:
    """The keys of a mapping, seen one after the other with their values between them."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._key_comes = True

    def see(self, event: Any) -> None:
        if self._key_comes:
            key, line = getattr(event, "value", ""), event.start_mark.line + 1
            if len(key.split()) != 1:
                raise NotPlain(f"the key {key!r} in line {line} is no name")
            if key in self._seen:
                raise NotPlain(f"the key {key!r} is given twice, again in line {line}")
            self._seen.add(key)
        self._key_comes = not self._key_comes


def _refuse_long_number(text: str) -> None:
    if len(text) > DIGITS and _NUMBER.fullmatch(text):
        raise NotPlain(f"a number of {len(text):,} digits, at most {DIGITS} are read")


def _refuse_nul(event: Any) -> None:
    if "\0" in event.value:  # no path can have one
        raise NotPlain(f"a NUL character in line {event.start_mark.line + 1}")


def _refuse_special(event: Any) -> None:
    line = event.start_mark.line + 1
    if isinstance(event, yaml.AliasEvent) or event.anchor:
        raise NotPlain(f"an anchor or alias in line {line}; write the value where it is meant")
    if getattr(event, "tag", None):
        raise NotPlain(f"the tag {event.tag} in line {line}; only plain values are read")
