"""jsonargparse's messages, cut down to one line: the field, what is wrong, the nearest name."""

import dataclasses
import inspect
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import torch

from parle_ray import strategies
from parle_ray.console.config import Config
from parle_ray.errors import nearest

_ALLOWED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "dict": "a mapping, such as {dropout: 0.25}",
    "NoneType": "null",
}


def shorten(message: str, config: type = Config) -> str:
    """One line `field: what is wrong, value given; what to do` for a message of jsonargparse.

    `config` is the dataclass that was read.

    >>> shorten('Parser key "data.batch_size":\\n  Expected a <class \\'int\\'>. Got value: x')
    "data.batch_size: must be a whole number, got 'x'"
    """
    path = ".".join(re.findall(r'[Pp]arser key "([\w.]+)"', message))
    for pattern, say in _KINDS:
        found = re.search(pattern, message, re.DOTALL)
        if found:
            return str(say(path, found[1], message, option_names(config)))
    return " ".join(message.split())


def option_names(config: type = Config) -> list[str]:
    """All arguments as they are written on a command line, without the dashes."""
    return ["config", "print_config", "debug", "help", *_dotted(config, "")]


def _dotted(kind: Any, prefix: str) -> Iterator[str]:
    for field in dataclasses.fields(kind):
        yield prefix + field.name
        if dataclasses.is_dataclass(field.type):
            yield from _dotted(field.type, f"{prefix}{field.name}.")
        elif field.name == "strategy":
            for strategy in strategies.STRATEGIES.values():
                yield from (f"strategy.{f.name}" for f in dataclasses.fields(strategy))


def _unrecognized(path: str, given: str, message: str, names: list[str]) -> str:
    name = (given.split() or [""])[0].split("=")[0]
    if not name.startswith("--"):
        return f"unexpected {name!r}; arguments are written --name value"
    return f"{name}: there is no such argument.{nearest(name[2:], names)}"


def _not_accepted(path: str, name: str, message: str, names: list[str]) -> str:
    """An unknown key in a file, or an unknown argument of a class."""
    field = f"{path}.{name}" if path else name
    classes = re.findall(r"class_path[ =]'([\w.]+)'", message)
    if name in ("class_path", "init_args"):
        return f"{path}: write the arguments of a class below init_args, beside class_path"
    if classes and "." in classes[-1]:
        own = list(inspect.signature(pkgutil.resolve_name(classes[-1])).parameters)
        kind = classes[-1].rpartition(".")[2]
        return f"{field}: {kind} has no such argument.{nearest(name, own)}" + _takes(own)
    return f"{field}: there is no such key.{nearest(field, names)}"


def _not_in_group(path: str, group: str, message: str, names: list[str]) -> str:
    found = re.search(r"accept option '([\w.]+)'", message)
    return _not_accepted(group, found[1] if found else "", "", names)


def _no_class(path: str, name: str, message: str, options: list[str]) -> str:
    if path == "strategy":
        by_name = strategies.STRATEGIES
        names = [kind.__name__ for kind in by_name.values()]
        hint = f" Did you mean {by_name[name].__name__!r}?" if name in by_name else ""
        hint = hint or nearest(name, names)
    elif path == "optimizer":
        kinds = vars(torch.optim).items()
        names = [n for n, kind in kinds if isinstance(kind, type) and n != "Optimizer"]
        hint = nearest(name, names)
    elif path.startswith("strategy."):
        names = ["a number", "Constant", "Scoping", "Geometric", "Cosine", "Steps", "QSR"]
        hint = nearest(name, names)
    else:
        return _wrong_type(path, name, message, options)
    return f"{path}: must be one of {', '.join(names)}, got {name!r}.{hint}"


def _wrong_type(path: str, first: str, message: str, options: list[str]) -> str:
    literal = re.search(r"typing.Literal\[(.*?)\]", message)
    classes = re.findall(r"Expected a <class '(\w+)'>", message)
    allowed = [f"one of {literal[1]}"] if literal else []
    allowed += [_ALLOWED.get(name, name) for name in dict.fromkeys(classes)]
    value = re.findall(r"(?:Given|Got) value: (.*?)(?:\.? Got value|\n|$)", message)
    given = value[0].strip() if value else "something else"
    nested = re.search(r"val='(.*)'\)", given)
    hint = nearest(given, re.findall(r"'(\w+)'", literal[1])) if literal else ""
    shown = repr(nested[1] if nested else given)
    return f"{path}: must be {' or '.join(allowed)}, got {shown}{'.' + hint if hint else ''}"


def _no_subclass(path: str, kind: str, message: str, names: list[str]) -> str:
    own = kind.removesuffix("Config").lower()
    return f"{own}: it has no class_path; write its settings directly, such as those of --help"


def _takes(names: list[str]) -> str:
    own = [name for name in names if name != "params"]
    return f" It takes: {', '.join(own)}." if own else ""


_KINDS: list[tuple[str, Any]] = [
    (r"unrecognized arguments: (.*)", _unrecognized),
    (r"Group '([\w.]+)' does not accept", _not_in_group),
    (r"Option '(.*?)' is not accepted", _not_accepted),
    (
        r"File does not exist: '(.*?)'",
        lambda p, f, *_: f"config: there is no file {f}; name a YAML file",
    ),
    (
        r"argument (\S+): expected one argument",
        lambda p, f, *_: f"{f}: a value is missing after it",
    ),
    (r"Unable to load config '(.*?)'", lambda p, f, *_: _group_value(p, f)),
    (r"Problems parsing config: (.*)", lambda p, f, *_: f"config: no valid YAML: {_flat(f)}"),
    (r"Unexpected config: (.*)", lambda p, f, *_: "config: the file holds no `name: value` lines"),
    (r"Import path (\S+) does not correspond", _no_class),
    (r"dot import path string: (\S+)", _no_class),
    (r"Subclasses are disabled for (\w+)", _no_subclass),
    (
        r"No module named '([\w.]+)'",
        lambda p, f, *_: f"class_path: there is no module {f!r}; is its folder on PYTHONPATH?",
    ),
    (
        r"(?:Empty nested key|Spaces not allowed in keys): \"(.*?)\"",
        lambda p, f, *_: f"config: {f!r} is no name of a setting; --help lists them",
    ),
    (
        r"expects a function or a callable class: (.*)",
        lambda p, f, *_: f"{p}: nothing can be made of it: {_flat(f)}",
    ),
    (r"(Expected a )", _wrong_type),
]


def _group_value(path: str, given: str) -> str:
    field = path.split(".")[0]
    return f"{field}: {given!r} is no file; for its name write --{field}.name {given}"


def _flat(text: str) -> str:
    return " ".join(text.split())
