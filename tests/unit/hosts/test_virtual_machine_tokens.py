"""A virtual machine asks for tokens: whose it gets, when it gets the same, and when it gets none."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from keyfob.arm.model import Resource
from keyfob.directory.principals import set_enabled
from keyfob.directory.records import SERVICE_PRINCIPALS
from keyfob.errors import InvalidInput, NotFound, Unauthenticated
from keyfob.hosts.virtual_machines import model
from keyfob.identities.choose import IdentityNotFound
from keyfob.identities.model import Selector
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Reply

VAULT = "https://vault.azure.net"
TARGET = f"/metadata/identity/oauth2/token?api-version=2018-02-01&resource={VAULT}"
MACHINE = ResourceId.parse(
    "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/rg/providers/Microsoft.Compute"
    "/virtualMachines/web"
)
TENANT = "11111111-1111-1111-1111-111111111111"
HEADERS = [(b"host", b"169.254.169.254"), (b"metadata", b"true"), (b"connection", b"keep-alive")]


def body(reply: Reply) -> dict[str, Any]:
    return json.loads(reply.body)  # type: ignore[no-any-return]


def claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))  # type: ignore[no-any-return]


def parsed(answer: bytes | None) -> dict[str, Any]:
    assert answer is not None
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(rest)}".encode() in head
    return json.loads(rest)  # type: ignore[no-any-return]


# --- whose token


async def test_the_system_identity_gets_a_token_that_verifies(house):
    await house.attach(system=True)
    reply = await house.get(TARGET)
    assert reply.status == 200
    said = body(reply)
    own = house.identities["web"]
    assert said["client_id"] == own.app_id
    assert said["expires_in"] == "86400" or said["expires_in"] == "86399"
    verified = house.tokens.verify(
        said["access_token"], audiences=frozenset({VAULT}), tenant_id=TENANT, now=house.clock.now()
    )
    assert (verified["oid"], verified["appid"], verified["aud"]) == (own.id, own.app_id, VAULT)
    assert verified["xms_mirid"].lower() == MACHINE.key
    with pytest.raises(Unauthenticated):
        house.tokens.verify(
            said["access_token"],
            audiences=frozenset({"https://storage.azure.com"}),
            tenant_id=TENANT,
            now=house.clock.now(),
        )


async def test_a_user_assigned_identity_by_each_selector(house):
    await house.attach(system=True, user=(await house.user_identity("u1"), await house.user_identity("u2")))
    second = house.identities["u2"]
    id = str(ResourceId.parse(str(MACHINE).rpartition("/providers")[0])) + (
        "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/u2"
    )
    for selector in (
        f"client_id={second.app_id}",
        f"client_id={second.app_id.upper()}",
        f"object_id={second.id}",
        f"msi_res_id={id}",
        f"mi_res_id={id.lower()}",
    ):
        said = body(await house.get(f"{TARGET}&{selector}"))
        assert said["client_id"] == second.app_id
        token = claims(said["access_token"])
        assert token["oid"] == second.id
        assert token["xms_mirid"].lower() == id.lower()
        assert token["xms_az_rid"].lower() == MACHINE.key


async def test_which_identity_without_a_selector(house):
    assert body(await house.get(TARGET))["error_description"] == "Identity not found"
    first = await house.user_identity("u1")
    await house.attach(user=(first,))
    assert body(await house.get(TARGET))["client_id"] == house.identities["u1"].app_id
    await house.attach(user=(first, await house.user_identity("u2")))
    reply = await house.get(TARGET)
    assert reply.status == 400
    assert body(reply)["error_description"].startswith("Multiple user assigned identities exist")
    await house.attach(system=True, user=(first,))
    assert body(await house.get(TARGET))["client_id"] == house.identities["web"].app_id


async def test_an_identity_that_is_not_attached_here_is_not_found(house):
    await house.attach(system=True)
    await house.user_identity("other")
    reply = await house.get(f"{TARGET}&client_id={house.identities['other'].app_id}")
    assert (reply.status, body(reply)["error_description"]) == (400, "Identity not found")


async def test_an_unknown_resource_has_azures_error(house):
    await house.attach(system=True)
    reply = await house.get(TARGET.replace(VAULT, "https://nobody.example"))
    assert reply.status == 400
    assert body(reply)["error"] == "invalid_resource"
    assert "AADSTS500011" in body(reply)["error_description"]


@pytest.mark.parametrize("resource", [VAULT, VAULT + "/", "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"])
async def test_the_audience_is_what_was_asked_for(house, resource: str):
    await house.attach(system=True)
    said = body(await house.get(TARGET.replace(VAULT, resource)))
    assert said["resource"] == resource
    assert claims(said["access_token"])["aud"] == resource


# --- the same token, a new one, none


async def test_the_token_is_remembered_with_fewer_seconds_left(house):
    await house.attach(system=True)
    first = body(await house.get(TARGET))
    house.clock.advance(600)
    second = body(await house.get(TARGET))
    assert second["access_token"] == first["access_token"]
    assert second["expires_on"] == first["expires_on"]
    assert int(first["expires_in"]) - int(second["expires_in"]) == 600


async def test_another_resource_is_another_token(house):
    await house.attach(system=True)
    first = body(await house.get(TARGET))
    second = body(await house.get(TARGET + "/"))
    assert first["access_token"] != second["access_token"]


async def test_bypass_cache_mints_anew(house):
    await house.attach(system=True)
    first = body(await house.get(TARGET))["access_token"]
    fresh = body(await house.get(TARGET + "&bypass_cache=true"))["access_token"]
    assert fresh != first
    assert body(await house.get(TARGET))["access_token"] == fresh


async def test_a_new_token_once_less_than_half_of_the_life_is_left(house):
    await house.attach(system=True)
    first = body(await house.get(TARGET))["access_token"]
    house.clock.advance(43_000)
    assert body(await house.get(TARGET))["access_token"] == first
    house.clock.advance(300)
    assert body(await house.get(TARGET))["access_token"] != first


async def test_a_detached_identity_is_refused_at_the_next_request(house):
    first = await house.user_identity("u1")
    await house.attach(system=True, user=(first,))
    asked = f"{TARGET}&client_id={house.identities['u1'].app_id}"
    assert (await house.get(asked)).status == 200
    await house.attach(system=True)
    assert (await house.get(asked)).status == 400
    await house.attach()
    assert (await house.get(TARGET)).status == 400


async def test_a_disabled_identity_gets_nothing(house):
    await house.attach(system=True)
    own = house.identities["web"]
    assert (await house.get(TARGET)).status == 200
    async with house.store.transaction() as tx:
        await set_enabled(tx, TENANT, own.id, False)
    assert (await house.get(TARGET)).status == 400
    async with house.store.transaction() as tx:
        await set_enabled(tx, TENANT, own.id, True)
    assert (await house.get(TARGET)).status == 200


async def test_a_deleted_user_identity_dangles_and_is_not_found(house):
    first = await house.user_identity("u1")
    await house.attach(user=(first,))
    assert (await house.get(TARGET)).status == 200
    await house.remove(ResourceId.parse(first))
    assert body(await house.get(TARGET))["error_description"] == "Identity not found"


async def test_a_deleted_machine_is_an_unknown_source(house):
    await house.attach(system=True)
    assert (await house.get(TARGET)).status == 200
    await house.remove(MACHINE)
    reply = await house.get(TARGET)
    assert (reply.status, body(reply)["error"]) == (401, "unknown_source")
    with pytest.raises(NotFound):
        await house.endpoint.issue(MACHINE, Selector(), VAULT)


@pytest.mark.parametrize("power", [model.STOPPED, model.DEALLOCATED])
async def test_a_machine_that_does_not_run_gets_nothing(house, power: str):
    await house.attach(system=True)
    await house.machine(properties={model.POWER: power})
    reply = await house.get(TARGET)
    assert reply.status == 400
    assert "not running" in body(reply)["error_description"]
    await house.machine(properties={model.POWER: model.RUNNING})
    assert (await house.get(TARGET)).status == 200


async def test_two_machines_that_share_an_identity_have_tokens_of_their_own(house):
    shared = await house.user_identity("u1")
    await house.attach(user=(shared,))
    other = ResourceId.parse(str(MACHINE) + "2")
    await house.put(
        Resource(
            id=str(other),
            type=other.type,
            name="web2",
            tenant_id=TENANT,
            identity=(await _machine(house)).identity,
        )
    )
    one = await house.endpoint.issue(MACHINE, Selector(), VAULT)
    two = await house.endpoint.issue(other, Selector(), VAULT)
    assert one.principal_id == two.principal_id
    assert claims(one.token)["xms_az_rid"] != claims(two.token)["xms_az_rid"]


async def _machine(house) -> Resource:
    from keyfob.arm.resources import get_resource

    found = await get_resource(house.store, MACHINE)
    assert found is not None
    return found


async def test_remembered_tokens_do_not_show(house):
    await house.attach(system=True)
    token = await house.endpoint.issue(MACHINE, Selector(), VAULT)
    assert token.token not in repr(token)


# --- probes


async def test_the_probes_of_the_sdks(house):
    # @azure/identity and azidentity: any answer will do; MSAL.NET wants exactly 400
    for target in ("/metadata/identity/oauth2/token", TARGET.partition("&")[0]):
        reply = await house.get(target, metadata=False)
        assert reply.status == 400
        body(reply)
    # MSAL.NET takes a 400 here for "version 2 exists": it must be 404, header or not
    for metadata in (True, False):
        reply = await house.get("/metadata/identity/getplatformmetadata?cred-api-version=2.0", metadata=metadata)
        assert reply.status == 404
        body(reply)
        assert (await house.get("/metadata/identity/issuecredential", metadata=metadata, method="POST")).status == 404


async def test_only_get_and_no_forwarding(house):
    await house.attach(system=True)
    assert (await house.get(TARGET, method="POST")).status == 405
    assert (await house.get(TARGET, ("X-Forwarded-For", "1.2.3.4"))).status == 400


async def test_identity_info(house):
    reply = await house.get("/metadata/identity/info?api-version=2018-02-01")
    assert body(reply) == {"tenantId": TENANT}
    assert (await house.get("/metadata/identity/info")).status == 400


# --- the hot path


async def test_the_hot_path_gives_what_the_slow_way_gives(house):
    await house.attach(system=True)
    hot = house.metadata.hot(MACHINE)
    assert hot(TARGET.encode(), HEADERS) is None  # nothing is minted here
    slow = body(await house.get(TARGET))
    assert parsed(hot(TARGET.encode(), HEADERS)) == slow
    house.clock.advance(61)
    again = parsed(hot(TARGET.encode(), HEADERS))
    assert int(slow["expires_in"]) - int(again["expires_in"]) == 61
    assert again["access_token"] == slow["access_token"]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"host", b"h")],
        [(b"metadata", b"false")],
        [(b"metadata", b"true"), (b"metadata", b"true")],
        [*HEADERS, (b"x-forwarded-for", b"1.2.3.4")],
        [(b"x-forwarded-for", b""), *HEADERS],
    ],
)
async def test_the_hot_path_checks_the_headers_each_time(house, headers: list[tuple[bytes, bytes]]):
    await house.attach(system=True)
    await house.get(TARGET)
    hot = house.metadata.hot(MACHINE)
    assert hot(TARGET.encode(), HEADERS) is not None
    assert hot(TARGET.encode(), headers) is None
    assert hot(TARGET.encode(), [(b"metadata", b"True")]) is not None


@pytest.mark.parametrize(
    "target",
    [
        TARGET + "&client_id=x&object_id=y",
        TARGET + "&client_id=33333333-3333-3333-3333-333333333333",
        TARGET + "&bypass_cache=true",
        TARGET + "&resource=https://vault.azure.net",
        TARGET.replace("2018-02-01", "2017-01-01"),
        "/metadata/identity/oauth2/token",
        "/metadata/identity/oauth2/tokens?api-version=2018-02-01&resource=https://vault.azure.net",
        "/metadata/instance?api-version=2021-02-01",
        TARGET + "&x=" + "y" * 3000,
    ],
)
async def test_what_the_hot_path_leaves_to_the_slow_way(house, target: str):
    await house.attach(system=True)
    await house.get(TARGET)
    assert house.metadata.hot(MACHINE)(target.encode(), HEADERS) is None


async def test_a_change_is_seen_by_the_next_hot_request(house):
    first = await house.user_identity("u1")
    await house.attach(system=True, user=(first,))
    hot = house.metadata.hot(MACHINE)

    async def works() -> bool:
        answered = hot(TARGET.encode(), HEADERS) is not None
        return answered and (await house.get(TARGET)).status == 200

    async def warm() -> None:
        assert (await house.get(TARGET)).status == 200
        assert await works()

    await warm()
    await house.attach(user=())
    assert not await works()
    await house.attach(system=True)
    await warm()
    await house.machine(properties={model.POWER: model.DEALLOCATED})
    assert not await works()
    await house.machine(properties={})
    await warm()
    async with house.store.transaction() as tx:
        await set_enabled(tx, TENANT, house.identities["web"].id, False)
    assert not await works()
    async with house.store.transaction() as tx:
        await set_enabled(tx, TENANT, house.identities["web"].id, True)
    await warm()
    house.clock.advance(43_300)
    assert not await works()
    await house.remove(MACHINE)
    assert not await works()


async def test_a_refusal_of_the_slow_way_does_not_revive_a_remembered_token(house):
    """After a change the slow way looks at everything again. When it refuses, memory must go on refusing."""
    await house.attach(system=True)
    hot = house.metadata.hot(MACHINE)
    await house.get(TARGET)
    assert hot(TARGET.encode(), HEADERS) is not None
    for power in (model.STOPPED, model.DEALLOCATED):
        await house.machine(properties={model.POWER: power})
        for _ in range(2):
            assert (await house.get(TARGET)).status == 400
            assert hot(TARGET.encode(), HEADERS) is None
            assert house.endpoint.recall(MACHINE, Selector(), VAULT, house.clock.now()) is None
    await house.machine(properties={})
    assert (await house.get(TARGET)).status == 200
    assert hot(TARGET.encode(), HEADERS) is not None

    async with house.store.transaction() as tx:
        for row in await SERVICE_PRINCIPALS.list(tx, prefix=TENANT):
            if VAULT in row.value.names:
                await SERVICE_PRINCIPALS.delete(tx, row.key)
    for _ in range(2):
        assert body(await house.get(TARGET))["error"] == "invalid_resource"
        assert hot(TARGET.encode(), HEADERS) is None


async def test_a_machine_stopped_while_a_token_is_made_is_not_answered_from_memory(house):
    """Whatever the order of the two, the hot path gives nothing afterwards."""
    await house.attach(system=True)
    hot = house.metadata.hot(MACHINE)
    for delay in range(6):
        await house.machine(properties={})

        async def stop(turns: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await house.machine(properties={model.POWER: model.STOPPED})

        await asyncio.gather(house.get(TARGET), stop(delay))
        assert hot(TARGET.encode(), HEADERS) is None


async def test_one_machines_hot_path_knows_nothing_of_another(house):
    await house.attach(system=True)
    await house.get(TARGET)
    assert house.metadata.hot(ResourceId.parse(str(MACHINE) + "2"))(TARGET.encode(), HEADERS) is None


async def test_the_hot_path_forgets_the_oldest_of_very_many(house):
    await house.attach(system=True)
    await house.get(TARGET)
    hot = house.metadata.hot(MACHINE)
    for n in range(2_000):
        hot(TARGET.encode() + b"&n=%d" % n, HEADERS)
    assert hot(TARGET.encode(), HEADERS) is not None


async def test_the_endpoint_refuses_what_the_host_has_not(house):
    with pytest.raises(IdentityNotFound):
        await house.endpoint.issue(MACHINE, Selector(), VAULT)
    await house.attach(system=True)
    with pytest.raises(InvalidInput):
        await house.endpoint.issue(MACHINE, Selector(), "nonsense")
