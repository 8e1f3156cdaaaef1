"""A whole server without sockets, with hosts of several kinds."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
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
ROLES = {
    "owner": "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
    "reader": "acdd72a7-3385-48ef-bd42-f606fba81ae7",
    "nobody": "",
}


@dataclass
class House:
    app: App
    clock: FakeClock
    people: dict[str, ServicePrincipal] = field(default_factory=dict)

    async def ask(self, method: str, path: str, body: Any = None, *, who: str = "owner", token: str = "") -> Reply:
        target = path if "api-version=" in path else f"{path}{'&' if '?' in path else '?'}api-version=2024-11-01"
        decoded, raw, query = parse_target(target)
        cloud = load_clouds()["AzureCloud"]
        token = (
            token
            or self.app.guard._tokens.mint_application(
                tenant=Tenant(id=TENANT), principal=self.people[who], audience=cloud.audiences["resource_manager"][0]
            ).token
        )
        headers = Fields([("Authorization", f"Bearer {token}"), ("Content-Type", "application/json")])
        content = b"" if body is None else json.dumps(body).encode()
        request = Request(method, decoded, query, headers, content, host="management.azure.com", raw_path=raw)
        return await self.app.resource_manager(request, Address(cloud, "resource_manager"))

    async def ok(self, method: str, path: str, body: Any = None) -> Any:
        reply = await self.ask(method, path, body)
        assert reply.status < 300, reply.body
        return json.loads(reply.body) if reply.body else None

    async def hosts(self) -> dict[str, Any]:
        """By name."""
        found = await self.ok("GET", f"/subscriptions/{S}/providers/Keyfob.Hosts/hosts?api-version=2026-11-01")
        return {row["name"]: row for row in found["value"]}

    async def machine(self, name: str = "web", **more: Any) -> str:
        path = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/{name}"
        await self.ok("PUT", path, {"location": "westeurope", "identity": {"type": "SystemAssigned"}, **more})
        return path

    async def token(self, host: str, resource: str = "https://vault.azure.net", more: str = "") -> Reply:
        target = f"/metadata/identity/oauth2/token?api-version=2018-02-01&resource={resource}{more}"
        path, raw, query = parse_target(target)
        request = Request("GET", path, query, Fields([("Metadata", "true")]), raw_path=raw, scheme="http")
        return await self.app.hosts._metadata(request, ResourceId.parse(host))


@pytest.fixture
async def house(tmp_path: Path, clock: FakeClock) -> AsyncIterator[House]:
    app = await build(read_settings({}, data=str(tmp_path / "data")), clock=clock, ids=SystemIds())
    made = House(app, clock)
    async with app.store.transaction() as tx:
        await create_tenant(
            tx, Tenant(id=TENANT, domains=("t.example",)), clouds=load_clouds(), first_party=load_first_party()
        )
        await ensure_subscription(
            tx, subscription_id=S, tenant_id=TENANT, cloud="AzureCloud", display_name="s", now=clock.now()
        )
        for number, (who, role) in enumerate(ROLES.items(), 1):
            principal = made.people[who] = ServicePrincipal(
                id=f"cccccccc-0000-4000-8000-{number:012}",
                tenant_id=TENANT,
                app_id=f"dddddddd-0000-4000-8000-{number:012}",
                display_name=who,
            )
            await create_service_principal(tx, principal)
            if role:
                await assign(
                    tx,
                    tenant_id=TENANT,
                    scope=ROOT,
                    principal_id=principal.id,
                    role_definition_id=role,
                    now=clock.now(),
                )
    for namespace in ("Microsoft.Compute", "Microsoft.ManagedIdentity", "Microsoft.Web"):
        await made.ok("POST", f"/subscriptions/{S}/providers/{namespace}/register?api-version=2021-04-01")
    await made.ok("PUT", f"{GROUP}?api-version=2021-04-01", {"location": "westeurope"})
    yield made
    await app.stop()
