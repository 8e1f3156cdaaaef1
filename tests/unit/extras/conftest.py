"""The whole application in this process, its operator, and somebody without any role."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from keyfob.app.parts import App, build
from keyfob.cli.client import Client
from keyfob.clock import SystemClock, SystemIds
from keyfob.declare import Address
from keyfob.directory.applications import add_secret, create_application
from keyfob.directory.model import Application
from keyfob.settings import read_settings
from keyfob.wire.http import Fields, Reply, Request, parse_target

CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
TAG_CONTRIBUTOR = "4a9ae827-6dc8-4573-8ac7-8239d42aa03f"
IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"


class Person:
    """A principal of the tenant and its token for Resource Manager."""

    def __init__(self, id: str, token: str) -> None:
        self.id = id
        self.token = token


class World:
    def __init__(self, app: App, operator: dict[str, Any], boss: Person) -> None:
        self.app = app
        self.boss = boss
        self.tenant = str(operator["tenant_id"])
        self.subscription_id = str(operator["subscription_id"])
        self.subscription = f"/subscriptions/{self.subscription_id}"
        self.group = f"{self.subscription}/resourceGroups/extras"
        self._login = str(operator["login"])
        self._number = 0

    async def arm(
        self, method: str, path: str, body: Any = None, *, by: Person | None = None, version: str = "2024-11-01"
    ) -> Reply:
        """As the operator unless it is `by` somebody else."""
        url, _, query = path.partition("?")
        target = quote(url) + "?" + quote(query, safe="=&$'(),") + ("&" if query else "") + f"api-version={version}"
        parsed, raw, fields = parse_target(target)
        request = Request(
            method,
            parsed,
            fields,
            Fields([("authorization", f"Bearer {(by or self.boss).token}")]),
            b"" if body is None else json.dumps(body).encode(),
            host="management.azure.com",
            raw_path=raw,
        )
        cloud = self.app.front_door._clouds["AzureCloud"]
        return await self.app.resource_manager(request, Address(cloud, "resource_manager"))

    async def good(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        reply = await self.arm(method, path, body, **more)
        assert reply.status < 300, (reply.status, reply.body)
        return json.loads(reply.body) if reply.body else None

    async def refused(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, str]:
        reply = await self.arm(method, path, body, **more)
        assert reply.status >= 400, (reply.status, reply.body)
        return reply.status, str(json.loads(reply.body)["error"]["code"])

    async def somebody(self, role: str = "", scope: str = "") -> Person:
        """A new service principal, with a role somewhere if one is given."""
        ids, clock, store = SystemIds(), SystemClock(), self.app.store
        self._number += 1
        async with store.transaction() as tx:
            application = Application(
                id=ids.guid(),
                tenant_id=self.tenant,
                app_id=ids.guid(),
                display_name=f"somebody {self._number}",
                created=clock.now(),
            )
            principal = await create_application(tx, application, principal_id=ids.guid())
            secret = await add_secret(
                tx, self.tenant, application.id, clock=clock, ids=ids, display_name="one", ends=clock.now() + 3600
            )
        token = await self._token(application.app_id, secret.text)
        if role:
            await self.assign(role, scope, principal.id)
        return Person(principal.id, token)

    async def _token(self, app_id: str, secret: str) -> str:
        form = f"grant_type=client_credentials&client_id={app_id}&client_secret={quote(secret)}"
        form += "&resource=https%3A%2F%2Fmanagement.core.windows.net%2F"
        path = f"/{self.tenant}/oauth2/token"
        reply = await self.app.front_door(
            Request(
                "POST",
                path,
                Fields(),
                Fields([("content-type", "application/x-www-form-urlencoded")]),
                form.encode(),
                host=self._login.removeprefix("https://"),
                raw_path=path,
            )
        )
        return str(json.loads(reply.body)["access_token"])

    async def assign(self, role: str, scope: str, principal: str) -> str:
        name = SystemIds().guid()
        path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"
        properties = {
            "roleDefinitionId": f"/providers/Microsoft.Authorization/roleDefinitions/{role}",
            "principalId": principal,
            "principalType": "ServicePrincipal",
        }
        await self.good("PUT", path, {"properties": properties}, version="2022-04-01")
        return path

    async def identity(self, name: str) -> str:
        """A small resource to do things to: its id."""
        id = f"{self.group}/providers/{IDENTITY}/{name}"
        await self.good("PUT", id, {"location": "westeurope"}, version="2023-01-31")
        return id


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    settings = read_settings({}, data=str(tmp_path / "data"), port="0")
    app = await build(settings, clock=SystemClock(), ids=SystemIds())
    operator = json.loads(settings.operator_file.read_text())
    made = World(app, operator, Person(str(operator["object_id"]), ""))
    made.boss.token = await made._token(operator["client_id"], operator["client_secret"])
    await made.good("PUT", made.group, {"location": "westeurope"})
    try:
        yield made
    finally:
        await app.stop()


@pytest.fixture
async def served(world: World) -> tuple[World, Client]:
    """The same with its sockets open, and the command line's client of it."""
    from keyfob.servers.run import announce

    await world.app.start()
    announce({"pid": os.getpid(), "address": "127.0.0.1", "port": world.app.port}, file=world.app.settings.server_file)
    return world, await asyncio.to_thread(Client, world.app.settings.data)
