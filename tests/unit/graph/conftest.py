"""A directory with an operator, Graph before it, and callers of every kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest

from keyfob.access.guard import Guard
from keyfob.clock import FakeClock, SystemIds
from keyfob.clouds.cloud import Cloud
from keyfob.clouds.table import load_clouds
from keyfob.declare import Address
from keyfob.directory import applications, principals, tenants
from keyfob.directory.endpoint import TokenEndpoint
from keyfob.directory.fetcher import IssuerUnreachable
from keyfob.directory.first_party import GRAPH, load_first_party
from keyfob.directory.graph import graph
from keyfob.directory.graph.plane import Graph
from keyfob.directory.keys import KeyRing
from keyfob.directory.model import Application, ServicePrincipal, Tenant, User
from keyfob.directory.principals import GLOBAL_ADMINISTRATOR
from keyfob.directory.seal import Seal
from keyfob.directory.secrets import hash_secret
from keyfob.directory.tokens import Tokens
from keyfob.store.port import Store
from keyfob.wire.http import Fields, Reply, Request, parse_target

AUDIENCE = "https://graph.microsoft.com/"
HOST = "graph.microsoft.com"
AZ = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
PASSWORD = "Correct-horse-7"
ACCESS_AS_USER = ("Directory.AccessAsUser.All",)


class NoFetcher:
    async def keys(self, issuer: str, kid: str) -> Any:
        raise IssuerUnreachable("nobody answers")


@dataclass
class Answer:
    reply: Reply

    @property
    def status(self) -> int:
        return self.reply.status

    @property
    def body(self) -> Any:
        return json.loads(self.reply.body) if self.reply.body else None

    @property
    def value(self) -> list[Any]:
        assert self.status == 200, self.body
        return self.body["value"]

    @property
    def error(self) -> tuple[int, str]:
        """Status and code, when it is an error in Graph's shape."""
        error = self.body["error"]
        assert set(error) >= {"code", "message", "innerError"}
        assert set(error["innerError"]) == {"date", "request-id", "client-request-id"}
        return self.status, error["code"]

    @property
    def message(self) -> str:
        return self.body["error"]["message"]

    @property
    def headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.reply.headers}


@dataclass
class Graphs:
    store: Store
    clock: FakeClock
    clouds: Mapping[str, Cloud]
    tokens: Tokens
    guard: Guard
    tenant: Tenant
    other: Tenant
    operator: ServicePrincipal
    admin: User
    user: User
    graph: Graph
    login: TokenEndpoint
    ids: SystemIds = field(default_factory=SystemIds)

    # --- callers

    def app_token(self, principal: ServicePrincipal, *roles: str, audience: str = AUDIENCE) -> str:
        return self.tokens.mint_application(
            tenant=self.tenant, principal=principal, audience=audience, roles=roles
        ).token

    def user_token(self, user: User, *scopes: str, client: str = AZ) -> str:
        return self.tokens.mint_user(
            tenant=self.tenant, user=user, client_id=client, audience=AUDIENCE, scopes=scopes or ACCESS_AS_USER
        ).token

    @property
    def root(self) -> str:
        """The operator's."""
        return self.app_token(self.operator)

    async def stranger(self, *roles: str) -> str:
        """A token of a new application that holds these application permissions and nothing else."""
        async with self.store.transaction() as tx:
            app = Application(
                id=self.ids.guid(), tenant_id=self.tenant.id, app_id=self.ids.guid(), display_name="Stranger"
            )
            principal = await applications.create_application(tx, app, principal_id=self.ids.guid())
        return self.app_token(principal, *roles)

    # --- asking

    async def send(
        self,
        method: str,
        target: str,
        token: str | None = None,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        cloud: str = "AzureCloud",
        host: str = HOST,
        raw: bytes | None = None,
    ) -> Answer:
        path, raw_path, query = parse_target(target if target.startswith(("/v1.0", "/beta")) else f"/v1.0{target}")
        given = dict(headers or {})
        if token is None:
            token = self.root
        if token:
            given["Authorization"] = f"Bearer {token}"
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else b""
        request = Request(method, path, query, Fields(given.items()), data, host=host, port=443, raw_path=raw_path)
        return Answer(await self.graph(request, Address(self.clouds[cloud], "graph")))

    async def get(self, target: str, token: str | None = None, **more: Any) -> Answer:
        return await self.send("GET", target, token, **more)

    async def find(self, collection: str, filter_: str, token: str | None = None, **options: str) -> Answer:
        query = urlencode({"$filter": filter_, **{f"${name}": value for name, value in options.items()}})
        return await self.get(f"/{collection}?{query}", token)

    async def made(self, target: str, body: Any, token: str | None = None) -> Any:
        answer = await self.send("POST", target, token, body)
        assert answer.status == 201, answer.body
        return answer.body

    async def make_user(self, name: str, **more: Any) -> Any:
        body = {
            "accountEnabled": True,
            "displayName": name.title(),
            "mailNickname": name,
            "passwordProfile": {"forceChangePasswordNextSignIn": False, "password": PASSWORD},
            "userPrincipalName": f"{name}@contoso.onmicrosoft.com",
        }
        return await self.made("/users", {**body, **more})

    async def make_group(self, name: str, **more: Any) -> Any:
        body = {"displayName": name, "mailNickname": name, "mailEnabled": False, "securityEnabled": True}
        return await self.made("/groups", {**body, **more})

    async def make_app(self, name: str, **more: Any) -> Any:
        return await self.made("/applications", {"displayName": name, **more})

    async def graph_principal(self) -> Any:
        return (await self.get(f"/servicePrincipals(appId='{GRAPH}')")).body

    def reference(self, object_id: str) -> dict[str, str]:
        return {"@odata.id": f"https://{HOST}/v1.0/directoryObjects/{object_id}"}

    async def ask_token(self, **form: str) -> tuple[int, dict[str, Any]]:
        path, raw, query = parse_target(f"/{self.tenant.id}/oauth2/v2.0/token")
        request = Request(
            "POST", path, query, Fields(), urlencode(form).encode(), host="login.microsoftonline.com", raw_path=raw
        )
        reply = await self.login(request, Address(self.clouds["AzureCloud"], "login"))
        return reply.status, json.loads(reply.body)


