"""Imports point one way, and what would be unsafe or unreadable is not there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import parle_ray
from parle_ray.strategies import STRATEGIES

PACKAGE = Path(parle_ray.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

LAYERS: list[set[str]] = [
    {
        "errors",
        "lazy_dynamo",
        "flat",
        "share",
        "spread",
        "schedules",
        "pace",
        "equations",
        "compression",
        "membership",
    },
    {"fold", "spread"},
    {"strategies"},
    {"replica", "partial", "stretches", "moving", "tree"},
    {"generators", "stream", "execution", "task"},
    {"team"},
    {"learner", "deputies", "master", "asynchronous", "race", "uneven"},
    {"metrics", "evaluate"},
    {"simulate", "optim", "planning", "flatness"},
    {"cluster"},
]
"""From left to right; a layer imports itself and what is left of it. The rest is right of all."""

APART = {"data": {"data", "errors"}, "models": {"models", "errors"}}
"""Beside the layers: what the command line offers, and nothing in the core needs."""


BESIDE = {"dashboards", "jobs", "tests"}
"""Beside the package, and built on it; `parle_ray.cli.COMMANDS` names modules of the first."""


def name_of(path: Path) -> str:
    """The part of the package that a file belongs to, such as `strategies` or `flat`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def layer_of(part: str) -> int:
    return next((i for i, layer in enumerate(LAYERS) if part in layer), len(LAYERS))


@cache
def imported(path: Path) -> set[str]:
    """All modules that a file imports, wherever in it, by their full names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            assert node.module is not None
            found.add(node.module)
            if node.module == "parle_ray":
                found |= {f"parle_ray.{alias.name}" for alias in node.names}
    return found


def parts_imported(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported(path) if name.startswith("parle_ray.")}


def relative(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


each_file = pytest.mark.parametrize("path", FILES, ids=relative)


def test_every_layer_is_there() -> None:
    there = {name_of(path) for path in FILES}
    assert set().union(*LAYERS) <= there
    assert set(APART) <= there


def test_the_map_of_the_package_has_every_room_in_the_order_of_the_layers() -> None:
    page = (PACKAGE.parent / "docs" / "contributing.md").read_text()
    _, _, rest = page.partition("## Where things are\n\n")
    rows = re.findall(r"^    (\w[\w/]*(?:, \w[\w/]*)*)  ", rest, flags=re.MULTILINE)
    rooms = [room.rstrip("/") for row in rows for room in row.split(", ")]
    inside = [room for room in rooms if room not in BESIDE and "/" not in room]
    assert sorted(inside) == sorted({name_of(path) for path in FILES} - {"__init__", "__main__"})
    core = [layer_of(room) for room in inside if layer_of(room) < len(LAYERS)]
    assert core == sorted(core)


@each_file
def test_imports_point_left(path: Path) -> None:
    part = name_of(path)
    assert not {name.split(".")[0] for name in imported(path)} & BESIDE
    if part == "__init__":
        return
    if part in APART:
        assert parts_imported(path) <= APART[part]
        return
    wrong = {other for other in parts_imported(path) if layer_of(other) > layer_of(part)}
    assert not wrong, f"{relative(path)} imports what is right of it"
    if layer_of(part) < len(LAYERS):
        assert not parts_imported(path) & set(APART)


@each_file
def test_nothing_left_of_the_cluster_imports_ray(path: Path) -> None:
    part = name_of(path)
    if part != "__init__" and layer_of(part) >= layer_of("cluster") and part not in APART:
        return
    assert not {name for name in imported(path) if name.split(".")[0] == "ray"}


def test_the_cluster_imports_ray_and_knows_no_strategy_by_name() -> None:
    mine = [path for path in FILES if name_of(path) == "cluster"]
    assert any("ray" in imported(path) for path in mine)
    names = {kind.__name__ for kind in STRATEGIES.values()} | set(STRATEGIES)
    for path in mine:
        for node in ast.walk(ast.parse(path.read_text())):
            said = {
                ast.Name: lambda n: n.id,
                ast.Attribute: lambda n: n.attr,
                ast.Constant: lambda n: n.value,
                ast.alias: lambda n: n.name,
            }.get(type(node), lambda n: None)(node)
            assert not (isinstance(said, str) and said in names), f"{relative(path)}: {said}"


@each_file
def test_a_file_is_short_enough_to_be_read(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 400


@each_file
def test_nothing_is_unpickled_but_by_the_restricted_reader_of_data(path: Path) -> None:
    calls = {
        f"{node.func.value.id}.{node.func.attr}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
    }
    assert not calls & {
        "torch.load",
        "pickle.load",
        "pickle.loads",
        "cloudpickle.load",
        "cloudpickle.loads",
        "yaml.load",
        "yaml.unsafe_load",
        "yaml.full_load",
        "marshal.loads",
        "shelve.open",
    }
    assert not {"dill", "joblib", "shelve", "marshal"} & imported(path)
    if name_of(path) != "data":
        assert "pickle" not in imported(path)


def test_the_public_names_are_sorted_and_there() -> None:
    assert list(parle_ray.__all__) == sorted(parle_ray.__all__, key=str.casefold)
    assert {"ParleTrainer", "ReplicaOptimizer", "simulate"} <= set(parle_ray.__all__)
    for name in set(parle_ray.__all__) - {"ParleTrainer"}:  # which would import Ray Train
        assert getattr(parle_ray, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Trainer'"):
        _ = parle_ray.Trainer


ACTORS = ("replica_actor", "coordinator", "shard_actor", "branch_actor", "evaluator_actor")


@pytest.mark.parametrize("actor", ACTORS)
def test_no_process_of_a_run_waits_for_what_only_the_driver_needs(actor: str) -> None:
    """Ray Train brings pandas and pyarrow, and 1.5 s of CPU, to each start of a replica."""
    modules = {
        ".".join(("parle_ray", *path.relative_to(PACKAGE).with_suffix("").parts)): path
        for path in FILES
    }
    needed, left = {"parle_ray.__init__"}, [f"parle_ray.cluster.{actor}", "parle_ray.__init__"]
    while left:
        new = at_import(modules[left.pop()]) - needed
        needed |= new
        left += [name for name in new if name in modules]
        left += [f"{name}.__init__" for name in new if f"{name}.__init__" in modules]
    assert "parle_ray.errors" in needed
    late = {
        "ray.train",
        "ray.tune",
        "ray.data",
        "pandas",
        "pyarrow",
        "torchvision",
        "torch._dynamo",
    }
    assert not {name for name in needed for much in late if f"{name}.".startswith(f"{much}.")}


def at_import(path: Path) -> set[str]:
    """The modules that a file imports when it is imported, by their full names."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found
