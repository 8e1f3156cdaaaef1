"""What every resource type gets: PUT, PATCH and DELETE, each one transaction. No HTTP here.

The pipeline has authenticated and authorised; a template deployment calls the same methods as the same principal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from keyfob.access.assignments import assignments_within, unassign
from keyfob.access.guard import Guard
from keyfob.arm.body import (
    Envelope,
    checked_location,
    checked_name,
    checked_tags,
    merged,
    parse_envelope,
)
from keyfob.arm.dialect import linked_forbidden
from keyfob.arm.model import DELETING, SUCCEEDED, LongOperation, Resource, without
from keyfob.arm.operations import Operations, Perform, Preempted
from keyfob.arm.registry import Registry
from keyfob.arm.resources import (
    GROUPS,
    RESOURCES,
    below,
    get_group,
    get_operation,
    get_resource,
    get_subscription,
    group_not_found,
    resource_not_found,
)
from keyfob.clock import Clock, Ids
from keyfob.clouds.cloud import Cloud
from keyfob.declare import Action, Caller, Change, Level, ResourceType, Work
from keyfob.errors import Conflict, Forbidden, InvalidInput, NotFound, PreconditionFailed
from keyfob.identities.availability import Rules
from keyfob.identities.lifecycle import apply_identity, remove_identity, suspend_identity
from keyfob.identities.model import StoredIdentity
from keyfob.identities.reconcile import Reconciled, reconcile
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store, Transaction
from keyfob.store.records import Stored
from keyfob.wire.http import Reply

ASSIGN = Action("Microsoft.ManagedIdentity/userAssignedIdentities/assign/action")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked of a resource, by whom; authorised."""

    id: ResourceId
    kind: ResourceType
    method: str
    caller: Caller
    cloud: Cloud
    tenant_id: str
    api_version: str
    request_id: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    if_match: str | None = None
    if_none_match: str | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    url: str = ""

    def action(self, verb: str) -> Action:
        return Action(f"{self.kind.name}/{verb}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it. `operation` is set when it goes on."""

    stored: Stored[Resource]
    created: bool = False
    operation: LongOperation | None = None
    notices: tuple[str, ...] = ()
    """Sentences for whoever asked: what is in preview."""


class Engine:
    def __init__(
        self,
        *,
        store: Store,
        registry: Registry,
        guard: Guard,
        clock: Clock,
        ids: Ids,
        clouds: Mapping[str, Cloud],
        operation_seconds: float = 0.0,
        availability: Rules | None = None,
        alone: bool = False,
    ) -> None:
        self.store = store
        self.registry = registry
        self._guard = guard
        self._availability = availability
        self._clock = clock
        self._ids = ids
        self._clouds = clouds
        self.performers: dict[str, Perform] = {}
        """What else operations are for, by their kind."""
        self.operations = Operations(
            store=store,
            clock=clock,
            ids=ids,
            seconds=operation_seconds,
            perform=self._perform,
            give_up=self._give_up,
            alone=alone,
        )

    # --- PUT and PATCH

    async def write(self, order: Order) -> Outcome:
        """Creates or changes a resource. Raises whatever `Problem` stands in the way; then nothing has changed."""
        envelope = parse_envelope(order.body, order.kind)
        if order.method == "PUT":
            checked_name(order.kind, order.id.name)
        async with self.store.transaction() as tx:
            row = await RESOURCES.get(tx, order.id.key)
            before = row.value if row else None
            check_conditions(row, order)
            if before is None and order.method == "PATCH":
                raise resource_not_found(order.id)
            if before is not None and before.provisioning_state == DELETING:
                raise Conflict(
                    f"The resource '{order.id}' is being deleted and cannot be changed.", code="ResourceBeingDeleted"
                )
            await self._place_is_there(tx, order)
            if order.method == "PATCH" and before is not None:
                envelope = merged(before, envelope)
            tags, location = self._common(order, envelope, before)
            wanted = reconcile(
                before.identity if before else None,
                envelope.identity,
                replace=order.method == "PUT",
                support=order.kind.identity,
            )
            notices = self._available(order, envelope, wanted)
            wanted = await self._may_assign(tx, order, wanted, before.identity if before else None)
            outcome = await self._store(tx, order, before, envelope, tags, location, wanted)
        if order.kind.work is not None and outcome.operation is not None:
            self.operations.carry_out(outcome.operation, order.kind.work.do(outcome.stored.value, order.body))
        return replace(outcome, notices=notices)

    async def _store(
        self,
        tx: Transaction,
        order: Order,
        before: Resource | None,
        envelope: Envelope,
        tags: dict[str, str],
        location: str,
        wanted: Reconciled,
    ) -> Outcome:
        now = self._clock.now()
        properties = await order.kind.operations.accept(
            self._change(tx, order, before, _body(envelope, tags, location), wanted)
        )
        identity = await apply_identity(
            tx,
            before.identity if before else None,
            wanted,
            tenant_id=order.tenant_id,
            resource=ResourceId.parse(before.id) if before else order.id,
            ids=self._ids,
            now=now,
        )
        operation = None
        if order.method in order.kind.long_running:
            operation = await self._begin(tx, order, "write", location, order.kind.work)
        state = SUCCEEDED if operation is None else order.kind.updating if before else "Creating"
        user = order.caller.claims.get("idtyp") == "user" or "upn" in order.caller.claims
        resource = Resource(
            id=before.id if before else str(canonical(order.id, order.kind)),
            type=order.kind.name,
            name=before.name if before else order.id.name,
            tenant_id=order.tenant_id,
            location=location,
            tags=tags,
            sku=envelope.sku,
            kind=envelope.kind,
            plan=envelope.plan,
            zones=envelope.zones or (),
            identity=identity,
            properties=without(properties, "provisioningState"),
            more=envelope.more,
            provisioning_state=state,
            operation=operation.id if operation else "",
            created=before.created if before else now,
            changed=now,
            created_by=before.created_by if before else order.caller.principal_id,
            changed_by=order.caller.principal_id,
            created_by_user=before.created_by_user if before else user,
            changed_by_user=user,
        )
        stored = await RESOURCES.put(tx, order.id.key, resource)
        return Outcome(stored, before is None, operation)

    def _common(self, order: Order, envelope: Envelope, before: Resource | None) -> tuple[dict[str, str], str]:
        """Tags and location, for the types that have them."""
        if not order.kind.tracked:
            kept = before.location if before else ""
            if order.kind.location_kept and envelope.location:
                kept = envelope.location.replace(" ", "").lower()[:90]
            return checked_tags(envelope.tags), kept
        given = (envelope.location or "").replace(" ", "").lower()
        if before is not None and given and given == before.location:
            return checked_tags(envelope.tags), given
        location = checked_location(envelope.location, order.cloud.locations, order.kind.name, also=("global",))
        if before is not None and before.location and location != before.location:
            raise Conflict(
                f"The resource '{before.name}' already exists in location '{before.location}' in resource group "
                f"'{order.id.resource_group}'. A resource with the same name cannot be created in location "
                f"'{location}'. Please select a new resource name.",
                code="InvalidResourceLocation",
            )
        return checked_tags(envelope.tags), location

    async def _place_is_there(self, tx: Transaction, order: Order) -> None:
        """The group, and of a child or an extension the resource it belongs to."""
        if order.id.resource_group is not None:
            group = await get_group(tx, order.id)
            if group is None:
                raise group_not_found(order.id.resource_group)
            if group.provisioning_state == DELETING:
                raise Conflict(
                    f"The resource group '{group.name}' is in deprovisioning state and cannot perform this operation.",
                    code="ResourceGroupBeingDeleted",
                )
        parent = order.id.parent
        if parent.namespace is None:
            return
        there = await get_resource(tx, parent)
        if there is None or there.provisioning_state == DELETING:
            names = "/".join(parent.names)
            raise NotFound(
                f"Can not perform requested operation on nested resource. Parent resource '{names}' not found.",
                code="ParentResourceNotFound",
            )

    # --- identities

    def _available(self, order: Order, envelope: Envelope, wanted: Reconciled) -> tuple[str, ...]:
        """What the cloud says to the identities that a request asks for; one that names none is not asked about."""
        if self._availability is None or not wanted.given:
            return ()
        os_type = (envelope.properties or {}).get("osType")
        return self._availability.judge(
            cloud=order.cloud.name,
            type=order.kind.name,
            kind=envelope.kind,
            os_type=os_type if isinstance(os_type, str) else None,
            system=wanted.system,
            user=bool(wanted.user),
        )

    async def _may_assign(
        self, tx: Transaction, order: Order, wanted: Reconciled, had: StoredIdentity | None
    ) -> Reconciled:
        """`assign/action` on every identity that the request lists, whether it is new there or not. One that does not
        exist, or belongs to another tenant, is refused in the same words. Gives them in their own spelling."""
        refused = []
        spelled = {}
        principals: dict[str, str] = {}
        for id in wanted.listed:
            identity = await get_resource(tx, id)
            if identity is not None:
                spelled[id.key] = ResourceId.parse(identity.id)
                principals[id.key] = str(identity.properties.get("principalId", ""))
            try:
                if identity is None or identity.tenant_id != order.tenant_id:
                    refused.append(id)
                else:
                    await self._guard.authorize(order.caller, ASSIGN, id, request_id=order.request_id)
            except Forbidden:
                refused.append(id)
        if refused:
            raise linked_forbidden(order.caller, order.action("write"), order.id, ASSIGN, refused)
        if not wanted.given:
            return wanted
        listed = {id.key for id in wanted.listed}
        for id in wanted.user:
            if id.key in listed:
                continue
            kept = await get_resource(tx, id)
            if kept is None or not (had or StoredIdentity()).means(id, str(kept.properties.get("principalId", ""))):
                raise InvalidInput(
                    f"Identity operation for resource '{order.id}' failed with error 'Failed to perform resource "
                    f'identity operation. Status: \'BadRequest\'. Response: \'{{"error":{{"code":"BadRequest",'
                    f'"message":"Resource \'{id}\' was not found."}}}}\'.',
                    code="FailedIdentityOperation",
                )
        user = tuple(spelled.get(id.key, id) for id in wanted.user)
        return replace(wanted, user=user, principals=principals)

    # --- DELETE

    async def delete(self, order: Order) -> Outcome | None:
        """Deletes a resource with its children, or begins to. None: there was nothing."""
        async with self.store.transaction() as tx:
            row = await RESOURCES.get(tx, order.id.key)
            check_conditions(row, order)
            if row is None:
                return None
            if "DELETE" not in order.kind.long_running:
                await self._remove_all(tx, order.id, order.caller, order.cloud)
                return Outcome(row)
            if row.value.provisioning_state == DELETING and (going_on := await get_operation(tx, row.value.operation)):
                return Outcome(row, operation=going_on)
            operation = await self._begin(tx, order, "delete", row.value.location)
            going = msgspec.structs.replace(row.value, provisioning_state=DELETING, operation=operation.id)
            await suspend_identity(tx, going.tenant_id, going.identity, enabled=False)
            return Outcome(await RESOURCES.put(tx, row.key, going), operation=operation)

    async def _remove_all(self, tx: Transaction, id: ResourceId, caller: Caller, cloud: Cloud) -> None:
        """A resource, or what is in a group, deepest first: each with its identity and what its type removes."""
        rows = await below(tx, id)
        own = await RESOURCES.get(tx, id.key)
        for row in [*rows, *([own] if own else [])]:
            resource = row.value
            kind = self.registry.find(resource.type)
            if kind is not None:  # a type that this version no longer has leaves nothing but its record
                await kind.operations.remove(
                    Change(
                        transaction=tx,
                        id=ResourceId.parse(resource.id),
                        method="DELETE",
                        before=resource,
                        body={},
                        caller=caller,
                        cloud=cloud,
                        tenant_id=resource.tenant_id,
                        api_version=kind.api_versions[0],
                        now=self._clock.now(),
                    )
                )
            await remove_identity(tx, resource.tenant_id, resource.identity)
            await RESOURCES.delete(tx, row.key)
        subscription = await get_subscription(tx, id.subscription_id or "")
        if subscription is not None:  # what is made here again under the same name must not inherit old rights
            for assignment in await assignments_within(tx, subscription.tenant_id, id):
                await unassign(tx, subscription.tenant_id, assignment.id)

    # --- POST

    async def act(self, order: Order, name: str) -> tuple[Reply, LongOperation | None]:
        """Runs a declared action on a resource that exists; gives the action's `Reply` and its operation."""
        action = order.kind.actions[name]
        async with self.store.transaction() as tx:
            row = await RESOURCES.get(tx, order.id.key)
            if row is None or row.value.provisioning_state == DELETING:
                raise resource_not_found(order.id)
            reply = await action.operation(self._change(tx, order, row.value, order.body))
            operation = None
            if action.long_running:
                operation = await self._begin(tx, order, "action", row.value.location, action.work)
        if action.work is not None and operation is not None:
            self.operations.carry_out(operation, action.work.do(row.value, order.body))
        return reply, operation

    # --- long-running operations

    async def delete_group(
        self, id: ResourceId, caller: Caller, cloud: Cloud, api_version: str
    ) -> LongOperation | None:
        """Begins to delete a group and everything in it. None: there is no such group."""
        async with self.store.transaction() as tx:
            row = await GROUPS.get(tx, id.key)
            if row is None:
                return None
            if row.value.provisioning_state == DELETING and (going_on := await get_operation(tx, row.value.operation)):
                return going_on
            operation = await self.operations.begin(
                tx,
                LongOperation(
                    id="",
                    kind="delete group",
                    tenant_id=row.value.tenant_id,
                    subscription_id=id.subscription_id or "",
                    cloud=cloud.name,
                    namespace="Microsoft.Resources",
                    location=row.value.location,
                    resource_id=row.value.id,
                    action="Microsoft.Resources/subscriptions/resourceGroups/read",
                    principal_id=caller.principal_id,
                    api_version=api_version,
                ),
            )
            going = msgspec.structs.replace(row.value, provisioning_state=DELETING, operation=operation.id)
            await GROUPS.put(tx, row.key, going)
            return operation

    async def _begin(
        self, tx: Transaction, order: Order, kind: str, location: str, work: Work | None = None
    ) -> LongOperation:
        return await self.operations.begin(
            tx,
            LongOperation(
                id="",
                kind=kind,
                tenant_id=order.tenant_id,
                subscription_id=order.id.subscription_id or "",
                cloud=order.cloud.name,
                namespace=order.kind.name.partition("/")[0],
                location=location,
                resource_id=str(canonical(order.id, order.kind)),
                action=order.action("read").name,
                principal_id=order.caller.principal_id,
                api_version=order.api_version,
            ),
            work,
        )

    async def _perform(self, tx: Transaction, operation: LongOperation) -> None:
        id = ResourceId.parse(operation.resource_id)
        caller = Caller(operation.tenant_id, operation.principal_id)
        if operation.kind == "delete group":
            group = await GROUPS.get(tx, id.key)
            if group is None or group.value.operation != operation.id:
                raise Preempted
            await self._remove_all(tx, id, caller, self._clouds[operation.cloud])
            await GROUPS.delete(tx, id.key)
            return
        if operation.kind == "action":
            return
        if operation.kind in self.performers:
            await self.performers[operation.kind](tx, operation)
            return
        row = await RESOURCES.get(tx, id.key)
        if row is None or row.value.operation != operation.id:
            raise Preempted
        if operation.kind == "delete":
            await self._remove_all(tx, id, caller, self._clouds[operation.cloud])
        else:
            done = msgspec.structs.replace(row.value, provisioning_state=SUCCEEDED, operation="")
            await RESOURCES.put(tx, row.key, done)

    async def _give_up(self, tx: Transaction, operation: LongOperation) -> None:
        """After a failure the resource, or the group, is as it was, and says so."""
        id = ResourceId.parse(operation.resource_id)
        group = await GROUPS.get(tx, id.key)
        if group is not None and group.value.operation == operation.id:
            back = msgspec.structs.replace(group.value, provisioning_state=SUCCEEDED, operation="")
            await GROUPS.put(tx, id.key, back)
        row = await RESOURCES.get(tx, id.key)
        if row is not None and row.value.operation == operation.id:
            await suspend_identity(tx, row.value.tenant_id, row.value.identity, enabled=True)
            failed = msgspec.structs.replace(row.value, provisioning_state="Failed", operation="")
            await RESOURCES.put(tx, row.key, failed)

    # ---

    def _change(
        self,
        tx: Transaction,
        order: Order,
        before: Resource | None,
        body: Mapping[str, Any],
        identities: Reconciled | None = None,
    ) -> Change:
        return Change(
            transaction=tx,
            id=ResourceId.parse(before.id) if before else canonical(order.id, order.kind),
            method=order.method,
            before=before,
            body=body,
            caller=order.caller,
            cloud=order.cloud,
            tenant_id=order.tenant_id,
            api_version=order.api_version,
            now=self._clock.now(),
            query=order.query,
            url=order.url,
            identities=identities,
        )


def canonical(id: ResourceId, kind: ResourceType) -> ResourceId:
    """The id with namespace and types spelled as they are declared."""
    namespace, *types = kind.name.split("/")
    start = len(id.segments) - 2 * len(types)
    segments = list(id.segments)
    segments[start - 1] = namespace
    segments[start::2] = types
    return ResourceId(tuple(segments))


def placed(kind: ResourceType, id: ResourceId) -> bool:
    """Whether resources of the type can have ids of this form."""
    if len(id.names) != kind.name.count("/"):
        return False
    outside = ResourceId(id.segments[: len(id.segments) - 2 - 2 * kind.name.count("/")])
    if kind.level in (Level.EXTENSION, Level.ANYWHERE):
        return outside.subscription_id is not None
    if outside.namespace is not None:
        return False
    return {
        Level.RESOURCE_GROUP: outside.resource_group is not None,
        Level.SUBSCRIPTION: outside.subscription_id is not None and outside.resource_group is None,
    }[kind.level]


def check_conditions(row: Stored[Any] | None, order: Order) -> None:
    """`If-Match` and `If-None-Match`. Raises `PreconditionFailed`."""
    new = row is None and order.kind.any_etag_creates and order.method == "PUT" and order.if_match == "*"
    if order.if_match is not None and not new and (row is None or not _matches(order.if_match, row.etag)):
        raise PreconditionFailed(
            f"The resource '{order.id}' has been modified (etag mismatch).", code="PreconditionFailed"
        )
    if order.if_none_match is not None and row is not None and _matches(order.if_none_match, row.etag):
        raise PreconditionFailed(f"The resource '{order.id}' exists already.", code="PreconditionFailed")


def _matches(given: str, etag: str) -> bool:
    return any(one.strip().removeprefix("W/").strip('"') in ("*", etag) for one in given.split(","))


def _body(envelope: Envelope, tags: dict[str, str], location: str) -> dict[str, Any]:
    """The body as the type's operations see it: what the resource is to become."""
    body: dict[str, Any] = {**envelope.more, "properties": envelope.properties or {}, "tags": tags}
    if location:
        body["location"] = location
    for name in ("sku", "kind", "plan", "zones"):
        value = getattr(envelope, name)
        if value is not None:
            body[name] = value
    return body
