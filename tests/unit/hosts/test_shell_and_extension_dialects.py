"""Cloud Shell's user tokens, and the extension that machines had before instance metadata: both on port 50342."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from keyfob.directory.model import User
from keyfob.directory.records import USERS
from keyfob.hosts.dialects.cloud_shell import CLOUD_SHELL
from keyfob.hosts.dialects.dialect import Place
from keyfob.hosts.dialects.vm_extension import VM_EXTENSION
from keyfob.hosts.kinds import CONSOLE
from keyfob.resource_id import ResourceId

GROUP = ResourceId.group("22222222-2222-2222-2222-222222222222", "rg")
MACHINE = GROUP.provider("Microsoft.Compute/virtualMachines", "web")
TENANT = "11111111-1111-1111-1111-111111111111"
VAULT = "https://vault.azure.net"
ASKING = {"Metadata": "true"}


def form(**fields: str) -> bytes:
    return urlencode(fields).encode()


# --- the extension


@pytest.fixture
async def machine(house, talk):
    await house.attach(system=True, user=(await house.user_identity("u1"), await house.user_identity("u2")))
    return talk(house, MACHINE, VM_EXTENSION)


async def test_the_extension_by_get_and_by_post(machine, house):
    second = house.identities["u2"].app_id
    for selector, expected in (({}, house.identities["web"].app_id), ({"client_id": second}, second)):
        for asked in (
            machine.ask(headers=ASKING, resource=VAULT, **selector),
            machine.ask(headers=ASKING, method="POST", body=form(resource=VAULT, **selector)),
        ):
            status, said, _ = await asked
            assert (status, said["client_id"], said["token_type"]) == (200, expected, "Bearer")
            assert said["expires_in"] == "86400"
            assert isinstance(said["expires_on"], str)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("headers", "fields", "error", "description"),
    [
        ({}, {"resource": VAULT}, "bad_request_102", "Required metadata header not specified"),
        (ASKING, {}, "invalid_request", "Required query variable 'resource' is missing"),
        (ASKING, {"resource": VAULT, "client_id": "x"}, "invalid_request", "Identity not found"),
        (ASKING, {"resource": VAULT, "client_id": "x", "object_id": "y"}, "invalid_request", "Only one of"),
        (ASKING, {"resource": "https://unknown.example"}, "invalid_resource", "AADSTS500011"),
    ],
)
async def test_the_extensions_refusals(machine, method, headers, fields, error, description):
    if method == "GET":
        status, said, _ = await machine.ask(headers=headers, **fields)
    else:
        status, said, _ = await machine.ask(headers=headers, method="POST", body=form(**fields))
    assert (status, said["error"]) == (400, error)
    assert said["error_description"].startswith(description)


async def test_what_the_extension_does_not_take(machine, house):
    assert (await machine.ask(headers=ASKING, method="PUT", resource=VAULT))[0] == 405
    assert (await machine.ask(headers=ASKING, method="POST", body=b"\xff"))[0] == 400
    assert (await machine.ask(headers=ASKING, method="POST", body=form(resource=VAULT), resource=VAULT))[0] == 400
    assert (await machine.ask("/metadata/identity/oauth2/token", ASKING, resource=VAULT))[0] == 404
    await house.machine(properties={"keyfob.power": "stopped"})
    status, said, _ = await machine.ask(headers=ASKING, resource=VAULT)
    assert (status, said["error_description"]) == (400, "The virtual machine 'web' is not running.")
    await house.remove(MACHINE)
    assert (await machine.ask(headers=ASKING, resource=VAULT))[0] == 401


# --- Cloud Shell


@pytest.fixture
async def shell(house, talk):
    house.identities["me"] = await house.principal("me")
    return talk(house, CONSOLE, CLOUD_SHELL)


async def test_a_users_own_token(house, talk, shell):
    user = User(id=house.ids.guid(), tenant_id=TENANT, principal_name="ada@contoso.onmicrosoft.com")
    async with house.store.transaction() as tx:
        await USERS.put(tx, f"{TENANT}/{user.id}", user)
    house.identities["me"] = user
    status, said, _ = await shell.ask(headers=ASKING, method="POST", body=form(resource=VAULT))
    assert status == 200
    claims = house.tokens.verify(
        said["access_token"], audiences=frozenset({VAULT}), tenant_id=TENANT, now=house.clock.now()
    )
    assert (claims["oid"], claims["upn"]) == (user.id, "ada@contoso.onmicrosoft.com")
    assert "xms_mirid" not in claims
    assert int(said["expires_in"]) == int(said["expires_on"]) - int(house.clock.now())
    async with house.store.transaction() as tx:
        await USERS.delete(tx, f"{TENANT}/{user.id}")
    assert (await shell.ask(headers=ASKING, method="POST", body=form(resource=VAULT)))[0] == 400


async def test_a_service_principals_own_token(house, shell):
    status, said, _ = await shell.ask(headers=ASKING, method="POST", body=form(resource=VAULT))
    assert status == 200
    claims = house.tokens.verify(
        said["access_token"], audiences=frozenset({VAULT}), tenant_id=TENANT, now=house.clock.now()
    )
    assert claims["oid"] == house.identities["me"].id


@pytest.mark.parametrize(
    ("headers", "fields", "status", "code", "message"),
    [
        ({}, {"resource": VAULT}, 400, "bad_request_102", "Required metadata header not specified"),
        (ASKING, {}, 400, "invalid_request", "The parameter 'resource' is missing."),
        (
            ASKING,
            {"resource": VAULT, "client_id": "x"},
            400,
            "invalid_request",
            "Cloud Shell has no managed identities",
        ),
        (ASKING, {"resource": VAULT, "msi_res_id": "x"}, 400, "invalid_request", "Cloud Shell has no managed"),
        (ASKING, {"resource": "https://unknown.example"}, 400, "invalid_resource", "AADSTS500011"),
    ],
)
async def test_cloud_shells_refusals(shell, headers, fields, status, code, message):
    got, said, _ = await shell.ask(headers=headers, method="POST", body=form(**fields))
    assert got == status
    assert said["error"]["code"] == code
    assert said["error"]["message"].startswith(message)


async def test_cloud_shell_is_asked_by_post_and_by_javas_get(shell):
    assert (await shell.ask(headers=ASKING, resource=VAULT))[0] == 200
    assert (await shell.ask(headers=ASKING, resource=VAULT, client_id="x"))[0] == 400
    assert (await shell.ask(resource=VAULT))[0] == 400
    status, said, _ = await shell.ask(headers=ASKING, method="PUT", body=form(resource=VAULT))
    assert (status, said["error"]["code"]) == (405, "method_not_allowed")
    assert (await shell.ask("/other", ASKING, method="POST", body=form(resource=VAULT)))[0] == 404


def test_the_variables():
    place = Place("http://127.0.0.1:50342")
    told = {"MSI_ENDPOINT": "http://127.0.0.1:50342/oauth2/token"}
    assert CLOUD_SHELL.variables(place) == VM_EXTENSION.variables(place) == told
