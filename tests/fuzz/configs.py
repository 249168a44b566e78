"""Mutated configurations through `train --print_config`: the whole way to where training begins."""

import random
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import fields
from io import StringIO
from pathlib import Path
from typing import Any

import yaml

from parle_ray.cli import main
from parle_ray.console.complaints import option_names
from parle_ray.strategies import STRATEGIES
from tests.fuzz.harness import Case

ROOT = Path(__file__).parents[2]
SEEDS = [*(ROOT / "jobs" / "configs").glob("*.yaml"), ROOT / "parle_ray/console/quickstart.yaml"]
NAMED = {*option_names(), "YAML", "argument", "such key", "class_path", "plain"}
NAMED |= {f"{name.rpartition('.')[2]} must" for name in option_names()}
NAMED |= {f"{f.name} must" for kind in STRATEGIES.values() for f in fields(kind)}
"""One of these is in every refusal."""

ODD: list[Any] = [
    *(None, True, "", " ", 0, -1, 1, 3.5, 1e308, -0.0, float("inf"), float("nan"), 2**63, 10**400),
    *([], {}, [[]], {"a": 1}, [1, 2], {"": None}, "null", "true", "1e3", "0x10", "1_000", "1:30"),
    *(
        "x" * 5000,
        "\u202e\u0000\uffff",
        "ℵ∀é\n\t",
        "../../etc/passwd",
        "/dev/zero",
        "~",
        "-",
        "--x",
    ),
    *("Parle", "DiLoCo", "os.system", "subprocess.Popen", "builtins.eval", "torch.load", "no.such"),
    *("os:system", "torch.optim.LBFGS", "torch.optim.Optimizer", "torch.nn.Linear", "parle_ray"),
    *({"class_path": "os.system", "init_args": {"command": "true"}}, {"class_path": 3}),
    *({"class_path": "subprocess.Popen", "init_args": {"args": ["true"]}}, "[" * 200, "{a: [b"),
    *({"class_path": "Scoping", "init_args": {"initial": -1}}, {"class_path": "Cosine"}),
]
RAW = [
    *("!!python/object/apply:os.system ['true']", "!!binary x", "!!int 3", "&a [*a]", "*a", "? ?"),
    *("[" * 500, "{" * 500, "\t", "\x00", "\ufeff", "%YAML 9.9", "---", "...", "<<: {a: 1}", "|\n"),
    *(
        "9" * 5000,
        "0o9",
        "0b2",
        "2020-99-99",
        "1e999",
        ".nan",
        "!",
        "`",
        "@",
        "\r",
        "\x85",
        "- ",
        ": ",
    ),
]


def cases(number: int, seed: int, folder: Path) -> Iterator[Case]:
    """So many cases; `folder` takes the file of each."""
    draw = random.Random(seed)
    seeds = [yaml.safe_load(file.read_text()) for file in sorted(SEEDS)]
    look_for_stubs()
    seeds.append(yaml.safe_load(_printed([])))
    for i in range(number):
        text = _text(draw, draw.choice(seeds))
        argv = _arguments(draw) if draw.random() < 0.3 else []
        yield f"config {i} of seed {seed}: {argv} {text!r}", _case(text, argv, folder)


def look_for_stubs() -> None:
    """jsonargparse starts Python to find them, once in a process."""
    _train(["--optimizer=os.system"])


def _case(text: str, argv: list[str], folder: Path) -> Callable[[], str]:
    def run() -> str:
        file = folder / "case.yaml"
        file.write_text(text, newline="")
        status, out, err = _train(["--config", str(file), *argv])
        if status == 2:
            assert not out, out
            assert err.startswith("parle: "), err
            assert err.count("\n") == 1, err
            assert len(err) < 1000, err
            assert any(name in err for name in NAMED), err
            return "refused"
        assert status == 0, (status, err[-600:])
        file.write_text(out)
        assert _printed(["--config", str(file)]) == out
        return "read"

    return run


def _train(argv: list[str]) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main(["train", *argv, "--print_config"])
    return status, out.getvalue(), err.getvalue()


def _printed(argv: list[str]) -> str:
    status, out, err = _train(argv)
    assert status == 0, err
    return out


def _text(draw: random.Random, settings: Any) -> str:
    """A configuration with one to three things done to it, as values or as text."""
    settings = yaml.safe_load(yaml.safe_dump(settings))
    for _ in range(draw.choice([0, 1, 1, 2])):
        _change_value(draw, settings)
    text = yaml.safe_dump(settings, allow_unicode=draw.random() < 0.5, sort_keys=False)
    for _ in range(draw.choice([0, 0, 1, 2])):
        text = draw.choice(TEXT)(draw, text)
    return text


def _change_value(draw: random.Random, tree: Any) -> None:
    """An odd value, a mistyped or lost key, or a part put elsewhere; somewhere in the tree."""
    inner = [value for value in tree.values() if isinstance(value, dict) and value]
    if inner and draw.random() < 0.6:
        return _change_value(draw, draw.choice(inner))
    key = draw.choice(list(tree)) if tree else "seed"
    match draw.randrange(5):
        case 0 | 1:
            tree[key] = draw.choice(ODD)
        case 2:
            tree[_mistyped(draw, str(key))] = tree.pop(key, None)
        case 3:
            tree[draw.choice(option_names())] = draw.choice(ODD)
        case 4:
            tree[key] = draw.choice([tree.get(key), [tree.get(key)], {key: tree.get(key)}])
    return None


def _mistyped(draw: random.Random, word: str) -> str:
    at = draw.randrange(len(word) + 1)
    return draw.choice([word[:at] + word[at + 1 :], word[:at] + "é" + word[at:], word.upper(), ""])


def _arguments(draw: random.Random) -> list[str]:
    words = []
    for _ in range(draw.randint(1, 3)):
        name = draw.choice(option_names())
        if name in ("help", "debug", "config"):  # these ask for something else, rightly
            continue
        name = _mistyped(draw, name) if draw.random() < 0.1 else name
        value = str(draw.choice([*ODD, *RAW])).replace("\0", "")
        words += [f"--{name}={value}"] if draw.random() < 0.5 else [f"--{name}", value]
    return words


def _cut(draw: random.Random, text: str) -> str:
    return text[: draw.randrange(len(text) + 1)]


def _insert(draw: random.Random, text: str) -> str:
    at = draw.randrange(len(text) + 1)
    return text[:at] + draw.choice(RAW) + text[at:]


def _flip(draw: random.Random, text: str) -> str:
    raw = bytearray(text.encode())
    for _ in range(draw.randint(1, 4) if raw else 0):
        raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
    return raw.decode(errors="replace")


def _repeat_line(draw: random.Random, text: str) -> str:
    lines = text.splitlines(keepends=True) or [""]
    lines.insert(draw.randrange(len(lines) + 1), draw.choice(lines))
    return "".join(lines)


def _shift_line(draw: random.Random, text: str) -> str:
    lines = text.splitlines(keepends=True) or [""]
    at = draw.randrange(len(lines))
    lines[at] = draw.choice([" " + lines[at], "\t" + lines[at], lines[at].lstrip(), ""])
    return "".join(lines)


TEXT = [_cut, _insert, _flip, _repeat_line, _shift_line]
