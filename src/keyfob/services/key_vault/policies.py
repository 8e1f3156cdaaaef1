"""The vault's own access policies: who may do what, where role assignments are not used.

A policy names a principal (or a group that holds it) and lists permissions. `applicationId` narrows one to a user who
comes through that application ("compound identity").
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keyfob.declare import Action, Allowed, Caller, Decision, Denied, Target
from keyfob.errors import InvalidInput
from keyfob.resource_id import ResourceId

MOST = 1024


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


PERMISSIONS: Mapping[str, frozenset[str]] = {
    "keys": _names(
        "all encrypt decrypt wrapkey unwrapkey sign verify get list create update import delete backup restore recover "
        "purge release rotate getrotationpolicy setrotationpolicy"
    ),
    "secrets": _names("all get list set delete backup restore recover purge"),
    "certificates": _names(
        "all get list delete create import update managecontacts getissuers listissuers setissuers deleteissuers "
        "manageissuers recover purge backup restore"
    ),
    "storage": _names(
        "all get list delete set update regeneratekey recover purge backup restore setsas listsas getsas deletesas"
    ),
}
"""As keyvault.json 2023-07-01 enumerates them, lower-case."""

_SECRETS = "Microsoft.KeyVault/vaults/secrets/"
LIST = Action(_SECRETS + "readMetadata/action", data=True)
GET = Action(_SECRETS + "getSecret/action", data=True)
SET = Action(_SECRETS + "setSecret/action", data=True)
UPDATE = Action(_SECRETS + "update/action", data=True)
DELETE = Action(_SECRETS + "delete", data=True)
BACKUP = Action(_SECRETS + "backup/action", data=True)
RESTORE = Action(_SECRETS + "restore/action", data=True)
RECOVER = Action(_SECRETS + "recover/action", data=True)
PURGE = Action(_SECRETS + "purge/action", data=True)

PERMISSION_OF: Mapping[str, str] = {
    LIST.name: "list",
    GET.name: "get",
    SET.name: "set",
    UPDATE.name: "set",  # the permission model has no update of its own: `Set` covers it
    DELETE.name: "delete",
    BACKUP.name: "backup",
    RESTORE.name: "restore",
    RECOVER.name: "recover",
    PURGE.name: "purge",
}


def uses_roles(target: Target) -> bool:
    return target.properties.get("enableRbacAuthorization") is True


def permission(action: Action, scope: ResourceId, target: Target) -> str:
    """The permission a policy must list. A deleted secret is read with `get`, though its action is the listing one."""
    if action.name == LIST.name and len(scope.segments) > len(target.resource_id.segments):
        return "get" if scope.segments[-2] == "deletedsecrets" else "list"
    return PERMISSION_OF.get(action.name, "")


def authorize(caller: Caller, action: Action, scope: ResourceId, target: Target) -> Decision | None:
    """An `Authorizer`: decides for vaults with access policies, leaves the others to role assignments."""
    if uses_roles(target):
        return None
    wanted = permission(action, scope, target)
    considered: list[str] = []
    for policy in _policies(target.properties.get("accessPolicies")):
        whose = _text(policy.get("objectId"))
        if whose != caller.principal_id.lower() and whose not in {group.lower() for group in caller.groups}:
            continue
        if _text(policy.get("tenantId")) != caller.tenant_id.lower():
            considered.append(f"the policy of '{whose}' is for another tenant")
            continue
        through = _text(policy.get("applicationId"))
        if through and through != caller.app_id.lower():
            considered.append(f"the policy of '{whose}' is for callers through application '{through}'")
            continue
        granted = _granted(policy)
        if wanted and (wanted in granted or "all" in granted):
            return Allowed(by=f"access policy of '{whose}'", role=f"secrets {wanted}", scope=str(target.resource_id))
        considered.append(f"the policy of '{whose}' lists {', '.join(sorted(granted)) or 'nothing'} for secrets")
    reason = f"no access policy of vault '{target.name}' gives '{caller.principal_id}' secrets {wanted}"
    return Denied(reason, looked_at=tuple(considered))


def _granted(policy: Mapping[str, Any]) -> frozenset[str]:
    permissions = policy.get("permissions")
    listed = permissions.get("secrets") if isinstance(permissions, Mapping) else None
    return frozenset(str(name).lower() for name in listed) if isinstance(listed, Sequence) else frozenset()


def _policies(value: Any) -> list[Mapping[str, Any]]:
    return [policy for policy in value if isinstance(policy, Mapping)] if isinstance(value, Sequence) else []


def _text(value: Any) -> str:
    return value.lower() if isinstance(value, str) else ""


# --- as the control plane keeps them


def check(value: Any, tenant_id: str) -> list[dict[str, Any]]:
    """The `accessPolicies` member → what is stored. Raises `InvalidInput`."""
    if not isinstance(value, list) or len(value) > MOST:
        raise _bad(f"The 'accessPolicies' must be an array of at most {MOST} policies.")
    return [_check_one(policy, tenant_id) for policy in value]


def _check_one(policy: Any, tenant_id: str) -> dict[str, Any]:
    if not isinstance(policy, dict):
        raise _bad("An access policy must be an object.")
    if _guid(policy, "tenantId") != tenant_id.lower():
        raise _bad("An invalid value was provided for 'accessPolicies': all must have the vault's tenant id.")
    kept: dict[str, Any] = {"tenantId": policy["tenantId"], "objectId": policy.get("objectId")}
    _guid(policy, "objectId")
    if policy.get("applicationId") is not None:
        _guid(policy, "applicationId")
        kept["applicationId"] = policy["applicationId"]
    permissions = policy.get("permissions")
    if not isinstance(permissions, dict):
        raise _bad("An access policy must have 'permissions'.")
    kept["permissions"] = {}
    for kind, names in permissions.items():
        known = PERMISSIONS.get(kind)
        if known is None or names is None:
            continue
        if not isinstance(names, list) or not all(isinstance(name, str) and name.lower() in known for name in names):
            raise _bad(f"An invalid value was provided for 'permissions.{kind}'.")
        kept["permissions"][kind] = names
    return kept


def _guid(policy: Mapping[str, Any], name: str) -> str:
    try:
        return str(uuid.UUID(policy.get(name)))
    except (ValueError, TypeError, AttributeError):
        raise _bad(f"An invalid value was provided for 'accessPolicies': '{name}' must be a GUID.") from None


def _bad(message: str) -> InvalidInput:
    return InvalidInput(message, code="BadRequest")


def _whose(policy: Mapping[str, Any]) -> tuple[str, str]:
    return _text(policy.get("objectId")), _text(policy.get("applicationId"))


def combine(kind: str, before: Sequence[Any], given: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """`PUT …/accessPolicies/{add|replace|remove}`: each works on the principals it names and leaves the others."""
    result = {_whose(policy): dict(policy) for policy in _policies(before)}
    merge: Callable[[list[str], list[str]], list[str]] = _added if kind == "add" else _removed
    for policy in given:
        whose = _whose(policy)
        held = result.get(whose)
        if kind == "replace" or (held is None and kind == "add"):
            result[whose] = policy
        elif held is not None:
            kinds = dict.fromkeys((*held["permissions"], *policy["permissions"]))
            merged = {
                name: merge(held["permissions"].get(name, []), policy["permissions"].get(name, [])) for name in kinds
            }
            result[whose] = {**held, "permissions": merged}
            if not any(merged.values()):
                del result[whose]
    return list(result.values())


def _added(held: list[str], given: list[str]) -> list[str]:
    there = {name.lower() for name in held}
    return [*held, *(name for name in given if name.lower() not in there)]


def _removed(held: list[str], given: list[str]) -> list[str]:
    gone = {name.lower() for name in given}
    return [name for name in held if name.lower() not in gone]
