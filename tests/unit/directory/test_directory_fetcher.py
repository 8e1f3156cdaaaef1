"""Foreign issuers' keys over real HTTP on loopback: remembered, asked again for a new key, never misled."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from keyfob.clock import FakeClock
from keyfob.directory.fetcher import HttpKeyFetcher, IssuerUnreachable


class Issuer:
    """Pages by path: (status, headers, body)."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[str] = []
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                status, headers, body = issuer.pages.get(self.path, (404, {}, b""))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return None

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def discovery(self, **more: Any) -> None:
        found = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"} | more
        self.pages["/.well-known/openid-configuration"] = (200, {}, json.dumps(found).encode())

    def keys(self, *kids: str) -> None:
        self.pages["/keys"] = (200, {}, json.dumps({"keys": [{"kid": kid} for kid in kids]}).encode())


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    made.discovery()
    made.keys("k1")
    yield made
    made.server.shutdown()
    made.thread.join()
    made.server.server_close()


async def test_keys_are_remembered_and_asked_for_again_when_one_is_missing(issuer: Issuer, clock: FakeClock) -> None:
    fetcher = HttpKeyFetcher(clock=clock)
    assert [key["kid"] for key in await fetcher.keys(issuer.url, "k1")] == ["k1"]
    await fetcher.keys(issuer.url, "k1")
    assert len(issuer.asked) == 2
    issuer.keys("k1", "k2")
    assert [key["kid"] for key in await fetcher.keys(issuer.url, "k2")] == ["k1"]  # too soon to ask again
    clock.advance(31)
    assert [key["kid"] for key in await fetcher.keys(issuer.url, "k2")] == ["k1", "k2"]
    clock.advance(601)
    await fetcher.keys(issuer.url, "k1")
    assert len(issuer.asked) == 6


async def refused(issuer: Issuer, clock: FakeClock, where: str = "") -> str:
    with pytest.raises(IssuerUnreachable) as caught:
        await HttpKeyFetcher(clock=clock).keys(where or issuer.url, "k1")
    return caught.value.message


async def test_what_is_no_issuer(issuer: Issuer, clock: FakeClock) -> None:
    issuer.discovery(issuer="https://another.example")
    assert "names the issuer" in await refused(issuer, clock)
    issuer.discovery(jwks_uri="http://issuer.example/keys")
    assert "https" in await refused(issuer, clock)
    issuer.discovery(jwks_uri="file:///etc/passwd")
    assert "https" in await refused(issuer, clock)
    issuer.discovery(jwks_uri=7)
    assert "jwks_uri" in await refused(issuer, clock)
    issuer.discovery()
    for body, text in ((b"{}", "no keys"), (b"[]", "object"), (b"<html>", "not JSON"), (b" " * 300_000, "too large")):
        issuer.pages["/keys"] = (200, {}, body)
        assert text in await refused(issuer, clock)
    issuer.pages["/keys"] = (302, {"Location": f"{issuer.url}/elsewhere"}, b"")
    assert await refused(issuer, clock)
    assert "/elsewhere" not in issuer.asked
    assert await refused(issuer, clock, f"{issuer.url}/nowhere")
    assert await refused(issuer, clock, "http://127.0.0.1:1")
    assert "https" in await refused(issuer, clock, "http://issuer.example")
