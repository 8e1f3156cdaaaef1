"""What each operation of Microsoft Graph needs: the least privileged permission first, as on its reference page."""

from __future__ import annotations

from keyfob.directory.graph.permissions import Area, Needs, Who

_D = "microsoft.directory"
_DIRECTORY = "Directory.Read.All"
_WRITE = "Directory.ReadWrite.All"
_USER = "User.ReadWrite.All"
_GROUP = "Group.ReadWrite.All"
_APPLICATION = "Application.ReadWrite.All"
_OWNED = "Application.ReadWrite.OwnedBy"


def _read(
    name: str, *permissions: str, application: tuple[str, ...] = (), delegated: tuple[str, ...] = (), own: str = ""
) -> Needs:
    """Every member of the directory may read it. The permissions are of both kinds unless one is given apart."""
    return Needs(
        name=f"{_D}/{name}/read",
        application=application or permissions,
        delegated=delegated or permissions,
        own=(own,) if own else (),
        area="read",
        user="member",
    )


def _change(
    name: str,
    area: Area,
    *permissions: str,
    user: Who = "administrator",
    application: tuple[str, ...] = (),
    owned: tuple[str, ...] = (),
) -> Needs:
    """The permissions are of both kinds, unless those of applications are given apart."""
    return Needs(
        name=f"{_D}/{name}",
        application=application or permissions,
        delegated=permissions,
        owned=owned,
        area=area,
        user=user,
    )


READ_USERS = _read("users/standard", "User.ReadBasic.All", "User.Read.All", _DIRECTORY, own="User.Read")
CREATE_USERS = _change("users/create", "users", _USER, _WRITE)
UPDATE_USERS = _change("users/basic/update", "users", _USER, _WRITE, "User-PasswordProfile.ReadWrite.All")
DELETE_USERS = _change("users/delete", "users", _USER)

READ_MEMBERSHIPS = _read(
    "users/memberOf", "GroupMember.Read.All", _DIRECTORY, "User.Read.All", "Application.Read.All", own="User.Read"
)
READ_GROUPS = _read("groups/standard", "GroupMember.Read.All", "Group.Read.All", _DIRECTORY)
CREATE_GROUPS = _change(
    "groups/create", "groups", _GROUP, _WRITE, user="member", application=("Group.Create", _GROUP, _WRITE)
)
UPDATE_GROUPS = _change("groups/basic/update", "groups", _GROUP, _WRITE, user="owner")
DELETE_GROUPS = _change("groups/delete", "groups", _GROUP, user="owner")
UPDATE_MEMBERS = _change("groups/members/update", "groups", "GroupMember.ReadWrite.All", _GROUP, _WRITE, user="owner")
UPDATE_GROUP_OWNERS = _change("groups/owners/update", "groups", _GROUP, _WRITE, user="owner")

READ_APPLICATIONS = _read(
    "applications/standard",
    application=("Application.Read.All", _OWNED, _DIRECTORY),
    delegated=("Application.Read.All", _DIRECTORY),
)
CREATE_APPLICATIONS = _change(
    "applications/createAsOwner",
    "applications",
    "AppRegistration.Create",
    _APPLICATION,
    user="member",
    application=("AppRegistration.Create", _OWNED, _APPLICATION),
)
UPDATE_APPLICATIONS = _change(
    "applications/allProperties/update", "applications", _APPLICATION, user="owner", owned=(_OWNED,)
)
CREATE_PRINCIPALS = _change(
    "servicePrincipals/createAsOwner", "applications", _APPLICATION, user="member", application=(_OWNED, _APPLICATION)
)
UPDATE_PRINCIPALS = _change(
    "servicePrincipals/allProperties/update", "applications", _APPLICATION, user="owner", owned=(_OWNED,)
)

_ROLE = "AppRoleAssignment.ReadWrite.All"
READ_ASSIGNMENTS = _read("servicePrincipals/appRoleAssignments", "Application.Read.All", _DIRECTORY, _ROLE)
ASSIGN = _change(
    "servicePrincipals/appRoleAssignedTo/update",
    "consent",
    f"{_ROLE} Application.Read.All",
    f"{_ROLE} {_DIRECTORY}",
)
UNASSIGN = _change("servicePrincipals/appRoleAssignedTo/delete", "consent", _ROLE)

READ_OBJECTS = _read(
    "directoryObjects/standard",
    _DIRECTORY,
    "User.ReadBasic.All",
    "Group.Read.All",
    "GroupMember.Read.All",
    "Application.Read.All",
)
READ_ORGANIZATION = _read(
    "organization/standard",
    application=("Organization.Read.All", _DIRECTORY),
    delegated=("User.Read", "Organization.Read.All", _DIRECTORY),
)
READ_DOMAINS = _read("domains/standard", "Domain.Read.All", _DIRECTORY)
READ_ROLES = _read("directoryRoles/standard", "RoleManagement.Read.Directory", _DIRECTORY)
UPDATE_ROLES = _change("directoryRoles/members/update", "roles", "RoleManagement.ReadWrite.Directory")
READ_GRANTS = _read("oAuth2PermissionGrants/standard", _DIRECTORY, "DelegatedPermissionGrant.Read.All")
UPDATE_GRANTS = _change(
    "oAuth2PermissionGrants/allProperties/update", "consent", "DelegatedPermissionGrant.ReadWrite.All", _WRITE
)
