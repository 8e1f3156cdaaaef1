"""How Key Vault writes refusals: codes and texts that people search for and clients compare.

The 401 comes before anything is looked at, because clients send their first request without token and body. The
challenge's items are `name="value"` with a comma between: azure-keyvault-secrets drops an item with a second `=`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from keyfob.declare import Action, Denied, Target
from keyfob.errors import Fault, Forbidden, MethodNotAllowed, NotFound, Problem, Unauthenticated
from keyfob.resource_id import ResourceId
from keyfob.services.key_vault.policies import permission, uses_roles
from keyfob.wire.http import Challenge, Reply, Request

SERVICE_VERSION = "1.9.1532.1"

_MISSING = "AKV10000: Request is missing a Bearer or PoP token."
_FAULTS: Mapping[Fault, str] = {
    # AKV10000, AKV10022, AKV10032 and AKV10046 are numbers and words of the service; the other texts are ours
    Fault.MISSING: _MISSING,
    Fault.MALFORMED: _MISSING,
    Fault.ALGORITHM: "AKV10005: The token is not signed with an accepted algorithm.",
    Fault.KEY: "AKV10046: Unable to resolve the key used for signature validation.",
    Fault.SIGNATURE: "AKV10005: The token's signature is not valid.",
    Fault.ISSUER: "AKV10032: Invalid issuer. Expected one of {issuer}, found {found_issuer}.",
    Fault.TENANT: "AKV10032: Invalid issuer. Expected one of {issuer}, found {found_issuer}.",
    Fault.AUDIENCE: "AKV10022: Invalid audience. Expected {resource}, found: {found_audience}.",
    Fault.EXPIRED: "AKV10013: The token is expired.",
    Fault.NOT_YET_VALID: "AKV10013: The token is not valid yet.",
    Fault.CLAIMS: "AKV10005: The token has not the claims that are needed.",
}

_ABSENT = {"keys": ("KeyNotFound", "A key"), "certificates": ("CertificateNotFound", "A certificate")}


def resource_of(target: Target) -> str:
    """The audience a client is told to ask for, `https://vault.azure.net`."""
    return target.cloud.audiences["key_vault"][0].rstrip("/")


def headers(request: Request, target: Target | None) -> tuple[tuple[str, str], ...]:
    """What every reply carries."""
    fixed = fixed_headers(target.location if target else "")
    network = ("x-ms-keyvault-network-info", f"conn_type=Ipv4;addr={request.peer};act_addr_fam=InterNetwork;")
    given = request.headers.get("x-ms-client-request-id")
    echoed = () if given is None or not _printable(given) else (("x-ms-client-request-id", given),)
    return (*fixed, network, *echoed, ("x-ms-request-id", request.request_id))


def fixed_headers(location: str) -> tuple[tuple[str, str], ...]:
    return (
        ("Cache-Control", "no-cache"),
        ("Pragma", "no-cache"),
        ("Expires", "-1"),
        ("x-ms-keyvault-region", location),
        ("x-ms-keyvault-service-version", SERVICE_VERSION),
        ("X-Content-Type-Options", "nosniff"),
        ("Strict-Transport-Security", "max-age=31536000;includeSubDomains"),
    )


def _printable(text: str) -> bool:
    return len(text) <= 128 and text.isascii() and text.isprintable()


def body(code: str, message: str, inner: str | None = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    if inner is not None:
        error["innererror"] = {"code": inner}
    return {"error": error}


class KeyVaultDialect:
    """A `declare.HttpDialect` that finishes every reply with the service's headers."""

    def finish(self, reply: Reply, request: Request, target: Target | None) -> Reply:
        return reply.adding(*headers(request, target))

    def challenge(self, failure: Unauthenticated, request: Request, target: Target) -> Reply:
        resource = resource_of(target)
        parameters = {
            "authorization": f"{target.cloud.login}/{target.tenant_id}",
            "resource": resource,
        }
        if failure.fault is not Fault.MISSING:
            parameters["error"] = "invalid_token"
        message = _FAULTS[failure.fault].format(
            resource=resource,
            issuer=f"https://sts.windows.net/{target.tenant_id}/",
            found_issuer=failure.info.get("issuer", ""),
            found_audience=failure.info.get("audience", ""),
        )
        challenge = ("WWW-Authenticate", str(Challenge("Bearer", parameters)))
        return Reply.json(body("Unauthorized", message), 401, (challenge,))

    def problem(self, problem: Problem, request: Request, target: Target | None) -> Reply:
        status, said = problem.status, body(problem.code, problem.message, problem.info.get("inner"))
        if isinstance(problem, Forbidden) and "inner" not in problem.info and target is not None:
            said = _refused(problem, request, target)
        elif isinstance(problem, NotFound | MethodNotAllowed) and problem.code in {
            NotFound.code,
            MethodNotAllowed.code,
        }:
            status, said = _absent(problem, request)
        elif status >= 500:
            said = body("InternalServerError", "An internal error occurred.")
        return Reply.json(said, status)


