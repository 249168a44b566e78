"""The paper's experiments by name: `python -m jobs.reproduce NAME [--scale S] [--stand_in DATA]`.

Runs Parle as the authors' experiments did, evaluates the test error once in each of their epochs
(L data passes), and shows it beside what they published. Run again, it goes on.

`--paper NAME` is another system's claim in small, in a minute or two and without Ray: splash,
speedo, tail_averaging, multi_gpu or rotation.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from jobs.arguments import check_choice
from jobs.benchmarks.output import machine
from jobs.reproduction import result
from jobs.reproduction.configure import STAND_INS, configure
from jobs.reproduction.experiments import EXPERIMENTS
from jobs.reproduction.papers import PAPERS
from parle_ray.cli import exit_status
from parle_ray.console.parser import Parser
from parle_ray.console.recipe import make_recipe
from parle_ray.errors import InputError

PROG = "python -m jobs.reproduce"
WIDTH = 130
"""Of the table where no terminal has one."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    return exit_status(lambda: _start(read(given)))


def read(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments.

    Raises:
        InputError: names the argument and the nearest that there is.
    """
    titles = {name: experiment.title for name, experiment in EXPERIMENTS.items()}
    parser = Parser(PROG, __doc__ or "", titles)
    parser.add_argument("name", nargs="?", help="which experiment")
    parser.add_argument("--paper", help="another system's: " + ", ".join(PAPERS))
    parser.add_argument("--scale", type=float, default=1.0, help="part of its length: 1")
    parser.add_argument("--stand_in", choices=STAND_INS, help="other images in the place of its")
    parser.add_argument("--seeds", type=int, help="how many: 1, of --paper 2")
    parser.add_argument("--gpus_per_replica", type=float, help="0 trains on CPUs")
    parser.add_argument("--out", type=Path, default=Path("bench_results/reproduce"))
    given = parser.read(argv)
    if given.paper is None:
        check_choice("experiment", given.name, list(EXPERIMENTS))
    else:
        check_choice("paper", given.paper, list(PAPERS))
        for name in ("name", "scale", "stand_in", "gpus_per_replica"):
            if getattr(given, name) != parser.get_default(name):
                raise InputError(f"{name} is not for --paper, which has its own; leave it out")
    given.seeds = (1 if given.paper is None else 2) if given.seeds is None else given.seeds
    if given.seeds < 1:
        raise InputError(f"--seeds must be >= 1, got {given.seeds}")
    return given


def _start(given: argparse.Namespace) -> int:
    return _experiment(given) if given.paper is None else _paper(given)


def _paper(given: argparse.Namespace) -> int:
    from jobs.reproduction.papers import output
    from parle_ray import lazy_dynamo

    lazy_dynamo.install()
    on, title = machine(), PAPERS[given.paper]
    found = importlib.import_module(f"jobs.reproduction.papers.{given.paper}").run(given.seeds)
    command = f"{PROG} --paper {given.paper} --seeds {given.seeds}"
    around = {"paper": given.paper, "title": title, "command": command}
    around |= {"seeds": list(range(given.seeds)), "machine": on}
    output.write(title, found, output.everything(found, around), given.out)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    console.print(output.table(title, found))
    console.print(f"{given.out}/paper_{given.paper}.json, .html", highlight=False)
    return 0


def _experiment(given: argparse.Namespace) -> int:
    from parle_ray.console.commands import make_trainer  # Ray, which a mistake need not wait for

    experiment, runs = EXPERIMENTS[given.name], []
    for seed in range(given.seeds):
        config = configure(
            experiment,
            scale=given.scale,
            seed=seed,
            stand_in=given.stand_in,
            gpus_per_replica=given.gpus_per_replica,
        )
        data = config.data.name
        label = f"{given.name}_{data}_{given.scale:g}"
        config = replace(config, storage_path=str((given.out / "runs").absolute()))
        trainer = make_trainer(make_recipe(config), f"{label}_seed{seed}")
        reports = trainer.fit().metrics_dataframe
        assert reports is not None
        runs.append(result.of_run(reports.to_dict("records"), seed))
    found = result.summary(given.name, experiment, data, given.scale, runs)
    found |= {"command": f"{PROG} {' '.join(sys.argv[1:])}", "machine": machine()}
    (given.out / f"{label}.json").write_text(json.dumps(found, indent=1) + "\n")
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    console.print(result.table(found, experiment.num_replicas))
    return 0


if __name__ == "__main__":
    sys.exit(main())
