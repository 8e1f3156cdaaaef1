"""Microsoft.Management: management groups, the subscriptions in them, and lists of both.

Reading a group takes `managementGroups/read` there; making one takes `write` at it and at its parent; moving one also
at the parent it leaves. Moving a subscription takes `managementGroups/subscriptions/write` at the new group and the
right to give roles at the subscription: whoever holds roles at the group gets them there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from keyfob.access.assignments import assignments_at
from keyfob.access.guard import Guard
from keyfob.arm.body import parse_object, unreadable
from keyfob.arm.extras.hierarchy import (
    DEEPEST,
    MANAGEMENT_GROUPS,
    PLACEMENTS,
    TYPE,
    ManagementGroup,
    Placement,
    Tree,
    group_scope,
    read_tree,
)
from keyfob.arm.model import Subscription
from keyfob.arm.resources import SUBSCRIPTIONS, get_subscription
from keyfob.arm.subscriptions import subscription_not_found
from keyfob.clock import iso
from keyfob.declare import Action, Call, Caller, Provider, Route, SignedIn, Target
from keyfob.errors import Conflict, InvalidInput, NotFound
from keyfob.resource_id import ResourceId
from keyfob.store.port import Session, Store, Transaction
from keyfob.wire.http import Reply

VERSIONS = (
    "2018-01-01-preview",
    "2018-03-01-preview",
    "2019-11-01",
    "2020-02-01",
    "2020-05-01",
    "2020-10-01",
    "2021-04-01",
    "2023-04-01",
    "2024-02-01-preview",
)
READ, WRITE, DELETE = (Action(f"{TYPE}/{verb}") for verb in ("read", "write", "delete"))
ADD, REMOVE = (Action(f"{TYPE}/subscriptions/{verb}") for verb in ("write", "delete"))
_READ_SUBSCRIPTIONS = Action(f"{TYPE}/subscriptions/read")
_DESCEND = Action(f"{TYPE}/descendants/read")
_GIVE_ROLES = Action("Microsoft.Authorization/roleAssignments/write")
_SEE = Action("Microsoft.Resources/subscriptions/read")
_NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_.()]{0,88}[-A-Za-z0-9_()]|[A-Za-z0-9]")


class ManagementGroups:
    def __init__(self, *, store: Store, guard: Guard) -> None:
        self._store = store
        self._guard = guard

    def provider(self) -> Provider:
        """`Microsoft.Management`, registered from the start."""
        all_, one = f"/providers/{TYPE}", f"/providers/{TYPE}/{{group}}"
        top = "/providers/Microsoft.Management"
        member = f"{one}/subscriptions/{{subscription}}"
        seen = SignedIn("shows the groups and subscriptions the caller may read")
        word = SignedIn("says a word about the caller's own tenant")

        def route(method: str, path: str, access: Any, operation: Any) -> Route:
            return Route(method, path, access, operation, _place, VERSIONS)

        return Provider(
            namespace="Microsoft.Management",
            registered=True,
            routes=(
                route("GET", all_, seen, self.groups),
                route("GET", one, READ, self.get),
                route("PUT", one, WRITE, self.put),
                route("PATCH", one, WRITE, self.patch),
                route("DELETE", one, DELETE, self.delete),
                route("GET", f"{one}/descendants", _DESCEND, self.descendants),
                route("GET", f"{one}/subscriptions", _READ_SUBSCRIPTIONS, self.members),
                route("GET", member, _READ_SUBSCRIPTIONS, self.member),
                route("PUT", member, ADD, self.add),
                route("DELETE", member, REMOVE, self.remove),
                route("POST", f"{top}/getEntities", seen, self.entities),
                route("POST", f"{top}/checkNameAvailability", word, self.check_name),
                route("POST", f"{top}/tenantBackfillStatus", word, self.backfill),
                route("POST", f"{top}/startTenantBackfill", word, self.backfill),
            ),
        )

    # --- groups

    async def groups(self, call: Call) -> Reply:
        caller = _caller(call)
        tree = await read_tree(self._store, caller.tenant_id)
        names = [caller.tenant_id, *sorted(group.name for group in tree.groups.values())]
        shown = [self._entry(tree, name) for name in names if await self._guard.allows(caller, READ, group_scope(name))]
        if not shown:  # as Azure does for who may read none
            here = ResourceId(("providers", "Microsoft.Management"))
            await self._guard.authorize(caller, READ, here, request_id=call.request.request_id)
        return Reply.json({"value": shown})

    def _entry(self, tree: Tree, name: str) -> dict[str, Any]:
        group = _known(tree, name)
        return {
            "id": str(group_scope(group.name)),
            "type": TYPE,
            "name": group.name,
            "properties": {"tenantId": tree.tenant_id, "displayName": group.display_name},
        }

    async def get(self, call: Call) -> Reply:
        tree = await read_tree(self._store, _caller(call).tenant_id)
        group = _known(tree, call.parameters["group"])
        shown = self._shown(tree, group)
        query = call.request.query
        wanted = (query.get("$expand") or "").lower()
        if wanted in ("children", "path", "ancestors"):
            if wanted == "children":
                deep = (query.get("$recurse") or "").lower() == "true"
                shown["properties"]["children"] = await self._children(tree, group.name, deep=deep)
            else:
                above = [_known(tree, name) for name in reversed(tree.upwards(group.name)[1:])]
                shown["properties"]["details"]["path"] = [
                    {"name": one.name, "displayName": one.display_name} for one in above
                ]
        elif wanted:
            raise InvalidInput(f"The value '{wanted[:40]}' of '$expand' is not valid.", code="InvalidQueryParameter")
        return Reply.json(shown)

    def _shown(self, tree: Tree, group: ManagementGroup) -> dict[str, Any]:
        details: dict[str, Any] = {
            "version": group.version,
            "updatedTime": iso(group.updated),
            "updatedBy": group.updated_by,
            "parent": None,
        }
        if group.name.lower() != tree.tenant_id.lower():
            above = _known(tree, group.parent or tree.tenant_id)
            details["parent"] = {
                "id": str(group_scope(above.name)),
                "name": above.name,
                "displayName": above.display_name,
            }
        shown = self._entry(tree, group.name)
        shown["properties"] |= {"details": details, "children": None}
        return shown

    async def _children(self, tree: Tree, name: str, *, deep: bool) -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = []
        for group in tree.children(name):
            entry = {
                "type": TYPE,
                "id": str(group_scope(group.name)),
                "name": group.name,
                "displayName": group.display_name,
            }
            if deep:
                entry["children"] = await self._children(tree, group.name, deep=True)  # type: ignore[assignment]
            found.append(entry)
        found += [
            {
                "type": "/subscriptions",
                "id": f"/subscriptions/{one.id}",
                "name": one.id,
                "displayName": one.display_name,
            }
            for one in await self._subscriptions(tree, name)
        ]
        return found or None

    async def put(self, call: Call) -> Reply:
        body = parse_object(call.request.body, empty=True)
        properties = _object(body, "properties")
        details = _object(properties, "details")
        parent = _object(details, "parent").get("id")
        return await self._write(call, _text(properties, "displayName"), parent, create=True)

    async def patch(self, call: Call) -> Reply:
        body = parse_object(call.request.body)
        return await self._write(call, _text(body, "displayName"), body.get("parentGroupId"), create=False)

    async def _write(self, call: Call, display_name: str, parent: Any, *, create: bool) -> Reply:
        caller, name = _caller(call), call.parameters["group"]
        async with self._store.transaction() as tx:
            tree = await read_tree(tx, caller.tenant_id)
            root = name.lower() == tree.tenant_id.lower()
            before = tree.groups.get(name.lower())
            if before is None and not root:
                if not create:
                    raise _missing(name)
                checked_name(name)
            if root and parent:
                raise InvalidInput("The root management group has no parent.", code="BadRequest")
            old = before.parent if before else ""
            new = self._parent(tree, name, parent) if parent else old
            if not root and (before is None or new != old):
                for place in {new, old} if before else {new}:
                    scope = group_scope(place or tree.tenant_id)
                    await self._guard.authorize(caller, WRITE, scope, request_id=call.request.request_id)
            group = ManagementGroup(
                name=before.name if before else name,
                tenant_id=caller.tenant_id,
                display_name=display_name or (_known(tree, name).display_name if before or root else name),
                parent="" if root else new,
                version=before.version + 1 if before else 1,
                updated=call.now,
                updated_by=caller.principal_id,
            )
            await MANAGEMENT_GROUPS.put(tx, _key(caller.tenant_id, name), group)
            tree = await read_tree(tx, caller.tenant_id)
        return Reply.json(self._shown(tree, _known(tree, name)))

    @staticmethod
    def _parent(tree: Tree, name: str, given: Any) -> str:
        """The parent's key, "" for the root group. Raises `NotFound`, `InvalidInput` for a circle or too deep."""
        above = _group_of(given).lower()
        if above == tree.tenant_id.lower():
            return ""
        _known(tree, above)
        chain = tree.upwards(above)
        if name.lower() in chain:
            raise InvalidInput(
                f"The management group '{name}' cannot be below itself.", code="InvalidParentManagementGroup"
            )
        if len(chain) + _depth(tree, name) > DEEPEST + 1:
            raise InvalidInput(
                f"The hierarchy would be more than {DEEPEST} levels deep.", code="HierarchyDepthLimitExceeded"
            )
        return above

    async def delete(self, call: Call) -> Reply:
        caller, name = _caller(call), call.parameters["group"]
        async with self._store.transaction() as tx:
            tree = await read_tree(tx, caller.tenant_id)
            if name.lower() == tree.tenant_id.lower():
                raise InvalidInput("The root management group cannot be deleted.", code="BadRequest")
            if name.lower() not in tree.groups:
                return Reply(204)
            if tree.children(name) or await self._subscriptions(tree, name, tx):
                raise InvalidInput(
                    f"The management group '{name}' has children: move or delete them first.",
                    code="ManagementGroupHasChildren",
                )
            if await assignments_at(tx, caller.tenant_id, group_scope(name).key):
                # a group of the same name would inherit them
                raise Conflict(
                    f"The management group '{name}' still has role assignments: delete them first.",
                    code="ManagementGroupHasRoleAssignments",
                )
            await MANAGEMENT_GROUPS.delete(tx, _key(caller.tenant_id, name))
        return Reply(204)  # azure-cli takes 202, which needs a place to ask again, or 204

    # --- subscriptions

    async def _subscriptions(self, tree: Tree, name: str, session: Session | None = None) -> list[Subscription]:
        """Those directly in a group."""
        session = session or self._store
        rows = await PLACEMENTS.find(session, "tenant", tree.tenant_id)
        placed = {row.key: row.value.group for row in rows}
        root, wanted = tree.tenant_id.lower(), name.lower()
        owned = [row.value for row in await SUBSCRIPTIONS.find(session, "tenant", tree.tenant_id)]
        return [one for one in owned if (placed.get(one.id.lower()) or root) == wanted]

    async def members(self, call: Call) -> Reply:
        tree = await read_tree(self._store, _caller(call).tenant_id)
        group = _known(tree, call.parameters["group"])
        found = await self._subscriptions(tree, group.name)
        return Reply.json({"value": [_member(group, one) for one in found]})

    async def member(self, call: Call) -> Reply:
        tree = await read_tree(self._store, _caller(call).tenant_id)
        group = _known(tree, call.parameters["group"])
        for one in await self._subscriptions(tree, group.name):
            if one.id.lower() == call.parameters["subscription"].lower():
                return Reply.json(_member(group, one))
        raise NotFound(
            f"The subscription '{call.parameters['subscription']}' is not in the management group '{group.name}'.",
            code="NotFound",
        )

    async def add(self, call: Call) -> Reply:
        group, moved = await self._move(call, call.parameters["group"])
        return Reply.json(_member(group, moved))

    async def remove(self, call: Call) -> Reply:
        """Back to the root group."""
        tree = await read_tree(self._store, _caller(call).tenant_id)
        known = _known(tree, call.parameters["group"])
        wanted = call.parameters["subscription"].lower()
        if all(one.id.lower() != wanted for one in await self._subscriptions(tree, known.name)):
            return Reply(204)
        await self._move(call, tree.tenant_id)
        return Reply(200)

    async def _move(self, call: Call, name: str) -> tuple[ManagementGroup, Subscription]:
        caller = _caller(call)
        wanted = call.parameters["subscription"]
        scope = ResourceId.subscription(wanted)
        found = await get_subscription(self._store, wanted)
        if found is None or found.tenant_id != caller.tenant_id or found.cloud != call.cloud.name:
            raise subscription_not_found(wanted)
        await self._guard.authorize(caller, _GIVE_ROLES, scope, request_id=call.request.request_id)
        placed = await PLACEMENTS.get(self._store, found.id.lower())
        if placed is not None:  # it leaves what forbids things there, too
            await self._guard.authorize(
                caller, REMOVE, group_scope(placed.value.group), request_id=call.request.request_id
            )
        async with self._store.transaction() as tx:
            tree = await read_tree(tx, caller.tenant_id)
            group = _known(tree, name)
            await self._place_subscription(tx, found, "" if group.name == tree.tenant_id else group.name.lower())
        return group, found

    async def _place_subscription(self, tx: Transaction, subscription: Subscription, group: str) -> None:
        key = subscription.id.lower()
        if group:
            await PLACEMENTS.put(tx, key, Placement(subscription_id=key, tenant_id=subscription.tenant_id, group=group))
        else:
            await PLACEMENTS.delete(tx, key)

    # --- everything below

    async def descendants(self, call: Call) -> Reply:
        tree = await read_tree(self._store, _caller(call).tenant_id)
        top = _known(tree, call.parameters["group"])
        value = []
        for group in (top, *tree.below(top.name)):
            if group is not top:
                above = group_scope(group.parent or tree.tenant_id)
                value.append(_descendant(str(group_scope(group.name)), TYPE, group.name, group.display_name, above))
            for one in await self._subscriptions(tree, group.name):
                kind = f"{TYPE}/subscriptions"
                value.append(
                    _descendant(f"/subscriptions/{one.id}", kind, one.id, one.display_name, group_scope(group.name))
                )
        return Reply.json({"value": value})

    async def entities(self, call: Call) -> Reply:
        """Groups and subscriptions that the caller may read, from the root down."""
        caller = _caller(call)
        tree = await read_tree(self._store, caller.tenant_id)
        value = []
        for group in (_known(tree, tree.tenant_id), *tree.below(tree.tenant_id)):
            scope = group_scope(group.name)
            above = [str(group_scope(name)) for name in tree.upwards(group.name)[1:]]
            if await self._guard.allows(caller, READ, scope):
                entity = _entity(str(scope), TYPE, group.name, group.display_name, tree, above[:1], above)
                entity["properties"] |= await self._numbers(tree, group.name)
                value.append(entity)
            for one in await self._subscriptions(tree, group.name):
                if await self._guard.allows(caller, _SEE, ResourceId.subscription(one.id)):
                    chain = [str(scope), *above]
                    kind = "/subscriptions"
                    place = f"/subscriptions/{one.id}"
                    value.append(_entity(place, kind, one.id, one.display_name, tree, chain[:1], chain))
        return Reply.json({"value": value, "count": len(value), "nextLink": None})

    async def _numbers(self, tree: Tree, name: str) -> dict[str, int]:
        groups, below = tree.children(name), tree.below(name)
        members = {one.name: len(await self._subscriptions(tree, one.name)) for one in below}
        own = len(await self._subscriptions(tree, name))
        return {
            "numberOfDescendants": len(below) + own + sum(members.values()),
            "numberOfChildren": len(groups) + own,
            "numberOfChildGroups": len(groups),
        }

    async def check_name(self, call: Call) -> Reply:
        body = parse_object(call.request.body)
        name = _text(body, "name")
        tree = await read_tree(self._store, _caller(call).tenant_id)
        if not _NAME.fullmatch(name):
            return Reply.json(
                {"nameAvailable": False, "reason": "Invalid", "message": f"The name '{name[:90]}' is not valid."}
            )
        if name.lower() in tree.groups or name.lower() == tree.tenant_id.lower():
            return Reply.json(
                {
                    "nameAvailable": False,
                    "reason": "AlreadyExists",
                    "message": f"The group with the specified name '{name}' already exists.",
                }
            )
        return Reply.json({"nameAvailable": True})

    async def backfill(self, call: Call) -> Reply:
        return Reply.json({"tenantId": _caller(call).tenant_id, "status": "Completed"})


