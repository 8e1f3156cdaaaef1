"""What a deployment would do: each resource as it is beside what the template makes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keyfob.arm.dialect import error_body
from keyfob.arm.templates.deploy import Ask, read
from keyfob.arm.templates.evaluate import Frame, Pending, evaluate
from keyfob.arm.templates.expressions import ExpressionError
from keyfob.arm.templates.facts import GROUP, kind_of
from keyfob.arm.templates.functions.table import same
from keyfob.arm.templates.plan import plan
from keyfob.arm.templates.request import Wanted, wanted_of
from keyfob.arm.templates.template import Opened, Part, open_template, secure_values
from keyfob.clouds.cloud import Cloud
from keyfob.declare import Caller
from keyfob.errors import NotFound, Problem
from keyfob.resource_id import ResourceId

if TYPE_CHECKING:
    from keyfob.arm.templates.service import Deployments

_VERSION = "2022-09-01"
_STARS = "*******"
_READ_ONLY = frozenset({"id", "name", "type", "etag", "systemdata"})


async def what_if(
    deployments: Deployments, id: ResourceId, wanted: Wanted, *, caller: Caller, cloud: Cloud, request_id: str
) -> dict[str, Any]:
    """The body of a what-if's result: `Succeeded` with changes, or `Failed` with the error."""
    try:
        opened, parts = await deployments.open(id, wanted, caller, cloud, request_id)
        await deployments.preflight(parts, caller, request_id)
        looking = _Looking(deployments, deployments.asker(caller, cloud, request_id), caller, cloud, request_id)
        await looking.parts(parts, opened, wanted)
        if kind_of(id.parent) == GROUP:
            await looking.others(id.parent, wanted.mode)
    except Problem as problem:
        return {"status": "Failed", "error": error_body(problem)}
    changes = [_covered(change, looking.hidden) for change in looking.changes]
    if str(wanted.what_if.get("resultFormat", "")).lower() == "resourceidonly":
        changes = [_short(change) for change in changes]
    return {"status": "Succeeded", "properties": {"correlationId": request_id, "changes": changes}}


def _covered(value: Any, hidden: set[str]) -> Any:
    """The value without what is secret. A short secret is covered where it stands alone: it may be part of any word."""
    if isinstance(value, dict):
        return {name: _covered(one, hidden) for name, one in value.items()}
    if isinstance(value, list):
        return [_covered(one, hidden) for one in value]
    if isinstance(value, str) and any(value == one or (len(one) > 5 and one in value) for one in hidden):
        return _STARS
    return value


def _short(change: dict[str, Any]) -> dict[str, Any]:
    kind = change["changeType"]
    return {
        "resourceId": change["resourceId"],
        "changeType": "Deploy" if kind in ("Create", "Modify", "NoChange") else kind,
    }


