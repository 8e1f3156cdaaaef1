"""Role definitions: what they are, what they grant, and the book in which they are looked up.

A role grants an action when one of its permissions does: `actions` minus that permission's own `notActions`; data
actions likewise and apart from them. A permission under a condition grants nothing here: conditions are not
evaluated, and what cannot be evaluated must not open a door.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import resources

import msgspec

from keyfob.access.patterns import Patterns
from keyfob.store.records import Records

OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
_PREVIEW = " (preview)"


class Permission(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One entry of a definition's `permissions`, spelled on the wire as it is stored."""

    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()
    condition: str | None = None
    condition_version: str | None = None


class RoleDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """`id` is the lower-case GUID; times are epoch seconds, 0 where nobody knows."""

    id: str
    name: str = ""
    """`roleName`, in its own spelling."""
    description: str = ""
    custom: bool = False
    permissions: tuple[Permission, ...] = ()
    assignable_scopes: tuple[str, ...] = ("/",)
    tenant_id: str = ""
    """Of a custom role; built-in roles are everybody's."""
    created: float = 0.0
    updated: float = 0.0
    created_by: str = ""
    updated_by: str = ""


class Grants:
    """A role's permissions (or a deny assignment's), prepared for questions."""

    __slots__ = ("_entries",)

    def __init__(self, permissions: Iterable[Permission]) -> None:
        self._entries = tuple(
            (
                Patterns(p.data_actions if data else p.actions),
                Patterns(p.not_data_actions if data else p.not_actions),
                p.condition is not None,
                data,
            )
            for p in permissions
            for data in (False, True)
            if (p.data_actions if data else p.actions)
        )

    def grant(self, action: str, data: bool) -> bool:
        """`action` in lower case."""
        return any(
            kind is data and not conditional and wanted.cover(action) and not excluded.cover(action)
            for wanted, excluded, conditional, kind in self._entries
        )

    def shortfall(self, action: str, data: bool) -> str:
        """Why `grant` said no, as the end of a sentence that begins with the role's name; "" when it is far off."""
        for wanted, excluded, conditional, kind in self._entries:
            if not wanted.cover(action):
                continue
            if kind is not data:
                return f"grants it only as a {'data' if kind else 'control-plane'} action"
            if conditional:
                return "grants it only under a condition, which is not evaluated"
            if excluded.cover(action):
                return f"excludes it by its {'notDataActions' if data else 'notActions'}"
        return ""


ROLE_DEFINITIONS = Records("access.role_definitions", RoleDefinition, index=lambda r: {"name": role_name_key(r)})
"""Custom roles, under `tenant/guid`."""


def role_name_key(role: RoleDefinition) -> str:
    return f"{role.tenant_id}/{role.name.lower()}"


def role_guid(reference: str) -> str | None:
    """The GUID in any form of role id: bare, `/providers/…/{guid}`, `/subscriptions/…/{guid}`. None: no GUID."""
    return guid(reference.rstrip("/").rpartition("/")[2])


def guid(text: str) -> str | None:
    """The canonical spelling of a GUID with hyphens in their places, else None."""
    try:
        value = str(uuid.UUID(text))
    except ValueError:
        return None
    return value if value == text.lower() else None


class RoleBook:
    """Every role a tenant has: the built-in ones, and its custom ones as `memory` keeps them up to date.

    The built-in ones are read when first asked for. Built-in roles win over custom ones of the same GUID.
    """

    def __init__(self, read: Callable[[], Mapping[str, RoleDefinition]] | None = None) -> None:
        self._read = read or read_built_in
        self._built_in: Mapping[str, RoleDefinition] | None = None
        self._names: dict[str, str] = {}
        self._custom: dict[tuple[str, str], RoleDefinition] = {}
        self._grants: dict[str, Grants] = {}

    @property
    def built_in(self) -> Mapping[str, RoleDefinition]:
        """By lower-case GUID."""
        if self._built_in is None:
            self._built_in = self._read()
        return self._built_in

    def get(self, reference: str, tenant_id: str = "") -> RoleDefinition | None:
        """By GUID, in any form of id."""
        wanted = role_guid(reference)
        if wanted is None:
            return None
        return self.built_in.get(wanted) or self._custom.get((tenant_id, wanted))

    def named(self, name: str, tenant_id: str = "") -> RoleDefinition | None:
        """By name without regard to case. Data roles were called `… (Preview)` once: with or without, it is found."""
        low = name.strip().lower()
        if not self._names:
            self._names = {role.name.lower(): role.id for role in self.built_in.values()}
        for spelling in (low, low.removesuffix(_PREVIEW), low + _PREVIEW):
            if spelling in self._names:
                return self.built_in[self._names[spelling]]
        return next((r for r in self.custom(tenant_id) if r.name.lower() == low), None)

    def custom(self, tenant_id: str) -> Iterator[RoleDefinition]:
        return (role for (tenant, _), role in self._custom.items() if tenant == tenant_id)

    def all(self, tenant_id: str) -> Iterator[RoleDefinition]:
        yield from self.built_in.values()
        yield from self.custom(tenant_id)

    def grants(self, role: RoleDefinition) -> Grants:
        """Of a built-in role, remembered."""
        if role.custom:
            return Grants(role.permissions)
        known = self._grants.get(role.id)
        if known is None:
            known = self._grants[role.id] = Grants(role.permissions)
        return known

    def put(self, role: RoleDefinition) -> None:
        self._custom[role.tenant_id, role.id] = role

    def drop(self, tenant_id: str, role_id: str) -> None:
        self._custom.pop((tenant_id, role_id), None)

    def replace(self, roles: Iterable[RoleDefinition]) -> None:
        """These are all the custom roles there are."""
        self._custom = {(role.tenant_id, role.id): role for role in roles}


class _Published(msgspec.Struct, frozen=True, rename="camel"):
    """A line of `data/roles.json`."""

    name: str
    role_name: str
    description: str = ""
    permissions: tuple[Permission, ...] = ()


def read_built_in() -> Mapping[str, RoleDefinition]:
    """The roles in the package's `access/data/roles.json`, by lower-case GUID."""
    data = resources.files("keyfob.access").joinpath("data", "roles.json").read_bytes()
    return {
        line.name: RoleDefinition(
            id=line.name, name=line.role_name, description=line.description, permissions=line.permissions
        )
        for line in msgspec.json.decode(data, type=list[_Published])
    }
