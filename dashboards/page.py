"""One HTML file with text, tables, cards and figures, to open anywhere, offline."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import pandas as pd
import plotly.graph_objects as go

from dashboards.cards import Card

STYLE = Path(__file__).with_name("assets") / "style.css"
"""The live page has the same."""

Part: TypeAlias = str | pd.DataFrame | go.Figure | Sequence[Card] | Sequence[go.Figure]


def write(title: str, parts: Sequence[Part], out: Path) -> Path:
    """Write a page; its path.

    Args:
        title: heading, as plain text.
        parts: in order; text is a paragraph, as plain text; figures in a list of their own stand
            side by side where there is room.
        out: the file.
    """
    shown = _Shown()
    body = "".join(map(shown.part, parts))
    out.write_text(
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{html.escape(title)}</title><style>{STYLE.read_text()}</style></head>"
        f"<body><h1>{html.escape(title)}</h1>{body}</body></html>"
    )
    return out


class _Shown:
    """Turns parts into HTML; the first figure brings Plotly with it."""

    def __init__(self) -> None:
        self._has_plotly = False

    def part(self, part: Part) -> str:
        if isinstance(part, str):
            return f"<p>{html.escape(part)}</p>"
        if isinstance(part, pd.DataFrame):
            return str(part.to_html(index=False, border=0, na_rep=""))
        if isinstance(part, go.Figure):
            return self._figure(part)
        kind = "cards" if all(isinstance(one, Card) for one in part) else "figures"
        inside = "".join(_card(one) if isinstance(one, Card) else self._figure(one) for one in part)
        return f"<div class='{kind}'>{inside}</div>"

    def _figure(self, figure: go.Figure) -> str:
        first, self._has_plotly = not self._has_plotly, True
        told = figure.to_html(
            full_html=False,
            include_plotlyjs=first,
            config={"responsive": True, "displaylogo": False},
        )
        return f"<div class='figure'>{told}</div>"


def _card(card: Card) -> str:
    lines = zip(("title", "value", "detail"), (card.title, card.value, card.detail), strict=True)
    inside = "".join(f"<div class='{name}'>{html.escape(text)}</div>" for name, text in lines)
    return f"<div class='card{' bad' if card.bad else ''}'>{inside}</div>"