class _Looking:
    def __init__(self, deployments: Deployments, ask: Ask, caller: Caller, cloud: Cloud, request_id: str) -> None:
        self._deployments = deployments
        self._request_id = request_id
        self.hidden: set[str] = set()
        """Values that may not be shown: those of secure parameters."""
        self._ask = ask
        self._caller = caller
        self._cloud = cloud
        self._runtime: dict[tuple[str, ...], Any] = {}
        self._seen: set[str] = set()
        self.changes: list[dict[str, Any]] = []

    async def parts(self, parts: list[Part], opened: Opened, wanted: Wanted, depth: int = 0) -> None:
        self.hidden |= secure_values(opened)
        for part in parts:
            frame = part.frame.within(runtime=self._runtime)
            if part.is_deployment and depth < 4:
                await self._nested(part, frame, wanted, depth)
            else:
                await self._one(part, frame)

    async def _nested(self, part: Part, frame: Frame, wanted: Wanted, depth: int) -> None:
        """What a nested deployment would do, in its place; unless it cannot be told before."""
        properties = part.body.get("properties")
        properties = dict(properties) if isinstance(properties, Mapping) else {}
        template = properties.pop("template", None)
        resolved = await self._known(properties, frame)
        if template is not None:
            resolved["template"] = template
        try:
            base = str((wanted.template_link or {}).get("uri", ""))
            inner = wanted_of(resolved, name=part.id.name, linked=wanted.linked, base=base)
            facts = await self._deployments.facts(part.id, inner, self._caller, self._cloud)
            outer = None if part.inner or template is None else frame
            given: Mapping[str, Any] = {}
            if outer is None:
                given = await self._deployments.secrets.filled(inner.parameters, self._caller, self._request_id)
            opened = open_template(inner.template, given, facts, outer=outer)
            await self.parts(plan(opened), opened, inner, depth + 1)
        except Problem as problem:
            self._add(str(part.id), "Unsupported", reason=problem.message)

    async def _one(self, part: Part, frame: Frame) -> None:
        self._seen.add(part.key)
        shown = {"apiVersion": part.api_version, "id": str(part.id), "name": part.id.name, "type": part.id.type}
        after = shown | await self._known(dict(part.body), frame)
        try:
            before = json.loads((await self._ask("GET", str(part.id), part.api_version, None)).body)
        except NotFound:
            self._add(str(part.id), "Create", after=after)
            return
        except Problem as problem:
            self._add(str(part.id), "Unsupported", reason=problem.message)
            return
        delta = _delta(before, {name: value for name, value in after.items() if name not in ("apiVersion",)})
        before = {"apiVersion": part.api_version, **before}
        if delta:
            self._add(str(part.id), "Modify", before=before, after=after, delta=delta)
        else:
            self._add(str(part.id), "NoChange", before=before, after=after, delta=[])

    async def _known(self, value: Any, frame: Frame) -> Any:
        """As `evaluate`, where an expression that reads what is not there yet stays as it is."""
        if isinstance(value, dict) and "copy" not in value:
            return {name: await self._known(one, frame) for name, one in value.items()}
        if isinstance(value, list):
            return [await self._known(one, frame) for one in value]
        for _ in range(50):
            try:
                return evaluate(value, frame)
            except Pending as pending:
                if pending.key[0] != "reference":
                    return value  # secrets are not shown
                try:
                    self._runtime[pending.key] = await read(self._ask, pending.key)
                except Problem:
                    return value
            except (ExpressionError, Problem):
                return value
        return value

    async def others(self, scope: ResourceId, mode: str) -> None:
        """What is in the group and not in the template."""
        try:
            listed = json.loads((await self._ask("GET", f"{scope}/resources", _VERSION, None)).body)["value"]
        except NotFound:
            return
        for row in listed:
            id = ResourceId.parse(row["id"])
            if id.key in self._seen or id.parent.namespace is not None:
                continue
            self._add(row["id"], "Delete" if mode == "Complete" else "Ignore", before=row)

    def _add(
        self,
        id: str,
        kind: str,
        *,
        before: Any = None,
        after: Any = None,
        delta: list[dict[str, Any]] | None = None,
        reason: str = "",
    ) -> None:
        change: dict[str, Any] = {"resourceId": id, "changeType": kind}
        if before is not None:
            change["before"] = before
        if after is not None:
            change["after"] = after
        if delta is not None:
            change["delta"] = delta
        if reason:
            change["unsupportedReason"] = reason
        self.changes.append(change)


def _delta(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> list[dict[str, Any]]:
    """Property by property; what the template does not mention stays as it is."""
    found: list[dict[str, Any]] = []
    names = {name.lower(): name for name in before}
    for name, value in after.items():
        if not path and name.lower() in _READ_ONLY:
            continue
        where = f"{path}.{name}" if path else name
        there = before.get(names.get(name.lower(), name))
        if isinstance(value, dict) and isinstance(there, dict) and name not in ("tags", "userAssignedIdentities"):
            found += _delta(there, value, where)
        elif there is None:
            if value not in (None, "", [], {}):  # which is what is not there
                found.append({"path": where, "propertyChangeType": "Create", "before": None, "after": value})
        elif isinstance(value, list) and isinstance(there, list):
            if not same(value, there):
                found.append(
                    {
                        "path": where,
                        "propertyChangeType": "Array",
                        "before": there,
                        "after": value,
                        "children": _rows(there, value),
                    }
                )
        elif name == "userAssignedIdentities" and isinstance(value, dict) and isinstance(there, dict):
            if {key.lower() for key in value} - {key.lower() for key in there}:
                found.append({"path": where, "propertyChangeType": "Modify", "before": there, "after": value})
        elif not _alike(name, there, value):
            found.append({"path": where, "propertyChangeType": "Modify", "before": there, "after": value})
    return found


def _rows(before: list[Any], after: list[Any]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for at in range(max(len(before), len(after))):
        if at >= len(before):
            made.append({"path": str(at), "propertyChangeType": "Create", "before": None, "after": after[at]})
        elif at >= len(after):
            made.append({"path": str(at), "propertyChangeType": "Delete", "before": before[at], "after": None})
        elif not same(before[at], after[at]):
            made.append({"path": str(at), "propertyChangeType": "Modify", "before": before[at], "after": after[at]})
    return made


def _alike(name: str, before: Any, after: Any) -> bool:
    if name == "location" and isinstance(before, str) and isinstance(after, str):
        return before.replace(" ", "").lower() == after.replace(" ", "").lower()
    return same(before, after)
