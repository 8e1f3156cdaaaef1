"""Whatever is sent, the answer is a refusal in Azure's form, nothing fails, and nothing stored has changed.

Every route and type that is declared is tried, so what is declared later is tried, too.
"""

from __future__ import annotations

import json
import random
import re
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from bad_things import ANY, BODIES, JSON, NASTY, Land, refused, unchanged, well_formed
from hypothesis import given
from hypothesis import strategies as st

from keyfob.declare import ResourceType
from keyfob.wire.http import Fields, Reply, Request, parse_target

pytestmark = pytest.mark.usefixtures("no_failures")


def types(land: Land) -> list[ResourceType]:
    return [kind for n in land.app.resource_manager.registry.namespaces for kind in n.types.values()]


def some_types(land: Land, seed: str, count: int) -> list[ResourceType]:
    """A sample that is the same each time; all cases together try every type."""
    kinds = types(land)
    return random.Random(ascii(seed)).sample(kinds, min(count, len(kinds)))


def type_path(land: Land, kind: ResourceType, name: str, group: str | None = None) -> str:
    namespace, *words = kind.name.split("/")
    inside = "/".join(f"{word}/{name}" for word in words)
    return f"{group or land.group}/providers/{namespace}/{inside}"


# --- Resource Manager


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_bodies_that_are_none(land: Land, method: str, body: str) -> None:
    """On every type, and on a group."""
    before = land.stored()
    big = len(BODIES[body]) > 100_000
    kinds = some_types(land, body, 2 if big else 8)
    for kind in kinds:
        path = type_path(land, kind, "fresh")
        reply = land.arm(method, path, BODIES[body], max(kind.api_versions))
        assert reply.status < 500, (kind.name, reply.body[:300])
        if reply.status >= 400:
            refused(reply, kind.name)
        unchanged(land, before, reply, kind.name)
    for path in (f"{land.subscription}/resourceGroups/fresh", land.group):
        reply = land.arm(method, path, BODIES[body])
        assert reply.status < 500, reply.body[:300]
        if path != land.group:
            unchanged(land, before, reply, path)


@pytest.mark.parametrize("body", BODIES)
def test_bodies_that_are_none_on_what_is_there(land: Land, body: str) -> None:
    """A refused change has changed nothing; what is there is never gone."""
    if "UTF" in body or body in ("nothing", "a space"):
        pytest.skip("other cases say it")
    before = land.stored()
    for path, version in ((land.machine, "2024-03-01"),):
        reply = land.arm("PATCH", path, BODIES[body], version)
        assert reply.status < 500, reply.body[:300]
        if reply.status >= 400:
            assert land.stored() == before
        assert land.arm("GET", path, None, version).status == 200


def test_every_route_with_every_odd_name(land: Land) -> None:
    """Every declared route of Resource Manager, its parameters replaced by what no parameter is."""
    manager = land.app.resource_manager
    chance = random.Random(7)
    before = land.stored()
    for route in (*manager.own.routes, *manager.registry.routes.routes):
        if route.method != "GET" and "{" not in route.path.replace("{subscription}", "").replace(
            "{subscriptionId}", ""
        ):
            continue  # nothing odd to put in: it would do what it is for
        for odd in chance.sample(NASTY, 3):
            for body in (b"", b"[]", b'{"properties": {"a": {"b": [1]}}}'):
                if body and route.method in ("GET", "HEAD", "DELETE"):
                    continue
                path = _filled(land, route.path, odd)
                reply = land.arm(route.method, path, body, max(route.api_versions, default="2024-11-01"))
                assert reply.status < 500, (route.method, route.path, odd, body, reply.body[:300])
                well_formed(reply)
                if route.method not in ("GET", "HEAD"):
                    unchanged(land, before, reply, f"{route.method} {path!r} {body!r}")
                    before = land.stored() if reply.status < 300 else before


