"""Stored values as replies show them."""

from __future__ import annotations

from typing import Any

from keyfob.arm.model import Resource, ResourceGroup
from keyfob.arm.resources import get_resource
from keyfob.clock import iso
from keyfob.declare import ResourceType
from keyfob.identities.reconcile import type_text
from keyfob.resource_id import ResourceId
from keyfob.store.port import Session

_SYSTEM_DATA_SINCE = "2020-06-01"


async def present(
    session: Session, resource: Resource, kind: ResourceType, api_version: str, expand: str = ""
) -> dict[str, Any]:
    """A resource in the form of an api-version its type takes."""
    shown: dict[str, Any] = {"id": resource.id, "name": resource.name, "type": resource.type}
    if kind.tracked:
        shown |= {"location": resource.location, "tags": resource.tags}
    else:
        if kind.location_kept and resource.location:
            shown["location"] = resource.location
        if resource.tags:
            shown["tags"] = resource.tags
    for name in ("sku", "kind", "plan"):
        value = getattr(resource, name)
        if value is not None:
            shown[name] = value
    if resource.zones:
        shown["zones"] = list(resource.zones)
    identity = await present_identity(session, resource, kind, api_version)
    if identity is not None:
        shown["identity"] = identity
    properties = dict(kind.operations.present(resource, api_version, expand))
    if kind.provisioning_state:
        properties["provisioningState"] = resource.provisioning_state
    shown["properties"] = properties
    shown |= {name: value for name, value in resource.more.items() if name not in shown}
    if api_version >= _SYSTEM_DATA_SINCE and resource.created_by:
        shown["systemData"] = system_data(resource)
    return kind.finish(resource, shown, api_version) if kind.finish is not None else shown


async def present_identity(
    session: Session, resource: Resource, kind: ResourceType, api_version: str
) -> dict[str, Any] | None:
    """None when it has none: the member is then left out. A user-assigned identity that was deleted is still listed,
    with nothing behind it, also when another has its name now."""
    identity = resource.identity
    if not identity:
        return None
    shown: dict[str, Any] = {"type": type_text(identity.system is not None, bool(identity.user), kind.identity.joined)}
    if identity.system is not None:
        shown |= {"principalId": identity.system.principal_id, "tenantId": resource.tenant_id}
    if not identity.user:
        return shown
    if api_version in kind.identity.array_versions:
        shown["identityIds"] = list(identity.user)
        return shown
    entries: dict[str, dict[str, Any]] = {}
    for text in identity.user:
        id = ResourceId.parse(text)
        found = await get_resource(session, id)
        properties = found.properties if found else {}
        if not identity.means(id, str(properties.get("principalId", ""))):
            properties = {}
        entries[text] = {name: properties[name] for name in ("principalId", "clientId") if name in properties}
    shown["userAssignedIdentities"] = entries
    return shown


def system_data(resource: Resource) -> dict[str, Any]:
    def kind(user: bool) -> str:
        return "User" if user else "Application"

    return {
        "createdBy": resource.created_by,
        "createdByType": kind(resource.created_by_user),
        "createdAt": iso(resource.created),
        "lastModifiedBy": resource.changed_by,
        "lastModifiedByType": kind(resource.changed_by_user),
        "lastModifiedAt": iso(resource.changed),
    }


def present_group(group: ResourceGroup) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": group.id,
        "name": group.name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": group.location,
        "tags": group.tags,
        "properties": {"provisioningState": group.provisioning_state},
    }
    if group.managed_by:
        shown["managedBy"] = group.managed_by
    return shown


def present_generic(resource: Resource, expand: str) -> dict[str, Any]:
    """A row of `/resources`: no properties; times only when they are asked for."""
    shown: dict[str, Any] = {"id": resource.id, "name": resource.name, "type": resource.type}
    if resource.location:
        shown["location"] = resource.location
    if resource.tags:
        shown["tags"] = resource.tags
    for name in ("sku", "kind", "plan"):
        value = getattr(resource, name)
        if value is not None:
            shown[name] = value
    if resource.identity:
        system = resource.identity.system
        shown["identity"] = {"type": type_text(system is not None, bool(resource.identity.user))}
        if system is not None:
            shown["identity"] |= {"principalId": system.principal_id, "tenantId": resource.tenant_id}
    wanted = {part.strip().lower() for part in expand.split(",")}
    if "createdtime" in wanted:
        shown["createdTime"] = iso(resource.created)
    if "changedtime" in wanted:
        shown["changedTime"] = iso(resource.changed)
    if "provisioningstate" in wanted:
        shown["provisioningState"] = resource.provisioning_state
    return shown
