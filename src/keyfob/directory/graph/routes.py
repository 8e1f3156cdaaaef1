"""Every operation of Microsoft Graph that is served: method, path, what it needs, what it does.

`{id}` is one segment. A list may be followed by `/$count`; a list of mixed objects also by `/$ref` and by a type
(`/microsoft.graph.user`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from keyfob.directory.graph import applications, credentials, groups, objects, service_principals, users
from keyfob.directory.graph.asked import Operation
from keyfob.directory.graph.permissions import Needs

_D = "microsoft.directory"
_DIRECTORY = "Directory.Read.All"

READ_USERS = Needs(
    name=f"{_D}/users/standard/read",
    application=("User.ReadBasic.All", "User.Read.All", _DIRECTORY),
    delegated=("User.ReadBasic.All", "User.Read.All", _DIRECTORY),
    own=("User.Read",),
    area="read",
    user="member",
)
CREATE_USERS = Needs(
    name=f"{_D}/users/create",
    application=("User.ReadWrite.All", "Directory.ReadWrite.All"),
    delegated=("User.ReadWrite.All", "Directory.ReadWrite.All"),
    area="users",
)
UPDATE_USERS = Needs(
    name=f"{_D}/users/basic/update",
    application=("User.ReadWrite.All", "Directory.ReadWrite.All", "User-PasswordProfile.ReadWrite.All"),
    delegated=("User.ReadWrite.All", "Directory.ReadWrite.All", "User-PasswordProfile.ReadWrite.All"),
    area="users",
)
DELETE_USERS = Needs(
    name=f"{_D}/users/delete", application=("User.ReadWrite.All",), delegated=("User.ReadWrite.All",), area="users"
)
READ_MEMBERSHIPS = Needs(
    name=f"{_D}/users/memberOf/read",
    application=("GroupMember.Read.All", _DIRECTORY, "User.Read.All", "Application.Read.All"),
    delegated=("GroupMember.Read.All", _DIRECTORY, "User.Read.All", "Application.Read.All"),
    own=("User.Read",),
    area="read",
    user="member",
)
READ_GROUPS = Needs(
    name=f"{_D}/groups/standard/read",
    application=("GroupMember.Read.All", "Group.Read.All", _DIRECTORY),
    delegated=("GroupMember.Read.All", "Group.Read.All", _DIRECTORY),
    area="read",
    user="member",
)
CREATE_GROUPS = Needs(
    name=f"{_D}/groups/create",
    application=("Group.Create", "Group.ReadWrite.All", "Directory.ReadWrite.All"),
    delegated=("Group.ReadWrite.All", "Directory.ReadWrite.All"),
    area="groups",
    user="member",
)
UPDATE_GROUPS = Needs(
    name=f"{_D}/groups/basic/update",
    application=("Group.ReadWrite.All", "Directory.ReadWrite.All"),
    delegated=("Group.ReadWrite.All", "Directory.ReadWrite.All"),
    area="groups",
    user="owner",
)
DELETE_GROUPS = Needs(
    name=f"{_D}/groups/delete",
    application=("Group.ReadWrite.All",),
    delegated=("Group.ReadWrite.All",),
    area="groups",
    user="owner",
)
UPDATE_MEMBERS = Needs(
    name=f"{_D}/groups/members/update",
    application=("GroupMember.ReadWrite.All", "Group.ReadWrite.All", "Directory.ReadWrite.All"),
    delegated=("GroupMember.ReadWrite.All", "Group.ReadWrite.All", "Directory.ReadWrite.All"),
    area="groups",
    user="owner",
)
UPDATE_GROUP_OWNERS = Needs(
    name=f"{_D}/groups/owners/update",
    application=("Group.ReadWrite.All", "Directory.ReadWrite.All"),
    delegated=("Group.ReadWrite.All", "Directory.ReadWrite.All"),
    area="groups",
    user="owner",
)
READ_APPLICATIONS = Needs(
    name=f"{_D}/applications/standard/read",
    application=("Application.Read.All", "Application.ReadWrite.OwnedBy", _DIRECTORY),
    delegated=("Application.Read.All", _DIRECTORY),
    area="read",
    user="member",
)
CREATE_APPLICATIONS = Needs(
    name=f"{_D}/applications/createAsOwner",
    application=("AppRegistration.Create", "Application.ReadWrite.OwnedBy", "Application.ReadWrite.All"),
    delegated=("AppRegistration.Create", "Application.ReadWrite.All"),
    area="applications",
    user="member",
)
UPDATE_APPLICATIONS = Needs(
    name=f"{_D}/applications/allProperties/update",
    application=("Application.ReadWrite.All",),
    owned=("Application.ReadWrite.OwnedBy",),
    delegated=("Application.ReadWrite.All",),
    area="applications",
    user="owner",
)
CREATE_PRINCIPALS = Needs(
    name=f"{_D}/servicePrincipals/createAsOwner",
    application=("Application.ReadWrite.OwnedBy", "Application.ReadWrite.All"),
    delegated=("Application.ReadWrite.All",),
    area="applications",
    user="member",
)
UPDATE_PRINCIPALS = Needs(
    name=f"{_D}/servicePrincipals/allProperties/update",
    application=("Application.ReadWrite.All",),
    owned=("Application.ReadWrite.OwnedBy",),
    delegated=("Application.ReadWrite.All",),
    area="applications",
    user="owner",
)
READ_ASSIGNMENTS = Needs(
    name=f"{_D}/servicePrincipals/appRoleAssignments/read",
    application=("Application.Read.All", _DIRECTORY, "AppRoleAssignment.ReadWrite.All"),
    delegated=("Application.Read.All", _DIRECTORY, "AppRoleAssignment.ReadWrite.All"),
    area="read",
    user="member",
)
ASSIGN = Needs(
    name=f"{_D}/servicePrincipals/appRoleAssignedTo/update",
    application=(
        "AppRoleAssignment.ReadWrite.All Application.Read.All",
        f"AppRoleAssignment.ReadWrite.All {_DIRECTORY}",
    ),
    delegated=(
        "AppRoleAssignment.ReadWrite.All Application.Read.All",
        f"AppRoleAssignment.ReadWrite.All {_DIRECTORY}",
    ),
    area="consent",
)
UNASSIGN = Needs(
    name=f"{_D}/servicePrincipals/appRoleAssignedTo/delete",
    application=("AppRoleAssignment.ReadWrite.All",),
    delegated=("AppRoleAssignment.ReadWrite.All",),
    area="consent",
)
READ_OBJECTS = Needs(
    name=f"{_D}/directoryObjects/standard/read",
    application=(_DIRECTORY, "User.ReadBasic.All", "Group.Read.All", "GroupMember.Read.All", "Application.Read.All"),
    delegated=(_DIRECTORY, "User.ReadBasic.All", "Group.Read.All", "GroupMember.Read.All", "Application.Read.All"),
    area="read",
    user="member",
)
READ_ORGANIZATION = Needs(
    name=f"{_D}/organization/standard/read",
    application=("Organization.Read.All", _DIRECTORY),
    delegated=("User.Read", "Organization.Read.All", _DIRECTORY),
    area="read",
    user="member",
)
READ_DOMAINS = Needs(
    name=f"{_D}/domains/standard/read",
    application=("Domain.Read.All", _DIRECTORY),
    delegated=("Domain.Read.All", _DIRECTORY),
    area="read",
    user="member",
)
READ_ROLES = Needs(
    name=f"{_D}/directoryRoles/standard/read",
    application=("RoleManagement.Read.Directory", _DIRECTORY),
    delegated=("RoleManagement.Read.Directory", _DIRECTORY),
    area="read",
    user="member",
)
UPDATE_ROLES = Needs(
    name=f"{_D}/directoryRoles/members/update",
    application=("RoleManagement.ReadWrite.Directory",),
    delegated=("RoleManagement.ReadWrite.Directory",),
    area="roles",
)
READ_GRANTS = Needs(
    name=f"{_D}/oAuth2PermissionGrants/standard/read",
    application=(_DIRECTORY, "DelegatedPermissionGrant.Read.All"),
    delegated=(_DIRECTORY, "DelegatedPermissionGrant.Read.All"),
    area="read",
    user="member",
)
UPDATE_GRANTS = Needs(
    name=f"{_D}/oAuth2PermissionGrants/allProperties/update",
    application=("DelegatedPermissionGrant.ReadWrite.All", "Directory.ReadWrite.All"),
    delegated=("DelegatedPermissionGrant.ReadWrite.All", "Directory.ReadWrite.All"),
    area="consent",
)


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


def _counted(path: str, needs: Needs, operation: Operation) -> Rows:
    for tail in ("", "/$count"):
        yield GraphRoute("GET", path + tail, needs, operation)


def _mixed(path: str, needs: Needs, operation: Operation) -> Rows:
    for tail in ("", "/$count", "/$ref", "/{cast}", "/{cast}/$count"):
        yield GraphRoute("GET", path + tail, needs, operation)


def _owners(collection: str, read: Needs, write: Needs) -> Rows:
    path = f"{collection}/{{id}}/owners"
    yield from _mixed(path, read, groups.list_owners)
    yield GraphRoute("POST", f"{path}/$ref", write, groups.add_owner_reference)
    yield GraphRoute("DELETE", f"{path}/{{owner}}/$ref", write, groups.remove_owner_reference)


def _membership(collection: str) -> Rows:
    path = f"{collection}/{{id}}"
    yield from _mixed(f"{path}/memberOf", READ_MEMBERSHIPS, groups.member_of)
    yield from _mixed(f"{path}/transitiveMemberOf", READ_MEMBERSHIPS, groups.transitive_member_of)
    for name in ("getMemberGroups", "getMemberObjects"):
        yield GraphRoute("POST", f"{path}/{name}", READ_MEMBERSHIPS, groups.get_member_groups)
    for name in ("checkMemberGroups", "checkMemberObjects"):
        yield GraphRoute("POST", f"{path}/{name}", READ_MEMBERSHIPS, groups.check_member_groups)


def _assignments(path: str) -> Rows:
    yield GraphRoute("POST", path, ASSIGN, service_principals.assign)
    yield GraphRoute("GET", f"{path}/{{assignment}}", READ_ASSIGNMENTS, service_principals.get_assignment)
    yield GraphRoute("DELETE", f"{path}/{{assignment}}", UNASSIGN, service_principals.remove_assignment)


def _users() -> Rows:
    yield from _counted("users", READ_USERS, users.list_all)
    yield GraphRoute("POST", "users", CREATE_USERS, users.create)
    yield GraphRoute("GET", "users/{id}", READ_USERS, users.get)
    yield GraphRoute("PATCH", "users/{id}", UPDATE_USERS, users.update)
    yield GraphRoute("DELETE", "users/{id}", DELETE_USERS, users.delete)
    yield from _mixed("users/{id}/ownedObjects", READ_MEMBERSHIPS, users.owned)
    yield from _membership("users")


def _groups() -> Rows:
    yield from _counted("groups", READ_GROUPS, groups.list_all)
    yield GraphRoute("POST", "groups", CREATE_GROUPS, groups.create)
    yield GraphRoute("GET", "groups/{id}", READ_GROUPS, groups.get)
    yield GraphRoute("PATCH", "groups/{id}", UPDATE_GROUPS, groups.update)
    yield GraphRoute("DELETE", "groups/{id}", DELETE_GROUPS, groups.delete)
    yield from _mixed("groups/{id}/members", READ_GROUPS, groups.list_members)
    yield from _mixed("groups/{id}/transitiveMembers", READ_GROUPS, groups.list_transitive_members)
    yield GraphRoute("POST", "groups/{id}/members/$ref", UPDATE_MEMBERS, groups.add_member_reference)
    yield GraphRoute("DELETE", "groups/{id}/members/{member}/$ref", UPDATE_MEMBERS, groups.remove_member_reference)
    yield from _owners("groups", READ_GROUPS, UPDATE_GROUP_OWNERS)
    yield from _membership("groups")


def _applications() -> Rows:
    yield from _counted("applications", READ_APPLICATIONS, applications.list_all)
    yield GraphRoute("POST", "applications", CREATE_APPLICATIONS, applications.create)
    yield GraphRoute("GET", "applications/{id}", READ_APPLICATIONS, applications.get)
    yield GraphRoute("PATCH", "applications/{id}", UPDATE_APPLICATIONS, applications.update)
    yield GraphRoute("DELETE", "applications/{id}", UPDATE_APPLICATIONS, applications.delete)
    yield from _passwords("applications", UPDATE_APPLICATIONS)
    yield from _owners("applications", READ_APPLICATIONS, UPDATE_APPLICATIONS)
    path = "applications/{id}/federatedIdentityCredentials"
    yield GraphRoute("GET", path, READ_APPLICATIONS, applications.list_federated)
    yield GraphRoute("POST", path, UPDATE_APPLICATIONS, applications.create_federated)
    yield GraphRoute("GET", f"{path}/{{credential}}", READ_APPLICATIONS, applications.get_federated)
    yield GraphRoute("PATCH", f"{path}/{{credential}}", UPDATE_APPLICATIONS, applications.update_federated)
    yield GraphRoute("DELETE", f"{path}/{{credential}}", UPDATE_APPLICATIONS, applications.delete_federated)


def _passwords(collection: str, needs: Needs) -> Rows:
    yield GraphRoute("POST", f"{collection}/{{id}}/addPassword", needs, credentials.add_password)
    yield GraphRoute("POST", f"{collection}/{{id}}/removePassword", needs, credentials.remove_password)


def _principals() -> Rows:
    yield from _counted("servicePrincipals", READ_APPLICATIONS, service_principals.list_all)
    yield GraphRoute("POST", "servicePrincipals", CREATE_PRINCIPALS, service_principals.create)
    yield GraphRoute("GET", "servicePrincipals/{id}", READ_APPLICATIONS, service_principals.get)
    yield GraphRoute("PATCH", "servicePrincipals/{id}", UPDATE_PRINCIPALS, service_principals.update)
    yield GraphRoute("DELETE", "servicePrincipals/{id}", UPDATE_PRINCIPALS, service_principals.delete)
    yield from _passwords("servicePrincipals", UPDATE_PRINCIPALS)
    yield from _owners("servicePrincipals", READ_APPLICATIONS, UPDATE_PRINCIPALS)
    yield from _mixed("servicePrincipals/{id}/ownedObjects", READ_APPLICATIONS, users.owned)
    yield from _membership("servicePrincipals")
    for collection in ("servicePrincipals", "users", "groups"):
        path = f"{collection}/{{id}}/appRoleAssignments"
        yield GraphRoute("GET", path, READ_ASSIGNMENTS, service_principals.list_assignments)
        yield from _assignments(path)
        grants = f"{collection}/{{id}}/oauth2PermissionGrants"
        if collection != "groups":
            yield GraphRoute("GET", grants, READ_GRANTS, objects.list_grants)
    path = "servicePrincipals/{id}/appRoleAssignedTo"
    yield GraphRoute("GET", path, READ_ASSIGNMENTS, service_principals.list_assigned)
    yield from _assignments(path)


def _rest() -> Rows:
    yield GraphRoute("POST", "directoryObjects/getByIds", READ_OBJECTS, objects.get_by_ids)
    yield GraphRoute("GET", "directoryObjects/{id}", READ_OBJECTS, objects.get_object)
    yield from _membership("directoryObjects")
    yield from _mixed("me/ownedObjects", READ_MEMBERSHIPS, objects.my_objects)
    yield GraphRoute("GET", "directory/deletedItems/{item}", READ_OBJECTS, objects.deleted_items)
    yield GraphRoute("GET", "organization", READ_ORGANIZATION, objects.organization)
    yield GraphRoute("GET", "organization/{id}", READ_ORGANIZATION, objects.organization)
    yield GraphRoute("GET", "domains", READ_DOMAINS, objects.domains)
    yield GraphRoute("GET", "domains/{id}", READ_DOMAINS, objects.domains)
    yield GraphRoute("GET", "directoryRoles", READ_ROLES, objects.directory_roles)
    yield GraphRoute("GET", "directoryRoles/{id}", READ_ROLES, objects.directory_roles)
    yield from _mixed("directoryRoles/{id}/members", READ_ROLES, objects.directory_role_holders)
    yield GraphRoute("POST", "directoryRoles/{id}/members/$ref", UPDATE_ROLES, objects.add_directory_role_holder)
    yield GraphRoute(
        "DELETE", "directoryRoles/{id}/members/{member}/$ref", UPDATE_ROLES, objects.remove_directory_role_holder
    )
    yield GraphRoute("GET", "oauth2PermissionGrants", READ_GRANTS, objects.list_grants)
    yield GraphRoute("POST", "oauth2PermissionGrants", UPDATE_GRANTS, objects.create_grant)
    yield GraphRoute("GET", "oauth2PermissionGrants/{id}", READ_GRANTS, objects.list_grants)
    yield GraphRoute("PATCH", "oauth2PermissionGrants/{id}", UPDATE_GRANTS, objects.update_grant)
    yield GraphRoute("DELETE", "oauth2PermissionGrants/{id}", UPDATE_GRANTS, objects.delete_grant)


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
