"""A whole server without sockets, and callers with one role each."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from keyfob.access.assignments import assign
from keyfob.app.parts import App, build
from keyfob.arm.subscriptions import ensure_subscription
from keyfob.clock import FakeClock, SystemIds
from keyfob.clouds.table import load_clouds
from keyfob.declare import Address
from keyfob.directory.model import ServicePrincipal, Tenant
from keyfob.directory.principals import create_service_principal
from keyfob.directory.tenants import create_tenant
from keyfob.resource_id import ROOT, ResourceId
from keyfob.settings import read_settings
from keyfob.wire.http import Fields, Request, parse_target

OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
TENANT = "aaaaaaaa-0000-4000-8000-000000000001"
S = "bbbbbbbb-0000-4000-8000-000000000001"
CHINESE = "bbbbbbbb-0000-4000-8000-000000000004"
GROUP = f"/subscriptions/{S}/resourceGroups/g"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    json: Any

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


@dataclass
class World:
    app: App
    clock: FakeClock
    people: dict[str, ServicePrincipal] = field(default_factory=dict)

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        who: str = "owner",
        v: str = "",
        cloud: str = "AzureCloud",
        if_match: str = "",
    ) -> Answer:
        """`v` is the api-version, unless the path has a query."""
        target = path if "?" in path else f"{path}?api-version={v}"
        decoded, raw, query = parse_target(quote(target, safe="/?&=$%:,'()*~"))
        clouds = load_clouds()
        token = (
            self.app.guard._tokens.mint_application(
                tenant=Tenant(id=TENANT),
                principal=self.people[who],
                audience=clouds[cloud].audiences["resource_manager"][0],
            )
        ).token
        request = Request(
            method=method,
            path=decoded,
            query=query,
            headers=Fields(
                [
                    ("Authorization", f"Bearer {token}"),
                    ("Content-Type", "application/json"),
                    *([("If-Match", if_match)] if if_match else []),
                ]
            ),
            body=b"" if body is None else json.dumps(body).encode(),
            host=clouds[cloud].resource_manager.removeprefix("https://"),
            raw_path=raw,
        )
        reply = await self.app.resource_manager(request, Address(clouds[cloud], "resource_manager"))
        document = json.loads(reply.body) if reply.body else None
        return Answer(reply.status, {n.lower(): value for n, value in reply.headers}, reply.body, document)

    async def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The JSON of an answer that must be a success."""
        answer = await self.send(method, path, body, **more)
        assert 200 <= answer.status < 300, (method, path, answer.status, answer.body)
        return answer.json

    async def give(self, who: str, role: str, scope: str) -> None:
        principal = self.people[who]
        async with self.app.store.transaction() as tx:
            await assign(
                tx,
                tenant_id=principal.tenant_id,
                scope=ResourceId.parse(scope) if scope != "/" else ROOT,
                principal_id=principal.id,
                role_definition_id=role,
                now=self.clock.now(),
            )

    async def identity(self, name: str) -> str:
        id = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
        await self.ok("PUT", id, {"location": "westeurope"}, v="2023-01-31")
        return id


@pytest.fixture
async def world(tmp_path: Path, clock: FakeClock) -> AsyncIterator[World]:
    app = await build(read_settings({}, data=str(tmp_path / "data")), clock=clock, ids=SystemIds())
    made = World(app, clock)
    async with app.store.transaction() as tx:
        await create_tenant(tx, Tenant(id=TENANT, domains=("t.example",)), clouds=load_clouds(), first_party=())
        for id, cloud in ((S, "AzureCloud"), (CHINESE, "AzureChinaCloud")):
            await ensure_subscription(
                tx, subscription_id=id, tenant_id=TENANT, cloud=cloud, display_name=cloud, now=clock.now()
            )
    for number, (who, role) in enumerate(
        {"owner": OWNER, "contributor": CONTRIBUTOR, "reader": READER, "nobody": ""}.items(), 1
    ):
        made.people[who] = ServicePrincipal(
            id=f"cccccccc-0000-4000-8000-{number:012}",
            tenant_id=TENANT,
            app_id=f"dddddddd-0000-4000-8000-{number:012}",
            display_name=who,
        )
        async with app.store.transaction() as tx:
            await create_service_principal(tx, made.people[who])
        if role:
            await made.give(who, role, "/" if who == "owner" else f"/subscriptions/{S}")
    for namespace in app.resource_manager.registry.namespaces:
        if namespace.name.startswith("Microsoft."):
            path = f"/subscriptions/{S}/providers/{namespace.name}/register"
            await made.ok("POST", path, v="2021-04-01")
    await made.ok("PUT", GROUP, {"location": "westeurope"}, v="2021-04-01")
    yield made
    await app.stop()
