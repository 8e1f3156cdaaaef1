"""Two servers over one PostgreSQL: each knows at once what the other has acknowledged."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytestmark = pytest.mark.postgres
READER = "/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7"
CONTRIBUTOR = "/providers/Microsoft.Authorization/roleDefinitions/b24988ac-6180-42a0-ab88-20f7382dd24c"
SYSTEM = {"location": "westeurope", "identity": {"type": "SystemAssigned"}}
SOON = 5.0
"""Seconds that a change may take to be heard on the other node. It takes milliseconds."""
KEPT = 20
"""Requests after the change was seen: it must not come and go."""


@pytest.fixture(scope="module")
def nodes(node: Callable[..., Any], postgres_server: Any) -> tuple[Any, Any]:
    database = postgres_server.create_database()
    first = node(database=database)
    second = node(database=database, like=first)
    first.arm().must("PUT", first.group("shared"), {"location": "westeurope"})
    return first, second


@pytest.fixture
def a(nodes: tuple[Any, Any]) -> Any:
    yield nodes[0]
    nodes[0].hang_up()


@pytest.fixture
def b(nodes: tuple[Any, Any]) -> Any:
    yield nodes[1]
    nodes[1].hang_up()


@pytest.fixture
def name() -> str:
    return f"n{uuid.uuid4().hex[:12]}"


def soon(ask: Callable[[], Any], wanted: Any) -> None:
    """Asks without pause until the answer is the wanted one, which it then stays."""
    deadline = time.monotonic() + SOON
    while (found := ask()) != wanted:
        assert time.monotonic() < deadline, f"still {found} after {SOON} s, not {wanted}"
    assert [ask() for _ in range(KEPT)] == [wanted] * KEPT


def test_a_token_of_one_node_is_good_on_the_other(a: Any, b: Any, name: str, host: Any) -> None:
    """A machine made on A, a token from B, accepted by A; and the keys that B publishes are A's."""
    on_a, on_b = a.arm(), b.arm()
    machine = on_a.must("PUT", a.machine("shared", name), SYSTEM)
    line = b.host(on_b.endpoint(machine["id"]))
    answer = line.ask("GET", host.target(), headers=host.metadata)
    assert host.oid(answer) == machine["identity"]["principalId"]
    token = answer.json()["access_token"]
    for one in (a, b):
        assert one.arm(token).call("GET", "/subscriptions").status == 200
        assert one.arm(token[:-12] + "A" * 12).call("GET", "/subscriptions").status == 401
    keys = [one.line("login.microsoftonline.com").ask("GET", "/common/discovery/v2.0/keys").json() for one in (a, b)]
    assert keys[0] == keys[1]
    assert on_a.principal(machine["identity"]["principalId"]).json() == (
        on_b.principal(machine["identity"]["principalId"]).json()
    )


def test_roles_given_and_taken_on_one_node_count_on_the_other(a: Any, b: Any, name: str, host: Any) -> None:
    on_a = a.arm()
    machine = on_a.must("PUT", a.machine("shared", name), SYSTEM)
    line = a.host(on_a.endpoint(machine["id"]))
    token = line.ask("GET", host.target(), headers=host.metadata).json()["access_token"]
    as_machine = b.arm(token)

    def read() -> int:
        return int(as_machine.call("GET", machine["id"]).status)

    def write() -> int:
        return int(as_machine.call("PATCH", machine["id"], {"tags": {"by": name}}).status)

    assert [read() for _ in range(KEPT)] == [403] * KEPT
    assignment = f"{machine['id']}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    given = {"principalId": machine["identity"]["principalId"], "principalType": "ServicePrincipal"}
    on_a.must("PUT", assignment, {"properties": {"roleDefinitionId": READER, **given}})
    soon(read, 200)
    assert write() == 403
    more = f"{machine['id']}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    on_a.must("PUT", more, {"properties": {"roleDefinitionId": CONTRIBUTOR, **given}})
    soon(write, 200)
    on_a.must("DELETE", more)
    soon(write, 403)
    assert read() == 200
    on_a.must("DELETE", assignment)
    soon(read, 403)


def test_detached_on_one_node_is_refused_on_the_other(a: Any, b: Any, name: str, host: Any) -> None:
    on_a, on_b = a.arm(), b.arm()
    user = on_a.must("PUT", a.identity("shared", name), {"location": "westeurope"})
    users = {"type": "UserAssigned", "userAssignedIdentities": {user["id"]: {}}}
    machine = on_a.must("PUT", a.machine("shared", name), {"location": "westeurope", "identity": users})["id"]
    line = b.host(on_b.endpoint(machine))

    def oid() -> str | None:
        found: str | None = host.oid(line.ask("GET", host.target(), headers=host.metadata))
        return found

    for _ in range(3):
        soon(oid, user["properties"]["principalId"])
        on_a.must("PATCH", machine, {"identity": {"type": "None"}})
        soon(oid, None)
        on_a.must("PATCH", machine, {"identity": users})
    soon(oid, user["properties"]["principalId"])
    on_a.must("DELETE", user["id"])
    soon(oid, None)


