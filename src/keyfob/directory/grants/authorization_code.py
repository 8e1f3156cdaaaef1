"""An authorization code, once, by the client and to the redirect URI it was made for, with PKCE."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Any

from keyfob.directory.aadsts import Refused
from keyfob.directory.exchange import Client, Exchange, Parts, answer_user
from keyfob.directory.keys import b64url
from keyfob.directory.users import require_client_in, user_of

_LONGEST_VERIFIER = 128


async def authorization_code(parts: Parts, exchange: Exchange, client: Client) -> dict[str, Any]:
    found = await parts.pending.spend("code", exchange.need("code"))
    if found is None or found.app_id != client.app_id:
        raise Refused(70000)
    if found.status == "spent":
        await parts.pending.revoke_family(found.family)
        raise Refused(54005)
    if found.expires <= exchange.now:
        raise Refused(70008)
    if exchange.tenant is not None and exchange.tenant.id != found.tenant_id:
        raise Refused(70000)
    redirect_uri = exchange.need("redirect_uri")
    if redirect_uri != found.redirect_uri:
        raise Refused(500112, found=redirect_uri, expected=found.redirect_uri)
    if found.challenge and not proves(exchange.need("code_verifier"), found.challenge):
        raise Refused(501481)
    tenant, user = await user_of(parts, found.tenant_id, found.user_id)
    await require_client_in(parts, tenant, client.application, client.app_id)
    return await answer_user(
        parts,
        exchange,
        client,
        tenant=tenant,
        user=user,
        request=exchange.user_request(resource=found.resource, scope=found.scope),
        nonce=found.nonce,
        family=found.family,
        amr=tuple(found.amr.split()),
    )


def proves(verifier: str, challenge: str) -> bool:
    """PKCE S256 (RFC 7636 §4.6)."""
    if not verifier.isascii() or len(verifier) > _LONGEST_VERIFIER:
        return False
    return hmac.compare_digest(b64url(sha256(verifier.encode()).digest()), challenge)
