"""Secrets and certificates of applications and of service principals: both carry them, and both work at sign-in."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from keyfob.directory.applications import SECRET_LIFE, parse_certificate
from keyfob.directory.graph import bodies, shapes
from keyfob.directory.graph.asked import GUID, Asked
from keyfob.directory.graph.dialect import answer, bad, denied, nothing
from keyfob.directory.graph.reading import application_of, principal_of
from keyfob.directory.model import Application, ClientCertificate, ClientSecret, ServicePrincipal
from keyfob.directory.records import APPLICATIONS, SERVICE_PRINCIPALS
from keyfob.directory.secrets import hash_secret, new_secret
from keyfob.errors import InvalidInput
from keyfob.store.port import Session, Transaction
from keyfob.wire.http import Reply

MOST = 60
"""Credentials of each kind on one object."""
Holder = Application | ServicePrincipal


async def add_password(asked: Asked) -> Reply:
    wanted = bodies.object_of(asked.body(), "passwordCredential") if asked.request.body else {}
    name = bodies.text(wanted, "displayName", of="PasswordCredential")
    starts = bodies.time_of(wanted, "startDateTime")
    ends = bodies.time_of(wanted, "endDateTime")
    begin = asked.now if starts is None else starts
    end = begin + SECRET_LIFE if ends is None else ends
    if end <= begin or end <= asked.now:
        raise bad("The end date of the password credential must be after its start date.", target="endDateTime")
    text = new_secret()
    stored = ClientSecret(
        id=asked.parts.ids.guid(),
        display_name=name,
        hash=await asyncio.to_thread(hash_secret, text),
        hint=text[:3],
        starts=begin,
        ends=end,
    )
    async with asked.store.transaction() as tx:
        holder = await holder_of(asked, tx)
        if len(holder.secrets) >= MOST:
            raise bad("The number of password credentials on the object has reached its limit.")
        await put(tx, msgspec.structs.replace(holder, secrets=(*holder.secrets, stored)))
    shown = shapes.secret(stored) | {"secretText": text}
    return answer(
        {"@odata.context": asked.context("microsoft.graph.passwordCredential"), **shown},
        200,
        ("Cache-Control", "no-store"),
    )


async def remove_password(asked: Asked) -> Reply:
    key = asked.body().get("keyId")
    async with asked.store.transaction() as tx:
        holder = await holder_of(asked, tx)
        left = tuple(one for one in holder.secrets if one.id != key)
        if len(left) == len(holder.secrets):
            raise bad("No password credential found with keyId.", target="keyId")
        await put(tx, msgspec.structs.replace(holder, secrets=left))
    return nothing()


async def holder_of(asked: Asked, session: Session) -> Holder:
    """The application or service principal of the path; managed identities and Azure's own take no credentials."""
    if "applications" in asked.request.path.split("/", 3)[2].lower():
        return await application_of(asked, session)
    principal = await principal_of(asked, session)
    if principal.kind != "Application":
        raise denied()
    return principal


async def put(tx: Transaction, holder: Holder) -> None:
    if isinstance(holder, Application):
        await APPLICATIONS.put(tx, f"{holder.tenant_id}/{holder.id}", settled(holder))
    else:
        await SERVICE_PRINCIPALS.put(tx, f"{holder.tenant_id}/{holder.id}", holder)


def settled(app: Application) -> Application:
    """With what follows from the rest: every redirect URI together, and whether the client is a public one.

    A client that holds a credential is none, whatever its redirect URIs say: Entra decides by the redirect URI of each
    sign-in, here one answer serves for all.
    """
    more = app.more
    by_platform = [
        tuple((more.get(platform) or {}).get("redirectUris") or ()) for platform in ("web", "spa", "publicClient")
    ]
    uris = tuple(dict.fromkeys(uri for some in by_platform for uri in some)) if more else app.redirect_uris
    public = more.get("isFallbackPublicClient") is True or bool(by_platform[2] and not by_platform[0])
    if not more:
        public = app.public_client
    return msgspec.structs.replace(
        app, redirect_uris=uris, public_client=public and not app.secrets and not app.certificates
    )


# --- whole lists, as PATCH and POST bring them -----------------------------------------------------------------


def certificates_from(
    asked: Asked, body: Mapping[str, Any], before: Sequence[ClientCertificate]
) -> tuple[ClientCertificate, ...]:
    """`keyCredentials` is the whole list: entries without a `key` are those that stay, known by `keyId`."""
    if "keyCredentials" not in body:
        return tuple(before)
    known = {one.id: one for one in before}
    made: dict[str, ClientCertificate] = {}
    for given in bodies.objects(body, "keyCredentials"):
        key_id = given.get("keyId")
        if given.get("key") is None:
            if key_id not in known:
                raise _invalid("Key credential has no key value.")
            made[known[key_id].x5t_s256] = known[key_id]
            continue
        one = _certificate(asked, given)
        made[one.x5t_s256] = one
    if len(made) > MOST:
        raise _invalid("Too many key credentials.")
    return tuple(made.values())


def _certificate(asked: Asked, given: Mapping[str, Any]) -> ClientCertificate:
    if given.get("type", "AsymmetricX509Cert") != "AsymmetricX509Cert":
        raise _invalid("Only key credentials of type AsymmetricX509Cert are served here.")
    if given.get("usage", "Verify") != "Verify":
        raise _invalid("Only key credentials of usage Verify are served here.")
    key, key_id = given["key"], given.get("keyId")
    try:
        # azure-cli sends the lines of the PEM file, line ends included
        data = base64.b64decode("".join(key.split()), validate=True) if isinstance(key, str) else b""
    except (binascii.Error, ValueError):
        data = b""
    if key_id is not None and (not isinstance(key_id, str) or not GUID.fullmatch(key_id.lower())):
        raise _invalid("Key credential has an invalid keyId.")
    try:
        parsed = parse_certificate(
            data,
            key_id=str(key_id).lower() if key_id else asked.parts.ids.guid(),
            display_name=bodies.text(given, "displayName", of="KeyCredential"),
        )
    except InvalidInput as problem:
        raise _invalid(problem.message) from None
    end = bodies.time_of(given, "endDateTime")
    if end is not None and end > parsed.ends + 1:
        raise _invalid("Key credential end date is invalid.")
    return msgspec.structs.replace(parsed, ends=parsed.ends if end is None else min(end, parsed.ends))


def secrets_from(body: Mapping[str, Any], before: Sequence[ClientSecret]) -> tuple[ClientSecret, ...]:
    """`passwordCredentials` may only leave some out: new ones are made by addPassword."""
    if "passwordCredentials" not in body:
        return tuple(before)
    known = {one.id: one for one in before}
    kept = []
    for given in bodies.objects(body, "passwordCredentials"):
        key_id = given.get("keyId")
        if not isinstance(key_id, str) or key_id not in known:
            raise bad(
                "Update to existing credential with KeyId is not allowed. New password credentials must be "
                "generated using service actions.",
                target="passwordCredentials",
            )
        kept.append(known[key_id])
    return tuple(kept)


def _invalid(message: str) -> InvalidInput:
    return bad(message, code="KeyCredentialsInvalid", target="keyCredentials")
