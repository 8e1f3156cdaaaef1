"""What is looked at before a deployment begins, so that nothing happens when something would be refused."""

from __future__ import annotations

from keyfob.access.guard import Guard
from keyfob.arm.templates.template import Part
from keyfob.declare import Action, Caller
from keyfob.errors import Forbidden, Problem

_MOST = 20
"""Refusals told at once."""


async def may_write(guard: Guard, parts: list[Part], caller: Caller) -> None:
    """Whether the caller may write each resource. Raises `Forbidden` (`InvalidTemplateDeployment`)."""
    refused: list[Problem] = []
    for part in parts:
        action = Action(f"{part.id.type or part.type}/write")
        if not await guard.allows(caller, action, part.id):
            refused.append(
                Forbidden(
                    f"Authorization failed for template resource '{part.name}' of type '{part.type}'. The client "
                    f"'{caller.name}' with object id '{caller.principal_id}' does not have permission to perform "
                    f"action '{action.name}' at scope '{part.id}'.",
                    code="AuthorizationFailed",
                    target=str(part.id),
                )
            )
    if not refused:
        return
    told = ":".join(problem.message for problem in refused[:_MOST])
    start = (
        "The template deployment failed with error" if len(refused) == 1 else "Deployment failed with multiple errors"
    )
    raise Forbidden(
        f"{start}: '{told}'.",
        code="InvalidTemplateDeployment",
        details=refused[:_MOST],
        info={"principal_id": caller.principal_id, "action": "write", "scope": str(parts[0].id)},
    )
