"""A data plane's phases, in their order."""

import logging
from collections.abc import Mapping
from typing import Any

import pytest

from keyfob.access.assignments import assign
from keyfob.access.door import Door
from keyfob.access.guard import Guard
from keyfob.access.log import Question
from keyfob.clock import FakeClock
from keyfob.clouds.cloud import Cloud
from keyfob.declare import (
    Action,
    Address,
    Allowed,
    Call,
    Caller,
    Decision,
    HttpPlane,
    Public,
    Route,
    SignedIn,
    Target,
)
from keyfob.errors import Conflict, InvalidInput, NotFound, Problem, Unauthenticated
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store
from keyfob.wire.http import Fields, Reply, Request, parse_target

TENANT = "11111111-1111-1111-1111-111111111111"
ROBOT = "aaaaaaaa-0000-0000-0000-000000000001"
VAULT = ResourceId.group("s", "rg").provider("Microsoft.KeyVault/vaults", "v")
GET = Action("Microsoft.KeyVault/vaults/secrets/getSecret/action", data=True)
USER = "4633458b-17de-408a-b874-0445c86b69e6"
ADDRESS = Address(Cloud.__new__(Cloud), "key_vault", "v")


class Dialect:
    def problem(self, problem: Problem, request: Request, target: Target | None) -> Reply:
        return Reply.json({"code": problem.code, "vault": target.name if target else None}, problem.status)

    def challenge(self, failure: Unauthenticated, request: Request, target: Target) -> Reply:
        return Reply.json({"fault": failure.fault}, 401, [("WWW-Authenticate", "Bearer")])


class Finishing(Dialect):
    def finish(self, reply: Reply, request: Request, target: Target | None) -> Reply:
        return reply.adding(("x-service", "1"))


async def locate(cloud: Cloud, account: str) -> Target:
    if account != "v":
        raise NotFound("no such vault")
    return Target(cloud, TENANT, VAULT, "v")


def api_version(request: Request) -> str:
    version = request.query.get("api-version")
    if version is None:
        raise InvalidInput("api-version is required", code="MissingApiVersion")
    return version


async def show(call: Call) -> Reply:
    return Reply.json({"name": call.parameters.get("name"), "who": call.caller.principal_id if call.caller else None})


async def conflict(call: Call) -> Reply:
    raise Conflict("taken")


async def break_down(call: Call) -> Reply:
    raise RuntimeError("secret-value leaked")


def secret_scope(parameters: Mapping[str, str], target: Target | None) -> ResourceId:
    assert target is not None
    return target.resource_id.child("secrets", parameters["name"])


ROUTES = (
    Route("GET", "/secrets/{name}", GET, show, secret_scope),
    Route("PUT", "/secrets/{name}", GET, conflict, secret_scope),
    Route("GET", "/broken", GET, break_down),
    Route("GET", "/health", Public("tells nothing"), show),
    Route("GET", "/whoami", SignedIn("the caller's own"), show),
    Route("GET", "/newer", GET, show, None, ("7.6",)),
)


def plane(**more: Any) -> HttpPlane:
    values: dict[str, Any] = {
        "service": "key_vault",
        "routes": ROUTES,
        "dialect": Dialect(),
        "audiences": lambda target: frozenset({"https://vault.azure.net"}),
        "locate": locate,
        "api_version": api_version,
    }
    return HttpPlane(**(values | more))


@pytest.fixture
def door(guard: Guard, clock: FakeClock) -> Door:
    return Door(plane(), guard=guard, clock=clock)


@pytest.fixture
async def opened(store: Store, people: None) -> None:
    async with store.transaction() as tx:
        await assign(tx, tenant_id=TENANT, scope=VAULT, principal_id=ROBOT, role_definition_id=USER, now=1.0)


def ask(method: str, target: str, token: str | None = "robot", body: bytes = b"") -> Request:
    path, raw, query = parse_target(target)
    headers = Fields([("Authorization", f"Bearer {token}")] if token else [])
    return Request(method, path, query, headers, body, host="v.vault.azure.net", raw_path=raw, request_id="req-1")


V = "?api-version=7.4"


