"""The whole application in this process, and deployments of templates in it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from keyfob.app.parts import App, build
from keyfob.cli.client import Answer, Client
from keyfob.clock import SystemClock, SystemIds
from keyfob.servers.run import announce
from keyfob.settings import read_settings

VERSION = "2024-11-01"
SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"


def template(*resources: Any, **more: Any) -> dict[str, Any]:
    return {"$schema": SCHEMA, "contentVersion": "1.0.0.0", "resources": list(resources), **more}


class Arm:
    """An application and its operator, who deploys."""

    def __init__(self, app: App, client: Client) -> None:
        self.app = app
        self.client = client
        self.subscription = f"/subscriptions/{client.operator['subscription_id']}"
        self.group = f"{self.subscription}/resourceGroups/g"

    async def call(self, method: str, path: str, body: Any = None, version: str = VERSION) -> Answer:
        return await asyncio.to_thread(self.client.arm, method, path, body, api_version=version)

    async def made(self, path: str, body: Any, version: str = VERSION) -> Any:
        answer = await self.call("PUT", path, body, version)
        assert answer.status in (200, 201), answer.body.decode()
        return answer.json()

    def at(self, name: str, scope: str | None = None) -> str:
        return f"{self.group if scope is None else scope}/providers/Microsoft.Resources/deployments/{name}"

    async def put(
        self, wanted: Any, parameters: Mapping[str, Any] | None = None, *, name: str = "d", **more: Any
    ) -> Answer:
        scope, location = more.pop("scope", None), more.pop("location", None)
        properties = {
            "mode": "Incremental",
            "template": wanted,
            "parameters": {key: {"value": value} for key, value in (parameters or {}).items()},
            **more,
        }
        body = {"properties": properties} | ({"location": location} if location else {})
        return await self.call("PUT", self.at(name, scope), body)

    async def ended(self, name: str = "d", scope: str | None = None) -> Any:
        """The deployment, when it has."""
        while True:
            shown = (await self.call("GET", self.at(name, scope))).json()
            if shown["properties"]["provisioningState"] not in ("Accepted", "Running"):
                return shown
            await asyncio.sleep(0.01)

    async def deploy(self, wanted: Any, parameters: Mapping[str, Any] | None = None, **more: Any) -> Any:
        """Deployed, and what became of it."""
        answer = await self.put(wanted, parameters, **more)
        assert answer.status in (200, 201), answer.body.decode()
        return await self.ended(more.get("name", "d"), more.get("scope"))

    async def succeeds(self, wanted: Any, parameters: Mapping[str, Any] | None = None, **more: Any) -> Any:
        shown = await self.deploy(wanted, parameters, **more)
        assert shown["properties"]["provisioningState"] == "Succeeded", json.dumps(
            shown["properties"]["error"], indent=1
        )
        return shown

    async def names(self, scope: str | None = None) -> set[str]:
        listed = await self.call("GET", f"{scope or self.group}/resources", version="2021-04-01")
        return {row["name"] for row in listed.json()["value"]}


async def built(folder: Path, **more: Any) -> App:
    settings = read_settings({}, data=str(folder), port="0", **more)
    app = await build(settings, clock=SystemClock(), ids=SystemIds())
    await app.start()
    announce({"pid": os.getpid(), "address": "127.0.0.1", "port": app.port}, file=settings.server_file)
    return app


@pytest.fixture
async def arm(tmp_path: Path) -> AsyncIterator[Arm]:
    app = await built(tmp_path / "data")
    made = Arm(app, Client(app.settings.data))
    await made.made(made.group, {"location": "westeurope"})
    try:
        yield made
    finally:
        await app.stop()
