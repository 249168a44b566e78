"""Put the paper's claims to the test: `python -m jobs.compare [--data NAME] [--quick] ...`.

One task, several methods and seeds, the same budget of gradients, the same search for a learning
rate. Killed and run again, it goes on. Run nothing beside it: the times are worth that quiet.
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from jobs.comparison import cases, output, search
from jobs.comparison.settings import Settings, read
from jobs.comparison.store import Store
from parle_ray.cli import exit_status
from parle_ray.errors import InputError

WIDTH = 130
"""Of the table where no terminal has one."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    return exit_status(lambda: _run(read(given, __doc__ or "")))


def _run(settings: Settings) -> int:
    setup = settings.setup
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)

    def say(text: str) -> None:
        console.print(text, style="dim", highlight=False)

    store = Store(settings.out, settings.shared)
    given = {} if settings.lr is None else dict.fromkeys(settings.methods, settings.lr)
    searched = settings.methods, setup.rates, settings.search_length
    tried = [] if given else cases.candidates(*searched)
    if not settings.report:
        # Ray, which neither a report nor a mistake in the arguments needs to wait for
        from jobs.comparison import runs
        from parle_ray.cluster.connect import connect

        connect(setup.config.address, logs=False)
        runs.search(setup, store, tried, say)
    scored = store.read(tried)
    chosen = given or search.choose(scored)
    compared = cases.finals(chosen, settings.seeds, settings.lengths)
    if not settings.report:
        runs.compare(setup, store, compared, say)
    finished = store.read(compared)
    if not finished:
        raise InputError(f"--report: there is no run in {settings.out} yet; leave --report out")
    shown = output.write(setup, settings.shared, scored, chosen, finished, settings.out)
    console.print(output.table(shown, f"{setup.config.model.name} on {setup.config.data.name}"))
    say(f"{settings.out}/results.parquet, summary.json, report.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
