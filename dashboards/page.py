"""One HTML file with text, tables and figures, to open anywhere, offline."""

import html
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go


def write(title: str, parts: Sequence[str | pd.DataFrame | go.Figure], out: Path) -> Path:
    """Write a page; its path.

    Args:
        title: heading, as plain text.
        parts: in order; text is a paragraph, as plain text.
        out: the file.
    """
    first = next((part for part in parts if isinstance(part, go.Figure)), None)
    body = "".join(_shown(part, with_plotly=part is first) for part in parts)
    out.write_text(
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><h1>{html.escape(title)}</h1>{body}</body></html>"
    )
    return out


STYLE = (
    "body {font-family: sans-serif; max-width: 60em; margin: auto; padding: 0 1em}"
    "table {border-collapse: collapse; margin: 1em 0; font-size: 85%}"
    "td, th {padding: .25em .7em; text-align: right; border-bottom: 1px solid #ddd}"
    "td:first-child, th:first-child {text-align: left}"
)


def _shown(part: str | pd.DataFrame | go.Figure, *, with_plotly: bool) -> str:
    if isinstance(part, str):
        return f"<p>{html.escape(part)}</p>"
    if isinstance(part, pd.DataFrame):
        return str(part.to_html(index=False, border=0, na_rep=""))
    return str(part.to_html(full_html=False, include_plotlyjs=with_plotly))
