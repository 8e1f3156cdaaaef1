"""What a resource's identities become when a request's `identity` block meets what is there. Plain functions.

The rules, as the Compute, Web and Container Instance providers show them to azure-cli 2.91:

- `type` decides: without `SystemAssigned` the system identity goes, without `UserAssigned` all user-assigned ones
  go, `None` drops everything. It is read in any case and spacing.
- PATCH merges the map: a key with `null` detaches, one with an object attaches; a map that is absent, null or empty
  changes nothing. PUT replaces it. The older array `identityIds` always replaces.
- A block that is absent or null changes nothing on PATCH; on PUT the type's `absent_on_put` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keyfob.declare import IdentitySupport, OnPut
from keyfob.errors import InvalidInput, Problem
from keyfob.identities.model import StoredIdentity, user_assigned_id
from keyfob.resource_id import ResourceId

_ECHOED = frozenset({"principalid", "clientid"})
"""What replies put inside a map entry, and clients therefore send back."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What is to be. `listed` are the identities the request itself attaches: each needs `assign/action`."""

    system: bool
    user: tuple[ResourceId, ...]
    listed: tuple[ResourceId, ...] = ()
    given: bool = False
    """Whether the request had an identity block."""
    principals: Mapping[str, str] = field(default_factory=dict)
    """Key of an identity that is assigned by this request → the principal it has now."""


@dataclass(frozen=True, slots=True)
class Kinds:
    system: bool
    user: bool


def reconcile(before: StoredIdentity | None, block: Any, *, replace: bool, support: IdentitySupport) -> Reconciled:
    """`block` is the JSON value of `identity`, None when absent; `replace` is True for PUT. Raises `InvalidInput`."""
    had = before or StoredIdentity()
    attached = tuple(ResourceId.parse(id) for id in had.user)
    if block is None:
        if replace and support.absent_on_put is OnPut.REMOVE:
            return Reconciled(False, ())
        return Reconciled(had.system is not None, attached)
    if not isinstance(block, Mapping):
        raise _invalid("The identity of a resource must be an object.", "identity")
    members = {str(name).lower(): value for name, value in block.items()}
    kinds = _kinds(members.get("type"), had, attached, members, replace)
    changes, replace = _changes(members, replace)
    user = _merged(attached, changes, replace) if kinds.user else ()
    if kinds.user and not user:
        raise InvalidInput(
            "The identity type 'UserAssigned' requires at least one user assigned identity in "
            "'identity.userAssignedIdentities'.",
            code="InvalidParameter",
            target="identity.userAssignedIdentities",
        )
    _supported(kinds, support)
    keys = {id.key for id in user}
    listed = tuple(id for id, attach in changes.values() if attach and id.key in keys)
    return Reconciled(kinds.system, user, listed, given=True)


def parse_type(text: str) -> Kinds:
    """`systemassigned , UserAssigned` → both. Raises `InvalidInput` on any other word or a contradiction."""
    words = {word.strip().lower() for word in text.split(",")}
    if words == {"none"}:
        return Kinds(False, False)
    if not words <= {"systemassigned", "userassigned"}:
        raise _invalid(
            f"The identity type '{text[:100]}' is invalid. The supported types are 'None', 'SystemAssigned', "
            "'UserAssigned' and 'SystemAssigned, UserAssigned'.",
            "identity.type",
            code="InvalidIdentityType",
        )
    return Kinds("systemassigned" in words, "userassigned" in words)


def type_text(system: bool, user: bool, joined: str = "SystemAssigned, UserAssigned") -> str:
    """How replies spell the type. azure-cli compares the joined form exactly, space included."""
    if system and user:
        return joined
    return "SystemAssigned" if system else "UserAssigned" if user else "None"


def _kinds(
    text: Any, had: StoredIdentity, attached: tuple[ResourceId, ...], members: Mapping[str, Any], replace: bool
) -> Kinds:
    if isinstance(text, str) and text.strip():
        return parse_type(text)
    if text not in (None, "") or replace:
        raise _invalid(
            "The identity type is required: 'SystemAssigned', 'UserAssigned', both, or 'None'.", "identity.type"
        )
    # a PATCH without a type changes the map only
    changes, whole = _changes(members, replace)
    return Kinds(had.system is not None, bool(_merged(attached, changes, whole)))


def _changes(members: Mapping[str, Any], replace: bool) -> tuple[dict[str, tuple[ResourceId, bool]], bool]:
    """The request's identities by key, each with whether it is attached (else detached), and whether they replace."""
    changes: dict[str, tuple[ResourceId, bool]] = {}
    array = members.get("identityids")
    if array is not None:
        if not isinstance(array, list):
            raise _invalid("The property 'identityIds' must be an array of resource ids.", "identity.identityIds")
        for text in array:
            id = _identity_id(text, "identity.identityIds")
            changes.setdefault(id.key, (id, True))
        return changes, True
    given = members.get("userassignedidentities")
    if given is None:
        return changes, replace
    if not isinstance(given, Mapping):
        raise _invalid(
            "The property 'userAssignedIdentities' must be an object whose keys are resource ids.",
            "identity.userAssignedIdentities",
        )
    for text, value in given.items():
        id = _identity_id(text, "identity.userAssignedIdentities")
        if value is not None and not (isinstance(value, Mapping) and {str(k).lower() for k in value} <= _ECHOED):
            raise InvalidInput(
                f"Invalid value for the identities '{id}'. The 'UserAssignedIdentities' property keys should only be "
                "empty json objects, null or the resource exisiting property.",
                code="InvalidIdentityValues",
                target="identity.userAssignedIdentities",
            )
        if id.key not in changes or value is not None:
            changes[id.key] = (id, value is not None)
    return changes, replace


def _merged(
    attached: tuple[ResourceId, ...], changes: Mapping[str, tuple[ResourceId, bool]], replace: bool
) -> tuple[ResourceId, ...]:
    """Those that stay keep their place and spelling; new ones follow in the order given."""
    kept = [id for id in attached if (changes[id.key][1] if id.key in changes else not replace)]
    known = {id.key for id in attached}
    return (*kept, *(id for id, attach in changes.values() if attach and id.key not in known))


def _supported(kinds: Kinds, support: IdentitySupport) -> None:
    missing = [
        name
        for name, wanted, taken in (
            ("SystemAssigned", kinds.system, support.system),
            ("UserAssigned", kinds.user, support.user),
        )
        if wanted and not taken
    ]
    if missing:
        raise _invalid(
            f"The identity type '{', '.join(missing)}' is not supported for this resource type.",
            "identity.type",
            code="IdentityTypeNotSupported",
        )


def _identity_id(text: Any, path: str) -> ResourceId:
    try:
        id = user_assigned_id(ResourceId.parse(text)) if isinstance(text, str) else None
    except Problem:
        id = None
    if id is None:
        raise InvalidInput(
            f"Property id '{str(text)[:200]}' at path '{path}' is invalid. Expect fully qualified resource Id that "
            "start with '/subscriptions/{subscriptionId}' or '/providers/{resourceProviderNamespace}/' and names a "
            "'Microsoft.ManagedIdentity/userAssignedIdentities' resource.",
            code="LinkedInvalidPropertyId",
            target=path,
        )
    return id


def _invalid(message: str, target: str, code: str = "InvalidRequestContent") -> InvalidInput:
    return InvalidInput(message, code=code, target=target)
