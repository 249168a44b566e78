"""Configurations that nobody writes by mistake: what YAML can do, and calls in place of values."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

GOOD = "num_rounds: 3\n"
TAGS = [
    *("python/object/apply:os.system", "python/object/new:os.system", "python/name:os.system"),
    *("python/object:os.system", "python/module:os", "python/object/apply:subprocess.Popen"),
    *("binary", "int", "float", "set", "omap", "pairs", "timestamp", "null", "x"),
]
TEXTS = {
    "nothing": "",
    "a list": "- 3",
    "a number": "3",
    "a text": "x",
    "two documents": f"{GOOD}---\n{GOOD}",
    "another YAML": f"%YAML 9.9\n---\n{GOOD}",
    "a NUL": f'{GOOD}name: "a\\0b"',
    "a raw NUL": f"{GOOD}\0",
    "a bell": f"{GOOD}\a",
    "a tab": f"{GOOD}\tseed: 1",
    "10 MB of brackets": "[" * 10_000_000,
    "10 MB of braces": "{" * 10_000_000,
    "60 kB of brackets": f"a: {'[' * 60_000}",
    "60 kB of dashes": "- " * 30_000,
    "60 kB of question marks": "? " * 30_000,
    "brackets in a text": f"name: '{'[' * 900}'",
    "10 MB of a comment": "#" * 10_000_000,
    "a long key": f"{'x' * 60_000}: 1",
    "a number of 60,000 digits": f"seed: {'9' * 60_000}",
    "a number of 400 digits": f"seed: {'9' * 400}",
    "a number of 60,000 sevens in base 8": f"seed: 0{'7' * 60_000}",
    "an endless number": f"{GOOD}seed: .inf",
    "no number": f"{GOOD}seed: .nan",
    "a date": f"{GOOD}seed: 2020-99-99",
    "a clock": f"{GOOD}seed: {'1:' * 5000}1",
    "a key twice": f"{GOOD}{GOOD}",
    "a merge": f"<<: {{nothing: 3}}\n{GOOD}",
    "60,000 digits in base 16": f"seed: 0x{'f' * 60_000}",
    "an alias of itself": "a: &a [*a]",
    "an anchor": "num_rounds: &a 3\nseed: *a\n",
    "a list as a key": f"{GOOD}[1, 2]: 3",
    "a dict as a key": f"{GOOD}{{a: 1}}: 3",
    "null as a key": f"{GOOD}null: 3",
    "an empty key": f"{GOOD}'': 3",
    "a private attribute": f"{GOOD}__class__: 3",
    "a dotted attribute": f"{GOOD}strategy.__class__.__init__: 3",
    "terminal codes": f'{GOOD}"\\e[2J\\e]0;x\\a": 3',
    "reversed text": f'{GOOD}"\\u202eelif": 3',
    "a negative length": "num_rounds: -1",
    "a huge length": f"num_rounds: {10**40}.5",
    "another configuration": f"{GOOD}config: /etc/passwd",
    "a path as a name": f"{GOOD}strategy: ../../etc/passwd",
    "a module as a strategy": f"{GOOD}strategy: os",
    "a device as data": f"{GOOD}data: /dev/zero",
    "a list of data": f"{GOOD}data: [1, 2]",
}


def table(canary: Path) -> Iterator[tuple[str, bytes]]:
    """(what it is, its bytes); `canary` is the file that code in it would make."""
    touch = f"touch {canary}"
    for tag in TAGS:
        yield f"the tag {tag}", f"{GOOD}name: !!{tag} ['{touch}']".encode()
    for what, text in TEXTS.items():
        yield what, text.encode()
    bomb = "a: &a [x, x]\n" + "".join(
        f"{name}: &{name} [*{before}, *{before}]\n" for before, name in pairwise("abcdefghijklmno")
    )
    yield "a billion laughs", bomb.encode()
    for encoding in ("utf-16", "utf-32", "utf-16-le", "cp037", "utf-7"):
        yield encoding, f"{GOOD}nme: é[\n".encode(encoding)
    yield "bytes that are no UTF-8", GOOD.encode() + b"name: \xff\xfe\xc3\x28"
    yield "half a character", GOOD.encode() + b"name: \xe2\x82"
    evil = f"{{class_path: os.system, init_args: {{command: {touch}}}}}"
    for place in (
        *(
            "strategy: {}",
            "optimizer: {}",
            "model: {{name: mlp, args: {{hidden: {}}}}}",
            "data: {}",
        ),
        *("strategy: {{class_path: Parle, init_args: {{rho: {}}}}}", "execution: {}", "seed: {}"),
        *("optimizer: {{class_path: SGD, init_args: {{lr: {}}}}}", "model: {}", "name: {}"),
        "model: {{name: mlp, args: {{hidden: [1, {{a: {}}}]}}}}",
        "optimizer: {{class_path: torch.optim.Optimizer, init_args: {{defaults: {{a: {}}}}}}}",
    ):
        yield f"a call in {place[:30]}", f"{GOOD}{place.format(evil)}".encode()