def _absent(problem: Problem, request: Request) -> tuple[int, dict[str, Any]]:
    """Nothing is declared there. Keys and certificates are not served: as far as a client can tell there are none."""
    parts = [part for part in request.path.split("/") if part]
    kind = parts[0].lower().removeprefix("deleted") if parts else ""
    if kind in _ABSENT:
        code, noun = _ABSENT[kind]
        name = "/".join(parts[1:3])
        return 404, body(code, f"{noun} with (name/id) {name} was not found in this key vault.")
    return problem.status, body(problem.code, problem.message)


def _refused(problem: Forbidden, request: Request, target: Target) -> dict[str, Any]:
    caller = _caller(_claims(problem, request), str(problem.info.get("principal_id", "")), roles=uses_roles(target))
    action = problem.info.get("action")
    scope = problem.info.get("scope")
    if not uses_roles(target):
        wanted = _permission(action, scope, target)
        return body(
            "Forbidden",
            f"The user, group or application '{caller}' does not have secrets {wanted} permission on key vault "
            f"'{target.name};location={target.location}'. For help resolving this issue, please see "
            "https://go.microsoft.com/fwlink/?linkid=2125287",
            "AccessDenied",
        )
    decision = problem.info.get("decision")
    deny = decision.deny_assignment if isinstance(decision, Denied) else ""
    lines = (
        "Caller is not authorized to perform action on resource.",
        "If role assignments, deny assignments or role definitions were changed recently, please observe propagation "
        "time.",
        f"Caller: {caller}",
        f"Action: '{getattr(action, 'name', action)}'",
        f"Resource: '{_resource(scope)}'",
        "Assignment: (not found)",
        f"DenyAssignmentId: '{deny}'" if deny else "DenyAssignmentId: null",
        "DecisionReason: 'DeniedByDenyAssignment' " if deny else "DecisionReason: 'DeniedWithNoValidRBAC' ",
        f"Vault: {target.name};location={target.location}",
        "",
    )
    return body("Forbidden", "\r\n".join(lines), "ForbiddenByRbac")


def _permission(action: Any, scope: Any, target: Target) -> str:
    asked = action if isinstance(action, Action) else Action(str(action), data=True)
    return permission(asked, scope if isinstance(scope, ResourceId) else ResourceId.parse(str(scope)), target)


def _resource(scope: Any) -> str:
    """As the service prints it: `resourcegroups` and the namespace in lower case."""
    return (
        str(scope).replace("/resourceGroups/", "/resourcegroups/").replace("Microsoft.KeyVault", "microsoft.keyvault")
    )


def _caller(claims: Mapping[str, Any], principal_id: str, *, roles: bool) -> str:
    said = [f"appid={claims.get('appid') or claims.get('azp') or ''}", f"oid={claims.get('oid', principal_id)}"]
    if isinstance(groups := claims.get("groups"), list):
        said.append(f"numgroups={len(groups)}")
    said.append(f"iss={claims.get('iss', '')}")
    if roles:
        said += [f"{name}={claims[name]}" for name in ("xms_mirid", "xms_az_rid") if claims.get(name)]
    return ";".join(said)


def _claims(problem: Forbidden, request: Request) -> Mapping[str, Any]:
    """What the caller's token says. It was verified before anything was refused, so reading it again is safe."""
    caller = problem.info.get("caller")
    if caller is not None and getattr(caller, "claims", None):
        claims: Mapping[str, Any] = caller.claims
        return claims
    parts = (request.headers.get("authorization") or "").rpartition(" ")[2].split(".")
    try:
        said = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (IndexError, ValueError, msgspec.DecodeError):
        return {}
    return said if isinstance(said, dict) else {}
