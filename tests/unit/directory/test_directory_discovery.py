"""What clients read first: discovery documents, keys, instances, realms; and the routes there are."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfob.declare import Public


async def get(world: Any, target: str, **more: Any) -> tuple[int, Any]:
    reply = await world.ask("GET", target, **more)
    return reply.status, json.loads(reply.body)


async def test_v2_discovery(world: Any) -> None:
    status, found = await get(world, f"/{world.tenant.id}/v2.0/.well-known/openid-configuration")
    base = f"https://login.microsoftonline.com/{world.tenant.id}"
    assert status == 200
    assert found["issuer"] == f"{base}/v2.0"
    assert found["token_endpoint"] == f"{base}/oauth2/v2.0/token"
    assert found["authorization_endpoint"] == f"{base}/oauth2/v2.0/authorize"
    assert found["device_authorization_endpoint"] == f"{base}/oauth2/v2.0/devicecode"
    assert found["jwks_uri"] == f"{base}/discovery/v2.0/keys"
    assert found["cloud_instance_name"] == "microsoftonline.com"


async def test_v1_discovery(world: Any) -> None:
    status, found = await get(world, "/contoso.onmicrosoft.com/.well-known/openid-configuration")
    assert status == 200
    assert found["issuer"] == f"https://sts.windows.net/{world.tenant.id}/"
    assert found["jwks_uri"] == "https://login.microsoftonline.com/common/discovery/keys"
    assert found["token_endpoint"].endswith(f"/{world.tenant.id}/oauth2/token")


async def test_tokens_carry_the_issuer_that_discovery_names(world: Any) -> None:
    minted = world.tokens.mint_application(tenant=world.tenant, principal=world.principal, audience="a", version=2)
    claims = world.tokens.verify(minted.token, audiences={"a"}, tenant_id=None, now=world.clock.now())
    for host in world.clouds["AzureCloud"].login_hosts:
        _, found = await get(world, f"/{world.tenant.id}/v2.0/.well-known/openid-configuration", host=host)
        assert found["issuer"] == claims["iss"]
        assert found["token_endpoint"].startswith(f"https://{host}/")


async def test_a_port_and_an_unknown_name_stay_as_asked(world: Any) -> None:
    _, found = await get(world, f"/{world.tenant.id}/v2.0/.well-known/openid-configuration", host="localhost:4443")
    assert found["issuer"] == f"https://localhost:4443/{world.tenant.id}/v2.0"
    assert found["token_endpoint"].startswith("https://localhost:4443/")


async def test_common_names_no_tenant(world: Any) -> None:
    for name in ("common", "organizations"):
        _, found = await get(world, f"/{name}/v2.0/.well-known/openid-configuration")
        assert found["issuer"] == "https://login.microsoftonline.com/{tenantid}/v2.0"
        assert found["token_endpoint"] == f"https://login.microsoftonline.com/{name}/oauth2/v2.0/token"
    status, found = await get(world, "/nowhere.example/v2.0/.well-known/openid-configuration")
    assert (status, found["error"], found["error_codes"]) == (400, "invalid_tenant", [90002])


async def test_published_keys_are_public(world: Any) -> None:
    for path in ("common/discovery/keys", "common/discovery/v2.0/keys", f"{world.tenant.id}/discovery/v2.0/keys"):
        status, found = await get(world, f"/{path}")
        (key,) = found["keys"]
        assert status == 200
        assert key["kid"] == key["x5t"] == world.keys.current.kid
        assert not {"d", "p", "q", "dp", "dq", "qi"} & key.keys()
        assert ("issuer" in key) is ("v2.0" in path)


def instance(endpoint: str, version: str = "1.1") -> str:
    return f"/common/discovery/instance?api-version={version}&authorization_endpoint={quote(endpoint, safe='')}"


async def test_instance_discovery_knows_every_host_of_every_cloud(world: Any) -> None:
    for cloud in world.clouds.values():
        for host in cloud.login_hosts:
            status, found = await get(world, instance(f"https://{host}/common/oauth2/v2.0/authorize"))
            assert status == 200
            where = f"https://{host}/common/v2.0/.well-known/openid-configuration"
            assert found["tenant_discovery_endpoint"] == where
            assert any(host in row["aliases"] for row in found["metadata"])


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://evil.example/common/oauth2/v2.0/authorize",
        "http://login.microsoftonline.com/common/oauth2/v2.0/authorize",
        "https://login.microsoftonline.com.evil.example/common",
        "https://login.microsoftonline.com@evil.example/common",
        "https://localhost:4444/common/oauth2/v2.0/authorize",
        "https://[bad/common",
        "https://login.microsoftonline.com:x/common",
        "nonsense",
    ],
)
async def test_an_unknown_instance(world: Any, endpoint: str) -> None:
    status, found = await get(world, instance(endpoint), host="localhost:4443")
    assert (status, found["error"], found["error_codes"]) == (400, "invalid_instance", [50049])


async def test_the_instance_it_was_asked_at(world: Any) -> None:
    target = instance("https://localhost:4443/common/oauth2/v2.0/authorize")
    status, found = await get(world, target, host="localhost:4443")
    assert status == 200
    assert found["tenant_discovery_endpoint"].startswith("https://localhost:4443/common/v2.0/")
    status, found = await get(world, "/common/discovery/instance?api-version=1.1")
    assert (status, found["error_codes"]) == (400, [900144])


async def test_user_realm(world: Any) -> None:
    _, found = await get(world, "/common/userrealm/alice@contoso.onmicrosoft.com?api-version=1.0")
    assert found["account_type"] == "Managed"
    _, found = await get(world, "/common/userrealm/alice@nowhere.example?api-version=1.0")
    assert found["account_type"] == "Unknown"


async def test_the_open_routes(world: Any) -> None:
    """Each of these is open because clients prove themselves inside the request, or because everybody may read it."""
    rows = {f"{route.method} {route.path}" for route in world.endpoint.routes.routes}
    assert all(isinstance(route.access, Public) for route in world.endpoint.routes.routes)
    assert rows == {
        "GET /{tenant}/.well-known/openid-configuration",
        "GET /{tenant}/v2.0/.well-known/openid-configuration",
        "GET /{tenant}/discovery/keys",
        "GET /{tenant}/discovery/v2.0/keys",
        "GET /{tenant}/discovery/instance",
        "GET /{tenant}/userrealm/{user}",
        "POST /{tenant}/oauth2/token",
        "POST /{tenant}/oauth2/v2.0/token",
        "GET /{tenant}/oauth2/token",
        "GET /{tenant}/oauth2/v2.0/token",
        "POST /{tenant}/oauth2/devicecode",
        "POST /{tenant}/oauth2/v2.0/devicecode",
        "GET /{tenant}/oauth2/authorize",
        "GET /{tenant}/oauth2/v2.0/authorize",
        "POST /{tenant}/login",
        "GET /{tenant}/oauth2/deviceauth",
        "POST /{tenant}/oauth2/deviceauth",
        "GET /devicelogin",
        "GET /error",
        "GET /{tenant}/oauth2/logout",
        "GET /{tenant}/oauth2/v2.0/logout",
    }


@pytest.mark.parametrize(
    ("code", "status", "text"),
    [
        ("7000215", 200, "Invalid client secret"),
        ("70011", 200, "InvalidScope"),
        ("5002723", 200, "Invalid JWT token"),
        ("1", 404, "Unknown"),
        ("<script>", 404, "&lt;script&gt;"),
        ("", 404, "Unknown"),
    ],
)
async def test_error_uri_leads_to_what_the_code_means(world: Any, code: str, status: int, text: str) -> None:
    reply = await world.ask("GET", f"/error?code={quote(code)}")
    assert reply.status == status
    assert text in reply.body.decode()


async def test_what_there_is_not(world: Any) -> None:
    for method, target, status in (
        ("GET", "/", 404),
        ("GET", "/a/b/c", 404),
        ("DELETE", f"/{world.tenant.id}/oauth2/token", 404),
    ):
        reply = await world.ask(method, target)
        assert reply.status == status
        assert json.loads(reply.body)["error"] == "invalid_request"
    reply = await world.ask("GET", f"/{world.tenant.id}/oauth2/v2.0/token")
    assert (reply.status, json.loads(reply.body)["error_codes"]) == (400, [900561])


async def test_forms_that_cannot_be_read(world: Any) -> None:
    path = f"/{world.tenant.id}/oauth2/v2.0/token"
    for body in (b"\xff\xfe=1", b"grant_type=a&grant_type=b", b"a=" + b"x" * 300_000, b"grant_type=%00", b"\0"):
        reply = await world.ask("POST", path, body=body)
        assert reply.status == 400
        assert json.loads(reply.body)["error_codes"] in ([9002313], [900144])


NAMES = st.sampled_from(
    [
        "grant_type",
        "client_id",
        "client_secret",
        "scope",
        "resource",
        "code",
        "redirect_uri",
        "code_verifier",
        "refresh_token",
        "username",
        "password",
        "assertion",
        "requested_token_use",
        "client_assertion",
        "client_assertion_type",
        "device_code",
    ]
)
VALUES = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "client_credentials",
            "authorization_code",
            "refresh_token",
            "password",
            "device_code",
            "urn:ietf:params:oauth:grant-type:device_code",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "04b07795-8ddb-461a-bbee-02f9e1bf7b46",
            "on_behalf_of",
            "https://management.azure.com//.default",
            "e30.e30.e30",
            "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2EifQ.AAAA",
            "6553f100.abc",
            "zz.abc",
            "alice@contoso.onmicrosoft.com",
            "x" * 3000,
        ]
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.dictionaries(NAMES, VALUES, max_size=8), raw=st.binary(max_size=60), v1=st.booleans(), own=st.booleans())
async def test_no_form_breaks_the_token_endpoint(
    world: Any, form: dict[str, str], raw: bytes, v1: bool, own: bool
) -> None:
    from urllib.parse import urlencode

    if own:
        form = {"client_id": world.app.app_id, "client_secret": world.secret} | form
    path = f"/{world.tenant.id}/oauth2{'' if v1 else '/v2.0'}/token"
    for body in (urlencode(form, errors="replace").encode(), raw):
        reply = await world.ask("POST", path, body=body)
        assert reply.status in (200, 400, 401)
        found = json.loads(reply.body)
        assert "access_token" in found if reply.status == 200 else found["error_description"].startswith("AADSTS")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.text(max_size=60),
    query=st.dictionaries(st.sampled_from(["client_id", "redirect_uri", "scope", "state", "otc"]), VALUES, max_size=4),
    method=st.sampled_from(["GET", "POST"]),
)
async def test_no_path_breaks_the_token_service(world: Any, path: str, query: dict[str, str], method: str) -> None:
    from urllib.parse import urlencode

    for target in (
        f"/{path}",
        f"/{quote(path, safe='')}/oauth2/v2.0/authorize",
        "/common/oauth2/authorize",
        "/devicelogin",
    ):
        reply = await world.ask(method, f"{target}?{urlencode(query, errors='replace')}")
        assert reply.status < 500
