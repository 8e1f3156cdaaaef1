"""A guard over a real store and directory, and a verifier that knows its tokens by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from keyfob.access.assignments import assign
from keyfob.access.decisions import decisions_provider
from keyfob.access.guard import Guard
from keyfob.access.provider import authorization_provider
from keyfob.clock import CountingIds, FakeClock
from keyfob.clouds.cloud import Cloud
from keyfob.declare import Action, Call, Caller, Provider, RouteTable
from keyfob.directory.model import Group, ServicePrincipal, User
from keyfob.directory.principals import add_member, create_group, create_service_principal, create_user
from keyfob.errors import Fault, Problem, Unauthenticated
from keyfob.resource_id import ROOT, ResourceId
from keyfob.store.port import Store
from keyfob.wire.http import Fields, Request, parse_target

TENANT = "11111111-1111-1111-1111-111111111111"
OTHER_TENANT = "22222222-2222-2222-2222-222222222222"
ROBOT = "aaaaaaaa-0000-0000-0000-000000000001"
ANNA = "aaaaaaaa-0000-0000-0000-000000000002"
STAFF = "aaaaaaaa-0000-0000-0000-000000000003"
BOSS = "aaaaaaaa-0000-0000-0000-000000000004"
SUBSCRIPTION = ResourceId.subscription("00000000-0000-0000-0000-000000000001")
GROUP = ResourceId.group("00000000-0000-0000-0000-000000000001", "rg")
VAULT = GROUP.provider("Microsoft.KeyVault/vaults", "v")
SECRET = VAULT.child("secrets", "s")
AUDIENCE = "https://vault.azure.net"


class Tokens:
    """`verify` as `directory.tokens` has it, over a table of claims."""

    def __init__(self) -> None:
        self.known: dict[str, Mapping[str, Any]] = {}

    def verify(self, token: str, *, audiences: frozenset[str], tenant_id: str | None, now: float) -> Mapping[str, Any]:
        claims = self.known.get(token)
        if claims is None:
            raise Unauthenticated(Fault.SIGNATURE, "The token's signature is not valid.")
        if claims["aud"] not in audiences:
            raise Unauthenticated(Fault.AUDIENCE, "The token is for another audience.")
        if tenant_id is not None and claims["tid"] != tenant_id:
            raise Unauthenticated(Fault.TENANT, "The token is of another tenant.")
        if now >= claims["exp"]:
            raise Unauthenticated(Fault.EXPIRED, "The token has expired.")
        return claims

    async def verify_reloading(
        self, token: str, *, audiences: frozenset[str], tenant_id: str | None, now: float
    ) -> Mapping[str, Any]:
        return self.verify(token, audiences=audiences, tenant_id=tenant_id, now=now)


@pytest.fixture
def tokens() -> Tokens:
    made = Tokens()
    common = {"aud": AUDIENCE, "tid": TENANT, "exp": 2_000_000_000, "iss": "x"}
    made.known["robot"] = common | {"oid": ROBOT, "appid": "app-1", "idtyp": "app", "roles": ["Directory.Read.All"]}
    made.known["anna"] = common | {"oid": ANNA, "azp": "cli", "upn": "anna@contoso.com", "idtyp": "user"}
    made.known["stranger"] = common | {"oid": "aaaaaaaa-0000-0000-0000-00000000dead", "appid": "app-9"}
    return made


@pytest.fixture
async def people(store: Store) -> None:
    """A managed identity, a user in a group in a group, and who may do everything."""
    async with store.transaction() as tx:
        await create_service_principal(
            tx, ServicePrincipal(id=ROBOT, tenant_id=TENANT, app_id="app-1", kind="ManagedIdentity")
        )
        await create_service_principal(tx, ServicePrincipal(id=BOSS, tenant_id=TENANT, app_id="app-2"))
        await create_user(tx, User(id=ANNA, tenant_id=TENANT, principal_name="anna@contoso.com"))
        inner = "aaaaaaaa-0000-0000-0000-000000000005"
        await create_group(tx, Group(id=STAFF, tenant_id=TENANT, display_name="staff"))
        await create_group(tx, Group(id=inner, tenant_id=TENANT, display_name="inner"))
        await add_member(tx, TENANT, STAFF, inner)
        await add_member(tx, TENANT, inner, ANNA)
        await assign(tx, tenant_id=TENANT, scope=ROOT, principal_id=BOSS, role_definition_id=OWNER_ID, now=1.0)


OWNER_ID = "/providers/Microsoft.Authorization/roleDefinitions/8e3af657-a8ff-443c-a75c-2fe8c4bcb635"


@pytest.fixture
def guard(store: Store, people: None, tokens: Tokens, clock: FakeClock, ids: CountingIds) -> Guard:
    return Guard(store=store, tokens=tokens, clock=clock, ids=ids)


@pytest.fixture
def robot() -> Caller:
    return Caller(tenant_id=TENANT, principal_id=ROBOT, app_id="app-1", name="app-1", claims={"idtyp": "app"})


@pytest.fixture
def anna() -> Caller:
    return Caller(tenant_id=TENANT, principal_id=ANNA, name="anna@contoso.com", claims={"idtyp": "user"})


@pytest.fixture
def boss() -> Caller:
    return Caller(tenant_id=TENANT, principal_id=BOSS, app_id="app-2", name="app-2")


class Arm:
    """What Resource Manager's pipeline does with a declared route: match, check the version, authorise, run."""

    def __init__(self, guard: Guard, *providers: Provider) -> None:
        self.guard = guard
        self.table = RouteTable([route for provider in providers for route in provider.routes])

    async def __call__(
        self, method: str, path: str, caller: Caller, body: Any = None, *, version: str = "2022-04-01", query: str = ""
    ) -> tuple[int, Any]:
        found = self.table.match(method, path)
        assert found is not None, (method, path)
        route, parameters = found
        assert not route.api_versions or version in route.api_versions, version
        scope = route.scope(parameters, None) if route.scope else ROOT
        content = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        request = Request(method, path, parse_target(f"{path}?{query}")[2], Fields(), content, request_id="r")
        try:
            if isinstance(route.access, Action):
                await self.guard.authorize(caller, route.access, scope, request_id="r")
            call = Call(request, parameters, Cloud.__new__(Cloud), scope, caller, version, 1_700_000_000.0)
            reply = await route.operation(call)
        except Problem as problem:
            return problem.status, {"code": problem.code, "message": problem.message}
        return reply.status, msgspec.json.decode(reply.body) if reply.body else None


@pytest.fixture
def arm(guard: Guard, store: Store) -> Arm:
    return Arm(guard, authorization_provider(store=store, guard=guard), decisions_provider(guard=guard))
