"""The live page: its callbacks called as functions, and the page asked for over HTTP."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from dash import no_update

from dashboards.live import listen
from dashboards.live_page import FIGURES, LivePage, make_app
from dashboards.runs import Shelf
from parle_ray.errors import InputError


def reported(round: int, ranks: Sequence[int]) -> str:
    told = {"round": round, "step": 25 * round, "num_rounds": 9, "loss": 0.5, "distance": 0.1}
    told |= {"replicas_alive": len(ranks), "faults": 0, "round_s": 1.0}
    return json.dumps(told | {f"replica/{rank}/loss": 0.5 for rank in ranks}) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of one run, whose replica 1 was lost in its second round."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/result.json").write_text(reported(1, (0, 1)) + reported(2, (0,)))
    return tmp_path


def texts(part: Any) -> str:
    """All that a component says."""
    return json.dumps(part, default=lambda component: component.to_plotly_json())


def test_the_newest_run_is_shown_until_another_is_chosen(folder: Path) -> None:
    page = LivePage(Shelf(folder))
    assert page.choices(0, None) == (["mine"], ["mine"])
    assert page.choices(1, []) == (["mine"], no_update)


def test_cards_and_figures_follow_a_run_and_nothing_is_sent_twice(folder: Path) -> None:
    page = LivePage(Shelf(folder))
    heads, seen, *drawn = page.content(0, ["mine"], None)
    assert "round 2 of 9" in texts(heads)
    assert re.search(r'silent for 1 round"', texts(heads))
    assert texts(heads).count('"card bad"') == 2
    assert len(drawn) == len(FIGURES)
    assert all(told is no_update for told in page.content(1, ["mine"], seen))
    with (folder / "mine/result.json").open("a") as file:
        file.write(reported(3, (0, 1)))
    heads, *_ = page.content(2, ["mine"], seen)
    assert "round 3 of 9" in texts(heads)
    assert '"card bad"' not in texts(heads)


def test_only_runs_of_the_folder_are_shown_whatever_a_browser_asks_for(folder: Path) -> None:
    page = LivePage(Shelf(folder / "mine"))
    heads, seen, *_ = page.content(0, ["../mine", "/etc"], None)
    assert seen == []
    assert "there is none in" in texts(heads)


def test_the_page_asks_nobody_but_this_machine_and_says_nothing_to_a_stranger(
    folder: Path,
) -> None:
    app = make_app(Shelf(folder))
    app.server.config["TRUSTED_HOSTS"] = ["127.0.0.1"]
    client = app.server.test_client()
    page = client.get("/", headers={"Host": "127.0.0.1:8050"}).get_data(as_text=True)
    asked = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="([^"]*)"', page)
    assert any("style.css" in at for at in asked)
    assert all(at.startswith("/") and not at.startswith("//") for at in asked)
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    told = client.post(
        "/_dash-update-component",
        headers={"Host": "127.0.0.1:8050"},
        json={
            "output": "..runs.options...runs.value..",
            "outputs": [
                {"id": "runs", "property": "options"},
                {"id": "runs", "property": "value"},
            ],
            "inputs": [{"id": "tick", "property": "n_intervals", "value": 1}],
            "state": [{"id": "runs", "property": "value", "value": None}],
            "changedPropIds": ["tick.n_intervals"],
        },
    ).get_json()
    assert told["response"]["runs"] == {"options": ["mine"], "value": ["mine"]}


def test_a_port_that_is_taken_is_a_mistake_that_names_the_way_out() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(InputError, match=f"{port}.*give another --port"):
            listen("127.0.0.1", port)
