"""A whole server without sockets, and what programs on an instance of a scale set hear."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keyfob.access.assignments import assign
from keyfob.app.parts import App, build
from keyfob.arm.subscriptions import ensure_subscription
from keyfob.clock import FakeClock, SystemIds
from keyfob.clouds.table import load_clouds
from keyfob.declare import Address
from keyfob.directory.first_party import load_first_party
from keyfob.directory.model import ServicePrincipal, Tenant
from keyfob.directory.principals import create_service_principal
from keyfob.directory.tenants import create_tenant
from keyfob.resource_id import ROOT, ResourceId
from keyfob.settings import read_settings
from keyfob.wire.http import Fields, Reply, Request, parse_target

TENANT = "aaaaaaaa-0000-4000-8000-000000000001"
S = "bbbbbbbb-0000-4000-8000-000000000001"
GROUP = f"/subscriptions/{S}/resourceGroups/g"
SET = f"{GROUP}/providers/Microsoft.Compute/virtualMachineScaleSets/set"
OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
V = "2024-11-01"
TOKEN = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    json: Any


@dataclass
class Fleet:
    app: App
    owner: ServicePrincipal

    async def send(self, method: str, path: str, body: Any = None) -> Answer:
        target = path if "api-version=" in path else f"{path}{'&' if '?' in path else '?'}api-version={V}"
        decoded, raw, query = parse_target(target)
        cloud = load_clouds()["AzureCloud"]
        token = self.app.guard._tokens.mint_application(
            tenant=Tenant(id=TENANT), principal=self.owner, audience=cloud.audiences["resource_manager"][0]
        ).token
        headers = Fields([("Authorization", f"Bearer {token}"), ("Content-Type", "application/json")])
        content = b"" if body is None else json.dumps(body).encode()
        request = Request(method, decoded, query, headers, content, host="management.azure.com", raw_path=raw)
        reply = await self.app.resource_manager(request, Address(cloud, "resource_manager"))
        document = json.loads(reply.body) if reply.body else None
        return Answer(reply.status, {name.lower(): value for name, value in reply.headers}, document)

    async def ok(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self.send(method, path, body)
        assert answer.status < 300, answer.json
        return answer.json

    async def set(self, *, capacity: int = 2, mode: str = "Automatic", **more: Any) -> Any:
        """PUT of the set; gives it as it is afterwards."""
        body = {
            "location": "westeurope",
            "sku": {"name": "Standard_B1s", "capacity": capacity},
            "properties": {"upgradePolicy": {"mode": mode}, **more.pop("properties", {})},
            **more,
        }
        await self.ok("PUT", SET, body)
        return await self.ok("GET", SET)

    async def instances(self) -> list[Any]:
        return list((await self.ok("GET", f"{SET}/virtualMachines"))["value"])

    async def names(self) -> list[str]:
        return [one["instanceId"] for one in await self.instances()]

    async def user(self, name: str) -> Any:
        path = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
        return await self.ok("PUT", f"{path}?api-version=2023-01-31", {"location": "westeurope"})

    # --- a program on an instance

    async def get(self, instance: int, target: str) -> Reply:
        path, raw, query = parse_target(target)
        request = Request("GET", path, query, Fields([("Metadata", "true")]), raw_path=raw, scheme="http")
        return await self.app.hosts._metadata(request, ResourceId.parse(f"{SET}/virtualMachines/{instance}"))

    async def claims(self, instance: int, more: str = "") -> dict[str, Any] | None:
        """Of the token that an instance gets; None when it gets none."""
        reply = await self.get(instance, TOKEN + more)
        if reply.status != 200:
            assert b"access_token" not in reply.body
            return None
        part = json.loads(reply.body)["access_token"].split(".")[1]
        found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=="))
        return found

    async def oid(self, instance: int, more: str = "") -> str | None:
        found = await self.claims(instance, more)
        return None if found is None else str(found["oid"])


@pytest.fixture
async def fleet(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Fleet]:
    app = await build(read_settings({}, data=str(tmp_path / "data")), clock=clock, ids=SystemIds())
    owner = ServicePrincipal(
        id="cccccccc-0000-4000-8000-000000000001",
        tenant_id=TENANT,
        app_id="dddddddd-0000-4000-8000-000000000001",
        display_name="owner",
    )
    async with app.store.transaction() as tx:
        await create_tenant(
            tx, Tenant(id=TENANT, domains=("t.example",)), clouds=load_clouds(), first_party=load_first_party()
        )
        await ensure_subscription(
            tx, subscription_id=S, tenant_id=TENANT, cloud="AzureCloud", display_name="s", now=clock.now()
        )
        await create_service_principal(tx, owner)
        await assign(tx, tenant_id=TENANT, scope=ROOT, principal_id=owner.id, role_definition_id=OWNER, now=clock.now())
    made = Fleet(app, owner)
    for namespace in ("Microsoft.Compute", "Microsoft.ManagedIdentity"):
        await made.ok("POST", f"/subscriptions/{S}/providers/{namespace}/register?api-version=2021-04-01")
    await made.ok("PUT", f"{GROUP}?api-version=2021-04-01", {"location": "westeurope"})
    yield made
    await app.stop()
