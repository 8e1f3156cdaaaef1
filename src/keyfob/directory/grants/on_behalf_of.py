"""A service shows the token that a user's client sent it, and gets one for the next service as the same user."""

from __future__ import annotations

from typing import Any, NoReturn

from keyfob.directory.aadsts import Refused, moment
from keyfob.directory.exchange import Client, Exchange, Parts, answer_user
from keyfob.directory.model import Application
from keyfob.directory.users import user_of
from keyfob.errors import Fault, Unauthenticated

_REASONS = {
    Fault.MALFORMED: "The assertion is malformed.",
    Fault.ALGORITHM: "The algorithm of the assertion is not supported.",
    Fault.KEY: "The key was not found.",
    Fault.SIGNATURE: "The key was found, but use of the key to verify the signature failed.",
    Fault.ISSUER: "The issuer of the assertion is not trusted.",
    Fault.TENANT: "The assertion was issued in another tenant.",
    Fault.NOT_YET_VALID: "The assertion is not valid yet.",
}


async def on_behalf_of(parts: Parts, exchange: Exchange, client: Client) -> dict[str, Any]:
    if exchange.form.get("requested_token_use") != "on_behalf_of":
        raise Refused(900144, name="requested_token_use")
    application = client.application
    if client.acr == "0" or application is None:
        raise Refused(7000218)
    try:
        claims = await parts.tokens.verify_reloading(
            exchange.need("assertion"),
            audiences=_audiences(application),
            tenant_id=exchange.tenant.id if exchange.tenant else None,
            now=exchange.now,
        )
    except Unauthenticated as failure:
        _refuse(failure, application, exchange.now)
    if not claims.get("scp"):
        raise Refused(7000114, app_id=application.app_id)
    tenant, user = await user_of(parts, str(claims["tid"]), str(claims["oid"]))
    request = exchange.user_request()
    return await answer_user(parts, exchange, client, tenant=tenant, user=user, request=request)


def _audiences(application: Application) -> frozenset[str]:
    """Every spelling of the client as a resource; id tokens carry its id too, but are no access tokens."""
    names = {application.app_id, f"api://{application.app_id}", *application.identifier_uris}
    return frozenset(names | {f"{name}/" for name in names} | {name.rstrip("/") for name in names})


def _refuse(failure: Unauthenticated, application: Application, now: float) -> NoReturn:
    if failure.fault is Fault.EXPIRED:
        ends = float(failure.info.get("expires_on", 0))
        raise Refused(500133, now=moment(now), ends=moment(ends)) from failure
    if failure.fault is Fault.AUDIENCE:
        audience = failure.info.get("audience", "")
        raise Refused(500131, audience=audience, expected=application.app_id, app_id=application.app_id) from failure
    if failure.fault is Fault.CLAIMS:
        raise Refused(240002) from failure
    raise Refused(50013, reason=_REASONS.get(failure.fault, "The assertion is not valid.")) from failure