def _filled(land: Land, template: str, odd: str) -> str:
    """The subscription stays, so that the request gets past the first door."""

    def value(found: re.Match[str]) -> str:
        if found[1]:
            return land.group.strip("/")
        if found[2].lower() in ("subscription", "subscriptionid"):
            return land.operator["subscription_id"]
        return odd

    return re.sub(r"\{(\+?)([A-Za-z][A-Za-z0-9]*)\}", value, template)


@pytest.mark.parametrize("odd", NASTY, ids=lambda odd: ascii(odd)[:30])
def test_names_that_are_none(land: Land, odd: str) -> None:
    before = land.stored()
    for kind in some_types(land, odd, 8):
        for method in ("PUT", "DELETE", "GET"):
            path = type_path(land, kind, odd)
            body = {"location": "westeurope", "properties": {}} if method == "PUT" else None
            reply = land.arm(method, path, body, max(kind.api_versions))
            assert reply.status < 500, (method, path, reply.body[:300])
            if method != "GET":
                unchanged(land, before, reply, f"{method} {path[:200]!r}")


@pytest.mark.parametrize("odd", NASTY, ids=lambda odd: ascii(odd)[:30])
def test_versions_filters_and_pages_that_are_none(land: Land, odd: str) -> None:
    text = quote(odd, safe="", errors="surrogatepass")
    for path in (
        land.machine,
        land.group,
        f"{land.group}/providers/Microsoft.Compute/virtualMachines",
        "/subscriptions",
    ):
        refused(land.arm("GET", path, None, odd.encode("utf-8", "replace").decode()))
        reply = land.send(
            "management.azure.com",
            "GET",
            f"{quote(path)}?api-version={text}&api-version=2024-03-01",
            b"",
            {"Authorization": f"Bearer {land.token(land.operator['audience'])}"},
        )
        assert reply.status < 500
    for name in ("$filter", "$top", "$skiptoken", "$expand", "$select", "$orderby"):
        for path, version in (
            (f"{land.subscription}/resources", "2024-11-01"),
            (f"{land.subscription}/resourcegroups", "2024-11-01"),
            ("/subscriptions", "2022-12-01"),
            (f"{land.group}/providers/Microsoft.Compute/virtualMachines", "2024-03-01"),
            (f"{land.subscription}/providers/Microsoft.Authorization/roleAssignments", "2022-04-01"),
        ):
            reply = land.arm("GET", path, None, version, more=f"&{quote(name)}={text}")
            assert reply.status < 500, (path, name, reply.body[:300])
            if reply.status >= 400:
                refused(reply)


@pytest.mark.parametrize("name", ["If-Match", "If-None-Match", "x-ms-client-request-id", "x-ms-correlation-request-id"])
@pytest.mark.parametrize("odd", NASTY, ids=lambda odd: ascii(odd)[:30])
def test_headers_that_are_none(land: Land, name: str, odd: str) -> None:
    headers = {name: odd, "x-ms-return-client-request-id": "true"}
    reply = land.arm("PATCH", land.machine, {"tags": {}}, "2024-03-01", headers)
    assert reply.status < 500, reply.body[:300]
    well_formed(reply)


@pytest.mark.parametrize(
    "odd",
    [*NASTY, "a.b.c", "e30.e30.", "e30.e30.e30", "." * 3, "eyJhbGciOiJub25lIn0.e30."],
    ids=lambda o: ascii(o)[:30],
)
def test_tokens_that_are_none(land: Land, odd: str) -> None:
    for value in (odd, f"Bearer {odd}", f"Basic {odd}", f"bearer  {odd}  x"):
        for host, path in (
            ("management.azure.com", f"{land.machine}?api-version=2024-03-01"),
            ("keptvault.vault.azure.net", "/secrets/a?api-version=7.5"),
        ):
            reply = land.send(host, "GET", path, b"", {"Authorization": value})
            assert reply.status == 401, reply.body[:300]
            refused(reply)


