"""Stored resources and groups: reading them, and the collections that the engine writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keyfob.arm.model import LongOperation, Resource, ResourceGroup, Subscription
from keyfob.errors import NotFound
from keyfob.resource_id import ResourceId
from keyfob.store.port import Session
from keyfob.store.records import Records, Stored


def _resource_indexes(resource: Resource) -> Mapping[str, str | Sequence[str]]:
    kind = resource.type.lower()
    return {
        "type": kind,
        "name": f"{kind}/{resource.name.lower()}",
        "identity": [ResourceId.parse(id).key for id in (resource.identity.user if resource.identity else ())],
    }


def _operation_indexes(operation: LongOperation) -> Mapping[str, str | Sequence[str]]:
    if operation.ended:
        return {}
    groups = (operation.resource_id, operation.target) if operation.kind == "move" else ()
    return {"unfinished": "yes", "moving": [ResourceId.parse(group).key for group in groups]}


RESOURCES = Records("arm.resources", Resource, index=_resource_indexes)
"""Key: `ResourceId.key`."""
GROUPS = Records("arm.groups", ResourceGroup)
"""Key: `ResourceId.key`."""
SUBSCRIPTIONS = Records("arm.subscriptions", Subscription, index=lambda s: {"tenant": s.tenant_id})
"""Key: the subscription's GUID in lower case."""
OPERATIONS = Records("arm.operations", LongOperation, index=_operation_indexes)
"""Key: the operation's GUID."""


class Resources:
    """The reader that layers below and beside the engine are given: `identities.model.ResourceReader`."""

    @property
    def topic(self) -> str:
        return RESOURCES.topic

    async def get(self, session: Session, id: ResourceId) -> Resource | None:
        return await get_resource(session, id)

    async def using(self, session: Session, identity: ResourceId) -> list[Resource]:
        return [row.value for row in await RESOURCES.find(session, "identity", identity.key)]

    async def subscription_name(self, session: Session, subscription_id: str) -> str:
        row = await SUBSCRIPTIONS.get(session, subscription_id.lower())
        return row.value.display_name if row else ""


async def get_resource(session: Session, id: ResourceId) -> Resource | None:
    row = await RESOURCES.get(session, id.key)
    return row.value if row else None


async def list_resources(session: Session, scope: ResourceId, *, type_name: str | None = None) -> list[Resource]:
    """Every resource at or below a scope, by key; of one type when it is given."""
    if type_name is None:
        rows = await RESOURCES.list(session, prefix=scope.key if scope.segments else "")
    else:
        rows = await RESOURCES.find(session, "type", type_name.lower())
    return [row.value for row in rows if scope.contains(ResourceId.parse(row.value.id))]


async def find_by_name(session: Session, type_name: str, name: str) -> Resource | None:
    """The resource of that type and name in any group: for names that are unique in the cloud, such as vaults'."""
    found = await RESOURCES.find(session, "name", f"{type_name}/{name}".lower())
    return found[0].value if found else None


async def below(session: Session, id: ResourceId) -> list[Stored[Resource]]:
    """Children and extensions of a resource, or what is in a group: deepest first, so that they can go first."""
    rows = await RESOURCES.list(session, prefix=f"{id.key}/")
    return sorted(rows, key=lambda row: (-row.key.count("/"), row.key))


async def get_group(session: Session, id: ResourceId) -> ResourceGroup | None:
    """The group that a scope lies in."""
    if id.subscription_id is None or id.resource_group is None:
        return None
    row = await GROUPS.get(session, ResourceId.group(id.subscription_id, id.resource_group).key)
    return row.value if row else None


async def get_subscription(session: Session, subscription_id: str) -> Subscription | None:
    row = await SUBSCRIPTIONS.get(session, subscription_id.lower())
    return row.value if row else None


async def get_operation(session: Session, id: str) -> LongOperation | None:
    row = await OPERATIONS.get(session, id) if id else None
    return row.value if row else None


def resource_not_found(id: ResourceId) -> NotFound:
    names = "/".join(part for pair in zip(id.type.split("/")[1:], id.names, strict=False) for part in pair)
    where = f" under resource group '{id.resource_group}'" if id.resource_group else ""
    return NotFound(
        f"The Resource '{id.namespace}/{names}'{where} was not found. For more details please go to "
        "https://aka.ms/ARMResourceNotFoundFix",
        code="ResourceNotFound",
    )


def group_not_found(name: str) -> NotFound:
    return NotFound(f"Resource group '{name}' could not be found.", code="ResourceGroupNotFound")
