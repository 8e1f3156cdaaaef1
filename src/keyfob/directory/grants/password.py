"""A user's name and password in the request: off unless the tenant allows it."""

from __future__ import annotations

from typing import Any

from keyfob.directory.aadsts import Refused
from keyfob.directory.exchange import Client, Exchange, Parts, answer_user
from keyfob.directory.users import require_client_in, sign_in, tenant_of_user


async def password(parts: Parts, exchange: Exchange, client: Client) -> dict[str, Any]:
    username = exchange.need("username").strip()
    tenant = await tenant_of_user(parts, exchange.tenant, username)
    if not tenant.password_grant:
        raise Refused(7000219, tenant=tenant.display_name or tenant.id)
    await require_client_in(parts, tenant, client.application, client.app_id)
    tenant, user = await sign_in(parts, tenant, username, exchange.need("password"))
    return await answer_user(parts, exchange, client, tenant=tenant, user=user, request=exchange.user_request())
