"""Every operation of Microsoft Graph that is served: method, path, what it needs, what it does.

`{id}` is one segment. A list may be followed by `/$count`; a list of mixed objects also by `/$ref` and by a type
(`/microsoft.graph.user`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from keyfob.directory.graph import applications, credentials, groups, needs, objects, service_principals, users
from keyfob.directory.graph.asked import Asked, Operation
from keyfob.directory.graph.permissions import Needs
from keyfob.wire.http import Reply


@dataclass(frozen=True, slots=True)
class GraphRoute:
    method: str
    path: str
    needs: Needs
    operation: Operation

    def __post_init__(self) -> None:
        if not isinstance(self.needs, Needs):
            raise TypeError(f"{self.method} {self.path} says nothing of what it needs")


Rows: TypeAlias = Iterator[GraphRoute]
Row: TypeAlias = tuple[str, str, Needs, Operation]
"""As the tables below have it: method, path, what it needs, what it does."""
_COUNTED = ("", "/$count")
_MIXED = (*_COUNTED, "/$ref", "/{cast}", "/{cast}/$count")


class Collection(Protocol):
    """A module with the five operations of a collection."""

    async def list_all(self, asked: Asked, /) -> Reply: ...
    async def create(self, asked: Asked, /) -> Reply: ...
    async def get(self, asked: Asked, /) -> Reply: ...
    async def update(self, asked: Asked, /) -> Reply: ...
    async def delete(self, asked: Asked, /) -> Reply: ...


# --- what comes again at several collections


def _table(*rows: Row) -> Rows:
    return (GraphRoute(*row) for row in rows)


def _lists(path: str, tails: tuple[str, ...], needs: Needs, operation: Operation) -> Rows:
    return (GraphRoute("GET", path + tail, needs, operation) for tail in tails)


def _collection(name: str, module: Collection, read: Needs, create: Needs, update: Needs, delete: Needs) -> Rows:
    yield from _lists(name, _COUNTED, read, module.list_all)
    yield from _table(
        ("POST", name, create, module.create),
        ("GET", f"{name}/{{id}}", read, module.get),
        ("PATCH", f"{name}/{{id}}", update, module.update),
        ("DELETE", f"{name}/{{id}}", delete, module.delete),
    )


def _owners(collection: str, read: Needs, write: Needs) -> Rows:
    path = f"{collection}/{{id}}/owners"
    yield from _lists(path, _MIXED, read, groups.list_owners)
    yield from _table(
        ("POST", f"{path}/$ref", write, groups.add_owner_reference),
        ("DELETE", f"{path}/{{owner}}/$ref", write, groups.remove_owner_reference),
    )


def _membership(collection: str) -> Rows:
    path, read = f"{collection}/{{id}}", needs.READ_MEMBERSHIPS
    yield from _lists(f"{path}/memberOf", _MIXED, read, groups.member_of)
    yield from _lists(f"{path}/transitiveMemberOf", _MIXED, read, groups.transitive_member_of)
    yield from _table(
        ("POST", f"{path}/getMemberGroups", read, groups.get_member_groups),
        ("POST", f"{path}/getMemberObjects", read, groups.get_member_groups),
        ("POST", f"{path}/checkMemberGroups", read, groups.check_member_groups),
        ("POST", f"{path}/checkMemberObjects", read, groups.check_member_groups),
    )


def _passwords(collection: str, update: Needs) -> Rows:
    return _table(
        ("POST", f"{collection}/{{id}}/addPassword", update, credentials.add_password),
        ("POST", f"{collection}/{{id}}/removePassword", update, credentials.remove_password),
    )


def _assignments(path: str, listed: Operation) -> Rows:
    one = f"{path}/{{assignment}}"
    return _table(
        ("GET", path, needs.READ_ASSIGNMENTS, listed),
        ("POST", path, needs.ASSIGN, service_principals.assign),
        ("GET", one, needs.READ_ASSIGNMENTS, service_principals.get_assignment),
        ("DELETE", one, needs.UNASSIGN, service_principals.remove_assignment),
    )


# --- the collections


def _users() -> Rows:
    yield from _collection("users", users, needs.READ_USERS, needs.CREATE_USERS, needs.UPDATE_USERS, needs.DELETE_USERS)
    yield from _lists("users/{id}/ownedObjects", _MIXED, needs.READ_MEMBERSHIPS, users.owned)
    yield from _membership("users")
    yield from _assignments("users/{id}/appRoleAssignments", service_principals.list_assignments)
    yield from _table(("GET", "users/{id}/oauth2PermissionGrants", needs.READ_GRANTS, objects.list_grants))


def _groups() -> Rows:
    yield from _collection(
        "groups", groups, needs.READ_GROUPS, needs.CREATE_GROUPS, needs.UPDATE_GROUPS, needs.DELETE_GROUPS
    )
    yield from _lists("groups/{id}/members", _MIXED, needs.READ_GROUPS, groups.list_members)
    yield from _lists("groups/{id}/transitiveMembers", _MIXED, needs.READ_GROUPS, groups.list_transitive_members)
    yield from _table(
        ("POST", "groups/{id}/members/$ref", needs.UPDATE_MEMBERS, groups.add_member_reference),
        ("DELETE", "groups/{id}/members/{member}/$ref", needs.UPDATE_MEMBERS, groups.remove_member_reference),
    )
    yield from _owners("groups", needs.READ_GROUPS, needs.UPDATE_GROUP_OWNERS)
    yield from _membership("groups")
    yield from _assignments("groups/{id}/appRoleAssignments", service_principals.list_assignments)


def _applications() -> Rows:
    read, update = needs.READ_APPLICATIONS, needs.UPDATE_APPLICATIONS
    yield from _collection("applications", applications, read, needs.CREATE_APPLICATIONS, update, update)
    yield from _passwords("applications", update)
    yield from _owners("applications", read, update)
    path = "applications/{id}/federatedIdentityCredentials"
    one = f"{path}/{{credential}}"
    yield from _table(
        ("GET", path, read, applications.list_federated),
        ("POST", path, update, applications.create_federated),
        ("GET", one, read, applications.get_federated),
        ("PATCH", one, update, applications.update_federated),
        ("DELETE", one, update, applications.delete_federated),
    )


def _principals() -> Rows:
    name, read, update = "servicePrincipals", needs.READ_APPLICATIONS, needs.UPDATE_PRINCIPALS
    yield from _collection(name, service_principals, read, needs.CREATE_PRINCIPALS, update, update)
    yield from _passwords(name, update)
    yield from _owners(name, read, update)
    yield from _lists(f"{name}/{{id}}/ownedObjects", _MIXED, read, users.owned)
    yield from _membership(name)
    yield from _assignments(f"{name}/{{id}}/appRoleAssignments", service_principals.list_assignments)
    yield from _assignments(f"{name}/{{id}}/appRoleAssignedTo", service_principals.list_assigned)
    yield from _table(("GET", f"{name}/{{id}}/oauth2PermissionGrants", needs.READ_GRANTS, objects.list_grants))


def _rest() -> Rows:
    yield from _membership("directoryObjects")
    yield from _lists("me/ownedObjects", _MIXED, needs.READ_MEMBERSHIPS, objects.my_objects)
    yield from _lists("directoryRoles/{id}/members", _MIXED, needs.READ_ROLES, objects.directory_role_holders)
    holder = "directoryRoles/{id}/members/{member}/$ref"
    yield from _table(
        ("POST", "directoryObjects/getByIds", needs.READ_OBJECTS, objects.get_by_ids),
        ("GET", "directoryObjects/{id}", needs.READ_OBJECTS, objects.get_object),
        ("GET", "directory/deletedItems/{item}", needs.READ_OBJECTS, objects.deleted_items),
        ("GET", "organization", needs.READ_ORGANIZATION, objects.organization),
        ("GET", "organization/{id}", needs.READ_ORGANIZATION, objects.organization),
        ("GET", "domains", needs.READ_DOMAINS, objects.domains),
        ("GET", "domains/{id}", needs.READ_DOMAINS, objects.domains),
        ("GET", "directoryRoles", needs.READ_ROLES, objects.directory_roles),
        ("GET", "directoryRoles/{id}", needs.READ_ROLES, objects.directory_roles),
        ("POST", "directoryRoles/{id}/members/$ref", needs.UPDATE_ROLES, objects.add_directory_role_holder),
        ("DELETE", holder, needs.UPDATE_ROLES, objects.remove_directory_role_holder),
        ("GET", "oauth2PermissionGrants", needs.READ_GRANTS, objects.list_grants),
        ("POST", "oauth2PermissionGrants", needs.UPDATE_GRANTS, objects.create_grant),
        ("GET", "oauth2PermissionGrants/{id}", needs.READ_GRANTS, objects.list_grants),
        ("PATCH", "oauth2PermissionGrants/{id}", needs.UPDATE_GRANTS, objects.update_grant),
        ("DELETE", "oauth2PermissionGrants/{id}", needs.UPDATE_GRANTS, objects.delete_grant),
    )


def graph_routes() -> tuple[GraphRoute, ...]:
    return (*_users(), *_groups(), *_applications(), *_principals(), *_rest())


class GraphTable:
    """Routes by method and segments; literal segments win over parameters. Two claims to one place collide at start."""

    def __init__(self, routes: tuple[GraphRoute, ...]) -> None:
        self.routes = routes
        self._by_length: dict[int, list[tuple[list[str], GraphRoute]]] = {}
        seen: set[tuple[str, str]] = set()
        for route in routes:
            place = (route.method, "/".join("{}" if p == "{id}" else p for p in route.path.lower().split("/")))
            if place in seen:
                raise ValueError(f"{route.method} {route.path} is declared twice")
            seen.add(place)
            parts = route.path.split("/")
            self._by_length.setdefault(len(parts), []).append((parts, route))
        for rows in self._by_length.values():
            rows.sort(key=lambda row: [part.startswith("{") for part in row[0]])

    def match(self, method: str, segments: list[str]) -> tuple[GraphRoute, dict[str, str]] | None:
        for parts, route in self._by_length.get(len(segments), ()):
            if route.method == method and (found := _fits(parts, segments)) is not None:
                return route, found
        return None

    def knows(self, segments: list[str]) -> bool:
        return any(_fits(parts, segments) is not None for parts, _ in self._by_length.get(len(segments), ()))


def _fits(parts: list[str], segments: list[str]) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for part, segment in zip(parts, segments, strict=True):
        if part == "{cast}":
            if not segment.lower().startswith("microsoft.graph."):
                return None
            found["cast"] = segment
        elif part.startswith("{"):
            if segment.startswith("$"):
                return None
            found[part[1:-1]] = segment
        elif part.lower() != segment.lower():
            return None
    return found
