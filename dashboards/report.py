"""One HTML file with the figures of one run or several, to open anywhere, offline.

python -m dashboards.report ~/parle_results/quickstart_... --out report.html
"""

import argparse
import html
from collections.abc import Sequence
from pathlib import Path

from dashboards import figures
from parle_ray.errors import InputError
from parle_ray.runs import reports
from parle_ray.runs.storage import open_folder


def write(folders: Sequence[str | Path], out: Path) -> Path:
    """Write the report of run folders; its path."""
    runs = figures.read(folders)
    parts = [
        figure(runs).to_html(full_html=False, include_plotlyjs=i == 0)
        for i, figure in enumerate(figures.ALL)
    ]
    title = html.escape(", ".join(runs))
    out.write_text(
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<title>{title}</title></head>"
        "<body style='font-family: sans-serif; max-width: 60em; margin: auto'>"
        f"<h1>{title}</h1>{''.join(parts)}</body></html>"
    )
    return out


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.report", description=__doc__)
    parser.add_argument("runs", nargs="+", help="run folders or URIs, with a result.json each")
    parser.add_argument("--out", type=Path, default=Path("report.html"))
    arguments = parser.parse_args(argv)
    for run in arguments.runs:
        try:
            open_folder(run).read(reports.NAME)
        except (OSError, InputError) as error:
            parser.error(f"{run} is no run folder: it has no {reports.NAME} ({error})")
    print(write(arguments.runs, arguments.out))


if __name__ == "__main__":
    main()
