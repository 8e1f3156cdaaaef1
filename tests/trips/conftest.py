"""The whole application in this process: real store, real sockets on loopback, a clock that a test may move."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from keyfob.app.parts import App, build
from keyfob.cli.client import Client
from keyfob.clock import SystemClock, SystemIds
from keyfob.servers.run import announce
from keyfob.settings import read_settings


class Trip:
    """An application, its operator's client, and calls that do not block the loop they share."""

    def __init__(self, app: App, client: Client) -> None:
        self.app = app
        self.client = client
        self.group = f"/subscriptions/{client.operator['subscription_id']}/resourceGroups/trip"

    async def arm(self, method: str, path: str, body: Any = None, version: str = "2024-11-01"):
        return await asyncio.to_thread(self.client.arm, method, path, body, api_version=version)

    async def made(self, path: str, body: Any, version: str = "2024-11-01") -> Any:
        answer = await self.arm("PUT", path, body, version)
        assert answer.status in (200, 201), answer.body
        return answer.json()

    async def send(self, method: str, url: str, token: str = "", body: Any = None):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        encoded = None if body is None else json.dumps(body).encode()
        return await asyncio.to_thread(self.client.send, method, url, headers, encoded)

    async def operator_token(self, audience: str) -> str:
        return await asyncio.to_thread(self.client.token, audience)

    async def assign(self, scope: str, role: str, principal: str, name: str) -> None:
        await self.made(
            f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}",
            {
                "properties": {
                    "roleDefinitionId": f"/providers/Microsoft.Authorization/roleDefinitions/{role}",
                    "principalId": principal,
                    "principalType": "ServicePrincipal",
                }
            },
            "2022-04-01",
        )

    async def endpoint(self, host_id: str) -> str:
        opened = await self.arm("POST", f"{host_id}/providers/Keyfob.Hosts/openEndpoint", version="2026-11-01")
        assert opened.status == 200, opened.body
        return str(opened.json()["endpoint"])

    @staticmethod
    async def plain(endpoint: str, target: str, headers: Mapping[str, str]) -> tuple[int, Any]:
        def call() -> tuple[int, Any]:
            connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=10)
            try:
                connection.request("GET", target, headers=dict(headers))
                reply = connection.getresponse()
                return reply.status, json.loads(reply.read())
            finally:
                connection.close()

        return await asyncio.to_thread(call)


@pytest.fixture
async def trip(tmp_path: Path) -> AsyncIterator[Trip]:
    settings = read_settings({}, data=str(tmp_path / "data"), port="0")
    app = await build(settings, clock=SystemClock(), ids=SystemIds())
    await app.start()
    announce({"pid": os.getpid(), "address": "127.0.0.1", "port": app.port}, file=settings.server_file)
    made = Trip(app, Client(settings.data))
    await made.made(made.group, {"location": "westeurope"})
    try:
        yield made
    finally:
        await app.stop()