def test_a_machine_deleted_on_one_node_is_gone_on_the_other(a: Any, b: Any, name: str, host: Any) -> None:
    on_a, on_b = a.arm(), b.arm()
    machine = on_a.must("PUT", a.machine("shared", name), SYSTEM)
    principal = machine["identity"]["principalId"]
    line = b.host(on_b.endpoint(machine["id"]))

    def oid() -> str | None:
        found: str | None = host.oid(line.ask("GET", host.target(), headers=host.metadata))
        return found

    soon(oid, principal)
    as_machine = b.arm(line.ask("GET", host.target(), headers=host.metadata).json()["access_token"])
    assert as_machine.call("GET", "/subscriptions").status == 200
    started = on_a.call("DELETE", machine["id"])
    assert started.status == 202
    soon(oid, None)
    assert on_b.finished(started) == "Succeeded"  # an operation is everybody's
    assert on_b.principal(principal).status == 404
    assert on_b.call("GET", machine["id"]).status == 404


def test_a_secret_written_on_one_node_is_read_on_the_other(a: Any, b: Any, name: str) -> None:
    """Sealed with the same master key. A new version is what both then show."""
    on_a = a.arm()
    vault = f"{name}-v"
    permissions = {"secrets": ["get", "set"]}
    policy = {
        "tenantId": a.operator["tenant_id"],
        "objectId": a.operator["object_id"],
        "permissions": permissions,
    }
    on_a.must(
        "PUT",
        f"{a.group('shared')}/providers/Microsoft.KeyVault/vaults/{vault}",
        {
            "location": "westeurope",
            "properties": {
                "tenantId": a.operator["tenant_id"],
                "sku": {"family": "A", "name": "standard"},
                "accessPolicies": [policy],
            },
        },
    )
    headers = [("Authorization", f"Bearer {a.client.token('https://vault.azure.net')}")]
    writing, reading = (one.line(f"{vault}.vault.azure.net") for one in (a, b))
    target = "/secrets/greeting?api-version=7.4"

    def value() -> Any:
        answer = reading.ask("GET", target, headers=headers)
        return answer.json().get("value") if answer.status == 200 else answer.status

    for n in range(5):
        put = [*headers, ("Content-Type", "application/json")]
        answer = writing.ask("PUT", target, f'{{"value": "number {n}"}}'.encode(), put)
        assert answer.status == 200, answer.body
        soon(value, f"number {n}")


def test_the_same_machine_made_on_both_at_once_is_one(a: Any, b: Any, name: str) -> None:
    """One creates it, the other finds it; one principal."""
    lines = [one.arm() for one in (a, b, a, b)]
    with ThreadPoolExecutor(4) as pool:
        for n in range(5):
            path = a.machine("shared", f"{name}-{n}")
            made = list(pool.map(lambda line, path=path: line.call("PUT", path, SYSTEM), lines))
            assert sorted(answer.status for answer in made) == [200, 200, 200, 201]
            principals = {answer.json()["identity"]["principalId"] for answer in made}
            assert len(principals) == 1
            (principal,) = principals
            assert all(line.principal(principal).status == 200 for line in lines)


def test_another_node_ends_what_a_killed_one_began(node: Callable[..., Any], postgres_server: Any) -> None:
    database = postgres_server.create_database()
    first = node(database=database, operation_seconds=0.3)
    second = node(database=database, operation_seconds=0.3, like=first)
    on_a, on_b = first.arm(), second.arm()
    on_a.must("PUT", first.group("left"), {"location": "westeurope"})
    old = on_a.must("PUT", first.machine("left", "old"), SYSTEM)
    on_a.settled(old["id"])
    operations = [on_a.call("PUT", first.machine("left", f"new-{n}"), SYSTEM) for n in range(5)]
    operations.append(on_a.call("DELETE", old["id"]))
    first.kill()
    for started in operations:
        assert started.status in (201, 202)
        assert on_b.finished(started) == "Succeeded"
    for n in range(5):
        machine = on_b.must("GET", second.machine("left", f"new-{n}"))
        assert machine["properties"]["provisioningState"] == "Succeeded"
        assert on_b.principal(machine["identity"]["principalId"]).status == 200
    assert on_b.call("GET", old["id"]).status == 404
    assert on_b.principal(old["identity"]["principalId"]).status == 404
    assert on_b.must("PUT", second.machine("left", "after"), SYSTEM)["name"] == "after"  # nobody holds the lock
