"""What README and docs say can be typed: Python blocks run, and command lines are read."""

import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from jobs import bench, reproduce
from jobs.comparison import settings
from parle_ray.cli import COMMANDS
from parle_ray.console.parser import Parser
from parle_ray.errors import InputError

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
PYTHON = re.compile(r"```python\n(.*?)```", flags=re.DOTALL)
RUN_BY = {
    "README.md": "cluster/test_readme.py",
    "docs/dashboards.md": "test_trackers.py",
    "docs/experiments.md": "test_docs.py",
    "docs/extending.md": "test_extending.py",
    "docs/migration.md": "test_migration.py",
    "docs/reliability.md": "cluster/test_chaos.py",
}
"""Which test runs the Python of a page."""

COMMAND = re.compile(r"python -m (parle_ray|jobs\.[\w.]+)((?:[^\n`#]*\\\n)*[^\n`#]*)")
NAMED = {"RUN": "my_run", "FOLDER": "runs", "my.yaml": "jobs/configs/digits.yaml"}
"""What a reader puts in the place of these words."""

FIRST_USED = {
    "chaos": "make_recipe",
    "export": "open_folder",
    "flatness": "open_folder",
    "live": "Shelf",
    "plan": "measure",
    "report": "write",
    "simulate": "make_recipe",
    "train": "make_recipe",
    "tune": "make_recipe",
}
"""Command -> the name in its module that it uses first once its arguments have been read."""


class WasRead(BaseException):
    """The arguments were read, and nothing was run."""


class Stop:
    """Whatever is done with it ends the command."""

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise WasRead


def lines_of(page: str) -> list[str]:
    """The command lines of a page from `parle_ray` or `jobs.x` on, without what is optional."""
    told = [f"{module}{rest}" for module, rest in COMMAND.findall(page)]
    return [" ".join(re.sub(r"\\\n|\.\.\.|[\[\]]", " ", line).split()) for line in told]


TOLD = {line for page in PAGES.values() for line in lines_of(page)}
LINES = sorted(line for line in TOLD if re.search(r" --|RUN|~", line))


def read(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a command its arguments as a shell would, and stop it when it has read them."""
    module, *words = [NAMED.get(word, word) for word in shlex.split(line)]
    words = [next(iter(bench.BENCHMARKS)) if word == "NAME" else word for word in words]
    if module == "jobs.bench":
        bench.read(words)
    elif module == "jobs.reproduce":
        reproduce.read(words)
    elif module == "jobs.compare":
        settings._parse(words, "")
    elif module == "jobs.sensitivity":
        settings._common(Parser(module, "")).read(words)
    elif module == "jobs.benchmarks.namespaces":
        speed, _, *run = words
        assert speed.isdigit()
        read(shlex.join(run), monkeypatch)
    else:
        name, *argv = words if module == "parle_ray" else [module.removeprefix("jobs."), *words]
        command = importlib.import_module(COMMANDS[name][0])
        monkeypatch.setattr(command, FIRST_USED[name], Stop())
        with pytest.raises(WasRead):
            getattr(command, name)(argv, "python -m parle_ray")


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_of_the_docs_is_read(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    if line.endswith("--help"):
        with pytest.raises(SystemExit, match="0"):
            read(line, monkeypatch)
    else:
        read(line, monkeypatch)


def test_the_command_lines_are_found_and_a_wrong_one_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = "    python -m parle_ray live [FOLDER] \\\n  --prot 8050   # there\n"
    assert lines_of(page) == ["parle_ray live FOLDER --prot 8050"]
    with pytest.raises(InputError, match="--prot"):
        read(lines_of(page)[0], monkeypatch)
    assert len(LINES) > 40


def test_every_command_of_the_docs_is_there() -> None:
    named = {line.split()[1] for line in TOLD if line.startswith("parle_ray ")}
    assert named == set(COMMANDS)
    jobs = {line.split()[0] for line in TOLD if line.startswith("jobs.")}
    assert all((ROOT / f"{name.replace('.', '/')}.py").is_file() for name in jobs)


def test_every_page_with_python_has_a_test_that_runs_it() -> None:
    assert {name for name, page in PAGES.items() if PYTHON.search(page)} == set(RUN_BY)
    for page, test in RUN_BY.items():
        assert Path(page).name in (ROOT / "tests" / test).read_text()


def anchors(page: str) -> set[str]:
    """What a link may name of a page: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.*)$", page, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_to_a_file_or_a_heading_of_ours_leads_there(name: str) -> None:
    for link in re.findall(r"\]\((?!http)([^)\s]+)\)", PAGES[name]):
        path, _, heading = link.partition("#")
        file = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert file.exists(), link
        if heading:
            assert heading in anchors(PAGES[str(file.relative_to(ROOT))]), link


def test_the_flatness_of_a_model_of_ones_own_is_measured_as_experiments_md_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (block,) = PYTHON.findall(PAGES["docs/experiments.md"])
    torch.manual_seed(0)
    x = torch.randn(8, 3)
    names: dict[str, Any] = {
        "model": nn.Linear(3, 2),
        "loss": lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        "error": lambda model, batch: (model(batch[0]).argmax(1) != batch[1]).float().mean(),
        "batches": [(x, (x.sum(1) > 0).long())],
    }
    exec(block, names)
    assert "{" in capsys.readouterr().out


@pytest.mark.parametrize("name", PAGES)
def test_every_file_of_ours_that_a_page_names_is_there(name: str) -> None:
    roots = [ROOT, *(ROOT / folder for folder in ("parle_ray", "jobs", "docs", "dashboards"))]
    for path in re.findall(r"`((?:\w+/)+\w+\.\w+)`", PAGES[name]):
        ours = [root / path for root in roots if (root / path.split("/")[0]).is_dir()]
        assert not ours or any(file.is_file() for file in ours), path
