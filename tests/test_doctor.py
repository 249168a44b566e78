"""What doctor says of a dashboard, of versions, of slow links and of room, without Ray."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from parle_ray.console import doctor, room
from parle_ray.console.dashboard import address, dashboard
from parle_ray.console.room import GB


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, str], int]]:
    """Plays a dashboard that answers with a status, on a host; its port."""
    servers: list[HTTPServer] = []

    def start(status: int, host: str = "127.0.0.1") -> int:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                assert self.path == "/api/version"
                assert "Authorization" not in self.headers
                self.send_response(status)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        server = HTTPServer((host, 0), Answer)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", f"http://127.0.0.1:{server.server_port}")
        return int(server.server_port)

    monkeypatch.setenv("RAY_AUTH_TOKEN", "not to be sent")
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_dashboard_without_a_token_is_a_warning_with_the_fix(serve) -> None:
    port = serve(200)
    (found,) = dashboard()
    assert found.state == "warn"
    assert found.what.startswith(
        f"Ray's dashboard at 127.0.0.1:{port} asks for no token and listens on this"
    )
    assert "RAY_AUTH_MODE=token" in found.fix


def test_a_dashboard_that_others_can_reach_is_told_from_one_that_they_cannot(serve) -> None:
    serve(200, "0.0.0.0")
    (found,) = dashboard()
    assert "asks for no token and can be reached from other machines" in found.what
    assert "--dashboard-host=127.0.0.1" in found.fix


@pytest.mark.parametrize("status", [401, 403])
def test_a_dashboard_that_asks_for_a_token_is_fine(serve, status: int) -> None:
    serve(status)
    (found,) = dashboard()
    assert (found.state, found.fix) == ("ok", "")
    assert "asks for a token and listens on this machine alone" in found.what


def test_what_is_no_dashboard_is_told(serve) -> None:
    serve(404)
    (found,) = dashboard()
    assert found.state == "warn"
    assert "HTTP status 404" in found.what
    assert "RAY_API_SERVER_ADDRESS" in found.fix


def test_without_a_dashboard_there_is_nothing_to_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "127.0.0.1:1")
    (found,) = dashboard()
    assert (found.state, found.fix) == ("ok", "")


@pytest.mark.parametrize(
    ("told", "cluster", "expected"),
    [
        ("https://head:80/", "", ("head", 80)),
        ("head", "", ("head", 8265)),
        (None, "10.0.0.7:6379", ("10.0.0.7", 8265)),
        (None, "ray://10.0.0.7:10001", ("10.0.0.7", 8265)),
        (None, None, ("127.0.0.1", 8265)),
    ],
)
def test_the_dashboard_is_looked_for_where_jobs_are_submitted(
    monkeypatch: pytest.MonkeyPatch, told, cluster, expected
) -> None:
    for name, value in (("RAY_API_SERVER_ADDRESS", told), ("RAY_ADDRESS", cluster)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert address() == expected


def test_an_old_version_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "2.9.3")
    found = {f.what.split()[0]: f for f in doctor.versions()}
    assert found["ray"].state == found["torch"].state == "warn"
    assert "ray 2.9.3 is older than 2.60" in found["ray"].what
    assert found["numpy"].state == "ok"


@pytest.mark.parametrize(
    ("cluster", "timeout", "state", "said"),
    [
        ("10.0.0.7:6379", None, "ok", "is fetched again"),
        ("10.0.0.7:6379", "600000", "ok", "600 s for an object"),
        ("10.0.0.7:6379", "10 min", "warn", "no number"),
        ("127.0.0.1:6379", None, None, ""),
        ("auto", None, None, ""),
    ],
)
def test_a_cluster_elsewhere_gets_the_hint_on_slow_links(
    monkeypatch: pytest.MonkeyPatch, cluster: str, timeout: str | None, state, said: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    monkeypatch.delenv(doctor.PULL_TIMEOUT, raising=False)
    if timeout is not None:
        monkeypatch.setenv(doctor.PULL_TIMEOUT, timeout)
    found = list(doctor.slow_links())
    assert [f.state for f in found] == [state][: len(found)]
    assert bool(found) == (state is not None)
    assert all(said in f.what for f in found)


@pytest.mark.parametrize(
    ("shared", "memory", "state"),
    [(0.064, 16, "warn"), (8, 16, "ok"), (8, 64, "warn"), (40, 64, "ok"), (100, 2000, "ok")],
)
def test_shared_memory_is_held_against_the_object_store_that_ray_makes(
    shared: float, memory: float, state: str
) -> None:
    found = room._store(shared * GB, memory * GB)
    assert found.state == state
    assert bool(found.fix) == (state == "warn")


def test_the_memory_is_this_machines_or_the_containers() -> None:
    assert 2**28 < room.memory() < 2**50
