"""Clients that ask for themselves: by secret, by certificate, by federated assertion. Each wrong way has its code."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest

from keyfob.clock import SystemIds
from keyfob.directory import applications, principals
from keyfob.directory.first_party import TOKEN_EXCHANGE
from keyfob.directory.keys import b64url
from keyfob.directory.model import Application, AppRoleAssignment, FederatedCredential, ServicePrincipal
from keyfob.directory.resources import find_resource

HOST = "login.microsoftonline.com"
ARM = "https://management.azure.com/"
ARM_SCOPE = "https://management.azure.com//.default"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ISSUER = "https://issuer.example/cluster-1"
SUBJECT = "system:serviceaccount:default:App"
EXCHANGE = "api://AzureADTokenExchange"


def payload(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


def by_secret(world: Any, **more: str) -> dict[str, str]:
    return {
        "grant_type": "client_credentials",
        "client_id": world.app.app_id,
        "client_secret": world.secret,
        "scope": ARM_SCOPE,
    } | more


# --- secrets ---------------------------------------------------------------------------------------------------


async def test_v2_answers_with_integers_and_does_not_echo_the_scope(world: Any) -> None:
    status, body = await world.token(**by_secret(world))
    assert status == 200
    assert body.keys() == {"token_type", "expires_in", "ext_expires_in", "access_token"}
    assert (body["token_type"], body["expires_in"], body["ext_expires_in"]) == ("Bearer", 3599, 3599)
    claims = payload(body["access_token"])
    assert claims["aud"] == "https://management.azure.com/"  # verbatim, the double slash keeps its trailing one
    assert claims["oid"] == world.principal.id
    assert (claims["appid"], claims["appidacr"], claims["ver"]) == (world.app.app_id, "1", "1.0")
    assert claims["exp"] - int(world.clock.now()) == 3599


async def test_v1_answers_with_strings(world: Any) -> None:
    form = by_secret(world, resource="https://vault.azure.net")
    del form["scope"]
    status, body = await world.token(v1=True, **form)
    assert status == 200
    assert all(isinstance(value, str) for value in body.values())
    assert body["resource"] == "https://vault.azure.net"
    assert int(body["expires_on"]) == int(world.clock.now()) + 3599
    assert int(body["not_before"]) == int(world.clock.now()) - 300
    assert payload(body["access_token"])["aud"] == "https://vault.azure.net"


async def test_v1_takes_an_api_version_in_the_query(world: Any) -> None:
    form = by_secret(world, resource="https://vault.azure.net")
    target = f"/{world.tenant.id}/oauth2/token?api-version=1.0"
    reply = await world.ask("POST", target, body=urlencode(form).encode())
    assert reply.status == 200


async def test_the_secret_may_come_in_a_basic_header(world: Any) -> None:
    form = {"grant_type": "client_credentials", "scope": ARM_SCOPE}
    path = f"/{world.tenant.id}/oauth2/v2.0/token"

    async def ask(user: str, secret: str, **more: str) -> Any:
        value = base64.b64encode(f"{quote(user)}:{quote(secret)}".encode()).decode()
        return await world.ask(
            "POST", path, body=urlencode(form | more).encode(), headers={"Authorization": f"Basic {value}"}
        )

    assert (await ask(world.app.app_id, world.secret)).status == 200
    assert (await ask(world.app.app_id, "wrong")).status == 401
    assert (await ask(world.app.app_id, world.secret, client_id="another")).status == 400
    reply = await world.ask("POST", path, body=urlencode(form).encode(), headers={"Authorization": "Basic !!"})
    assert reply.status == 400


@pytest.mark.parametrize("name", ["id", "domain", "second domain", "upper case", "common", "organizations"])
async def test_the_tenant_may_be_named_in_many_ways(world: Any, name: str) -> None:
    tenant = {
        "id": world.tenant.id,
        "domain": "contoso.onmicrosoft.com",
        "second domain": "Contoso.Example",
        "upper case": world.tenant.id.upper(),
    }.get(name, name)
    status, body = await world.token(tenant, **by_secret(world))
    assert status == 200
    assert payload(body["access_token"])["tid"] == world.tenant.id


async def test_refusals_of_a_secret_request(world: Any) -> None:
    refused = world.refused
    assert await refused(**by_secret(world, client_secret="wrong")) == (401, "invalid_client", 7000215)
    assert await refused(**by_secret(world, client_secret=world.app.secrets[0].id)) == (401, "invalid_client", 7000215)
    assert await refused(**by_secret(world, client_secret=world.app.secrets[0].hash)) == (
        401,
        "invalid_client",
        7000215,
    )
    unknown = SystemIds().guid()
    assert await refused(**by_secret(world, client_id=unknown)) == (400, "unauthorized_client", 700016)
    assert await refused(world.other.id, **by_secret(world)) == (400, "unauthorized_client", 700016)
    assert await refused("nowhere.example", **by_secret(world)) == (400, "invalid_tenant", 90002)
    assert await refused(SystemIds().guid(), **by_secret(world)) == (400, "invalid_tenant", 90002)
    form = by_secret(world)
    for name in ("grant_type", "client_id", "scope"):
        less = {key: value for key, value in form.items() if key != name}
        assert await refused(**less) == (400, "invalid_request", 900144)
    less = {key: value for key, value in form.items() if key != "client_secret"}
    assert await refused(**less) == (400, "invalid_request", 7000216)
    assert await refused(**by_secret(world, grant_type="magic")) == (400, "unsupported_grant_type", 70003)
    assert await refused(**by_secret(world, resource="https://x")) == (400, "invalid_request", 901002)
    for scope in (
        "https://management.azure.com/user_impersonation",
        "openid",
        "/.default",
        f"{ARM_SCOPE} https://vault.azure.net/.default",
    ):
        assert await refused(**by_secret(world, scope=scope)) == (400, "invalid_scope", 1002012)
    nobody = by_secret(world, scope="https://nobody.example/.default")
    assert await refused(**nobody) == (400, "invalid_resource", 500011)


async def test_the_body_of_a_refusal_has_azure_s_shape(world: Any) -> None:
    status, body = await world.token(**by_secret(world, client_secret="wrong"))
    assert status == 401
    assert body.keys() == {
        "error",
        "error_description",
        "error_codes",
        "timestamp",
        "trace_id",
        "correlation_id",
        "error_uri",
    }
    lines = body["error_description"].split("\r\n")
    assert lines[0] == (
        "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client "
        f"secret value, not the client secret ID, for a secret added to app '{world.app.app_id}'."
    )
    assert lines[1:] == [
        f"Trace ID: {body['trace_id']}",
        f"Correlation ID: {body['correlation_id']}",
        f"Timestamp: {body['timestamp']}",
    ]
    assert body["timestamp"] == "2023-11-14 22:13:20Z"
    assert body["error_uri"] == "https://login.microsoftonline.com/error?code=7000215"


async def test_the_correlation_id_is_the_client_s_when_it_is_a_guid(world: Any) -> None:
    given = SystemIds().guid()
    path = f"/{world.tenant.id}/oauth2/v2.0/token"
    for headers, expected in (({"client-request-id": given}, True), ({"client-request-id": "<script>"}, False)):
        reply = await world.ask("POST", path, headers=headers)
        assert (json.loads(reply.body)["correlation_id"] in headers.values()) is expected


async def test_an_expired_secret(world: Any) -> None:
    async with world.store.transaction() as tx:
        short = await applications.add_secret(
            tx, world.tenant.id, world.app.id, clock=world.clock, ids=world.ids, ends=world.clock.now() + 60
        )
    form = by_secret(world, client_secret=short.text)
    assert (await world.token(**form))[0] == 200
    world.clock.advance(60)
    assert await world.refused(**form) == (401, "invalid_client", 7000222)
    assert (await world.token(**by_secret(world)))[0] == 200


async def test_a_removed_secret_stops_at_once_though_it_was_remembered(world: Any) -> None:
    form = by_secret(world)
    assert (await world.token(**form))[0] == 200
    assert world.endpoint.parts.secrets.remembers(world.secret, world.app.secrets[0].hash)
    async with world.store.transaction() as tx:
        assert await applications.remove_secret(tx, world.tenant.id, world.app.id, world.app.secrets[0].id)
    assert await world.refused(**form) == (401, "invalid_client", 7000215)


async def test_a_disabled_service_principal(world: Any) -> None:
    assert (await world.token(**by_secret(world)))[0] == 200
    async with world.store.transaction() as tx:
        await principals.set_enabled(tx, world.tenant.id, world.principal.id, False)
    assert await world.refused(**by_secret(world)) == (400, "unauthorized_client", 7000112)
    async with world.store.transaction() as tx:
        await principals.set_enabled(tx, world.tenant.id, world.principal.id, True)
    assert (await world.token(**by_secret(world)))[0] == 200


async def test_a_deleted_application(world: Any) -> None:
    assert (await world.token(**by_secret(world)))[0] == 200
    async with world.store.transaction() as tx:
        assert await applications.delete_application(tx, world.tenant.id, world.app.id)
    assert await world.refused(**by_secret(world)) == (400, "unauthorized_client", 700016)


async def test_a_public_client_proves_nothing_by_a_secret(world: Any) -> None:
    await world.change(msgspec.structs.replace(world.app, public_client=True))
    assert await world.refused(**by_secret(world)) == (401, "invalid_client", 700025)
    form = by_secret(world)
    del form["client_secret"]
    assert await world.refused(**form) == (400, "invalid_request", 7000216)


async def test_the_service_of_one_cloud_does_not_know_the_tenants_of_another(world: Any) -> None:
    path = f"/{world.tenant.id}/oauth2/v2.0/token"
    body = urlencode(by_secret(world)).encode()
    reply = await world.ask("POST", path, body=body, host="login.microsoftonline.us", cloud="AzureUSGovernment")
    assert (reply.status, json.loads(reply.body)["error_codes"]) == (400, [90002])


async def test_app_roles_are_in_the_token(world: Any) -> None:
    api = Application(
        id=world.ids.guid(),
        tenant_id=world.tenant.id,
        app_id=world.ids.guid(),
        identifier_uris=("api://orders",),
        access_token_version=2,
    )
    async with world.store.transaction() as tx:
        await applications.create_application(tx, api, principal_id=world.ids.guid())
        for role in ("Orders.Read", "Orders.Write"):
            given = AppRoleAssignment(
                tenant_id=world.tenant.id, principal_id=world.principal.id, resource_app_id=api.app_id, role=role
            )
            await principals.assign_app_role(tx, given)
    _, body = await world.token(**by_secret(world, scope="api://orders/.default"))
    claims = payload(body["access_token"])
    assert claims["roles"] == ["Orders.Read", "Orders.Write"]
    assert (claims["ver"], claims["aud"], claims["azp"]) == ("2.0", api.app_id, world.app.app_id)
    assert claims["iss"] == f"https://login.microsoftonline.com/{world.tenant.id}/v2.0"
    _, body = await world.token(**by_secret(world))
    assert "roles" not in payload(body["access_token"])


# --- certificates ----------------------------------------------------------------------------------------------


@pytest.fixture
async def certified(world: Any, signer: Any) -> Any:
    async with world.store.transaction() as tx:
        await applications.add_certificate(tx, world.tenant.id, world.app.id, signer.pem, ids=world.ids)
    return world


def statement(world: Any, **more: Any) -> dict[str, Any]:
    now = world.clock.now()
    return {
        "iss": world.app.app_id,
        "sub": world.app.app_id,
        "aud": f"https://login.microsoftonline.com/{world.tenant.id}/oauth2/v2.0/token",
        "jti": "j1",
        "iat": now,
        "nbf": now,
        "exp": now + 600.5,  # MSAL for Python writes floats
    } | more


def by_assertion(world: Any, assertion: str, **more: str) -> dict[str, str]:
    return {
        "grant_type": "client_credentials",
        "client_id": world.app.app_id,
        "client_assertion_type": JWT_BEARER,
        "client_assertion": assertion,
        "scope": ARM_SCOPE,
    } | more


def thumbprints(signer: Any) -> tuple[str, str]:
    from cryptography.hazmat.primitives.serialization import Encoding

    der = signer.certificate.public_bytes(Encoding.DER)
    return b64url(hashlib.sha1(der).digest()), b64url(hashlib.sha256(der).digest())


async def test_each_way_of_naming_the_certificate(certified: Any, signer: Any) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    sha1, sha256 = thumbprints(signer)
    der = signer.certificate.public_bytes(Encoding.DER)
    x5c = [base64.b64encode(der).decode()]
    for alg, header in (
        ("RS256", {"x5t": sha1}),
        ("PS256", {"x5t#S256": sha256}),
        ("PS256", {"x5t#S256": sha256 + "="}),  # MSAL for Python 1.39
        ("RS256", {"kid": hashlib.sha1(der).hexdigest().upper()}),
        ("PS256", {"x5c": x5c}),
        ("RS256", {"x5t": sha1, "x5c": x5c}),
    ):
        assertion = signer.sign(statement(certified), alg=alg, **header)
        status, body = await certified.token(**by_assertion(certified, assertion))
        assert status == 200, body
        assert payload(body["access_token"])["appidacr"] == "2"


@pytest.mark.parametrize(
    "tail",
    ["/oauth2/v2.0/token", "/oauth2/token", "", "/", "/v2.0"],
)
async def test_each_spelling_of_the_audience(certified: Any, signer: Any, tail: str) -> None:
    aud = f"https://login.microsoftonline.com/{certified.tenant.id}{tail}"
    assertion = signer.sign(statement(certified, aud=aud), x5t=thumbprints(signer)[0])
    assert (await certified.token(**by_assertion(certified, assertion)))[0] == 200


async def test_refusals_of_a_certificate_assertion(certified: Any, signer: Any, stranger: Any) -> None:
    world, mark = certified, thumbprints(signer)[0]
    now = world.clock.now()

    async def code(assertion: str, **more: str) -> tuple[int, str, int]:
        found: tuple[int, str, int] = await world.refused(**by_assertion(world, assertion, **more))
        return found

    good = signer.sign(statement(world), x5t=mark)
    head, body, signature = good.split(".")
    broken = (401, "invalid_client", 700027)
    # not registered; registered but another key signed; tampered
    assert await code(stranger.sign(statement(world), x5t=thumbprints(stranger)[0])) == broken
    assert await code(stranger.sign(statement(world), x5t=mark)) == broken
    forged = base64.urlsafe_b64encode(json.dumps(statement(world, jti="j2")).encode()).rstrip(b"=").decode()
    assert await code(f"{head}.{forged}.{signature}") == broken
    # algorithms
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "x5t": mark}).encode()).rstrip(b"=").decode()
    assert await code(f"{none}.{body}.") == broken
    hs = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "x5t": mark}).encode()).rstrip(b"=").decode()
    mac = hmac.new(signer.pem, f"{hs}.{body}".encode(), hashlib.sha256).digest()
    assert await code(f"{hs}.{body}.{b64url(mac)}") == broken
    assert await code(signer.sign(statement(world), alg="RS512", x5t=mark)) == broken
    # claims
    late = statement(world, exp=now - 400)
    assert await code(signer.sign(late, x5t=mark)) == (401, "invalid_client", 700024)
    early = statement(world, nbf=now + 900)
    assert await code(signer.sign(early, x5t=mark)) == (401, "invalid_client", 700024)
    far = statement(world, exp=now + 90_000)
    assert await code(signer.sign(far, x5t=mark)) == (401, "invalid_client", 700024)
    endless = {name: value for name, value in statement(world).items() if name != "exp"}
    assert await code(signer.sign(endless, x5t=mark)) == (401, "invalid_client", 50027)
    for aud in (
        "https://login.microsoftonline.us/common/oauth2/v2.0/token",
        "https://evil.example/",
        f"https://login.microsoftonline.com/{world.other.id}/oauth2/v2.0/token",
        "",
    ):
        assert await code(signer.sign(statement(world, aud=aud), x5t=mark)) == (401, "invalid_client", 700023)
    assert await code(signer.sign(statement(world, sub="another"), x5t=mark)) == (401, "invalid_client", 700021)
    # shape
    assert await code(signer.sign(statement(world))) == (401, "invalid_client", 5002723)
    for junk in ("x", "a.b.c", "..", "e30.e30.e30", "é.e30.e30"):
        assert (await code(junk))[2] in (50027, 5002723, 700021)
    assert await code(good, client_assertion_type="urn:other") == (400, "invalid_request", 900144)
    assert (await world.token(**by_assertion(world, good)))[0] == 200


async def test_an_expired_certificate(world: Any, expired_signer: Any) -> None:
    async with world.store.transaction() as tx:
        await applications.add_certificate(tx, world.tenant.id, world.app.id, expired_signer.pem, ids=world.ids)
    assertion = expired_signer.sign(statement(world), x5t=thumbprints(expired_signer)[0])
    status, body = await world.token(**by_assertion(world, assertion))
    assert (status, body["error_codes"]) == (401, [700027])
    assert "The key used is expired." in body["error_description"]


async def test_a_removed_certificate(certified: Any, signer: Any) -> None:
    assertion = signer.sign(statement(certified), x5t=thumbprints(signer)[0])
    assert (await certified.token(**by_assertion(certified, assertion)))[0] == 200
    app = await applications.get_application(certified.store, certified.tenant.id, certified.app.id)
    assert app is not None
    async with certified.store.transaction() as tx:
        await applications.remove_certificate(tx, app.tenant_id, app.id, app.certificates[0].id)
    assert await certified.refused(**by_assertion(certified, assertion)) == (401, "invalid_client", 700027)


# --- federated assertions --------------------------------------------------------------------------------------


@pytest.fixture
async def federated(world: Any, signer: Any) -> Any:
    credential = FederatedCredential(name="cluster", issuer=ISSUER, subject=SUBJECT, audiences=(EXCHANGE,))
    async with world.store.transaction() as tx:
        await applications.add_federated_credential(tx, world.tenant.id, world.app.id, credential)
    world.fetcher.issuers[ISSUER] = [signer.jwk("k1")]
    return world


def foreign(world: Any, **more: Any) -> dict[str, Any]:
    now = int(world.clock.now())
    return {"iss": ISSUER, "sub": SUBJECT, "aud": EXCHANGE, "iat": now, "nbf": now, "exp": now + 3600} | more


async def test_a_federated_assertion(federated: Any, signer: Any) -> None:
    for aud in (EXCHANGE, [EXCHANGE], ["other", EXCHANGE]):
        assertion = signer.sign(foreign(federated, aud=aud), kid="k1")
        status, body = await federated.token(**by_assertion(federated, assertion))
        assert status == 200, body
        claims = payload(body["access_token"])
        assert (claims["oid"], claims["appidacr"]) == (federated.principal.id, "2")


async def test_a_managed_identity_takes_federated_assertions_too(world: Any, signer: Any) -> None:
    identity = ServicePrincipal(
        id=world.ids.guid(), tenant_id=world.tenant.id, app_id=world.ids.guid(), kind="ManagedIdentity"
    )
    credential = FederatedCredential(name="cluster", issuer=ISSUER, subject=SUBJECT)
    async with world.store.transaction() as tx:
        await principals.create_service_principal(tx, identity)
        await applications.add_federated_credential(tx, world.tenant.id, identity.id, credential)
    world.fetcher.issuers[ISSUER] = [signer.jwk("k1")]
    form = by_assertion(world, signer.sign(foreign(world), kid="k1"), client_id=identity.app_id)
    status, body = await world.token(**form)
    assert (status, payload(body["access_token"])["oid"]) == (200, identity.id)
    # and nothing else: it has no secrets, and no credential of another principal stands for it
    secret = by_secret(world, client_id=identity.app_id)
    assert await world.refused(**secret) == (401, "invalid_client", 7000215)
    assert (await world.refused(**(form | {"client_id": world.app.app_id})))[2] == 70021
    async with world.store.transaction() as tx:
        await applications.delete_federated_credential(tx, world.tenant.id, identity.id, "cluster")
    assert (await world.refused(**form))[2] == 70021


@pytest.mark.parametrize("version", [1, 2])
async def test_a_managed_identity_s_token_as_federated_assertion(world: Any, version: int) -> None:
    """Our own tenant as issuer: its keys come from the key ring, nobody is asked over the network."""
    identity = ServicePrincipal(
        id=world.ids.guid(), tenant_id=world.tenant.id, app_id=world.ids.guid(), kind="ManagedIdentity"
    )
    ours = {1: f"https://sts.windows.net/{world.tenant.id}/", 2: f"https://{HOST}/{world.tenant.id}/v2.0"}
    credential = FederatedCredential(name="identity", issuer=ours[version], subject=identity.id, audiences=(EXCHANGE,))
    async with world.store.transaction() as tx:
        await principals.create_service_principal(tx, identity)
        await applications.add_federated_credential(tx, world.tenant.id, world.app.id, credential)

    def minted(audience: str, **more: Any) -> str:
        token: str = world.tokens.mint_managed_identity(
            tenant=world.tenant, principal=identity, audience=audience, resource_id="/i", host_id=None, **more
        ).token
        return token

    resource = await find_resource(world.store, world.tenant, EXCHANGE)
    assert (resource.version, resource.audience) == (2, TOKEN_EXCHANGE)
    good = minted(resource.audience, version=version)
    status, body = await world.token(**by_assertion(world, good))
    assert status == 200, body
    assert payload(body["access_token"])["oid"] == world.principal.id
    assert world.fetcher.asked == []
    # another audience, another version's issuer, a signature that is not ours
    assert (await world.refused(**by_assertion(world, minted(ARM, version=version))))[2] == 700212
    assert (await world.refused(**by_assertion(world, minted(TOKEN_EXCHANGE, version=3 - version))))[2] == 700211
    head, claims, signature = good.split(".")
    forged = ".".join((head, claims, signature[::-1]))
    assert (await world.refused(**by_assertion(world, forged)))[2] == 700027
    assert world.fetcher.asked == []


async def test_a_tenant_that_is_not_in_this_store_is_a_foreign_issuer(world: Any, signer: Any) -> None:
    issuer = f"https://{HOST}/{world.ids.guid()}/v2.0"
    credential = FederatedCredential(name="far", issuer=issuer, subject=SUBJECT, audiences=(EXCHANGE,))
    async with world.store.transaction() as tx:
        await applications.add_federated_credential(tx, world.tenant.id, world.app.id, credential)
    assertion = signer.sign(foreign(world, iss=issuer), kid="k1")
    assert (await world.refused(**by_assertion(world, assertion)))[2] == 500031
    assert world.fetcher.asked == [issuer]
    # what trusts the exchange by another name does not take its id from a foreign issuer
    by_id = signer.sign(foreign(world, iss="https://elsewhere.example/", aud=TOKEN_EXCHANGE), kid="k1")
    assert (await world.refused(**by_assertion(world, by_id)))[2] == 700211


async def test_refusals_of_a_federated_assertion(federated: Any, signer: Any, stranger: Any) -> None:
    world = federated
    now = int(world.clock.now())

    async def code(claims: dict[str, Any], by: Any = signer, **header: Any) -> tuple[int, str, int]:
        assertion = by.sign(claims, **({"kid": "k1"} | header))
        found: tuple[int, str, int] = await world.refused(**by_assertion(world, assertion))
        return found

    def no(number: int) -> tuple[int, str, int]:
        return 401, "invalid_client", number

    assert await code(foreign(world, iss="https://evil.example")) == no(700211)
    assert await code(foreign(world, iss=ISSUER + "/")) == no(700211)
    assert await code(foreign(world, iss=ISSUER.upper())) == no(700211)
    assert await code(foreign(world, sub=SUBJECT.lower())) == no(700213)
    assert await code(foreign(world, aud="api://azureadtokenexchange")) == no(700212)
    assert await code(foreign(world, aud=[])) == no(700212)
    assert await code(foreign(world), by=stranger) == no(700027)
    assert await code(foreign(world), kid="k2") == no(700027)
    assert await code(foreign(world), alg="PS256") == no(700027)  # Entra takes RS256 only from other issuers
    assert await code(foreign(world, exp=now - 301)) == no(700024)
    assert await code(foreign(world, nbf=now + 301)) == no(700024)
    assert await code({key: value for key, value in foreign(world).items() if key != "exp"}) == no(50027)
    world.fetcher.issuers.clear()
    assert await code(foreign(world)) == no(500031)
    assert set(world.fetcher.asked) == {ISSUER}  # nobody makes us ask an issuer that is not configured


async def test_hs256_with_the_issuer_s_public_key(federated: Any, signer: Any) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = signer.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = b64url(json.dumps({"alg": "HS256", "kid": "k1"}).encode())
    body = b64url(json.dumps(foreign(federated)).encode())
    mac = b64url(hmac.new(pem, f"{head}.{body}".encode(), hashlib.sha256).digest())
    none = b64url(b'{"alg":"none","kid":"k1"}')
    for text in (f"{head}.{body}.{mac}", f"{none}.{body}."):
        assert await federated.refused(**by_assertion(federated, text)) == (401, "invalid_client", 700027)
