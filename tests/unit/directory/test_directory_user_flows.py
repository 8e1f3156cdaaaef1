"""Flows with a user: the sign-in page with PKCE, device codes, refresh tokens, passwords, on behalf of."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import msgspec
import pytest

from keyfob.clock import SystemIds
from keyfob.directory import applications, pending, principals, tenants
from keyfob.directory.endpoint import TokenEndpoint
from keyfob.directory.first_party import AZURE_CLI
from keyfob.directory.keys import b64url
from keyfob.directory.model import Application, User
from keyfob.directory.records import PENDING
from keyfob.directory.secrets import hash_secret

ARM_SCOPE = "https://management.core.windows.net//.default offline_access openid profile"
ALICE = "alice@contoso.onmicrosoft.com"
PASSWORD = "correct horse battery"
VERIFIER = "v" * 64
CHALLENGE = b64url(hashlib.sha256(VERIFIER.encode()).digest())


def payload(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


@dataclass
class Page:
    """A page as a browser sees it: where its form goes, its hidden fields, its cookie."""

    action: str
    fields: dict[str, str]
    cookie: str
    text: str


def read_page(reply: Any) -> Page:
    assert reply.status == 200, reply.body
    text = reply.body.decode()
    (action,) = re.findall(r'<form method="post" action="([^"]*)"', text)
    fields = {
        html.unescape(name): html.unescape(value)
        for name, value in re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', text)
    }
    cookies = [value for name, value in reply.headers if name == "Set-Cookie"]
    assert all("HttpOnly" in cookie and "SameSite=Strict" in cookie and "Secure" in cookie for cookie in cookies)
    return Page(html.unescape(action), fields, cookies[0].split(";")[0], text)


async def open_page(world: Any, target: str, **more: Any) -> Page:
    return read_page(await world.ask("GET", target, **more))


async def post_page(world: Any, page: Page, headers: Any = None, **fields: Any) -> Any:
    endpoint = fields.pop("endpoint", None)
    return await world.ask(
        "POST",
        page.action,
        body=urlencode(page.fields | fields).encode(),
        headers={"Cookie": page.cookie} | (headers or {}),
        endpoint=endpoint,
    )


def authorize(tenant: str, **more: str) -> str:
    query = {
        "client_id": AZURE_CLI,
        "response_type": "code",
        "redirect_uri": "http://localhost:43211",
        "scope": ARM_SCOPE,
        "state": "st&ate",
        "nonce": "n-1",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    } | more
    return f"/{tenant}/oauth2/v2.0/authorize?" + urlencode({key: value for key, value in query.items() if value})


async def get_code(world: Any, tenant: str = "organizations", **more: str) -> str:
    page = await open_page(world, authorize(tenant, **more))
    reply = await post_page(world, page, username=ALICE, password=PASSWORD)
    assert reply.status == 302, reply.body
    location = dict(reply.headers)["Location"]
    return parse_qs(urlsplit(location).query)["code"][0]


def redeem(code: str, **more: str) -> dict[str, str]:
    return {
        "grant_type": "authorization_code",
        "client_id": AZURE_CLI,
        "code": code,
        "redirect_uri": "http://localhost:43211",
        "code_verifier": VERIFIER,
        "scope": ARM_SCOPE,
    } | more


# --- authorization code ----------------------------------------------------------------------------------------


async def test_sign_in_with_pkce(world: Any) -> None:
    page = await open_page(world, authorize("organizations"))
    assert "Microsoft Azure CLI" in page.text
    reply = await post_page(world, page, username=ALICE.upper(), password=PASSWORD)
    location = urlsplit(dict(reply.headers)["Location"])
    assert (location.netloc, parse_qs(location.query)["state"]) == ("localhost:43211", ["st&ate"])
    status, body = await world.token("organizations", **redeem(parse_qs(location.query)["code"][0]))
    assert status == 200, body
    claims, identity = payload(body["access_token"]), payload(body["id_token"])
    assert claims["aud"] == "https://management.core.windows.net/"
    assert (claims["oid"], claims["tid"], claims["appid"]) == (world.user.id, world.tenant.id, AZURE_CLI)
    assert (claims["appidacr"], claims["scp"], claims["upn"]) == ("0", "user_impersonation", ALICE)
    assert (identity["aud"], identity["nonce"], identity["oid"]) == (AZURE_CLI, "n-1", world.user.id)
    assert identity["preferred_username"] == ALICE
    assert identity["iss"] == f"https://login.microsoftonline.com/{world.tenant.id}/v2.0"
    assert json.loads(base64.urlsafe_b64decode(body["client_info"] + "==")) == {
        "uid": world.user.id,
        "utid": world.tenant.id,
    }
    assert "https://management.core.windows.net//.default" in body["scope"].split()
    assert isinstance(body["expires_in"], int)
    assert body["refresh_token"]


@pytest.mark.parametrize("mode", ["query", "fragment", "form_post"])
async def test_response_modes(world: Any, mode: str) -> None:
    page = await open_page(world, authorize("organizations", response_mode=mode))
    reply = await post_page(world, page, username=ALICE, password=PASSWORD)
    if mode == "form_post":
        back = read_page(reply.adding(("Set-Cookie", "a=b; HttpOnly; SameSite=Strict; Secure")))
        assert back.action == "http://localhost:43211"
        found = back.fields
    else:
        parts = urlsplit(dict(reply.headers)["Location"])
        found = dict(parse_qsl(parts.query if mode == "query" else parts.fragment))
        assert not (parts.fragment if mode == "query" else parts.query)
    assert found["state"] == "st&ate"
    assert (await world.token("organizations", **redeem(found["code"])))[0] == 200


async def test_a_code_is_good_once_and_a_second_use_revokes_what_it_gave(world: Any) -> None:
    code = await get_code(world)
    status, body = await world.token("organizations", **redeem(code))
    assert status == 200
    refresh = {"grant_type": "refresh_token", "client_id": AZURE_CLI, "refresh_token": body["refresh_token"]}
    assert await world.refused("organizations", **redeem(code)) == (400, "invalid_grant", 54005)
    assert await world.refused("organizations", **refresh, scope=ARM_SCOPE) == (400, "invalid_grant", 70000)


async def test_refusals_of_a_code(world: Any) -> None:
    async def code(**more: str) -> Any:
        return await world.refused("organizations", **redeem(await get_code(world), **more))

    assert await code(code_verifier="w" * 64) == (400, "invalid_grant", 501481)
    assert await code(code_verifier="") == (400, "invalid_request", 900144)
    assert await code(code_verifier="é" * 64) == (400, "invalid_grant", 501481)
    assert await code(redirect_uri="http://localhost:1") == (400, "invalid_client", 500112)
    assert await code(client_id="1950a258-227b-4e31-a9cf-717495945fc2") == (400, "invalid_grant", 70000)
    assert await world.refused("organizations", **redeem("nonsense")) == (400, "invalid_grant", 70000)
    fresh = await get_code(world)
    expiry, _, rest = fresh.partition(".")
    longer = f"{int(expiry, 16) + 600:x}.{rest}"
    assert await world.refused("organizations", **redeem(longer)) == (400, "invalid_grant", 70000)
    world.clock.advance(600)
    assert await world.refused("organizations", **redeem(fresh)) == (400, "invalid_grant", 70008)
    other = await get_code(world)
    assert (await world.refused(world.other.id, **redeem(other)))[1] == "invalid_grant"


async def test_wrong_passwords_stay_on_the_page(world: Any) -> None:
    page = await open_page(world, authorize("organizations"))
    texts = []
    for username, password in ((ALICE, "wrong"), ("bob@contoso.onmicrosoft.com", PASSWORD), (ALICE, "")):
        again = read_page(await post_page(world, page, username=username, password=password))
        texts.append(re.findall(r'role="alert">([^<]*)<', again.text))
        assert PASSWORD not in again.text
    assert texts == [["Your account or password is incorrect."]] * 3


async def test_ten_wrong_passwords_lock_the_name_for_a_minute(world: Any) -> None:
    page = await open_page(world, authorize("organizations"))
    for _ in range(10):
        await post_page(world, page, username=ALICE, password="wrong")
    locked = await post_page(world, page, username=ALICE, password=PASSWORD)
    assert b"AADSTS50053" in locked.body
    world.clock.advance(61)
    assert (await post_page(world, page, username=ALICE, password=PASSWORD)).status == 302


async def test_the_form_must_be_ours_and_from_this_browser(world: Any) -> None:
    page = await open_page(world, authorize("organizations"))
    other = await open_page(world, authorize("organizations"))
    who = {"username": ALICE, "password": PASSWORD}
    for bad in (
        Page(page.action, page.fields | {"csrf": "x"}, page.cookie, ""),
        Page(page.action, page.fields, other.cookie, ""),
        Page(page.action, page.fields, "a=b", ""),
        Page(page.action, {key: value for key, value in page.fields.items() if key != "csrf"}, page.cookie, ""),
    ):
        reply = await post_page(world, bad, **who)
        assert (reply.status, json.loads(reply.body)["error_codes"]) == (400, [90100])
    reply = await post_page(world, page, headers={"Origin": "https://evil.example"}, **who)
    assert reply.status == 400
    reply = await post_page(world, page, headers={"Origin": "https://login.microsoftonline.com"}, **who)
    assert reply.status == 302


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"redirect_uri": "https://evil.example/"}, "AADSTS50011"),
        ({"redirect_uri": "http://localhost.evil.example"}, "AADSTS50011"),
        ({"redirect_uri": "http://localhost:80@evil.example"}, "AADSTS50011"),
        ({"redirect_uri": "http://evil.example@localhost"}, "AADSTS50011"),
        ({"redirect_uri": "http://localhost:1/other"}, "AADSTS50011"),
        ({"redirect_uri": "https://localhost:1"}, "AADSTS50011"),
        ({"redirect_uri": "javascript:alert(1)"}, "AADSTS50011"),
        ({"client_id": "<script>alert(1)</script>"}, "AADSTS700016"),
        ({"client_id": ""}, "AADSTS900144"),
        ({"response_mode": "carrier_pigeon"}, "AADSTS70007"),
    ],
)
async def test_what_is_shown_instead_of_sending_the_browser_away(world: Any, more: dict[str, str], code: str) -> None:
    reply = await world.ask("GET", authorize("organizations", **more))
    assert reply.status == 400
    assert not [value for name, value in reply.headers if name == "Location"]
    assert code in reply.body.decode()
    assert "<script>" not in reply.body.decode()


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"prompt": "none"}, "login_required"),
        ({"scope": ""}, "invalid_request"),
        ({"scope": "https://a.example/x https://b.example/y"}, "invalid_scope"),
    ],
)
async def test_what_is_told_to_the_application(world: Any, more: dict[str, str], error: str) -> None:
    reply = await world.ask("GET", authorize("organizations", **more))
    assert reply.status == 302
    found = parse_qs(urlsplit(dict(reply.headers)["Location"]).query)
    assert (found["error"], found["state"]) == ([error], ["st&ate"])


async def test_everything_on_the_page_is_escaped_and_nothing_is_loaded(world: Any) -> None:
    evil = '"><script>alert(1)</script>'
    reply = await world.ask("GET", authorize("organizations", login_hint=evil, state=evil, nonce=evil))
    text = reply.body.decode()
    assert "<script>" not in text
    assert "http://" not in re.sub(r'value="[^"]*"', "", text)
    headers = dict(reply.headers)
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    page = read_page(reply)
    again = await post_page(world, page, username=evil, password="x")
    assert "<script>" not in again.body.decode()


async def test_choosing_a_user_is_off_unless_the_operator_allows_it(world: Any) -> None:
    page = await open_page(world, authorize(world.tenant.id))
    assert ALICE not in page.text
    refused = await post_page(world, page, choose=ALICE)
    assert refused.status == 200
    assert b"incorrect" in refused.body
    parts = world.endpoint.parts
    open_house = TokenEndpoint(
        store=world.store,
        keys=world.keys,
        tokens=world.tokens,
        clouds=world.clouds,
        seal=world.seal,
        clock=world.clock,
        ids=parts.ids,
        choose_user=True,
    )
    page = await open_page(world, authorize(world.tenant.id), endpoint=open_house)
    assert ALICE in page.text
    reply = await world.ask(
        "POST",
        page.action,
        body=urlencode(page.fields | {"choose": ALICE}).encode(),
        headers={"Cookie": page.cookie},
        endpoint=open_house,
    )
    assert reply.status == 302


async def test_a_confidential_client_proves_itself_for_its_code(world: Any) -> None:
    uri = "https://payroll.example/signed-in"
    more = {"client_id": world.app.app_id, "redirect_uri": uri}
    code = await get_code(world, world.tenant.id, **more)
    form = redeem(code, **more)
    assert await world.refused(**form) == (401, "invalid_client", 7000218)
    assert await world.refused(**form, client_secret="wrong") == (401, "invalid_client", 7000215)
    status, body = await world.token(**form, client_secret=world.secret)
    assert (status, payload(body["access_token"])["appidacr"]) == (200, "1")


async def test_users_of_another_tenant_do_not_reach_a_single_tenant_application(world: Any) -> None:
    visitor = User(
        id=SystemIds().guid(),
        tenant_id=world.other.id,
        principal_name="eve@fabrikam.onmicrosoft.com",
        password_hash=hash_secret(PASSWORD),
    )
    async with world.store.transaction() as tx:
        await principals.create_user(tx, visitor)
    more = {"client_id": world.app.app_id, "redirect_uri": "https://payroll.example/signed-in"}
    page = await open_page(world, authorize("organizations", **more))
    reply = await post_page(world, page, username=visitor.principal_name, password=PASSWORD)
    assert (reply.status, b"AADSTS700016" in reply.body) == (200, True)


# --- refresh ---------------------------------------------------------------------------------------------------


async def signed_in(world: Any) -> dict[str, Any]:
    _, body = await world.token("organizations", **redeem(await get_code(world)))
    found: dict[str, Any] = body
    return found


def refresh(body: dict[str, Any], **more: str) -> dict[str, str]:
    return {
        "grant_type": "refresh_token",
        "client_id": AZURE_CLI,
        "refresh_token": body["refresh_token"],
        "scope": ARM_SCOPE,
    } | more


async def test_refresh_for_another_resource_rotates(world: Any) -> None:
    first = await signed_in(world)
    status, second = await world.token(
        world.tenant.id, **refresh(first, scope="https://vault.azure.net/.default offline_access openid profile")
    )
    assert status == 200
    assert payload(second["access_token"])["aud"] == "https://vault.azure.net"
    assert second["refresh_token"] != first["refresh_token"]
    assert second["id_token"]
    assert (await world.token(world.tenant.id, **refresh(first)))[0] == 200  # another process, a moment later


async def test_an_old_refresh_token_used_late_revokes_the_sign_in(world: Any) -> None:
    first = await signed_in(world)
    _, second = await world.token(world.tenant.id, **refresh(first))
    world.clock.advance(pending.GRACE + 1)
    assert await world.refused(world.tenant.id, **refresh(first)) == (400, "invalid_grant", 70000)
    assert await world.refused(world.tenant.id, **refresh(second)) == (400, "invalid_grant", 70000)


async def test_refusals_of_a_refresh_token(world: Any) -> None:
    first = await signed_in(world)
    assert await world.refused(**refresh(first, refresh_token="0.nope")) == (400, "invalid_grant", 70000)
    powershell = "1950a258-227b-4e31-a9cf-717495945fc2"
    assert await world.refused(**refresh(first, client_id=powershell)) == (400, "invalid_grant", 70000)
    assert await world.refused(world.other.id, **refresh(first)) == (400, "invalid_grant", 50020)
    async with world.store.transaction() as tx:
        await principals.set_enabled(tx, world.tenant.id, world.user.id, False)
    assert await world.refused(**refresh(first)) == (400, "invalid_grant", 50057)
    async with world.store.transaction() as tx:
        await principals.set_enabled(tx, world.tenant.id, world.user.id, True)
    world.clock.advance(91 * 86_400)
    assert await world.refused(**refresh(first)) == (400, "invalid_grant", 700082)


async def test_codes_are_kept_as_hashes_only(world: Any) -> None:
    body = await signed_in(world)
    rows = await PENDING.list(world.store)
    text = "".join(row.key for row in rows) + "".join(msgspec.json.encode(row.value).decode() for row in rows)
    assert body["refresh_token"].partition(".")[2] not in text
    assert rows


# --- device code -----------------------------------------------------------------------------------------------


async def device(world: Any, tenant: str = "organizations", **more: str) -> dict[str, Any]:
    form = {"client_id": AZURE_CLI, "scope": ARM_SCOPE} | more
    reply = await world.ask("POST", f"/{tenant}/oauth2/v2.0/devicecode", body=urlencode(form).encode())
    assert reply.status == 200, reply.body
    found: dict[str, Any] = json.loads(reply.body)
    return found


def poll(flow: dict[str, Any], **more: str) -> dict[str, str]:
    return {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "client_id": AZURE_CLI,
        "device_code": flow["device_code"],
        "code": flow["device_code"],
    } | more


async def approve(world: Any, flow: dict[str, Any], **fields: str) -> Any:
    target = urlsplit(flow["verification_uri"]).path + f"?otc={flow['user_code']}"
    page = await open_page(world, target)
    assert flow["user_code"] in page.text
    return await post_page(
        world, page, **({"user_code": flow["user_code"], "username": ALICE, "password": PASSWORD} | fields)
    )


async def test_a_device_signs_in(world: Any) -> None:
    flow = await device(world)
    assert flow.keys() == {"user_code", "device_code", "verification_uri", "expires_in", "interval", "message"}
    assert (flow["expires_in"], flow["interval"]) == (900, 5)
    assert flow["user_code"] in flow["message"]
    assert flow["verification_uri"] in flow["message"]
    assert await world.refused("organizations", **poll(flow)) == (400, "authorization_pending", 70016)
    reply = await approve(world, flow)
    assert b"You have signed in" in reply.body
    status, body = await world.token("organizations", **poll(flow))
    assert status == 200
    assert payload(body["access_token"])["oid"] == world.user.id
    assert body["refresh_token"]
    assert await world.refused("organizations", **poll(flow)) == (400, "expired_token", 70020)


async def test_a_device_that_asks_too_often_is_slowed(world: Any) -> None:
    flow = await device(world)
    assert (await world.refused("organizations", **poll(flow)))[1] == "authorization_pending"
    world.clock.advance(1)
    assert (await world.refused("organizations", **poll(flow)))[1] == "slow_down"
    world.clock.advance(5)
    assert (await world.refused("organizations", **poll(flow)))[1] == "authorization_pending"


async def test_refusals_of_a_device_code(world: Any) -> None:
    flow = await device(world)
    other = {"client_id": "1950a258-227b-4e31-a9cf-717495945fc2"}
    assert await world.refused("organizations", **poll(flow, **other)) == (400, "expired_token", 70020)
    bad = {"device_code": "x", "code": "x"}
    assert await world.refused("organizations", **poll(flow, **bad)) == (400, "expired_token", 70020)
    reply = await approve(world, flow, user_code="WRONGCODE")
    assert b"That code didn&#x27;t work" in reply.body
    reply = await approve(world, flow, password="wrong")
    assert b"incorrect" in reply.body
    assert (await world.refused("organizations", **poll(flow)))[1] == "authorization_pending"
    await approve(world, flow, decline="1")
    assert await world.refused("organizations", **poll(flow)) == (400, "authorization_declined", 65004)
    late = await device(world)
    world.clock.advance(900)
    assert await world.refused("organizations", **poll(late)) == (400, "expired_token", 70019)
    assert b"That code didn&#x27;t work" in (await approve(world, late)).body


async def test_a_code_for_one_tenant_is_for_its_users(world: Any) -> None:
    flow = await device(world, world.other.id)
    reply = await approve(world, flow)
    assert b"incorrect" in reply.body
    assert (await world.refused(world.other.id, **poll(flow)))[1] == "authorization_pending"


async def test_device_codes_v1(world: Any) -> None:
    form = urlencode({"client_id": AZURE_CLI, "resource": "https://management.core.windows.net/"}).encode()
    reply = await world.ask("POST", "/common/oauth2/devicecode?api-version=1.0", body=form)
    flow = json.loads(reply.body)
    assert (flow["expires_in"], flow["interval"]) == ("900", "5")
    await approve(world, flow | {"verification_uri": flow["verification_url"]})
    asking = {"grant_type": "device_code", "client_id": AZURE_CLI, "code": flow["device_code"]}
    status, body = await world.token("common", v1=True, **asking)
    assert status == 200
    assert body["resource"] == "https://management.core.windows.net/"
    assert {"refresh_token", "id_token", "scope", "expires_on"} <= body.keys()
    assert all(isinstance(value, str) for value in body.values())


async def test_waiting_device_codes_are_bounded_and_swept(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "MOST_WAITING", 3)
    for _ in range(3):
        await device(world)
    form = urlencode({"client_id": AZURE_CLI, "scope": ARM_SCOPE}).encode()
    reply = await world.ask("POST", "/organizations/oauth2/v2.0/devicecode", body=form)
    assert reply.status == 429
    world.clock.advance(901)
    await device(world)
    assert len(await PENDING.list(world.store)) == 1


# --- password --------------------------------------------------------------------------------------------------


def ropc(**more: str) -> dict[str, str]:
    return {
        "grant_type": "password",
        "client_id": AZURE_CLI,
        "username": ALICE,
        "password": PASSWORD,
        "scope": ARM_SCOPE,
    } | more


async def test_the_password_grant_is_off_until_the_tenant_allows_it(world: Any) -> None:
    assert await world.refused("organizations", **ropc()) == (400, "unauthorized_client", 7000219)
    async with world.store.transaction() as tx:
        await tenants.update_tenant(tx, msgspec.structs.replace(world.tenant, password_grant=True))
    status, body = await world.token("organizations", **ropc())
    assert (status, payload(body["access_token"])["oid"]) == (200, world.user.id)
    assert await world.refused("organizations", **ropc(password="wrong")) == (400, "invalid_grant", 50126)
    nobody = "nobody@contoso.onmicrosoft.com"
    assert await world.refused("organizations", **ropc(username=nobody)) == (400, "invalid_grant", 50034)
    assert await world.refused("organizations", **ropc(username="nobody")) == (400, "invalid_grant", 50034)
    assert await world.refused("organizations", **ropc(username="a@b.example")) == (400, "invalid_grant", 50034)
    async with world.store.transaction() as tx:
        await principals.set_enabled(tx, world.tenant.id, world.user.id, False)
    assert await world.refused("organizations", **ropc()) == (400, "invalid_grant", 50057)


# --- on behalf of ----------------------------------------------------------------------------------------------


def obo(world: Any, assertion: str, **more: str) -> dict[str, str]:
    return {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "client_id": world.app.app_id,
        "client_secret": world.secret,
        "assertion": assertion,
        "requested_token_use": "on_behalf_of",
        "scope": "https://management.azure.com//.default openid offline_access",
    } | more


def incoming(world: Any, **more: Any) -> str:
    given = {
        "tenant": world.tenant,
        "user": world.user,
        "client_id": AZURE_CLI,
        "audience": "api://payroll",
        "scopes": ["user_impersonation"],
    } | more
    token: str = world.tokens.mint_user(**given).token
    return token


async def test_on_behalf_of(world: Any) -> None:
    for audience in ("api://payroll", world.app.app_id, f"api://{world.app.app_id}"):
        status, body = await world.token(**obo(world, incoming(world, audience=audience)))
        assert status == 200, body
        claims = payload(body["access_token"])
        assert (claims["oid"], claims["appid"]) == (world.user.id, world.app.app_id)
        assert claims["aud"] == "https://management.azure.com/"


async def test_refusals_on_behalf_of(world: Any) -> None:
    good = incoming(world)
    head, body, signature = good.split(".")

    async def code(assertion: str, **more: str) -> Any:
        return await world.refused(**obo(world, assertion, **more))

    assert await code(incoming(world, audience="https://vault.azure.net")) == (400, "invalid_grant", 500131)
    forged = b64url(json.dumps(payload(good) | {"oid": "x"}).encode())
    assert await code(f"{head}.{forged}.{signature}") == (400, "invalid_grant", 50013)
    none = b64url(json.dumps({"alg": "none", "kid": world.keys.current.kid}).encode())
    assert await code(f"{none}.{body}.") == (400, "invalid_grant", 50013)
    assert await code("not a token") == (400, "invalid_grant", 50013)
    identity = world.tokens.mint_identity(tenant=world.tenant, user=world.user, client_id=world.app.app_id).token
    assert await code(identity) == (400, "invalid_grant", 240002)
    app_only = world.tokens.mint_application(
        tenant=world.tenant, principal=world.principal, audience="api://payroll"
    ).token
    assert await code(app_only) == (400, "invalid_grant", 7000114)
    foreign = incoming(world, tenant=world.other)
    assert await code(foreign) == (400, "invalid_grant", 50013)
    assert await code(good, client_secret="wrong") == (401, "invalid_client", 7000215)
    assert await code(good, client_secret="") == (401, "invalid_client", 7000218)
    assert await code(good, requested_token_use="x") == (400, "invalid_request", 900144)
    assert await code("") == (400, "invalid_request", 900144)
    world.clock.advance(3_600)
    assert await code(good) == (400, "invalid_grant", 500133)


async def test_a_public_client_has_nobody_s_behalf(world: Any) -> None:
    await world.change(msgspec.structs.replace(world.app, public_client=True))
    form = obo(world, incoming(world))
    del form["client_secret"]
    assert await world.refused(**form) == (401, "invalid_client", 7000218)


async def test_a_registered_redirect_uri_runs_no_code(world: Any) -> None:
    from keyfob.errors import InvalidInput

    for uri in ("javascript:alert(1)", "data:text/html,x", "/relative", "https://x.example/#f", "https://a b"):
        app = Application(
            id=SystemIds().guid(), tenant_id=world.tenant.id, app_id=SystemIds().guid(), redirect_uris=(uri,)
        )
        with pytest.raises(InvalidInput):
            async with world.store.transaction() as tx:
                await applications.create_application(tx, app, principal_id=SystemIds().guid())
