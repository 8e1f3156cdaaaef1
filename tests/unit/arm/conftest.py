"""Resource Manager over a real store, a real guard and real tokens, with a few types to manage."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from keyfob.access.assignments import assign
from keyfob.access.guard import Guard
from keyfob.arm.pipeline import ResourceManager
from keyfob.arm.resources import Resources
from keyfob.arm.subscriptions import ensure_subscription
from keyfob.clock import FakeClock, SystemIds
from keyfob.clouds.cloud import Cloud
from keyfob.clouds.table import load_clouds
from keyfob.declare import (
    Action,
    Address,
    Call,
    Change,
    IdentitySupport,
    Kept,
    OnPut,
    PostAction,
    Provider,
    ResourceType,
    Route,
    SignedIn,
)
from keyfob.directory.keys import KeyRing, make_key
from keyfob.directory.model import ServicePrincipal, SigningKey, Tenant
from keyfob.directory.principals import create_service_principal
from keyfob.directory.records import SIGNING_KEYS
from keyfob.directory.seal import Seal
from keyfob.directory.tenants import create_tenant
from keyfob.directory.tokens import Tokens
from keyfob.errors import Conflict
from keyfob.identities.attached import Attachments
from keyfob.identities.types import managed_identity_provider
from keyfob.resource_id import ROOT, ResourceId
from keyfob.store.migrations import migrations_of
from keyfob.store.port import Store
from keyfob.wire.http import Fields, Reply, Request, parse_target

OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
MACHINE_CONTRIBUTOR = "9980e02c-c2be-4d73-94e8-173b1dc7cf3c"
IDENTITY_OPERATOR = "f1a07417-d97a-45cb-824c-7a7467783830"

TENANT = "aaaaaaaa-0000-4000-8000-000000000001"
OTHER_TENANT = "aaaaaaaa-0000-4000-8000-000000000002"
S = "bbbbbbbb-0000-4000-8000-000000000001"
EMPTY = "bbbbbbbb-0000-4000-8000-000000000002"
FOREIGN = "bbbbbbbb-0000-4000-8000-000000000003"
CHINESE = "bbbbbbbb-0000-4000-8000-000000000004"

SEAL = Seal(b"k" * 32)
MACHINE_VERSIONS = ("2017-12-01", "2018-06-01", "2018-10-01", "2024-03-01", "2024-11-01")


class Stubborn(Kept):
    """Refuses to go while its properties say so."""

    async def remove(self, change: Change) -> None:
        if change.before.properties.get("stay"):
            raise Conflict("The box wants to stay.", code="BoxInUse")


async def restart(change: Change) -> Reply:
    return Reply.json({"restarted": change.before.name, "force": change.body.get("force", False)})


async def sizes(call: Call) -> Reply:
    return Reply.json({"value": [call.parameters["location"]]})


def providers(store: Store, ids: SystemIds) -> list[Provider]:
    both = IdentitySupport(system=True, user=True, array_versions=frozenset({"2017-12-01"}))
    machines = "Microsoft.Compute/virtualMachines"
    return [
        managed_identity_provider(store=store, ids=ids, resources=Resources()),
        Provider(
            namespace="Microsoft.Compute",
            registered=True,
            types=(
                ResourceType(
                    name=machines,
                    api_versions=MACHINE_VERSIONS,
                    identity=both,
                    long_running=frozenset({"PUT", "PATCH", "DELETE"}),
                    name_pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
                    actions={
                        "restart": PostAction(action=Action(f"{machines}/restart/action"), operation=restart),
                        "start": PostAction(
                            action=Action(f"{machines}/start/action"), operation=restart, long_running=True
                        ),
                    },
                ),
                ResourceType(name=f"{machines}/extensions", api_versions=MACHINE_VERSIONS),
            ),
            routes=(
                Route(
                    "GET",
                    "/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}/vmSizes",
                    Action("Microsoft.Compute/locations/vmSizes/read"),
                    sizes,
                    api_versions=MACHINE_VERSIONS,
                ),
            ),
        ),
        Provider(
            namespace="Microsoft.Web",
            types=(
                ResourceType(
                    name="Microsoft.Web/sites",
                    api_versions=("2018-11-01", "2025-05-01"),
                    identity=IdentitySupport(system=True, user=True, absent_on_put=OnPut.REMOVE),
                ),
            ),
        ),
        Provider(
            namespace="Microsoft.Shelf",
            registered=True,
            types=(
                ResourceType(name="Microsoft.Shelf/boxes", api_versions=("2020-01-01",), operations=Stubborn()),
                ResourceType(name="Microsoft.Shelf/boxes/notes", api_versions=("2020-01-01",), tracked=False),
            ),
            routes=(Route("GET", "/providers/Microsoft.Shelf/hello", SignedIn("a greeting"), _hello, api_versions=()),),
        ),
    ]


async def _hello(call: Call) -> Reply:
    return Reply.json({"hello": call.caller.principal_id if call.caller else ""})


@dataclass
class Answer:
    """A reply, read."""

    status: int
    headers: dict[str, str]
    body: bytes
    json: Any

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])

    @property
    def message(self) -> str:
        return str(self.json["error"]["message"])


@dataclass
class Manager:
    """Resource Manager with callers who have one role each, or none."""

    store: Store
    clock: FakeClock
    ids: SystemIds
    clouds: Mapping[str, Cloud]
    tenant: Tenant
    other: Tenant
    tokens: Tokens
    guard: Guard
    arm: ResourceManager
    attachments: Attachments
    people: dict[str, ServicePrincipal] = field(default_factory=dict)

    def token(self, who: str, *, audience: str = "https://management.azure.com/") -> str:
        principal = self.people[who]
        tenant = self.tenant if principal.tenant_id == TENANT else self.other
        return self.tokens.mint_application(tenant=tenant, principal=principal, audience=audience).token

    async def send(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        who: str | None = "owner",
        headers: Mapping[str, str] | None = None,
        cloud: str = "AzureCloud",
        authorization: str | None = None,
    ) -> Answer:
        """`target` without a query gets an api-version that fits; an absolute URL of ours loses its host."""
        target = target.removeprefix("https://management.azure.com")
        if "?" not in target:
            target += "?api-version=" + version_for(target)
        path, raw, query = parse_target(quote(target, safe="/?&=$%:,'()*~"))
        pairs = list((headers or {}).items())
        if authorization is None and who is not None:
            authorization = f"Bearer {self.token(who)}"
        if authorization is not None:
            pairs.append(("Authorization", authorization))
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        known = self.clouds[cloud]
        request = Request(
            method=method,
            path=path,
            query=query,
            headers=Fields(pairs),
            body=content,
            host=known.resource_manager.removeprefix("https://"),
            raw_path=raw,
        )
        reply = await self.arm(request, Address(known, "resource_manager"))
        document = json.loads(reply.body) if reply.body else None
        return Answer(reply.status, {name.lower(): value for name, value in reply.headers}, reply.body, document)

    async def give(self, who: str, role: str, scope: str) -> None:
        principal = self.people[who]
        async with self.store.transaction() as tx:
            await assign(
                tx,
                tenant_id=principal.tenant_id,
                scope=ResourceId.parse(scope) if scope != "/" else ROOT,
                principal_id=principal.id,
                role_definition_id=role,
                now=self.clock.now(),
            )

    async def group(self, name: str = "g", subscription: str = S) -> str:
        path = f"/subscriptions/{subscription}/resourceGroups/{name}"
        answer = await self.send("PUT", path, {"location": "westeurope"})
        assert answer.status in (200, 201), answer.body
        return path

    async def identity(self, name: str, group: str = "g", *, who: str = "owner") -> str:
        scope = f"/subscriptions/{S}/resourceGroups/{group}"
        id = f"{scope}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
        answer = await self.send("PUT", id, {"location": "westeurope"}, who=who)
        assert answer.status == 201, answer.body
        return id

    async def machine(self, name: str = "vm1", identity: Any = None, **more: Any) -> Answer:
        body = {"location": "West Europe", "properties": {}} | ({"identity": identity} if identity else {}) | more
        return await self.send("PUT", machine_id(name), body)


def machine_id(name: str = "vm1", group: str = "g") -> str:
    return f"/subscriptions/{S}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines/{name}"


def version_for(path: str) -> str:
    low = path.lower()
    for part, version in (
        ("/federatedidentitycredentials", "2024-11-30"),
        ("microsoft.managedidentity/", "2018-11-30"),
        ("microsoft.compute/", "2024-11-01"),
        ("microsoft.web/", "2025-05-01"),
        ("microsoft.shelf/", "2020-01-01"),
        ("/metadata/endpoints", "2022-09-01"),
    ):
        if part in low and not low.endswith(("/resourcetypes", "register")):
            return version
    return "2022-12-01"


@pytest.fixture(scope="session")
def signing_key() -> SigningKey:
    return make_key(SEAL, 1_700_000_000.0)


async def build(store: Store, clock: FakeClock, key: SigningKey, *, operation_seconds: float = 0.0) -> Manager:
    """A manager over a store that may have been used before."""
    ids, clouds = SystemIds(), load_clouds()
    tenant = Tenant(id=TENANT, display_name="Contoso", domains=("contoso.onmicrosoft.com",))
    other = Tenant(id=OTHER_TENANT, display_name="Fabrikam", domains=("fabrikam.onmicrosoft.com",))
    if await SIGNING_KEYS.get(store, key.kid) is None:
        async with store.transaction() as tx:
            await SIGNING_KEYS.insert(tx, key.kid, key)
            for one in (tenant, other):
                await create_tenant(tx, one, clouds=clouds, first_party=())
            for id, name, owner, cloud in (
                (S, "Main", TENANT, "AzureCloud"),
                (EMPTY, "Empty", TENANT, "AzureCloud"),
                (FOREIGN, "Foreign", OTHER_TENANT, "AzureCloud"),
                (CHINESE, "Chinese", TENANT, "AzureChinaCloud"),
            ):
                await ensure_subscription(
                    tx, subscription_id=id, tenant_id=owner, cloud=cloud, display_name=name, now=clock.now()
                )
    keys = KeyRing(store=store, seal=SEAL, clock=clock)
    await keys.load()
    tokens = Tokens(keys=keys, clouds=clouds, clock=clock, ids=ids)
    guard = Guard(store=store, tokens=tokens, clock=clock, ids=ids)
    arm = ResourceManager(
        store=store,
        guard=guard,
        clouds=clouds,
        providers=providers(store, ids),
        clock=clock,
        ids=ids,
        operation_seconds=operation_seconds,
    )
    attachments = Attachments(store=store, resources=Resources())
    return Manager(store, clock, ids, clouds, tenant, other, tokens, guard, arm, attachments)


async def populate(manager: Manager) -> None:
    roles = {
        "owner": (OWNER, "/"),
        "machinist": (MACHINE_CONTRIBUTOR, f"/subscriptions/{S}"),
        "reader": (READER, f"/subscriptions/{S}"),
        "nobody": None,
        "stranger": (OWNER, "/"),
    }
    for number, (who, role) in enumerate(roles.items(), 1):
        principal = ServicePrincipal(
            id=f"cccccccc-0000-4000-8000-{number:012}",
            tenant_id=OTHER_TENANT if who == "stranger" else TENANT,
            app_id=f"dddddddd-0000-4000-8000-{number:012}",
            display_name=who,
        )
        manager.people[who] = principal
        async with manager.store.transaction() as tx:
            await create_service_principal(tx, principal)
        if role is not None:
            await manager.give(who, *role)


@pytest.fixture
async def manager(store: Store, clock: FakeClock, signing_key: SigningKey) -> Manager:
    made = await build(store, clock, signing_key)
    await populate(made)
    await made.group()
    return made


@pytest.fixture
async def both_manager(both_stores: Store, clock: FakeClock, signing_key: SigningKey) -> Manager:
    made = await build(both_stores, clock, signing_key)
    await populate(made)
    await made.group()
    return made


@pytest.fixture
async def slow(store: Store, clock: FakeClock, signing_key: SigningKey) -> Manager:
    """Long-running operations take a minute."""
    made = await build(store, clock, signing_key, operation_seconds=60)
    await populate(made)
    await made.group()
    return made


@dataclass
class Reopener:
    """Opens one database again and again: each `manager` is a process that came after the one before."""

    path: Path
    clock: FakeClock
    key: SigningKey
    people: dict[str, ServicePrincipal] = field(default_factory=dict)
    current: Store | None = None

    async def open(self, *, operation_seconds: float = 60) -> Manager:
        from keyfob.store.sqlite import open_sqlite

        await self.close()
        self.current = await open_sqlite(self.path, migrations_of("keyfob.store"))
        made = await build(self.current, self.clock, self.key, operation_seconds=operation_seconds)
        if self.people:
            made.people.update(self.people)
        else:
            await populate(made)
            self.people.update(made.people)
            await made.group()
        return made

    async def close(self) -> None:
        if self.current is not None:
            await self.current.close()
            self.current = None


@pytest.fixture
async def reopener(tmp_path: Path, clock: FakeClock, signing_key: SigningKey) -> AsyncIterator[Reopener]:
    made = Reopener(tmp_path / "again.db", clock, signing_key)
    yield made
    await made.close()
