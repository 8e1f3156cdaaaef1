"""A whole server in this process with one group, and what makes sites and sends them content."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import zipfile
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from keyfob.app.parts import App, build
from keyfob.cli.client import Answer, Client
from keyfob.clock import SystemClock, SystemIds
from keyfob.hosts.app_service import AppService
from keyfob.hosts.app_service.running.sites import Sites
from keyfob.hosts.sandbox.run import unavailable
from keyfob.resource_id import ResourceId
from keyfob.servers.run import announce
from keyfob.settings import read_settings

API = "2024-11-01"

SERVER = """
import json, os, uuid
START = uuid.uuid4().hex
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        said = json.dumps({"path": self.path, "host": self.headers["Host"], "text": TEXT, "start": START,
                           "environment": dict(os.environ), "folder": os.getcwd()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    def log_message(self, *a):
        print("asked for", self.path, flush=True)

print("serving", flush=True)
HTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
"""


def server(text: str = "one") -> str:
    """A program of the standard library that answers with what it sees."""
    return f"TEXT = {text!r}\n{SERVER}"


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return made.getvalue()


class Place:
    """The server, its operator, and the sites of one group."""

    def __init__(self, app: App, client: Client) -> None:
        self.app = app
        self.client = client
        self.group = f"/subscriptions/{client.operator['subscription_id']}/resourceGroups/web"

    @property
    def sites(self) -> Sites:
        return next(runner for runner in self.app.runners if isinstance(runner, AppService)).sites

    def id(self, name: str, slot: str = "") -> str:
        return f"{self.group}/providers/Microsoft.Web/sites/{name}" + (f"/slots/{slot}" if slot else "")

    async def arm(self, method: str, path: str, body: Any = None, version: str = API) -> Answer:
        return await asyncio.to_thread(self.client.arm, method, path, body, api_version=version)

    async def ok(self, method: str, path: str, body: Any = None, version: str = API) -> Any:
        answer = await self.arm(method, path, body, version)
        assert 200 <= answer.status < 300, (method, path, answer.status, answer.body)
        return answer.json()

    async def site(self, name: str, slot: str = "", *, config: Any = None, identity: Any = None, **more: Any) -> Any:
        body = {
            "location": "westeurope",
            "kind": "app,linux",
            "properties": {
                "reserved": True,
                "siteConfig": {"appCommandLine": "python3 main.py", **(config or {})},
                **more,
            },
            **({"identity": identity} if identity else {}),
        }
        return await self.ok("PUT", self.id(name, slot), body)

    async def settings(self, site: str, values: Mapping[str, str]) -> None:
        await self.ok("PUT", f"{site}/config/appsettings", {"properties": dict(values)})

    async def send(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        return await asyncio.to_thread(self.client.send, method, url, headers, body)

    async def get(self, name: str, path: str = "/") -> Any:
        """What the site's program says."""
        answer = await self.send("GET", f"https://{name}.azurewebsites.net{path}")
        assert answer.status == 200, (answer.status, answer.body[:2000])
        return answer.json()

    async def credentials(self, site: str) -> Mapping[str, str]:
        """The header of its publishing credentials."""
        listed = await self.ok("POST", f"{site}/config/publishingcredentials/list")
        pair = f"{listed['properties']['publishingUserName']}:{listed['properties']['publishingPassword']}"
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}

    async def deploy(self, name: str, files: Mapping[str, str | bytes], slot: str = "", query: str = "") -> Answer:
        """By zipdeploy, with publishing credentials; waits until it is done."""
        label = f"{name}-{slot}" if slot else name
        return await self.send(
            "POST",
            f"https://{label}.scm.azurewebsites.net/api/zipdeploy{query}",
            await self.credentials(self.id(name, slot)),
            zipped(files),
        )

    def log(self, id: str) -> str:
        return "\n".join(map(str, self.app.workshop.log_of(ResourceId.parse(id)).tail()))

    async def until(self, true: Callable[[], Any]) -> None:
        async with asyncio.timeout(90):
            while not true():
                await asyncio.sleep(0.02)


Start = Callable[[], Any]


@pytest.fixture
async def starting(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a server on the test's data folder; the one before is stopped, as a restart has it."""
    if sentence := unavailable():
        pytest.skip(sentence)
    running: list[App] = []

    async def start() -> Place:
        for app in running:
            await app.stop()
        running.clear()
        settings = read_settings({}, data=str(tmp_path / "data"), port="0")
        app = await build(settings, clock=SystemClock(), ids=SystemIds())
        running.append(app)
        await app.start()
        announce({"pid": os.getpid(), "address": "127.0.0.1", "port": app.port}, file=settings.server_file)
        place = Place(app, Client(settings.data))
        await place.ok("PUT", place.group, {"location": "westeurope"})
        return place

    yield start
    for app in running:
        await app.stop()


@pytest.fixture
async def place(starting: Start) -> Place:
    started: Place = await starting()
    return started


def parsed(answer: Answer) -> Any:
    return json.loads(answer.body)
