"""A cluster that wants a token, or none, is recognised at once; a server plays the cluster."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import ray

from parle_ray.cluster.connect import connect
from parle_ray.errors import ClusterError


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Makes a server that asks for a token, or for none if it is empty; its address."""
    servers: list[grpc.Server] = []

    def start(token: str) -> str:
        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            given = dict(context.invocation_metadata()).get("authorization")
            if token and given != f"Bearer {token}":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")
            return b""

        handler = grpc.unary_unary_rpc_method_handler(answer)
        server = grpc.server(ThreadPoolExecutor(1))
        service = "ray.rpc.NodeInfoGcsService"
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(service, {"CheckAlive": handler})]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **arguments: None)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "ours")
    yield start
    for server in servers:
        server.stop(None).wait()


def test_a_cluster_that_asks_for_a_token(serve: Callable[[str], str]) -> None:
    with pytest.raises(ClusterError, match=r"asks for a token.* set RAY_AUTH_MODE=token"):
        connect(serve("ours"))


def test_a_cluster_with_another_token(serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(ClusterError, match=r"does not take the token .* copy the token"):
        connect(serve("theirs"))


def test_a_cluster_with_our_token_is_joined_in_silence(serve, monkeypatch, caplog) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    connect(serve("ours"))
    assert not caplog.records


def test_a_cluster_without_authentication_is_joined_with_a_warning(serve, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        connect(serve(""))
    (record,) = caplog.records
    assert "has no authentication: whoever reaches its ports can run code" in record.getMessage()


def test_a_cluster_of_ones_own_gets_a_token_that_nobody_else_reads(
    serve, monkeypatch, tmp_path
) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "below" / "token"))
    connect("local")
    token = tmp_path / "below" / "token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert len(token.read_text()) == 64
    token.chmod(0o644)
    connect("local")
    assert token.stat().st_mode & 0o777 == 0o600
