"""Minting and verifying: every way a token can be wrong is refused for the right reason."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import RSAKey

from keyfob.clock import SystemIds
from keyfob.directory import claims as says
from keyfob.directory.keys import LONGEST_TOKEN, KeyRing
from keyfob.directory.tokens import Minted, Tokens
from keyfob.errors import Fault, Unauthenticated

ARM = "https://management.azure.com/"
VM = "/subscriptions/s1/resourceGroups/Web/providers/Microsoft.Compute/virtualMachines/vm1"
UAMI = "/subscriptions/s1/resourceGroups/Web/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id1"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def payload(token: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(unb64(token.split(".")[1]))
    return found


def mint(world: Any, **more: Any) -> Minted:
    minted: Minted = world.tokens.mint_managed_identity(
        tenant=world.tenant, principal=world.principal, audience=ARM, resource_id=VM, host_id=None, **more
    )
    return minted


def verify(world: Any, token: str, **more: Any) -> Any:
    given = {"audiences": frozenset({ARM}), "tenant_id": world.tenant.id, "now": world.clock.now()} | more
    return world.tokens.verify(token, **given)


def fault(world: Any, token: str, **more: Any) -> Fault:
    with pytest.raises(Unauthenticated) as caught:
        verify(world, token, **more)
    assert token not in str(caught.value)
    assert token not in repr(caught.value.info)
    return caught.value.fault


def resign(world: Any, change: Callable[[dict[str, Any]], Any]) -> str:
    """The same token with other claims, signed by our own key."""
    claims = payload(mint(world).token)
    change(claims)
    key = world.keys.current
    signed = key.header + b64(msgspec.json.encode(claims)).encode()
    text: bytes = signed + b"." + b64(key.sign(signed)).encode()
    return text.decode()


def changed_by(more: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda claims: claims.update(more)


async def test_a_managed_identity_token_says_what_the_real_ones_say(world: Any) -> None:
    minted = mint(world)
    now = int(world.clock.now())
    claims = payload(minted.token)
    header = json.loads(unb64(minted.token.split(".")[0]))
    assert header == {"typ": "JWT", "alg": "RS256", "x5t": world.keys.current.kid, "kid": world.keys.current.kid}
    assert claims["iat"] == claims["nbf"] == now - 300 == minted.not_before
    assert claims["exp"] == now + 86_400 == minted.expires_on
    assert claims["iss"] == claims["idp"] == f"https://sts.windows.net/{world.tenant.id}/"
    assert (claims["aud"], claims["appid"], claims["appidacr"]) == (ARM, world.principal.app_id, "2")
    assert claims["oid"] == claims["sub"] == world.principal.id
    assert (claims["tid"], claims["ver"], claims["idtyp"]) == (world.tenant.id, "1.0", "app")
    assert claims["xms_mirid"] == VM.replace("resourceGroups", "resourcegroups")
    assert claims["xms_tcdt"] == int(world.tenant.created)
    assert "xms_az_rid" not in claims
    assert {"aio", "rh", "uti"} <= claims.keys()
    assert payload(mint(world).token)["uti"] != claims["uti"]


async def test_a_user_assigned_identity_names_itself_and_the_host(world: Any) -> None:
    minted = world.tokens.mint_managed_identity(
        tenant=world.tenant, principal=world.principal, audience=ARM, resource_id=UAMI, host_id=VM
    )
    claims = payload(minted.token)
    assert claims["xms_mirid"] == UAMI.replace("resourceGroups", "resourcegroups")
    assert claims["xms_az_rid"] == VM.replace("resourceGroups", "resourcegroups")


@pytest.mark.parametrize(
    ("cloud", "issuer"),
    [
        ("AzureCloud", "https://sts.windows.net/"),
        ("AzureUSGovernment", "https://sts.windows.net/"),
        ("AzureChinaCloud", "https://sts.chinacloudapi.cn/"),
        ("AzureGermanCloud", "https://sts.microsoftonline.de/"),
    ],
)
async def test_each_cloud_has_its_issuer(world: Any, cloud: str, issuer: str) -> None:
    tenant = msgspec.structs.replace(world.tenant, cloud=cloud)
    minted = world.tokens.mint_managed_identity(
        tenant=tenant, principal=world.principal, audience=ARM, resource_id=VM, host_id=None
    )
    assert payload(minted.token)["iss"] == f"{issuer}{tenant.id}/"
    assert verify(world, minted.token)["oid"] == world.principal.id


async def test_an_independent_library_verifies_our_token_with_the_published_key(world: Any) -> None:
    (jwk,) = world.keys.published(world.clock.now())
    decoded = jwt.decode(mint(world).token, RSAKey.import_key(dict(jwk)), algorithms=["RS256"])
    assert decoded.claims["oid"] == world.principal.id


async def test_a_good_token_verifies_and_is_remembered(world: Any) -> None:
    token = mint(world).token
    first = verify(world, token)
    assert first["xms_mirid"].startswith("/subscriptions/")
    assert verify(world, token) is first


async def test_version_2_tokens_verify_too(world: Any) -> None:
    minted = world.tokens.mint_application(
        tenant=world.tenant, principal=world.principal, audience=ARM, roles=["Read.All"], version=2
    )
    claims = verify(world, minted.token)
    assert claims["iss"] == f"https://login.microsoftonline.com/{world.tenant.id}/v2.0"
    assert (claims["azp"], claims["azpacr"], claims["ver"]) == (world.principal.app_id, "1", "2.0")
    assert claims["roles"] == ["Read.All"]
    assert "appid" not in claims


# --- the negative table ----------------------------------------------------------------------------------------


async def test_wrong_audience_and_wrong_tenant(world: Any) -> None:
    token = mint(world).token
    assert fault(world, token, audiences=frozenset({"https://vault.azure.net"})) is Fault.AUDIENCE
    assert fault(world, token, audiences=frozenset({ARM.rstrip("/")})) is Fault.AUDIENCE
    assert fault(world, token, tenant_id=world.other.id) is Fault.TENANT
    verify(world, token)  # remembered now: the memory must not skip the checks
    assert fault(world, token, audiences=frozenset({"https://vault.azure.net"})) is Fault.AUDIENCE
    assert fault(world, token, tenant_id=world.other.id) is Fault.TENANT
    assert verify(world, token, tenant_id=None)["tid"] == world.tenant.id


async def test_expiry_and_not_before_hold_for_fresh_and_remembered_tokens(world: Any) -> None:
    token = mint(world).token
    now = world.clock.now()
    assert fault(world, token, now=now - 301) is Fault.NOT_YET_VALID
    assert verify(world, token, now=now + 86_399)["oid"]
    assert fault(world, token, now=now + 86_400) is Fault.EXPIRED
    assert fault(world, mint(world).token, now=now + 90_000) is Fault.EXPIRED


async def test_a_tampered_token(world: Any) -> None:
    head, body, signature = mint(world).token.split(".")
    claims = json.loads(unb64(body)) | {"oid": "somebody-else"}
    forged = b64(json.dumps(claims).encode())
    assert fault(world, f"{head}.{forged}.{signature}") is Fault.SIGNATURE
    flipped = bytearray(unb64(signature))
    flipped[10] ^= 1
    assert fault(world, f"{head}.{body}.{b64(bytes(flipped))}") is Fault.SIGNATURE
    assert fault(world, f"{head}.{body}.") is Fault.SIGNATURE


async def test_alg_none(world: Any) -> None:
    _, body, signature = mint(world).token.split(".")
    for alg in ("none", "None", "NONE", "", None):
        head = b64(json.dumps({"typ": "JWT", "alg": alg, "kid": world.keys.current.kid}).encode())
        assert fault(world, f"{head}.{body}.") is Fault.ALGORITHM
        assert fault(world, f"{head}.{body}.{signature}") is Fault.ALGORITHM


async def test_hs256_with_our_public_key_as_the_secret(world: Any) -> None:
    key = world.keys.current
    head = b64(json.dumps({"typ": "JWT", "alg": "HS256", "kid": key.kid}).encode())
    body = mint(world).token.split(".")[1]
    pem = key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.strip(), key.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)):
        mac = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()
        assert fault(world, f"{head}.{body}.{b64(mac)}") is Fault.ALGORITHM


async def test_other_algorithms_of_our_own_key(world: Any) -> None:
    key = world.keys.current
    body = mint(world).token.split(".")[1]
    head = b64(json.dumps({"typ": "JWT", "alg": "PS256", "kid": key.kid}).encode())
    signature = key.private.sign(f"{head}.{body}".encode(), PSS(MGF1(SHA256()), PSS.DIGEST_LENGTH), SHA256())
    assert fault(world, f"{head}.{body}.{b64(signature)}") is Fault.ALGORITHM


async def test_a_stranger_s_key(world: Any, stranger: Any) -> None:
    body = mint(world).token.split(".")[1]
    for kid, expected in (("unknown", Fault.KEY), (world.keys.current.kid, Fault.SIGNATURE)):
        jwk = stranger.key.as_dict(private=False)
        header = {"typ": "JWT", "alg": "RS256", "kid": kid, "jwk": jwk, "jku": "https://evil.example/keys"}
        head = b64(json.dumps(header).encode())
        signature = stranger.private.sign(f"{head}.{body}".encode(), PKCS1v15(), SHA256())
        assert fault(world, f"{head}.{body}.{b64(signature)}") is expected


async def test_a_foreign_issuer_though_our_key_signed(world: Any) -> None:
    foreign = f"https://evil.example/{world.tenant.id}/"
    assert fault(world, resign(world, lambda c: c.update(iss=foreign))) is Fault.ISSUER
    other = f"https://sts.windows.net/{world.other.id}/"
    assert fault(world, resign(world, lambda c: c.update(iss=other))) is Fault.ISSUER
    assert fault(world, resign(world, lambda c: c.update(ver="2.0"))) is Fault.ISSUER
    assert fault(world, resign(world, lambda c: c.update(ver="3.0"))) is Fault.ISSUER


@pytest.mark.parametrize("name", [name for name, _ in says.REQUIRED])
async def test_each_required_claim_is_required(world: Any, name: str) -> None:
    assert fault(world, resign(world, lambda c: c.pop(name))) is Fault.CLAIMS
    for wrong in (None, True, {"a": 1}):
        changed: dict[str, Any] = {name: wrong}
        assert fault(world, resign(world, changed_by(changed))) is Fault.CLAIMS


@pytest.mark.parametrize("name", [name for name, _ in says.OPTIONAL])
async def test_an_optional_claim_has_its_type(world: Any, name: str) -> None:
    assert fault(world, resign(world, lambda c: c.update({name: 7}))) is Fault.CLAIMS


async def test_an_id_token_is_no_access_token(world: Any) -> None:
    minted = world.tokens.mint_identity(tenant=world.tenant, user=world.user, client_id=ARM)
    assert payload(minted.token)["aud"] == ARM
    assert fault(world, minted.token) is Fault.CLAIMS


async def test_every_claim_we_mint_is_in_the_table(world: Any) -> None:
    known = {check.name for check in says.CHECKS}
    minted = [mint(world)]
    for version in (1, 2):
        common = {"tenant": world.tenant, "audience": ARM, "version": version}
        minted.append(world.tokens.mint_application(principal=world.principal, roles=["x"], **common))
        minted.append(world.tokens.mint_user(user=world.user, client_id="c", scopes=["s"], **common))
    for each in minted:
        assert payload(each.token).keys() <= known
    assert len(known) == len(says.CHECKS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "..",
        "é.é.é",
        "x" * 20_000,
        b64(b"[]") + ".e30.c2ln",
        b64(b"7") + ".e30.c2ln",
        b64(b"not json") + ".e30.c2ln",
        b64(b'{"alg":"RS256"}') + ".e30.c2ln",
        b64(b'{"alg":"RS256","kid":7}') + ".e30.c2ln",
        b64(b'{"alg":"RS256","kid":"k","crit":["b64"],"b64":false}') + ".e30.c2ln",
        b64(b"[" * 5_000) + ".e30.c2ln",
        "\ud800.a.b",
    ],
)
async def test_what_is_no_token_is_malformed(world: Any, text: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        verify(world, text)
    assert caught.value.fault is Fault.MALFORMED


async def test_one_signature_has_one_spelling(world: Any) -> None:
    head, body, signature = mint(world).token.split(".")
    last = signature[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = alphabet[alphabet.index(last) ^ 1]  # differs only in bits that decoding drops
    assert base64.urlsafe_b64decode(signature[:-1] + other + "==") == unb64(signature)
    assert fault(world, f"{head}.{body}.{signature[:-1]}{other}") is Fault.MALFORMED
    assert fault(world, f"{head}.{body}.{signature}=") is Fault.MALFORMED


# --- keys ------------------------------------------------------------------------------------------------------


async def test_rotation_keeps_old_tokens_good_until_they_are_dead(world: Any) -> None:
    old = mint(world).token
    old_kid = world.keys.current.kid
    verify(world, old)
    new_kid = await world.keys.rotate()
    now = world.clock.now()
    assert world.keys.current.kid == new_kid != old_kid
    assert {jwk["kid"] for jwk in world.keys.published(now)} == {old_kid, new_kid}
    assert verify(world, old)["oid"] == world.principal.id
    assert json.loads(unb64(mint(world).token.split(".")[0]))["kid"] == new_kid


async def test_a_retired_key_whose_tokens_are_dead_proves_nothing(world: Any) -> None:
    old_key = world.keys.current
    await world.keys.rotate()
    world.clock.advance(LONGEST_TOKEN)
    now = int(world.clock.now())
    assert [jwk["kid"] for jwk in world.keys.published(now)] == [world.keys.current.kid]
    # somebody stole the retired key and signs what is otherwise perfect
    claims = payload(mint(world).token)
    signed = old_key.header + b64(msgspec.json.encode(claims)).encode()
    forged = (signed + b"." + b64(old_key.sign(signed)).encode()).decode()
    assert fault(world, forged) is Fault.KEY
    assert verify(world, mint(world).token)


async def test_a_key_dies_while_its_token_is_remembered(world: Any) -> None:
    old_key = world.keys.current
    await world.keys.rotate()
    claims = payload(mint(world).token) | {"exp": int(world.clock.now()) + 10 * LONGEST_TOKEN}
    signed = old_key.header + b64(msgspec.json.encode(claims)).encode()
    token = (signed + b"." + b64(old_key.sign(signed)).encode()).decode()
    assert verify(world, token)
    assert fault(world, token, now=world.clock.now() + LONGEST_TOKEN) is Fault.KEY


async def test_another_node_s_key_is_found_by_looking_again(world: Any) -> None:
    there = KeyRing(store=world.store, seal=world.seal, clock=world.clock)
    await there.load()
    elsewhere = Tokens(keys=there, clouds=world.clouds, clock=world.clock, ids=SystemIds())
    kept = world.keys._keys, world.keys._current
    await there.rotate()
    await world.keys.settled()
    token = elsewhere.mint_managed_identity(
        tenant=world.tenant, principal=world.principal, audience=ARM, resource_id=VM, host_id=None
    ).token
    assert verify(world, token)["oid"]  # the store told us
    world.keys._keys, world.keys._current = kept  # and if the message was lost:
    world.keys.version += 1
    assert fault(world, token) is Fault.KEY
    found = await world.tokens.verify_reloading(
        token, audiences=frozenset({ARM}), tenant_id=None, now=world.clock.now() + 10
    )
    assert found["oid"] == world.principal.id


async def test_the_memory_is_bounded_and_drops_the_expired(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyfob.directory.tokens._REMEMBERED", 3)
    tokens = [mint(world).token for _ in range(5)]
    for token in tokens:
        verify(world, token)
    assert len(world.tokens._verified) == 3
    assert fault(world, tokens[-1], now=world.clock.now() + 90_000) is Fault.EXPIRED
    assert len(world.tokens._verified) == 2


async def test_minted_does_not_print_its_token(world: Any) -> None:
    minted = mint(world)
    assert minted.token not in repr(minted)
    assert "private" not in repr(world.keys.current)


def test_the_resource_group_segment_is_lower_case_once() -> None:
    given = "/subscriptions/s/ResourceGroups/ResourceGroups/providers/Microsoft.Compute/virtualMachines/x"
    expected = "/subscriptions/s/resourcegroups/ResourceGroups/providers/Microsoft.Compute/virtualMachines/x"
    assert says.identity_resource(given) == expected
