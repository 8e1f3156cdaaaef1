"""How Resource Manager writes its refusals, and the headers that every answer of it carries."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from keyfob.clouds.cloud import Cloud
from keyfob.declare import Action, Caller
from keyfob.errors import Fault, Forbidden, Problem, Unauthenticated
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Challenge, Reply, Request

_GATEWAY = frozenset(
    {
        "AuthorizationFailed",
        "DenyAssignmentAuthorizationFailed",
        "LinkedAuthorizationFailed",
        "AuthenticationFailed",
        "ExpiredAuthenticationToken",
        "InvalidAuthenticationToken",
        "InvalidAuthenticationTokenAudience",
        "InvalidAuthenticationTokenTenant",
        "InvalidResourceNamespace",
        "InvalidResourceType",
        "LocationNotAvailableForResourceType",
        "MissingApiVersionParameter",
        "MissingSubscription",
        "MissingSubscriptionRegistration",
        "NoRegisteredProviderFound",
        "ParentResourceNotFound",
        "ResourceGroupNotFound",
        "ResourceNotFound",
        "SubscriptionNotFound",
    }
)
"""Codes that the front of Resource Manager gives itself: those answers say `x-ms-failure-cause: gateway`."""


def problem_reply(problem: Problem, *, cloud: Cloud, tenant_id: str | None, now: float) -> Reply:
    """The answer for any problem. 401 carries the challenge from which clients learn the tenant."""
    headers: list[tuple[str, str]] = []
    code, message = problem.code, problem.message
    if isinstance(problem, Unauthenticated):
        code, message = unauthenticated(problem, cloud=cloud, tenant_id=tenant_id, now=now)
        headers.append(("WWW-Authenticate", _challenge(problem, message, cloud, tenant_id)))
    if code in _GATEWAY:
        headers.append(("x-ms-failure-cause", "gateway"))
    body = error_body(problem) | {"code": code, "message": message}
    return Reply.json({"error": body}, problem.status, headers)


def error_body(problem: Problem) -> dict[str, Any]:
    body: dict[str, Any] = {"code": problem.code, "message": problem.message}
    if problem.target:
        body["target"] = problem.target
    if problem.details:
        body["details"] = [error_body(detail) for detail in problem.details]
    if extra := problem.info.get("additionalInfo"):
        body["additionalInfo"] = extra
    return body


def _challenge(problem: Unauthenticated, message: str, cloud: Cloud, tenant_id: str | None) -> str:
    described = (
        "The authentication failed because of missing 'Authorization' header."
        if (problem.fault is Fault.MISSING)
        else message
    )
    return str(
        Challenge(
            "Bearer",
            {
                "authorization_uri": f"{cloud.login}/{tenant_id or 'common'}",
                "error": "invalid_token",
                "error_description": described.replace('"', "'"),
            },
        )
    )


def unauthenticated(problem: Unauthenticated, *, cloud: Cloud, tenant_id: str | None, now: float) -> tuple[str, str]:
    """Code and message of a 401."""
    info = problem.info
    if problem.fault is Fault.MISSING:
        return "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."
    if problem.fault is Fault.AUDIENCE:
        allowed = ",".join(f"'{audience}'" for audience in cloud.audiences.get("resource_manager", ()))
        return (
            "InvalidAuthenticationTokenAudience",
            f"The access token has been obtained for wrong audience or resource '{info.get('audience', '')}'. It "
            f"should exactly match with one of the allowed audiences {allowed}.",
        )
    if problem.fault is Fault.EXPIRED:
        return (
            "ExpiredAuthenticationToken",
            f"The access token expiry UTC time '{_moment(float(info.get('expires_on', now)))}' is earlier than "
            f"current UTC time '{_moment(now)}'.",
        )
    if problem.fault in (Fault.TENANT, Fault.ISSUER) and tenant_id:
        return (
            "InvalidAuthenticationTokenTenant",
            f"The access token is from the wrong issuer '{info.get('issuer', '')}'. It must match the tenant "
            f"'https://sts.windows.net/{tenant_id}/' associated with this subscription. Please use the authority "
            f"(URL) '{cloud.login}/{tenant_id}' to get the token. Note, if the subscription is transferred to another "
            "tenant there is no impact to the services, but information about new tenant could take time to "
            "propagate (up to an hour). If you just transferred your subscription and see this error message, please "
            "try back later.",
        )
    return "InvalidAuthenticationToken", "The access token is invalid."


def linked_forbidden(
    caller: Caller, action: Action, scope: ResourceId, linked: Action, ids: list[ResourceId]
) -> Forbidden:
    """What is linked may not be, or does not exist: the answer does not tell which."""
    scopes = ",".join(map(str, ids))
    return Forbidden(
        f"The client '{caller.name or caller.app_id or caller.principal_id}' with object id '{caller.principal_id}' "
        f"has permission to perform action '{action.name}' on scope '{scope}'; however, it does not have permission "
        f"to perform action '{linked.name}' on the linked scope(s) '{scopes}' or the linked scope(s) are invalid.",
        code="LinkedAuthorizationFailed",
        info={"principal_id": caller.principal_id, "action": linked.name, "scope": scopes},
    )


def request_headers(request: Request, *, request_id: str, cloud: Cloud, now: float) -> list[tuple[str, str]]:
    """The ids that error messages and telemetry quote; the client's own is echoed when it asks for that."""
    correlation = request.headers.get("x-ms-correlation-request-id") or ""
    correlation = correlation if _is_guid(correlation) else request_id
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    where = (cloud.locations[0] if cloud.locations else "global").upper()
    headers = [
        ("x-ms-request-id", request_id),
        ("x-ms-correlation-request-id", correlation),
        ("x-ms-routing-request-id", f"{where}:{stamp}:{request_id}"),
        ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-cache"),
    ]
    client = request.headers.get("x-ms-client-request-id") or ""
    wanted = (request.headers.get("x-ms-return-client-request-id") or "").lower() == "true"
    if wanted and client and len(client) <= 128 and client.isascii() and client.isprintable():
        headers.append(("x-ms-client-request-id", client))
    return headers