@ANY
@given(body=JSON, method=st.sampled_from(["PUT", "PATCH"]), pick=st.integers(0, 10_000))
def test_random_bodies(land: Land, body: Any, method: str, pick: int) -> None:
    kinds = types(land)
    kind = kinds[pick % len(kinds)]
    before = land.stored()
    reply = land.arm(method, type_path(land, kind, "fresh"), _encoded(body), max(kind.api_versions))
    assert reply.status < 500, (kind.name, reply.body[:300])
    unchanged(land, before, reply, kind.name)


@ANY
@given(
    inner=st.dictionaries(
        st.sampled_from(["location", "tags", "sku", "identity", "properties", "plan", "zones", "kind"]), JSON
    ),
    pick=st.integers(0, 10_000),
)
def test_random_members(land: Land, inner: dict[str, Any], pick: int) -> None:
    """Bodies that are right but for some members."""
    kinds = [kind for kind in types(land) if kind.name.count("/") == 1]
    kind = kinds[pick % len(kinds)]
    before = land.stored()
    body = {"location": "westeurope", "properties": {}, **inner}
    reply = land.arm("PUT", type_path(land, kind, "fresh12345"), _encoded(body), max(kind.api_versions))
    assert reply.status < 500, (kind.name, reply.body[:300])
    if reply.status >= 400:
        refused(reply)
    unchanged(land, before, reply, kind.name)


@ANY
@given(
    parts=st.lists(st.sampled_from([*NASTY, "Microsoft.Compute", "virtualMachines", "x"]), max_size=12),
    method=st.sampled_from(["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", ""]),
)
def test_random_paths(land: Land, parts: list[str], method: str) -> None:
    before = land.stored()
    path = f"{land.subscription}/" + "/".join(parts) if len(parts) % 2 else "/" + "/".join(parts)
    reply = land.arm(method, path, b"{}" if method in ("PUT", "POST", "PATCH") else None)
    assert reply.status < 500, (method, path, reply.body[:300])
    well_formed(reply)
    if land.stored() != before:
        assert reply.status < 300
        land.forget(before)


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


# --- the token service, Key Vault, the metadata service


@pytest.mark.parametrize("odd", NASTY, ids=lambda odd: ascii(odd)[:30])
def test_the_token_service(land: Land, odd: str) -> None:
    before = land.stored()
    known = land.operator
    right = {
        "grant_type": "client_credentials",
        "client_id": known["client_id"],
        "client_secret": known["client_secret"],
        "scope": f"{known['audience']}/.default",
    }
    grants = (
        "client_credentials",
        "password",
        "refresh_token",
        "authorization_code",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
    )
    tries = [{**right, name: odd} for name in right]
    tries += [
        {
            **right,
            "grant_type": grant,
            "username": odd,
            "password": odd,
            "code": odd,
            "device_code": odd,
            "refresh_token": odd,
            "assertion": odd,
            "redirect_uri": odd,
            "code_verifier": odd,
        }
        for grant in grants
        if grant != "client_credentials"
    ]
    tries += [
        {
            **right,
            "client_secret": "",
            "client_assertion": odd,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        }
    ]
    for form in tries:
        body = urlencode(form, errors="surrogatepass").encode()
        reply = land.login(f"/{known['tenant_id']}/oauth2/v2.0/token", body)
        oauth_refusal(reply)
    tenant = quote(odd, safe="", errors="surrogatepass")
    for rest in ("oauth2/token", "oauth2/v2.0/token", "oauth2/v2.0/devicecode"):
        assert land.login(f"/{tenant}/{rest}", urlencode(right).encode()).status < 500
    for rest in (
        ".well-known/openid-configuration",
        "discovery/v2.0/keys",
        f"oauth2/v2.0/authorize?client_id={tenant}&redirect_uri={tenant}&response_type={tenant}&scope={tenant}&state={tenant}",
    ):
        for where in (tenant, known["tenant_id"]):
            reply = land.login(f"/{where}/{rest}", b"", "GET")
            assert reply.status < 500, (where, rest, reply.body[:200])
            well_formed(reply)
    after = land.stored()
    assert {key for key in before if key not in after} == set()


