"""Azure Policy is not here: its lists are empty, and what would make a policy is refused in so many words."""

from __future__ import annotations

from typing import Any

from keyfob.declare import Action, Call, Provider, Route
from keyfob.errors import InvalidInput, NotFound
from keyfob.wire.http import Reply

NAMESPACE = "Microsoft.Authorization"
KINDS = {
    "policyAssignments": ("PolicyAssignmentNotFound", "policy assignment"),
    "policyDefinitions": ("PolicyDefinitionNotFound", "policy definition"),
    "policySetDefinitions": ("PolicySetDefinitionNotFound", "policy set definition"),
    "policyExemptions": ("PolicyExemptionNotFound", "policy exemption"),
}


def policies_provider() -> Provider:
    """Lists and refusals, at every scope; any well-formed api-version."""
    routes: list[Route] = []
    for kind, (code, words) in KINDS.items():
        at = f"/{{+scope}}/providers/{NAMESPACE}/{kind}"
        read, write, delete = (Action(f"{NAMESPACE}/{kind}/{verb}") for verb in ("read", "write", "delete"))
        routes += [
            Route("GET", at, read, _none),
            Route("GET", f"{at}/{{name}}", read, _missing(code, words)),
            Route("PUT", f"{at}/{{name}}", write, _absent),
            Route("PATCH", f"{at}/{{name}}", write, _absent),
            Route("DELETE", f"{at}/{{name}}", delete, _gone),
        ]
    return Provider(namespace=NAMESPACE, registered=True, routes=tuple(routes))


async def _none(call: Call) -> Reply:
    return Reply.json({"value": []})


def _missing(code: str, words: str) -> Any:
    async def missing(call: Call) -> Reply:
        raise NotFound(f"The {words} '{call.parameters['name'][:200]}' is not found.", code=code)

    return missing


async def _absent(call: Call) -> Reply:
    raise InvalidInput(
        "Azure Policy is not served here: a policy would be kept, but nobody would be held to it.",
        code="OperationNotSupported",
    )


async def _gone(call: Call) -> Reply:
    return Reply(204)
