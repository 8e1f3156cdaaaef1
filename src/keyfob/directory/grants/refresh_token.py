"""A refresh token gives new tokens, for any resource of the user's tenant, and a new refresh token.

The old one stays good for ten minutes, because processes share a cache; used later than that, every refresh token of
its sign-in is revoked.
"""

from __future__ import annotations

from typing import Any

from keyfob.directory.aadsts import Refused, moment
from keyfob.directory.exchange import Client, Exchange, Parts, Request, answer_user
from keyfob.directory.pending import GRACE
from keyfob.directory.users import require_client_in, user_of


async def refresh_token(parts: Parts, exchange: Exchange, client: Client) -> dict[str, Any]:
    code = exchange.need("refresh_token")
    found = await parts.pending.get("refresh", code)
    if found is None or found.app_id != client.app_id:
        raise Refused(70000)
    if found.expires <= exchange.now:
        idle = int(exchange.now - found.issued)
        inactive = f"{idle // 86_400}.{idle % 86_400 // 3_600:02}:00:00"
        raise Refused(700082, issued=moment(found.issued), inactive=inactive)
    if found.status == "spent" and exchange.now - found.polled > GRACE:
        await parts.pending.revoke_family(found.family)
        raise Refused(70000)
    if exchange.tenant is not None and exchange.tenant.id != found.tenant_id:
        raise Refused(50020, user=found.user_id, tenant=exchange.tenant.display_name or exchange.tenant.id)
    tenant, user = await user_of(parts, found.tenant_id, found.user_id)
    await require_client_in(parts, tenant, client.application, client.app_id)
    asked = exchange.user_request(resource=found.resource, scope=found.scope)
    request = Request(asked.resource, asked.permissions, asked.echo, offline=True, openid=True)
    body = await answer_user(
        parts,
        exchange,
        client,
        tenant=tenant,
        user=user,
        request=request,
        family=found.family,
        amr=tuple(found.amr.split()),
    )
    await parts.pending.spend("refresh", code)
    return body