@pytest.mark.parametrize(
    ("method", "target", "token", "status", "says"),
    [
        ("GET", f"/secrets/s{V}", "robot", 200, f'"who":"{ROBOT}"'),
        ("GET", f"/secrets/s/{V}", "robot", 200, '"name":"s"'),
        # the challenge comes before version, body and existence are looked at
        ("GET", "/secrets/s", None, 401, "missing"),
        ("GET", f"/secrets/s{V}", None, 401, "missing"),
        ("GET", "/secrets/s?api-version=nonsense", "forged", 401, "signature"),
        ("GET", "/whoami", None, 401, "missing"),
        ("GET", f"/whoami{V}", "anna", 200, "who"),
        ("GET", f"/secrets/s{V}", "anna", 403, "AuthorizationFailed"),
        ("GET", f"/secrets/s{V}", "stranger", 403, "AuthorizationFailed"),
        ("GET", "/secrets/s", "anna", 403, "AuthorizationFailed"),
        ("GET", "/secrets/s", "robot", 400, "MissingApiVersion"),
        ("GET", f"/newer{V}", "robot", 400, "BadRequest"),
        ("GET", "/newer?api-version=7.6", "robot", 200, "who"),
        ("GET", f"/health{V}", None, 200, '"who":null'),
        ("GET", f"/health{V}", "forged", 200, '"who":null'),
        ("PUT", f"/secrets/s{V}", "robot", 409, "Conflict"),
        ("DELETE", f"/secrets/s{V}", "robot", 405, "MethodNotAllowed"),
        ("GET", f"/nothing{V}", "robot", 404, "NotFound"),
        ("GET", f"/secrets{V}", "robot", 404, "NotFound"),
    ],
)
async def test_a_request_passes_the_phases(
    door: Door, opened: None, method: str, target: str, token: str | None, status: int, says: str
) -> None:
    reply = await door(ask(method, target, token), ADDRESS)
    assert (reply.status, says in reply.body.decode()) == (status, True), reply.body
    assert ("x-ms-request-id", "req-1") in reply.headers
    assert any(name == "WWW-Authenticate" for name, _ in reply.headers) is (status == 401)


async def test_an_unknown_account_is_the_services_404(door: Door) -> None:
    reply = await door(ask("GET", "/secrets/s"), Address(ADDRESS.cloud, "key_vault", "other"))
    assert (reply.status, reply.body) == (404, b'{"code":"NotFound","vault":null}')


async def test_anothers_tenant_token_is_challenged(guard: Guard, clock: FakeClock) -> None:
    async def elsewhere(cloud: Cloud, account: str) -> Target:
        return Target(cloud, "22222222-2222-2222-2222-222222222222", VAULT, "v")

    reply = await Door(plane(locate=elsewhere), guard=guard, clock=clock)(ask("GET", f"/secrets/s{V}"), ADDRESS)
    assert (reply.status, reply.body) == (401, b'{"fault":"tenant"}')


async def test_what_breaks_is_logged_and_tells_nothing(
    door: Door, opened: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        reply = await door(ask("GET", f"/broken{V}"), ADDRESS)
    assert reply.status == 500
    assert b"leaked" not in reply.body
    assert "req-1" in caplog.text
    assert "Bearer" not in caplog.text


async def test_each_decision_is_logged_with_its_service(door: Door, guard: Guard, opened: None) -> None:
    await door(ask("GET", f"/secrets/s{V}"), ADDRESS)
    await door(ask("GET", f"/secrets/s{V}", "anna"), ADDRESS)
    await door(ask("GET", f"/health{V}", None), ADDRESS)
    found = await guard.log.find(Question(request_id="req-1"))
    assert sorted((entry.allowed, entry.service) for entry in found) == [(False, "key_vault"), (True, "key_vault")]
    assert {entry.scope for entry in found} == {str(VAULT.child("secrets", "s"))}


async def test_the_services_own_authorizer_is_asked(guard: Guard, clock: FakeClock) -> None:
    def authorizer(caller: Caller, action: Action, scope: ResourceId, target: Target) -> Decision | None:
        return Allowed(by="policy") if caller.principal_id == ROBOT else None

    door = Door(plane(authorizer=authorizer), guard=guard, clock=clock)
    assert (await door(ask("GET", f"/secrets/s{V}"), ADDRESS)).status == 200
    assert (await door(ask("GET", f"/secrets/s{V}", "anna"), ADDRESS)).status == 403


async def test_a_dialect_may_finish_every_reply(guard: Guard, clock: FakeClock, opened: None) -> None:
    door = Door(plane(dialect=Finishing()), guard=guard, clock=clock)
    for target, token in ((f"/secrets/s{V}", "robot"), ("/secrets/s", None), ("/nothing", "robot")):
        reply = await door(ask("GET", target, token), ADDRESS)
        assert reply.headers[-1] == ("x-service", "1")
        assert all(name != "x-ms-request-id" for name, _ in reply.headers)