# --- pieces


def _place(parameters: Mapping[str, str], target: Target | None) -> ResourceId:
    """Everything about a group is authorised at the group."""
    return group_scope(parameters["group"]) if "group" in parameters else ResourceId(())


def _caller(call: Call) -> Caller:
    if call.caller is None:
        raise AssertionError("no route of this namespace is public")
    return call.caller


def _key(tenant_id: str, name: str) -> str:
    return f"{tenant_id}/{name}".lower()


def _known(tree: Tree, name: str) -> ManagementGroup:
    """Raises `NotFound`. The root group is known without a record."""
    found = tree.groups.get(name.lower())
    if found is not None:
        return found
    if name.lower() == tree.tenant_id.lower():
        return ManagementGroup(name=tree.tenant_id, tenant_id=tree.tenant_id, display_name="Tenant Root Group")
    raise _missing(name)


def _missing(name: str) -> NotFound:
    return NotFound(f"'{group_scope(name)}' not found", code="NotFound")


def checked_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"The management group name '{name[:100]}' is not valid: letters, digits, '-', '_', '(', ')' and '.', at "
            "most 90, beginning with a letter or digit and not ending with '.'.",
            code="InvalidGroupId",
        )


def _group_of(given: Any) -> str:
    """The name in `/providers/Microsoft.Management/managementGroups/{name}`."""
    parts = [part for part in given.split("/") if part] if isinstance(given, str) else []
    if len(parts) != 4 or "/".join(parts[:3]).lower() != f"providers/{TYPE}".lower():
        raise InvalidInput(f"The parent '{str(given)[:200]}' is not the id of a management group.", code="BadRequest")
    return parts[3]