def oauth_refusal(reply: Reply) -> None:
    assert 400 <= reply.status < 500, reply.body[:300]
    body = json.loads(reply.body)
    assert body["error"], body
    assert body["error_description"].startswith("AADSTS"), body
    well_formed(reply)


@pytest.mark.parametrize("body", [name for name in BODIES if "MB" not in name] + ["10 MB of text"])
def test_the_token_service_reads_no_such_form(land: Land, body: str) -> None:
    oauth_refusal(land.login(f"/{land.operator['tenant_id']}/oauth2/v2.0/token", BODIES[body]))


@pytest.mark.parametrize("odd", NASTY, ids=lambda odd: ascii(odd)[:30])
def test_key_vault_names(land: Land, odd: str) -> None:
    before = land.stored()
    token = {"Authorization": f"Bearer {land.token('https://vault.azure.net')}"}
    plane = land.app.front_door.planes["key_vault"]
    for route in plane.routes.routes:
        path = re.sub(r"\{[^}]+\}", lambda _: quote(odd, safe="", errors="surrogatepass"), route.path)
        for body in (
            b"",
            b"{}",
            b"[]",
            b'{"value": 1}',
            b'{"value": ["a"]}',
            b'{"value": "v", "attributes": {"exp": 1e300}}',
        ):
            if route.method == "PUT" and odd in ("con", "default", "null") and b'"v"' in body:
                continue
            reply = land.send(
                "keptvault.vault.azure.net",
                route.method,
                f"{path}?api-version=7.5&maxresults={quote(odd[:9], errors='surrogatepass')}",
                body,
                token,
            )
            assert reply.status < 500, (route.method, path, body, reply.body[:300])
            well_formed(reply)
            if reply.status >= 400:
                refused(reply)
    after = land.stored()
    assert [key for key in before if key not in after] == []
    land.forget(before)


@pytest.mark.parametrize("body", BODIES)
def test_key_vault_bodies(land: Land, body: str) -> None:
    before = land.stored()
    token = {"Authorization": f"Bearer {land.token('https://vault.azure.net')}"}
    for method, path in (("PUT", "/secrets/fresh"), ("POST", "/secrets/restore")):
        refused(land.send("keptvault.vault.azure.net", method, f"{path}?api-version=7.5", BODIES[body], token))
    assert land.stored() == before


@pytest.mark.parametrize("odd", NASTY, ids=lambda odd: ascii(odd)[:30])
def test_the_metadata_service(land: Land, odd: str) -> None:
    from keyfob.resource_id import ResourceId

    metadata = land.app.hosts._metadata
    for path in (
        "/metadata/identity/oauth2/token",
        "/metadata/instance",
        "/metadata/attested/document",
        f"/metadata/{odd}",
        f"/{odd}",
    ):
        for query in (
            [("api-version", odd)],
            [("api-version", "2018-02-01"), ("resource", odd)],
            [("api-version", "2018-02-01"), ("resource", "https://vault.azure.net"), ("client_id", odd)],
            [("api-version", "2018-02-01"), ("resource", "https://vault.azure.net"), ("mi_res_id", odd)],
            [("api-version", "2021-02-01"), ("format", odd), ("nonce", odd)],
        ):
            for headers in (
                [("Metadata", "true")],
                [("Metadata", odd)],
                [("Metadata", "true"), ("X-Forwarded-For", odd)],
            ):
                _, _, asked = parse_target(f"/?{urlencode(query, errors='surrogatepass')}")
                request = Request("GET", path, asked, Fields(headers), host="169.254.169.254", scheme="http")
                reply = land.runner.run(metadata(request, ResourceId.parse(land.machine)))
                assert reply.status < 500, (path, query, headers, reply.body[:300])
                well_formed(reply)
