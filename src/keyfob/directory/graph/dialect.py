"""How Microsoft Graph writes: bodies, headers, and every refusal in its shape."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from keyfob.errors import Conflict, Fault, Forbidden, InvalidInput, NotFound, Problem, Unauthenticated
from keyfob.wire.http import Reply, Request

JSON = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
DENIED = "Insufficient privileges to complete the operation."

_TOKENS: Mapping[Fault, str] = {
    Fault.MISSING: "Access token is empty.",
    Fault.MALFORMED: "IDX14100: JWT is not well formed, there are no dots (.).\nThe token needs to be in JWS or JWE "
    "Compact Serialization Format.",
    Fault.ALGORITHM: "Access token validation failure. Invalid signature algorithm.",
    Fault.KEY: "Access token validation failure. Signing key is invalid.",
    Fault.SIGNATURE: "Access token validation failure. Signature is invalid.",
    Fault.ISSUER: "Access token validation failure. Invalid issuer.",
    Fault.TENANT: "Access token validation failure. Invalid tenant.",
    Fault.AUDIENCE: "Access token validation failure. Invalid audience.",
    Fault.EXPIRED: "Lifetime validation failed, the token is expired.",
    Fault.NOT_YET_VALID: "Lifetime validation failed, the token is not yet valid.",
    Fault.CLAIMS: "Access token validation failure.",
}


def missing(what: str) -> NotFound:
    return NotFound(
        f"Resource '{what}' does not exist or one of its queried reference-property objects are not present.",
        code="Request_ResourceNotFound",
    )


def bad(message: str, *, target: str | None = None, code: str = "Request_BadRequest") -> InvalidInput:
    return InvalidInput(message, code=code, target=target)


def duplicate(name: str) -> InvalidInput:
    return InvalidInput(
        f"Another object with the same value for property {name} already exists.",
        code="Request_BadRequest",
        target=name,
        info={"detail": "ObjectConflict"},
    )


def denied() -> Forbidden:
    return Forbidden(DENIED, code="Authorization_RequestDenied")


def answer(value: Any, status: int = 200, *headers: tuple[str, str]) -> Reply:
    return Reply(status, msgspec.json.encode(value), (("OData-Version", "4.0"), *headers), JSON)


def nothing() -> Reply:
    return Reply(204)


def problem_reply(problem: Problem, request: Request, now: float) -> Reply:
    headers: tuple[tuple[str, str], ...] = ()
    if isinstance(problem, Unauthenticated):
        code = problem.code if problem.code != "Unauthenticated" else "InvalidAuthenticationToken"
        message = problem.message if code != "InvalidAuthenticationToken" else _TOKENS[problem.fault]
        headers = (("WWW-Authenticate", f'Bearer realm="", authorization_uri="{_authority(request)}"'),)
    else:
        code, message = _named(problem)
    error: dict[str, Any] = {"code": code, "message": message}
    if detail := problem.info.get("detail"):
        error["details"] = [{"code": detail, "message": message, "target": problem.target}]
    error["innerError"] = {
        "date": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        "request-id": request.request_id,
        "client-request-id": request.headers.get("client-request-id") or request.request_id,
    }
    return Reply(problem.status, msgspec.json.encode({"error": error}), headers, "application/json")


def _named(problem: Problem) -> tuple[str, str]:
    """The code; those of the directory's own functions become Graph's."""
    code = problem.code
    if isinstance(problem, Conflict) and code == "Conflict":
        code = "Request_MultipleObjectsWithSameKeyValue"
    elif isinstance(problem, NotFound) and code == "NotFound":
        code = "Request_ResourceNotFound"
    elif problem.status >= 500:
        return "UnknownError", problem.message if problem.status == 503 else ""
    return code, problem.message


def _authority(request: Request) -> str:
    return f"{request.scheme}://{request.host}/common/oauth2/authorize"


def written(time: float) -> str:
    """Seconds since the epoch as Graph writes them."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
