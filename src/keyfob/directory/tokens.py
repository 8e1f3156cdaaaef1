"""Signs and verifies our tokens: by hand, because every request passes here.

Compact JWTs with RS256 and no other algorithm. What the header says is never believed: it must be RS256, and its `kid`
must name a key of ours. Verified tokens are remembered by their SHA-256 until they expire or the key ring changes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NoReturn

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from keyfob.clock import Clock, Ids
from keyfob.clouds.cloud import Cloud
from keyfob.directory import claims as says
from keyfob.directory.keys import Key, KeyRing
from keyfob.directory.model import ServicePrincipal, Tenant, User
from keyfob.errors import Fault, Unauthenticated

LONGEST = 16_384
"""Characters of a token we are willing to read."""
_REMEMBERED = 4_096
_HEADERS = 256

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_PADDING = PKCS1v15()
_HASH = SHA256()


@dataclass(frozen=True, slots=True)
class Minted:
    """A signed token and its times in epoch seconds."""

    token: str = field(repr=False)
    expires_on: int
    not_before: int
    issued_at: int


@dataclass(frozen=True, slots=True)
class _Verified:
    claims: Mapping[str, Any]
    key: Key


class Tokens:
    def __init__(self, *, keys: KeyRing, clouds: Mapping[str, Cloud], clock: Clock, ids: Ids) -> None:
        self._keys = keys
        self._clouds = clouds
        self._clock = clock
        self._ids = ids
        self._logins = tuple(cloud.login for cloud in clouds.values())
        self._verified: dict[bytes, _Verified] = {}
        self._headers: dict[str, str] = {}
        self._version = -1

    # --- signing -----------------------------------------------------------------------------------------------

    def mint_managed_identity(
        self,
        *,
        tenant: Tenant,
        principal: ServicePrincipal,
        audience: str,
        resource_id: str,
        host_id: str | None,
        roles: Collection[str] = (),
        version: int = 1,
    ) -> Minted:
        """24 hours for a managed identity. `resource_id` is the host for a system-assigned identity (`host_id` None),
        the identity itself for a user-assigned one (`host_id` the host it is used from).
        `roles`: the app roles it holds on the resource."""
        return self.sign(
            says.managed_identity(
                tenant=tenant,
                principal=principal,
                audience=audience,
                resource_id=resource_id,
                host_id=host_id,
                begins=int(self._clock.now()) - says.SKEW,
                roles=roles,
                v2_login=self._clouds[tenant.cloud].login if version == 2 else None,
            )
        )

    def mint_application(
        self,
        *,
        tenant: Tenant,
        principal: ServicePrincipal,
        audience: str,
        roles: Collection[str] = (),
        acr: str = "1",
        version: int = 1,
    ) -> Minted:
        begins, ends = self._hour()
        return self.sign(
            says.application(
                tenant=tenant,
                cloud=self._clouds[tenant.cloud],
                principal=principal,
                audience=audience,
                roles=roles,
                acr=acr,
                version=version,
                begins=begins,
                ends=ends,
            )
        )

    def mint_user(
        self,
        *,
        tenant: Tenant,
        user: User,
        client_id: str,
        audience: str,
        scopes: Sequence[str],
        acr: str = "0",
        amr: Sequence[str] = ("pwd",),
        version: int = 1,
    ) -> Minted:
        begins, ends = self._hour()
        return self.sign(
            says.user(
                tenant=tenant,
                cloud=self._clouds[tenant.cloud],
                user=user,
                client_id=client_id,
                audience=audience,
                scopes=scopes,
                acr=acr,
                amr=amr,
                version=version,
                begins=begins,
                ends=ends,
            )
        )

    def mint_identity(self, *, tenant: Tenant, user: User, client_id: str, nonce: str = "", version: int = 2) -> Minted:
        """An id token."""
        cloud = self._clouds[tenant.cloud]
        issuer = says.v1_issuer(cloud.name, tenant.id) if version == 1 else says.v2_issuer(cloud.login, tenant.id)
        begins, ends = self._hour()
        return self.sign(
            says.identity(
                tenant=tenant,
                issuer=issuer,
                user=user,
                client_id=client_id,
                nonce=nonce,
                version=version,
                begins=begins,
                ends=ends,
            )
        )

    def sign(self, claims: dict[str, Any]) -> Minted:
        """Signs claims that carry `iat`, `nbf` and `exp`, adding the opaque ones."""
        key = self._keys.current
        token = self._ids.token
        opaque = {"aio": token(24), "rh": f"0.A{token(24)}.", "uti": token(16)}
        body = base64.urlsafe_b64encode(_encode(claims | opaque)).rstrip(b"=")
        signed = key.header + body
        signature = base64.urlsafe_b64encode(key.sign(signed)).rstrip(b"=")
        text = (signed + b"." + signature).decode("ascii")
        return Minted(text, expires_on=claims["exp"], not_before=claims["nbf"], issued_at=claims["iat"])

    def _hour(self) -> tuple[int, int]:
        now = int(self._clock.now())
        return now - says.SKEW, now + says.ACCESS_LIFE

    # --- verifying ---------------------------------------------------------------------------------------------

    def verify(self, token: str, *, audiences: Collection[str], tenant_id: str | None, now: float) -> Mapping[str, Any]:
        """The claims of a token of ours. `tenant_id` None takes any tenant of this store.

        Raises `Unauthenticated`; its `info` holds `audience`, `issuer`, `tenant` or `expires_on` where known. Audiences
        compare exactly: give each accepted spelling.
        """
        if self._version != self._keys.version:
            self._forget()
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._verified.get(digest)
        if known is None:
            known = self._check(token, now)
            self._remember(digest, known, now)
        claims = known.claims
        if now >= known.key.dies:
            raise Unauthenticated(Fault.KEY, "The key that signed the token is retired.")
        expires = claims["exp"]
        if now >= expires:
            self._verified.pop(digest, None)
            raise Unauthenticated(Fault.EXPIRED, "The token has expired.", info={"expires_on": expires})
        if now < claims["nbf"]:
            raise Unauthenticated(Fault.NOT_YET_VALID, "The token is not valid yet.")
        if claims["aud"] not in audiences:
            raise Unauthenticated(
                Fault.AUDIENCE, "The token is for another audience.", info={"audience": claims["aud"]}
            )
        if tenant_id is not None and claims["tid"] != tenant_id:
            raise Unauthenticated(
                Fault.TENANT,
                "The token is of another tenant.",
                info={"tenant": claims["tid"], "issuer": claims["iss"]},
            )
        return claims

    async def verify_reloading(
        self, token: str, *, audiences: Collection[str], tenant_id: str | None, now: float
    ) -> Mapping[str, Any]:
        """`verify`, and once more after reading the key ring when the key is unknown: another node may have rotated."""
        try:
            return self.verify(token, audiences=audiences, tenant_id=tenant_id, now=now)
        except Unauthenticated as failure:
            version = self._keys.version
            if failure.fault is not Fault.KEY:
                raise
            await self._keys.settled()
            if self._keys.version == version:
                raise
        return self.verify(token, audiences=audiences, tenant_id=tenant_id, now=now)

    def _check(self, token: str, now: float) -> _Verified:
        if not token or len(token) > LONGEST or not token.isascii():
            _malformed()
        parts = token.split(".")
        if len(parts) != 3:
            _malformed()
        head, body, signature = parts
        key = self._keys.find(self._header(head), now)
        if key is None:
            raise Unauthenticated(Fault.KEY, "The token is signed with a key that is not ours, or retired.")
        try:
            key.public.verify(_unbase64(signature), f"{head}.{body}".encode("ascii"), _PADDING, _HASH)
        except InvalidSignature:
            raise Unauthenticated(Fault.SIGNATURE, "The token's signature is not valid.") from None
        return _Verified(self._claims(_unbase64(body)), key)

    def _header(self, head: str) -> str:
        """The `kid` of an encoded header that says RS256 and nothing that we would have to understand."""
        kid = self._headers.get(head)
        if kid is not None:
            return kid
        header = _object(_unbase64(head))
        if header.get("alg") != "RS256":
            raise Unauthenticated(Fault.ALGORITHM, "The token is not signed with RS256.")
        kid = header.get("kid")
        if "crit" in header or not isinstance(kid, str):
            _malformed()
        if len(self._headers) >= _HEADERS:
            self._headers.clear()
        self._headers[head] = kid
        return kid

    def _claims(self, body: bytes) -> Mapping[str, Any]:
        claims = _object(body)
        for name, kind in says.REQUIRED:
            if kind is not None and not _is(claims.get(name), kind):
                raise Unauthenticated(Fault.CLAIMS, f"The token has no usable claim '{name}'.")
        for name, kind in says.OPTIONAL:
            if name in claims and kind is not None and not _is(claims[name], kind):
                raise Unauthenticated(Fault.CLAIMS, f"The token's claim '{name}' has the wrong type.")
        if "appid" not in claims and "azp" not in claims:
            raise Unauthenticated(Fault.CLAIMS, "The token is not an access token.")
        if not self._issuer_agrees(claims):
            raise Unauthenticated(
                Fault.ISSUER, "The token is of an issuer that is not ours.", info={"issuer": claims["iss"]}
            )
        return claims

    def _issuer_agrees(self, claims: Mapping[str, Any]) -> bool:
        issuer, tenant, version = claims["iss"], claims["tid"], claims["ver"]
        if version == "1.0":
            return any(issuer == says.v1_issuer(name, tenant) for name in self._clouds)
        return version == "2.0" and any(issuer == says.v2_issuer(login, tenant) for login in self._logins)

    def _remember(self, digest: bytes, verified: _Verified, now: float) -> None:
        if verified.claims["exp"] <= now:
            return
        while len(self._verified) >= _REMEMBERED:
            self._verified.pop(next(iter(self._verified)))
        self._verified[digest] = verified

    def _forget(self) -> None:
        self._verified.clear()
        self._version = self._keys.version


def _unbase64(text: str) -> bytes:
    """Unpadded base64url, only in its canonical spelling: one signature has one text."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        _malformed()
    if base64.urlsafe_b64encode(data).rstrip(b"=") != text.encode("ascii"):
        _malformed()
    return data


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        _malformed()
    if not isinstance(value, dict):
        _malformed()
    return value


def _is(value: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _malformed() -> NoReturn:
    raise Unauthenticated(Fault.MALFORMED, "The token is not a JSON Web Token.")
