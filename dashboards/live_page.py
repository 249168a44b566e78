"""The live page, in Dash: what stands on it, and what it becomes every two seconds."""

import threading
from collections.abc import Sequence
from typing import Any

from dash import Dash, Input, Output, State, dcc, html, no_update

from dashboards import cards, figures
from dashboards.cards import Card
from dashboards.runs import Shelf

REFRESH_S = 2.0
FIGURES = {figure.__name__: figure for figure in figures.ALL}


class LivePage:
    """The callbacks of the page, which are plain methods; browsers may call them at once.

    Args:
        shelf: the runs that can be chosen.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._lock = threading.Lock()

    def choices(self, tick: int | None, chosen: list[str] | None) -> tuple[list[str], Any]:
        """What can be chosen, and what is: the newest run until somebody chooses."""
        names = self._shelf.names()
        return names, names[:1] if chosen is None and names else no_update

    def content(
        self, tick: int | None, chosen: list[str] | None, seen: list[Any] | None
    ) -> tuple[Any, ...]:
        """Cards and figures of the chosen runs, and what they were made of.

        Nothing is made anew of what has been `seen`.
        """
        with self._lock:
            known = set(self._shelf.names())
            found = {name: self._shelf.tail(name) for name in chosen or () if name in known}
            for tail in found.values():
                tail.look()
            now = [[name, len(tail.table), tail.state] for name, tail in found.items()]
            told = {name: (tail.table, tail.state) for name, tail in found.items()}
        if now == seen:
            return (no_update,) * (2 + len(FIGURES))
        heads = [part for name in told for part in _heads(name, *told[name])]
        runs = {name: table for name, (table, _) in told.items() if not table.empty}
        drawn = [
            figure(runs).update_layout(uirevision=",".join(runs)) for figure in FIGURES.values()
        ]
        return (heads or self._nothing(), now, *drawn)

    def _nothing(self) -> list[Any]:
        return [html.P(f"No run is chosen, or there is none in {self._shelf.folder} yet.")]


def make_app(shelf: Shelf) -> Dash:
    """The page as an application of its own; all it needs comes from this machine."""
    page = LivePage(shelf)
    app = Dash(
        __name__,
        title="parle_ray live",
        update_title="",
        serve_locally=True,
        suppress_callback_exceptions=False,
    )
    app.layout = _layout(shelf)
    tick = Input("tick", "n_intervals")
    app.callback(Output("runs", "options"), Output("runs", "value"), tick, State("runs", "value"))(
        page.choices
    )
    app.callback(
        Output("heads", "children"),
        Output("seen", "data"),
        *(Output(name, "figure") for name in FIGURES),
        tick,
        Input("runs", "value"),
        State("seen", "data"),
    )(page.content)
    return app


def _layout(shelf: Shelf) -> html.Div:
    config: Any = {"displaylogo": False}
    return html.Div(
        [
            html.H1("parle_ray live"),
            html.Div([html.Div("runs"), dcc.Dropdown(id="runs", multi=True)], className="chooser"),
            html.Div(id="heads"),
            html.Div(
                [
                    html.Div(dcc.Graph(id=name, config=config), className="figure")
                    for name in FIGURES
                ],
                className="figures",
            ),
            html.P(f"{shelf.folder}, looked at every {REFRESH_S:g} s", className="note"),
            dcc.Store(id="seen"),
            dcc.Interval(id="tick", interval=1000 * REFRESH_S),
        ]
    )


def _heads(name: str, table: Any, state: str) -> list[Any]:
    replicas = [] if table.empty else cards.of_replicas(table)
    return [html.H2(name), _shown(cards.of_run(table, state)), _shown(replicas)]


def _shown(told: Sequence[Card]) -> html.Div:
    return html.Div(
        [
            html.Div(
                [
                    html.Div(card.title, className="title"),
                    html.Div(card.value, className="value"),
                    html.Div(card.detail, className="detail"),
                ],
                className="card bad" if card.bad else "card",
            )
            for card in told
        ],
        className="cards",
    )
