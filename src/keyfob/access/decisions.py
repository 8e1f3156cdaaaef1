"""`GET /providers/Keyfob.Access/decisions`: the decision log, explained. Ours, not Azure's.

Query: `requestId`, `principalId`, `verdict` (`allowed`, `denied`), `since` (epoch seconds), `top` (100). The newest
first, of the caller's tenant.
"""

from __future__ import annotations

from typing import Any

from keyfob.access.explain import Explanation, explain
from keyfob.access.guard import Guard
from keyfob.access.log import Question
from keyfob.declare import Action, Call, Provider, Route
from keyfob.errors import InvalidInput
from keyfob.resource_id import ROOT
from keyfob.wire.http import Reply

NAMESPACE = "Keyfob.Access"
API_VERSIONS = ("2026-11-01",)
_MOST = 1000
_VERDICTS = {None: None, "": None, "allowed": True, "denied": False}


def decisions_provider(*, guard: Guard) -> Provider:
    async def decisions(call: Call) -> Reply:
        question, limit = _question(call)
        found = await guard.log.find(question, limit)
        roles = list(guard.roles.built_in.values())
        return Reply.json({"value": [to_wire(explain(entry, roles)) for entry in found]})

    action = Action(f"{NAMESPACE}/decisions/read")
    path = f"/providers/{NAMESPACE}/decisions"
    route = Route("GET", path, action, decisions, lambda parameters, target: ROOT, API_VERSIONS)
    return Provider(namespace=NAMESPACE, routes=(route,), registered=True)


def _question(call: Call) -> tuple[Question, int]:
    query = call.request.query
    verdict = query.get("verdict")
    if verdict not in _VERDICTS:
        raise InvalidInput("A verdict is 'allowed' or 'denied'.", target="verdict")
    try:
        since, limit = float(query.get("since") or 0), int(query.get("top") or 100)
    except ValueError:
        raise InvalidInput("'since' and 'top' are numbers.", target="since") from None
    question = Question(
        tenant_id=call.caller.tenant_id if call.caller else "",
        request_id=query.get("requestId") or "",
        principal_id=(query.get("principalId") or "").lower(),
        allowed=_VERDICTS[verdict],
        since=since,
    )
    return question, max(1, min(limit, _MOST))


def to_wire(explained: Explanation) -> dict[str, Any]:
    entry = explained.entry
    return {
        "time": entry.time,
        "requestId": entry.request_id,
        "service": entry.service,
        "principalId": entry.principal_id,
        "principalName": entry.principal_name,
        "action": entry.action,
        "dataAction": entry.data,
        "scope": entry.scope,
        "verdict": "allowed" if entry.allowed else "denied",
        "reason": entry.reason,
        "by": entry.by,
        "denyAssignment": entry.deny_assignment,
        "lookedAt": list(entry.looked_at),
        "roles": [
            {"id": role.id, "name": role.name, "description": role.description, "breadth": role.breadth}
            for role in explained.roles
        ],
        "remedyScope": explained.scope,
        "remedy": explained.remedy,
    }