def notice_headers(notices: tuple[str, ...]) -> list[tuple[str, str]]:
    """What is in preview, for programs and (RFC 7234, 299 "miscellaneous persistent warning") for those that show
    warnings."""
    if not notices:
        return []
    sentence = "; ".join(notices).replace('"', "'")
    return [("x-ms-keyfob-availability", f"preview; {sentence}"), ("Warning", f'299 - "{sentence}."')]


class Quota:
    """Counts down what Resource Manager says is left of a subscription's hour. Nothing is throttled."""

    _ROOM: Mapping[str, int] = {"reads": 12_000, "writes": 1_200, "deletes": 15_000}

    _MOST = 10_000
    """Counts kept: the names in paths are anybody's to invent."""

    def __init__(self) -> None:
        self._hour = 0
        self._used: dict[tuple[str, str], int] = {}

    def header(self, method: str, where: str | None, now: float) -> tuple[str, str]:
        hour = int(now // 3600)
        if hour != self._hour or len(self._used) >= self._MOST:
            self._hour, self._used = hour, {}
        kind = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}.get(method, "writes")
        key = (where or "", kind)
        self._used[key] = used = self._used.get(key, 0) + 1
        level = "subscription" if where else "tenant"
        return f"x-ms-ratelimit-remaining-{level}-{kind}", str(max(0, self._ROOM[kind] - used))


def _moment(seconds: float) -> str:
    """`3/19/2023 8:55:46 AM`, as these messages have it."""
    when = datetime.fromtimestamp(seconds, UTC)
    return f"{when.month}/{when.day}/{when.year} {when.hour % 12 or 12}:{when.minute:02}:{when.second:02} " + (
        "AM" if when.hour < 12 else "PM"
    )


def _is_guid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
