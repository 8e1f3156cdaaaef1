"""Vaults made through Resource Manager, asked through the door, by principals with signed tokens."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keyfob.access.assignments import assign
from keyfob.access.door import Door
from keyfob.access.guard import Guard
from keyfob.arm.model import ResourceGroup, Subscription
from keyfob.arm.pipeline import ResourceManager
from keyfob.arm.resources import GROUPS, SUBSCRIPTIONS
from keyfob.clock import CountingIds, FakeClock
from keyfob.clouds.cloud import Cloud
from keyfob.clouds.table import load_clouds
from keyfob.declare import Address
from keyfob.directory.first_party import load_first_party
from keyfob.directory.keys import KeyRing
from keyfob.directory.model import ServicePrincipal, Tenant
from keyfob.directory.principals import create_service_principal
from keyfob.directory.seal import Seal
from keyfob.directory.tenants import create_tenant
from keyfob.directory.tokens import Tokens
from keyfob.resource_id import ResourceId
from keyfob.services.key_vault import KeyVault, key_vault
from keyfob.store.port import Store
from keyfob.wire.http import Fields, Reply, Request, parse_target

TENANT = "11111111-1111-1111-1111-111111111111"
OTHER_TENANT = "11111111-1111-1111-1111-222222222222"
SUBSCRIPTION = "22222222-2222-2222-2222-222222222222"
GROUP = ResourceId.group(SUBSCRIPTION, "rg")
AUDIENCE = "https://vault.azure.net"
ROLES = {
    "owner": "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
    "contributor": "b24988ac-6180-42a0-ab88-20f7382dd24c",
    "secrets user": "4633458b-17de-408a-b874-0445c86b69e6",
    "secrets officer": "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    "reader": "21090545-7ca7-4776-b22c-e363652d74d2",
}


@dataclass
class VaultHouse:
    store: Store
    clock: FakeClock
    ids: CountingIds
    clouds: dict[str, Cloud]
    tokens: Tokens
    guard: Guard
    service: KeyVault
    door: Door
    manager: ResourceManager
    database: Path
    owner: ServicePrincipal
    requests: int = 0

    def scope(self, name: str = "shop") -> ResourceId:
        return GROUP.provider("Microsoft.KeyVault/vaults", name)

    async def principal(self, name: str = "app", tenant: str = TENANT) -> ServicePrincipal:
        made = ServicePrincipal(
            id=self.ids.guid(), tenant_id=tenant, app_id=self.ids.guid(), display_name=name, kind="ManagedIdentity"
        )
        async with self.store.transaction() as tx:
            await create_service_principal(tx, made)
        return made

    async def give(self, principal: ServicePrincipal, role: str, scope: ResourceId) -> None:
        async with self.store.transaction() as tx:
            await assign(
                tx,
                tenant_id=TENANT,
                scope=scope,
                principal_id=principal.id,
                role_definition_id=ROLES[role],
                now=self.clock.now(),
            )

    def token(self, principal: ServicePrincipal, audience: str = AUDIENCE, tenant: str = TENANT) -> str:
        return self.tokens.mint_managed_identity(
            tenant=Tenant(id=tenant, cloud="AzureCloud"),
            principal=principal,
            audience=audience,
            resource_id=str(GROUP.provider("Microsoft.Compute/virtualMachines", "web")),
            host_id=None,
        ).token

    async def ask(
        self,
        method: str,
        target: str,
        who: ServicePrincipal | str | None,
        body: Any = None,
        *,
        vault: str = "shop",
        version: str | None = "7.4",
        **headers: str,
    ) -> Reply:
        """Through the data plane's door. `who` is a principal, a whole token, or nobody."""
        self.requests += 1
        if version is not None:
            target += ("&" if "?" in target else "?") + f"api-version={version}"
        path, raw, query = parse_target(target)
        given = [(name.replace("_", "-"), value) for name, value in headers.items()]
        if who is not None:
            given.append(("Authorization", "Bearer " + (who if isinstance(who, str) else self.token(who))))
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        request = Request(
            method,
            path,
            query,
            Fields(given),
            content,
            host=f"{vault}.vault.azure.net",
            raw_path=raw,
            request_id=f"request-{self.requests}",
            peer="10.0.0.9",
        )
        return await self.door(request, Address(self.clouds["AzureCloud"], "key_vault", vault))

    async def arm(
        self, method: str, path: str, body: Any = None, *, version: str = "2023-07-01", who: Any = None
    ) -> Reply:
        """Through Resource Manager, as the owner unless told otherwise."""
        self.requests += 1
        token = self.token(who or self.owner, "https://management.azure.com/")
        path, raw, query = parse_target(f"{path}?api-version={version}")
        headers = [("Authorization", f"Bearer {token}"), ("Content-Type", "application/json")]
        request = Request(
            method,
            path,
            query,
            Fields(headers),
            b"" if body is None else json.dumps(body).encode(),
            host="management.azure.com",
            raw_path=raw,
            request_id=f"request-{self.requests}",
        )
        return await self.manager(request, Address(self.clouds["AzureCloud"], "resource_manager", ""))

    async def make(self, name: str = "shop", *, version: str = "2023-07-01", **properties: Any) -> Reply:
        given = {"tenantId": TENANT, "sku": {"family": "A", "name": "standard"}, "accessPolicies": []}
        body = {"location": "westus", "properties": given | {"enableRbacAuthorization": True} | properties}
        return await self.arm("PUT", str(self.scope(name)), body, version=version)


@pytest.fixture
async def vaults(store: Store, clock: FakeClock, ids: CountingIds, tmp_path: Path) -> VaultHouse:
    clouds = dict(load_clouds())
    async with store.transaction() as tx:
        for id, domain in ((TENANT, "contoso.onmicrosoft.com"), (OTHER_TENANT, "fabrikam.onmicrosoft.com")):
            tenant = Tenant(id=id, domains=(domain,), cloud="AzureCloud", default=id == TENANT)
            await create_tenant(tx, tenant, clouds=clouds, first_party=load_first_party())
        await SUBSCRIPTIONS.put(tx, SUBSCRIPTION, Subscription(id=SUBSCRIPTION, tenant_id=TENANT, cloud="AzureCloud"))
        await GROUPS.put(tx, GROUP.key, ResourceGroup(id=str(GROUP), name="rg", tenant_id=TENANT, location="westus"))
    keys = KeyRing(store=store, seal=Seal(b"k" * 32), clock=clock)
    await keys.load()
    tokens = Tokens(keys=keys, clouds=clouds, clock=clock, ids=ids)
    guard = Guard(store=store, tokens=tokens, clock=clock, ids=ids)
    service = key_vault(store=store, guard=guard, clouds=clouds, clock=clock, ids=ids, master_key=b"m" * 32)
    manager = ResourceManager(
        store=store, guard=guard, clouds=clouds, providers=[service.provider], clock=clock, ids=ids
    )
    door = Door(service.plane, guard=guard, clock=clock)
    owner = ServicePrincipal(id=ids.guid(), tenant_id=TENANT, app_id=ids.guid(), display_name="owner")
    made = VaultHouse(store, clock, ids, clouds, tokens, guard, service, door, manager, tmp_path / "keyfob.db", owner)
    async with store.transaction() as tx:
        await create_service_principal(tx, owner)
    await made.give(owner, "owner", ResourceId.subscription(SUBSCRIPTION))
    return made