@pytest.fixture
async def graphs(store: Store, clock: FakeClock) -> Graphs:
    clouds, first_party, ids = load_clouds(), load_first_party(), SystemIds()
    seal = Seal(b"m" * 32)
    keys = KeyRing(store=store, seal=seal, clock=clock)
    await keys.load()
    tokens = Tokens(keys=keys, clouds=clouds, clock=clock, ids=ids)
    guard = Guard(store=store, tokens=tokens, clock=clock, ids=ids)
    tenant = Tenant(
        id="11111111-1111-4111-8111-111111111111",
        display_name="Contoso",
        domains=("contoso.onmicrosoft.com", "contoso.example"),
        created=clock.now(),
        password_grant=True,
        default=True,
    )
    other = Tenant(
        id="22222222-2222-4222-8222-222222222222",
        display_name="Fabrikam",
        domains=("fabrikam.partner.onmschina.cn",),
        cloud="AzureChinaCloud",
    )

    def person(name: str) -> User:
        return User(
            id=ids.guid(),
            tenant_id=tenant.id,
            principal_name=f"{name}@contoso.onmicrosoft.com",
            display_name=name.title(),
            password_hash=hash_secret(PASSWORD),
            created=clock.now(),
        )

    admin, user = person("admin"), person("alice")
    app = Application(id=ids.guid(), tenant_id=tenant.id, app_id=ids.guid(), display_name="Operator")
    async with store.transaction() as tx:
        for each in (tenant, other):
            await tenants.create_tenant(tx, each, clouds=clouds, first_party=first_party)
        operator = await applications.create_application(tx, app, principal_id=ids.guid())
        for one in (admin, user):
            await principals.create_user(tx, one)
        for holder in (operator.id, admin.id):
            await principals.give_directory_role(tx, tenant.id, GLOBAL_ADMINISTRATOR, holder)
    login = TokenEndpoint(
        store=store, keys=keys, tokens=tokens, clouds=clouds, seal=seal, clock=clock, ids=ids, fetcher=NoFetcher()
    )
    return Graphs(
        store=store,
        clock=clock,
        clouds=clouds,
        tokens=tokens,
        guard=guard,
        tenant=tenant,
        other=other,
        operator=operator,
        admin=admin,
        user=user,
        graph=graph(store=store, gate=guard, clock=clock, ids=ids),
        login=login,
    )
