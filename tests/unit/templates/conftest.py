"""The whole application in this process, and deployments of templates in it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from keyfob.app.parts import App, build
from keyfob.cli.client import Answer, Client
from keyfob.clock import SystemClock, SystemIds
from keyfob.directory.principals import get_principal
from keyfob.directory.tenants import get_tenant
from keyfob.servers.run import announce
from keyfob.settings import read_settings

VERSION = "2024-11-01"
SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"


PATIENCE = 120.0


async def until(ask: Callable[[], Awaitable[bool]]) -> None:
    """Asks until it is so."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while True:
        if await ask():
            return
        assert loop.time() < deadline, "it never came to be"
        await asyncio.sleep(0.01)


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


IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
ROLE = "11111111-2222-3333-4444-555555555555"


class Deployer:
    """A managed identity with a role of its own in the subscription, who deploys."""

    def __init__(self, arm: Arm, id: str, principal: str, token: str) -> None:
        self._arm = arm
        self.id = id
        self.principal = principal
        self.token = token
        self.assignment = f"{arm.subscription}/providers/Microsoft.Authorization/roleAssignments/{ROLE}"

    @classmethod
    async def made(cls, arm: Arm, *actions: str) -> Deployer:
        aside = await arm.made(f"{arm.subscription}/resourceGroups/aside", {"location": "westeurope"})
        id = f"{aside['id']}/providers/{IDENTITY}/deployer"
        shown = await arm.made(id, {"location": "westeurope"}, "2018-11-30")
        principal = shown["properties"]["principalId"]
        tenant = await get_tenant(arm.app.store, arm.client.operator["tenant_id"])
        found = await get_principal(arm.app.store, arm.client.operator["tenant_id"], principal)
        token = arm.app.guard._tokens.mint_managed_identity(
            tenant=tenant,
            principal=found,
            audience="https://management.azure.com/",
            resource_id=id,
            host_id=None,
        ).token
        one = cls(arm, id, principal, token)
        await one.may(*actions)
        role = f"{arm.subscription}/providers/Microsoft.Authorization/roleDefinitions/{ROLE}"
        given = {"roleDefinitionId": role, "principalId": principal, "principalType": "ServicePrincipal"}
        await arm.made(one.assignment, {"properties": given}, "2022-04-01")
        return one

    async def may(self, *actions: str) -> None:
        """The role's actions, from now on."""
        role = {
            "roleName": "Deployer",
            "type": "CustomRole",
            "permissions": [{"actions": list(actions)}],
            "assignableScopes": [self._arm.subscription],
        }
        path = f"{self._arm.subscription}/providers/Microsoft.Authorization/roleDefinitions/{ROLE}"
        await self._arm.made(path, {"properties": role}, "2022-04-01")

    async def call(self, method: str, path: str, body: Any = None, version: str = VERSION) -> Answer:
        url = f"https://management.azure.com{path}?api-version={version}"
        encoded = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        return await asyncio.to_thread(self._arm.client.send, method, url, headers, encoded)


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
