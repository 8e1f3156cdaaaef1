"""What clients send: role assignments and role definitions, parsed into values. Raises `InvalidInput`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from keyfob.access.roles import Permission, guid, role_guid
from keyfob.errors import InvalidInput
from keyfob.resource_id import ResourceId

PRINCIPAL_TYPES = ("User", "Group", "ServicePrincipal", "ForeignGroup", "Device")
_PATTERN = re.compile(r"\*|[A-Za-z0-9*][A-Za-z0-9_.$*-]*(/[A-Za-z0-9_.$*-]+)+")
_CONDITION = (
    "Conditions are not supported: they would not be evaluated. Give the role without a condition, or a narrower role."
)


@dataclass(frozen=True, slots=True)
class NewAssignment:
    """`principal_type` is "" where the body has none, or its api-version knows none."""

    principal_id: str
    role_id: str
    principal_type: str = ""
    description: str | None = None
    can_delegate: bool = False
    delegated_identity: str | None = None


@dataclass(frozen=True, slots=True)
class NewDefinition:
    name: str
    description: str
    permissions: tuple[Permission, ...]
    assignable_scopes: tuple[ResourceId, ...]


def parse_assignment(body: bytes, *, name: str, scope: ResourceId, api_version: str) -> NewAssignment:
    """`properties` may be missing around the members, as in bodies of 2015."""
    properties = _properties(body)
    if _text(properties, "condition") or _text(properties, "conditionVersion"):
        raise InvalidInput(_CONDITION, code="ConditionNotSupported", target="condition")
    given = _text(properties, "scope")
    if given and ResourceId.parse(given) != scope:
        raise _bad_assignment(
            name, f"Role assignment scope '{given}' must match the scope specified on the URI '{scope}'."
        )
    role = _text(properties, "roleDefinitionId")
    principal = _text(properties, "principalId")
    for member, value in (("roleDefinitionId", role), ("principalId", principal)):
        if not value:
            raise _bad_assignment(name, f"The property '{member}' is required.")
    role_id = role_guid(role)
    if role_id is None:
        raise InvalidInput(f"The role definition ID '{role}' is not valid.", code="InvalidRoleDefinitionId")
    principal_id = guid(principal)
    if principal_id is None:
        raise InvalidInput(
            f"The Principal ID '{principal}' is not valid. Principal ID must be a GUID.", code="InvalidPrincipalId"
        )
    return NewAssignment(
        principal_id=principal_id,
        role_id=role_id,
        principal_type=_principal_type(properties) if api_version >= "2018-09-01" else "",
        description=_text(properties, "description") or None,
        can_delegate=properties.get("canDelegate") is True,
        delegated_identity=_text(properties, "delegatedManagedIdentityResourceId") or None,
    )


def parse_definition(body: bytes) -> NewDefinition:
    properties = _properties(body)
    kind = _text(properties, "type")
    if kind and kind.lower() != "customrole":
        raise InvalidInput(f"The role definition type '{kind}' is not valid.", code="InvalidRoleDefinitionType")
    name = _text(properties, "roleName").strip()
    if not name or len(name) > 512:
        raise InvalidInput("The role definition name cannot be null or empty.", code="RoleDefinitionNameNullOrEmpty")
    permissions = _permissions(properties)
    scopes = _scopes(properties)
    if any(p.data_actions or p.not_data_actions for p in permissions) and any(map(is_management_group, scopes)):
        raise InvalidInput(
            "You cannot add data action permissions when you have a management group as an assignable scope.",
            code="InvalidRoleDefinition",
        )
    return NewDefinition(name, _text(properties, "description"), permissions, scopes)


def is_management_group(scope: ResourceId) -> bool:
    return scope.type.lower() == "microsoft.management/managementgroups"


def _properties(body: bytes) -> Mapping[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(
            f"The request content was invalid and could not be deserialized: '{error}'.", code="InvalidRequestContent"
        ) from None
    properties = value.get("properties", value) if isinstance(value, dict) else None
    if not isinstance(properties, dict):
        raise InvalidInput("The request content was invalid: an object is expected.", code="InvalidRequestContent")
    return properties


def _text(properties: Mapping[str, Any], name: str) -> str:
    value = properties.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidInput(f"The property '{name}' must be a string.", code="InvalidRequestContent", target=name)
    return value or ""


def _principal_type(properties: Mapping[str, Any]) -> str:
    given = _text(properties, "principalType")
    if not given:
        return ""
    for known in PRINCIPAL_TYPES:
        if known.lower() == given.lower():
            return known
    raise InvalidInput(f"The principal type '{given}' is not valid.", code="InvalidPrincipalType")


def _permissions(properties: Mapping[str, Any]) -> tuple[Permission, ...]:
    try:
        permissions = msgspec.convert(properties.get("permissions") or [], list[_Given])
    except msgspec.ValidationError as error:
        raise InvalidInput(f"The permissions are not valid: {error}.", code="InvalidRequestContent") from None
    for given in permissions:
        if given.condition:
            raise InvalidInput(_CONDITION, code="ConditionNotSupported", target="condition")
        for patterns, data in (
            ((given.actions or []) + (given.not_actions or []), ""),
            ((given.data_actions or []) + (given.not_data_actions or []), "Data"),
        ):
            for pattern in patterns:
                if len(pattern) > 512 or not _PATTERN.fullmatch(pattern):
                    raise InvalidInput(
                        f"'{pattern[:100]}' does not match any of the actions supported by the providers.",
                        code=f"Invalid{data}ActionOrNot{data}Action",
                    )
    return tuple(
        Permission(
            actions=tuple(given.actions or ()),
            not_actions=tuple(given.not_actions or ()),
            data_actions=tuple(given.data_actions or ()),
            not_data_actions=tuple(given.not_data_actions or ()),
        )
        for given in permissions
    )


class _Given(msgspec.Struct, rename="camel"):
    """A permission as clients send it: lists may be null."""

    actions: list[str] | None = None
    not_actions: list[str] | None = None
    data_actions: list[str] | None = None
    not_data_actions: list[str] | None = None
    condition: str | None = None


def _scopes(properties: Mapping[str, Any]) -> tuple[ResourceId, ...]:
    given = properties.get("assignableScopes")
    if not given or not isinstance(given, list):
        raise InvalidInput("The role definition must have assignable scopes.", code="MissingAssignableScopes")
    scopes = []
    for text in given:
        try:
            scope = ResourceId.parse(text if isinstance(text, str) else "")
        except InvalidInput:
            scope = None
        if scope is None or not (scope.subscription_id or is_management_group(scope)):
            raise InvalidInput(
                f"Property id '{text}' at path 'properties.assignableScopes' is invalid. Expect fully qualified "
                "resource Id that start with '/subscriptions/{subscriptionId}' or "
                "'/providers/{resourceProviderNamespace}/'.",
                code="LinkedInvalidPropertyId",
            )
        scopes.append(scope)
    return tuple(scopes)


def _bad_assignment(name: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"The request to create role assignment '{name}' is not valid. {why}", code="InvalidCreateRoleAssignmentRequest"
    )
