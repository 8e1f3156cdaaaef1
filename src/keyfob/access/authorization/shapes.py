"""How Microsoft.Authorization writes its objects, by api-version."""

from __future__ import annotations

from typing import Any

from keyfob.access.assignments import DenyAssignment, DenyPrincipal, RoleAssignment
from keyfob.access.roles import Permission, RoleDefinition
from keyfob.clock import iso
from keyfob.resource_id import ResourceId

_LONG_AGO = "0001-01-01T08:00:00.0000000Z"
"""`createdOn` of built-in roles whose making nobody wrote down, as the service has it."""


def role_id(guid: str, scope: ResourceId) -> str:
    """Below a subscription an id names it: azure-cli compares the two spellings of an assignment's role exactly."""
    of = f"/subscriptions/{scope.subscription_id}" if scope.subscription_id else ""
    return f"{of}/providers/Microsoft.Authorization/roleDefinitions/{guid}"


def role_assignment(assignment: RoleAssignment, api_version: str, asked: ResourceId | None = None) -> dict[str, Any]:
    """`principalType` since 2018-09-01-preview; `canDelegate` in the previews of 2018 to April 2020; condition and
    description since 2020-03-01-preview (OpenAPI documents).

    `asked` is the scope of the request: one that holds from above a subscription names its role as the definitions
    listed there are named, or azure-cli shows it without the role's name.
    """
    scope = ResourceId.parse(assignment.scope)
    properties: dict[str, Any] = {
        "roleDefinitionId": role_id(assignment.role_id, scope if asked is None or scope.subscription_id else asked),
        "principalId": assignment.principal_id,
    }
    if api_version >= "2018-09-01":
        properties["principalType"] = assignment.principal_type or "Unknown"
    properties["scope"] = str(scope)
    if "2018-01-01" <= api_version < "2020-08-01":
        properties["canDelegate"] = assignment.can_delegate
    if api_version >= "2020-03-01":
        properties |= {"condition": None, "conditionVersion": None}
    properties |= _made(assignment)
    if api_version >= "2020-03-01":
        properties |= {
            "delegatedManagedIdentityResourceId": assignment.delegated_identity,
            "description": assignment.description,
        }
    return {
        "properties": properties,
        "id": str(assignment.full_id),
        "type": "Microsoft.Authorization/roleAssignments",
        "name": assignment.id,
    }


def role_definition(role: RoleDefinition, scope: ResourceId, api_version: str) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "roleName": role.name,
        "type": "CustomRole" if role.custom else "BuiltInRole",
        "description": role.description,
        "assignableScopes": list(role.assignable_scopes),
        "permissions": [permission(p, api_version) for p in role.permissions],
    }
    properties |= _made(role)
    return {
        "properties": properties,
        "id": role_id(role.id, scope),
        "type": "Microsoft.Authorization/roleDefinitions",
        "name": role.id,
    }


def permission(value: Permission, api_version: str) -> dict[str, Any]:
    """Data actions are shown since 2018-01-01-preview; conditions where there is one, in the newest."""
    shown: dict[str, Any] = {"actions": list(value.actions), "notActions": list(value.not_actions)}
    if api_version >= "2018-01-01":
        shown |= {"dataActions": list(value.data_actions), "notDataActions": list(value.not_data_actions)}
    if api_version >= "2022-04-01" and value.condition is not None:
        shown |= {"condition": value.condition, "conditionVersion": value.condition_version}
    return shown


def deny_assignment(denial: DenyAssignment, api_version: str) -> dict[str, Any]:
    scope = ResourceId.parse(denial.scope)
    properties: dict[str, Any] = {
        "denyAssignmentName": denial.name,
        "description": denial.description,
        "permissions": [permission(p, api_version) for p in denial.permissions],
        "scope": str(scope),
        "doNotApplyToChildScopes": denial.this_scope_only,
        "principals": [_principal(p) for p in denial.principals],
        "excludePrincipals": [_principal(p) for p in denial.exclude_principals],
        "isSystemProtected": denial.system_protected,
    }
    if api_version >= "2022-04-01":
        properties |= {"condition": None, "conditionVersion": None, **_made(denial)}
    return {
        "properties": properties,
        "id": str(scope.provider("Microsoft.Authorization/denyAssignments", denial.id)),
        "type": "Microsoft.Authorization/denyAssignments",
        "name": denial.id,
    }


def _principal(principal: DenyPrincipal) -> dict[str, str]:
    return {"id": principal.id, "type": principal.type}


def _made(value: RoleAssignment | RoleDefinition | DenyAssignment) -> dict[str, Any]:
    return {
        "createdOn": iso(value.created) if value.created else _LONG_AGO,
        "updatedOn": iso(value.updated) if value.updated else _LONG_AGO,
        "createdBy": value.created_by or None,
        "updatedBy": value.updated_by or None,
    }
