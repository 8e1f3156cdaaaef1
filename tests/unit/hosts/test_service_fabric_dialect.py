"""Service Fabric: its answer, and each error of its page."""

from __future__ import annotations

import pytest

from keyfob.hosts.dialects.dialect import Place
from keyfob.hosts.dialects.service_fabric import SERVICE_FABRIC
from keyfob.resource_id import ResourceId

GROUP = ResourceId.group("22222222-2222-2222-2222-222222222222", "rg")
APP = GROUP.provider("Microsoft.ServiceFabric/clusters/applications", "fab", "app1")
VAULT = "https://vault.azure.net"
SHOWN = {"Secret": "the-hosts-own-secret"}
GOOD = {"api-version": "2019-07-01-preview", "resource": VAULT}


@pytest.fixture
async def app(house, talk):
    await house.host(APP, user=(await house.user_identity("u1"),))
    return talk(house, APP, SERVICE_FABRIC)


async def test_the_answer(app, house):
    status, said, _ = await app.ask(headers=SHOWN, **GOOD)
    assert status == 200
    assert said == {
        "token_type": "Bearer",
        "access_token": said["access_token"],
        "expires_on": int(house.clock.now()) + 86_400,
        "resource": VAULT,
    }
    assert (await app.ask(headers={"secret": "the-hosts-own-secret"}, **GOOD, xms_cc="CP1"))[0] == 200


@pytest.mark.parametrize(
    ("headers", "query", "status", "code", "message"),
    [
        ({}, GOOD, 400, "SecretHeaderNotFound", "Secret is not found in the request headers."),
        (
            {"Secret": "wrong"},
            GOOD,
            404,
            "ManagedIdentityNotFound",
            "Managed identity not found for the specified application host.",
        ),
        (
            SHOWN,
            {"resource": VAULT},
            400,
            "InvalidApiVersion",
            "The api-version '' is not supported. Supported version is '2019-07-01-preview'.",
        ),
        (
            SHOWN,
            GOOD | {"api-version": "2017-09-01"},
            400,
            "InvalidApiVersion",
            "The api-version '2017-09-01' is not supported. Supported version is '2019-07-01-preview'.",
        ),
        (
            SHOWN,
            {"api-version": "2019-07-01-preview"},
            400,
            "ArgumentNullOrEmpty",
            "The parameter 'resource' should not be null or empty string.",
        ),
        (SHOWN, GOOD | {"resource": "https://unknown.example"}, 500, "InternalServerError", "An error occurred."),
        (
            SHOWN,
            GOOD | {"client_id": "11111111-1111-1111-1111-111111111111"},
            404,
            "ManagedIdentityNotFound",
            "Managed identity not found for the specified application host.",
        ),
        (SHOWN, GOOD | {"client_id": "a", "object_id": "b"}, 400, "ArgumentInvalid", "Only one identity may be named."),
    ],
)
async def test_refusals(app, headers, query, status, code, message):
    got, said, _ = await app.ask(headers=headers, **query)
    assert got == status
    assert said["error"].keys() == {"correlationId", "code", "message"}
    assert (said["error"]["code"], said["error"]["message"]) == (code, message)
    assert len(said["error"]["correlationId"]) == 36


async def test_no_identity_no_application_no_such_path(app, house):
    await house.host(APP, system=False)
    status, said, _ = await app.ask(headers=SHOWN, **GOOD)
    assert (status, said["error"]["code"]) == (404, "ManagedIdentityNotFound")
    await house.remove(APP)
    status, said, _ = await app.ask(headers=SHOWN, **GOOD)
    assert (status, said["error"]["code"]) == (404, "ManagedIdentityNotFound")
    assert (await app.ask("/metadata/identity", SHOWN, **GOOD))[0] == 404
    status, said, _ = await app.ask(headers=SHOWN, method="POST", **GOOD)
    assert (status, said["error"]["code"]) == (405, "MethodNotAllowed")


async def test_a_refused_token_is_replaced(app):
    import hashlib

    first = (await app.ask(headers=SHOWN, **GOOD))[1]["access_token"]
    bad = hashlib.sha256(first.encode()).hexdigest()
    assert (await app.ask(headers=SHOWN, **GOOD, token_sha256_to_refresh=bad))[1]["access_token"] != first


def test_the_variables():
    told = SERVICE_FABRIC.variables(Place("https://127.0.0.1:2377", "s", thumbprint="AB12"))
    assert told == {
        "IDENTITY_ENDPOINT": "https://127.0.0.1:2377/metadata/identity/oauth2/token",
        "IDENTITY_HEADER": "s",
        "IDENTITY_SERVER_THUMBPRINT": "AB12",
        "IDENTITY_API_VERSION": "2019-07-01-preview",
    }
    assert SERVICE_FABRIC.tls
