"""Resource groups, and the lists of all resources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from keyfob.access.guard import Guard
from keyfob.arm.body import checked_group_name, checked_tags, parse_envelope, parse_object
from keyfob.arm.engine import Engine
from keyfob.arm.listing import page_of
from keyfob.arm.model import DELETING, Resource, ResourceGroup
from keyfob.arm.present import present_generic, present_group
from keyfob.arm.resources import GROUPS, RESOURCES, get_subscription, group_not_found
from keyfob.arm.statuses import result_location
from keyfob.arm.subscriptions import subscription_not_found
from keyfob.arm.versions import RESOURCES_VERSIONS
from keyfob.clock import Clock
from keyfob.declare import Action, Call, Route, SignedIn
from keyfob.errors import Conflict, InvalidInput
from keyfob.identities.filters import holds, parse_filter
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store
from keyfob.store.records import Stored
from keyfob.wire.http import Reply

_TYPE = "Microsoft.Resources/subscriptions/resourceGroups"
READ, WRITE, DELETE = (Action(f"{_TYPE}/{verb}") for verb in ("read", "write", "delete"))


class Groups:
    def __init__(self, *, store: Store, guard: Guard, clock: Clock, engine: Engine) -> None:
        self._store = store
        self._guard = guard
        self._clock = clock
        self._engine = engine

    def routes(self) -> tuple[Route, ...]:
        one = "/subscriptions/{subscription}/resourceGroups/{group}"
        v = RESOURCES_VERSIONS
        return (
            Route(
                "GET",
                "/subscriptions/{subscription}/resourceGroups",
                SignedIn("shows the groups the caller may read"),
                self.list,
                api_versions=v,
            ),
            Route("GET", one, READ, self.get, api_versions=v),
            Route("HEAD", one, READ, self.head, api_versions=v),
            Route("PUT", one, WRITE, self.put, api_versions=v),
            Route("PATCH", one, WRITE, self.patch, api_versions=v),
            Route("DELETE", one, DELETE, self.delete, api_versions=v),
            Route(
                "GET",
                "/subscriptions/{subscription}/resources",
                SignedIn("shows the resources the caller may read"),
                self.resources,
                api_versions=v,
            ),
            Route("GET", f"{one}/resources", READ, self.resources, api_versions=v),
        )

    async def list(self, call: Call) -> Reply:
        caller = call.caller
        assert caller is not None
        wanted = parse_filter(call.request.query.get("$filter"), ("tagName", "tagValue", "name", "location"))

        async def keep(row: ResourceGroup) -> bool:
            facts = {"name": row.name, "location": row.location}
            return _fits(wanted, facts, row.tags) and await self._guard.allows(caller, READ, ResourceId.parse(row.id))

        async def show(row: ResourceGroup) -> dict[str, Any]:
            return present_group(row)

        prefix = ResourceId.subscription(call.parameters["subscription"]).key + "/"

        async def rows(after: str, limit: int) -> Sequence[Stored[ResourceGroup]]:
            return await GROUPS.list(self._store, prefix=prefix, after=after, limit=limit)

        return Reply.json(await page_of(call.request, rows, keep=keep, show=show))

    async def get(self, call: Call) -> Reply:
        row = await GROUPS.get(self._store, call.scope.key)
        if row is None:
            raise group_not_found(call.parameters["group"])
        return Reply.json(present_group(row.value))

    async def head(self, call: Call) -> Reply:
        return Reply(404 if await GROUPS.get(self._store, call.scope.key) is None else 204)

    async def put(self, call: Call) -> Reply:
        envelope = parse_envelope(parse_object(call.request.body))
        name = checked_group_name(call.parameters["group"])
        given = (envelope.location or "").replace(" ", "").lower()
        if not given:
            raise InvalidInput("The location property is required for this definition.", code="LocationRequired")
        if given not in call.cloud.locations:
            raise InvalidInput(
                f"The provided location '{given[:100]}' is not available for resource group. List of available "
                f"regions is '{','.join(call.cloud.locations)}'.",
                code="LocationNotAvailableForResourceGroup",
            )
        async with self._store.transaction() as tx:
            row = await GROUPS.get(tx, call.scope.key)
            before = row.value if row else None
            _not_deleting(before)
            if before is not None and before.location != given:
                raise Conflict(
                    f"Invalid resource group location '{given}'. The Resource group already exists in location "
                    f"'{before.location}'.",
                    code="InvalidResourceGroupLocation",
                )
            subscription = await get_subscription(tx, call.parameters["subscription"])
            if subscription is None:
                raise subscription_not_found(call.parameters["subscription"])
            managed_by = envelope.more.get("managedBy")
            group = ResourceGroup(
                id=before.id if before else str(ResourceId.group(subscription.id, name)),
                name=before.name if before else name,
                tenant_id=subscription.tenant_id,
                location=given,
                tags=checked_tags(envelope.tags),
                managed_by=managed_by if isinstance(managed_by, str) else "",
                created=before.created if before else self._clock.now(),
            )
            await GROUPS.put(tx, call.scope.key, group)
        return Reply.json(present_group(group), 200 if before else 201)

    async def patch(self, call: Call) -> Reply:
        envelope = parse_envelope(parse_object(call.request.body))
        async with self._store.transaction() as tx:
            row = await GROUPS.get(tx, call.scope.key)
            if row is None:
                raise group_not_found(call.parameters["group"])
            _not_deleting(row.value)
            group = row.value
            if envelope.tags is not None:  # replaced, not merged: as Resource Manager does for groups
                group = msgspec.structs.replace(group, tags=checked_tags(envelope.tags))
            await GROUPS.put(tx, call.scope.key, group)
        return Reply.json(present_group(group))

    async def delete(self, call: Call) -> Reply:
        assert call.caller is not None
        operation = await self._engine.delete_group(call.scope, call.caller, call.cloud, call.api_version)
        if operation is None:
            raise group_not_found(call.parameters["group"])
        retry = str(self._engine.operations.retry_after)
        return Reply(202, headers=(("Location", result_location(call.request, operation)), ("Retry-After", retry)))

    async def resources(self, call: Call) -> Reply:
        caller = call.caller
        assert caller is not None
        names = ("resourceType", "name", "location", "resourceGroup", "tagName", "tagValue")
        wanted = parse_filter(call.request.query.get("$filter"), names)
        expand = call.request.query.get("$expand") or ""
        scope = ResourceId.subscription(call.parameters["subscription"])
        if "group" in call.parameters:
            scope = ResourceId.group(call.parameters["subscription"], call.parameters["group"])
            if await GROUPS.get(self._store, scope.key) is None:
                raise group_not_found(call.parameters["group"])

        async def keep(row: Resource) -> bool:
            id = ResourceId.parse(row.id)
            kind = self._engine.registry.find(row.type)
            if kind is None or not (kind.tracked or (kind.location_kept and row.location)):
                return False
            facts = {
                "resourceType": row.type,
                "name": row.name,
                "location": row.location,
                "resourceGroup": id.resource_group or "",
            }
            read = Action(f"{kind.name}/read")
            return _fits(wanted, facts, row.tags) and await self._guard.allows(caller, read, id)

        async def show(row: Resource) -> dict[str, Any]:
            return present_generic(row, expand)

        kinds = [part[2].lower() for part in wanted if part[:2] == ("resourceType", "eq")]
        prefix = f"{scope.key}/"

        async def rows(after: str, limit: int) -> Sequence[Stored[Resource]]:
            if kinds:
                return await RESOURCES.find(self._store, "type", kinds[0], prefix=prefix, after=after, limit=limit)
            return await RESOURCES.list(self._store, prefix=prefix, after=after, limit=limit)

        return Reply.json(await page_of(call.request, rows, keep=keep, show=show))


def _fits(wanted: list[tuple[str, str, str]], facts: Mapping[str, str], tags: Mapping[str, str]) -> bool:
    """`tagName` and `tagValue` are about one and the same tag; everything else about the row."""
    of_tags = [part for part in wanted if part[0] in ("tagName", "tagValue")]
    if not all(holds(part, facts) for part in wanted if part not in of_tags):
        return False
    return not of_tags or any(
        all(holds(part, {"tagName": name, "tagValue": value}) for part in of_tags) for name, value in tags.items()
    )


def _not_deleting(group: ResourceGroup | None) -> None:
    if group is not None and group.provisioning_state == DELETING:
        raise Conflict(
            f"The resource group '{group.name}' is in deprovisioning state and cannot perform this operation.",
            code="ResourceGroupBeingDeleted",
        )
