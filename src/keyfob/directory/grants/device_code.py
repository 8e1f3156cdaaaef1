"""A device asks again and again until somebody has signed in with its user code."""

from __future__ import annotations

from typing import Any

from keyfob.directory.aadsts import Refused
from keyfob.directory.exchange import Client, Exchange, Parts, answer_user
from keyfob.directory.users import require_client_in, user_of

INTERVAL = 5
_SOON = INTERVAL / 2
"""Clients wait the interval from answer to request, so only much less than it is too soon."""


async def device_code(parts: Parts, exchange: Exchange, client: Client) -> dict[str, Any]:
    code = exchange.form.get("device_code") or exchange.form.get("code")
    if not code:
        raise Refused(900144, name="device_code")
    found = await parts.pending.get("device", code)
    if found is None or found.app_id != client.app_id or found.status == "spent":
        raise Refused(70020)
    if found.expires <= exchange.now:
        raise Refused(70019)
    if found.status == "declined":
        raise Refused(65004)
    if found.status == "waiting":
        soon = parts.throttle.too_soon(f"device/{code}", _SOON)
        raise Refused(70016, error="slow_down" if soon else None)
    tenant, user = await user_of(parts, found.tenant_id, found.user_id)
    if exchange.tenant is not None and exchange.tenant.id != tenant.id:
        raise Refused(50020, user=user.principal_name, tenant=exchange.tenant.display_name or exchange.tenant.id)
    await require_client_in(parts, tenant, client.application, client.app_id)
    spent = await parts.pending.spend("device", code)
    if spent is None or spent.status != "approved":
        raise Refused(70020)
    request = exchange.user_request(resource=found.resource, scope=found.scope)
    return await answer_user(parts, exchange, client, tenant=tenant, user=user, request=request)
