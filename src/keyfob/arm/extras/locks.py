"""Microsoft.Authorization/locks: at a subscription, a group or a resource, and what they forbid.

`CanNotDelete` forbids deleting the scope and everything in it; `ReadOnly` every write, delete and action. A delete
is also stopped by a lock on something that would go with it. Reading, and managing locks themselves, is never
stopped. A lock holds for everybody, owners included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyfob.arm.checks import Attempt
from keyfob.arm.model import Resource
from keyfob.arm.present import system_data
from keyfob.arm.resources import RESOURCES
from keyfob.declare import Action, Call, Change, Level, Provider, ResourceType, Route
from keyfob.errors import Conflict, InvalidInput
from keyfob.resource_id import ResourceId
from keyfob.store.port import Session, Store
from keyfob.wire.http import Reply

NAMESPACE = "Microsoft.Authorization"
TYPE = f"{NAMESPACE}/locks"
VERSIONS = ("2015-01-01", "2015-05-01-preview", "2015-06-01", "2016-09-01", "2017-04-01", "2020-05-01")
LEVELS = ("NotSpecified", "CanNotDelete", "ReadOnly")
_LONGEST_NOTES = 512
_NEVER_STOPPED = ("microsoft.authorization/locks/", "keyfob.")
"""Beginnings of actions, lower-case. Ours open endpoints and explain: nothing of Azure's is changed by them."""


class LockOperations:
    """What the engine asks about the type."""

    async def accept(self, change: Change) -> Mapping[str, Any]:
        given = change.body["properties"]
        level = next((one for one in LEVELS if one.lower() == str(given.get("level", "")).lower()), None)
        if level is None or not isinstance(given.get("level"), str):
            raise InvalidInput(
                f"The lock '{change.id.name[:90]}' is not valid. The lock level must be one of: {', '.join(LEVELS)}.",
                code="InvalidLock",
                target="properties.level",
            )
        notes = given.get("notes") or ""
        if not isinstance(notes, str) or len(notes) > _LONGEST_NOTES:
            raise InvalidInput(
                f"The notes of a lock are a text of at most {_LONGEST_NOTES} characters.",
                code="InvalidLock",
                target="properties.notes",
            )
        return {"level": level} | ({"notes": notes} if notes else {}) | _owners(given.get("owners"))

    async def remove(self, change: Change) -> None:
        return None

    def present(self, resource: Any, api_version: str, expand: str) -> Mapping[str, Any]:
        return dict(resource.properties)


def _owners(given: Any) -> dict[str, Any]:
    if not given:
        return {}
    if not isinstance(given, list) or not all(isinstance(one, Mapping) for one in given):
        raise InvalidInput("The owners of a lock are a list of objects.", code="InvalidLock", target="owners")
    return {"owners": [{"applicationId": str(one.get("applicationId", ""))[:200]} for one in given[:100]]}


class Locks:
    """The type, its lists, and the check that holds everybody to it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def provider(self) -> Provider:
        at = f"/{{+scope}}/providers/{TYPE}"
        return Provider(
            namespace=NAMESPACE,
            registered=True,
            types=(
                ResourceType(
                    name=TYPE,
                    api_versions=VERSIONS,
                    operations=LockOperations(),
                    level=Level.EXTENSION,
                    tracked=False,
                    provisioning_state=False,
                    finish=_finish,
                    name_pattern=r"[^<>%&:\\?/\x00-\x1f]{1,260}",
                ),
            ),
            routes=(Route("GET", at, Action(f"{TYPE}/read"), self.listed, api_versions=VERSIONS),),
        )

    async def listed(self, call: Call) -> Reply:
        """At the scope and below it; with `atScope()` at it and above."""
        wanted = (call.request.query.get("$filter") or "").replace(" ", "").lower()
        if wanted not in ("", "atscope()"):
            raise InvalidInput(f"The filter '{wanted[:100]}' is not supported.", code="InvalidFilterInQueryString")
        if wanted:
            found = await over(call.scope, self._store)
        else:
            rows = await RESOURCES.find(self._store, "type", TYPE.lower())
            found = [row.value for row in rows if call.scope.contains(ResourceId.parse(row.value.id))]
        if call.scope.subscription_id is None:  # the root: only what is of the caller's tenant
            found = [lock for lock in found if call.caller and lock.tenant_id == call.caller.tenant_id]
        return Reply.json({"value": [_shown(lock, call.api_version) for lock in found]})

    # --- what they forbid

    async def check(self, attempt: Attempt, session: Session) -> None:
        """Raises `Conflict` (`ScopeLocked`)."""
        action = attempt.action.name.lower()
        if attempt.scope.subscription_id is None or action.startswith(_NEVER_STOPPED):
            return
        deleting = action.endswith("/delete")
        held = [
            lock
            for lock in await over(attempt.scope, session)
            if _level(lock) == "ReadOnly" or (deleting and _level(lock) == "CanNotDelete")
        ]
        if deleting and not held:
            held = [lock for lock in await under(attempt.scope, session) if _level(lock) in LEVELS[1:]]
        if held:
            verb = "delete" if deleting else "write"
            where = ",".join(dict.fromkeys(str(ResourceId.parse(lock.id).parent) for lock in held))
            raise Conflict(
                f"The scope '{attempt.scope}' cannot perform {verb} operation because following scope(s) are locked: "
                f"'{where}'. Please remove the lock and try again.",
                code="ScopeLocked",
            )


async def over(scope: ResourceId, session: Session) -> list[Resource]:
    """The locks at a scope and above it, nearest first."""
    rows: list[Resource] = []
    for key in scope.chain():
        if key != "/":
            found = await RESOURCES.list(session, prefix=f"{key}/providers/{TYPE.lower()}/")
            rows += [row.value for row in found if row.value.type == TYPE]
    return rows


async def under(scope: ResourceId, session: Session) -> list[Resource]:
    """The locks on what lies in a scope: of all that is there only they are read."""
    rows = await RESOURCES.find(session, "type", TYPE.lower(), prefix=f"{scope.key}/")
    return [row.value for row in rows]


def _level(lock: Resource) -> str:
    return str(lock.properties.get("level", ""))


def _finish(lock: Any, shown: dict[str, Any], api_version: str) -> dict[str, Any]:
    """`systemData` came to locks before it came to most."""
    return shown | ({"systemData": system_data(lock)} if api_version >= "2020-05-01" else {})


def _shown(lock: Resource, api_version: str) -> dict[str, Any]:
    shown = {"properties": lock.properties, "id": lock.id, "type": lock.type, "name": lock.name}
    return _finish(lock, shown, api_version)