def _depth(tree: Tree, name: str) -> int:
    """Levels from a group down, itself counted."""
    return 1 + max((_depth(tree, child.name) for child in tree.children(name)), default=0)


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise unreadable(f"'{name}' must be an object")
    return value


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise unreadable(f"'{name}' must be a string")
    return (value or "")[:200]


def _member(group: ManagementGroup, subscription: Subscription) -> dict[str, Any]:
    scope = group_scope(group.name)
    return {
        "id": f"{scope}/subscriptions/{subscription.id}",
        "type": f"{TYPE}/subscriptions",
        "name": subscription.id,
        "properties": {
            "tenant": subscription.tenant_id,
            "displayName": subscription.display_name,
            "parent": {"id": str(scope)},
            "state": "Active" if subscription.state == "Enabled" else subscription.state,
        },
    }


def _descendant(id: str, kind: str, name: str, display_name: str, above: ResourceId) -> dict[str, Any]:
    return {
        "id": id,
        "type": kind,
        "name": name,
        "properties": {"displayName": display_name, "parent": {"id": str(above)}},
    }


def _entity(
    id: str, kind: str, name: str, display_name: str, tree: Tree, parent: list[str], chain: list[str]
) -> dict[str, Any]:
    names = [place.rpartition("/")[2] for place in reversed(chain)]
    return {
        "id": id,
        "type": kind,
        "name": name,
        "properties": {
            "tenantId": tree.tenant_id,
            "displayName": display_name,
            "parent": {"id": parent[0]} if parent else {"id": None},
            "permissions": "edit",
            "inheritedPermissions": "edit",
            "numberOfDescendants": 0,
            "numberOfChildren": 0,
            "numberOfChildGroups": 0,
            "parentDisplayNameChain": [_known(tree, one).display_name for one in names],
            "parentNameChain": names,
        },
    }
