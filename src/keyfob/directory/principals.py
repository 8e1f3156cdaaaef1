"""Users, groups, applications and service principals: plain functions of a session or transaction.

Missing things raise `NotFound`, existing ones `Conflict`.
"""

from __future__ import annotations

import msgspec

from keyfob.directory.model import (
    AppRoleAssignment,
    DirectoryRoleMember,
    Group,
    Membership,
    Ownership,
    ServicePrincipal,
    User,
)
from keyfob.directory.records import (
    APP_ROLE_ASSIGNMENTS,
    FEDERATED_CREDENTIALS,
    GROUPS,
    MEMBERSHIPS,
    OWNERSHIPS,
    PERMISSION_GRANTS,
    ROLE_MEMBERS,
    SERVICE_PRINCIPALS,
    USERS,
    normal_name,
)
from keyfob.errors import Conflict, InvalidInput, NotFound
from keyfob.store.port import Session, Transaction

Principal = User | Group | ServicePrincipal


# --- service principals ----------------------------------------------------------------------------------------


async def create_service_principal(tx: Transaction, principal: ServicePrincipal) -> None:
    """Raises `Conflict` when the object id, or another principal of this application, exists in the tenant."""
    if principal.app_id and await SERVICE_PRINCIPALS.find(tx, "name", f"{principal.tenant_id}/{principal.app_id}"):
        raise Conflict(f"The service principal for application {principal.app_id} already exists.")
    await SERVICE_PRINCIPALS.insert(tx, f"{principal.tenant_id}/{principal.id}", principal)


async def set_enabled(tx: Transaction, tenant_id: str, object_id: str, enabled: bool) -> None:
    """Disabled users and service principals get no tokens; tokens they hold stay valid, as on Azure."""
    key = f"{tenant_id}/{object_id}"
    if principal := await SERVICE_PRINCIPALS.get(tx, key):
        await SERVICE_PRINCIPALS.put(tx, key, msgspec.structs.replace(principal.value, enabled=enabled))
    elif user := await USERS.get(tx, key):
        await USERS.put(tx, key, msgspec.structs.replace(user.value, enabled=enabled))
    else:
        raise _missing(object_id)


async def find_service_principal(session: Session, tenant_id: str, app_id_or_name: str) -> ServicePrincipal | None:
    """By application id or servicePrincipalName, without regard to case or trailing slashes."""
    found = await SERVICE_PRINCIPALS.find(session, "name", f"{tenant_id}/{normal_name(app_id_or_name)}")
    return found[0].value if found else None


async def list_service_principals(session: Session, tenant_id: str) -> list[ServicePrincipal]:
    return [row.value for row in await SERVICE_PRINCIPALS.list(session, prefix=f"{tenant_id}/")]


# --- users and groups ------------------------------------------------------------------------------------------


async def create_user(tx: Transaction, user: User) -> None:
    if "@" not in user.principal_name:
        raise InvalidInput("A user's principal name has the form name@domain.", target="userPrincipalName")
    if await find_user(tx, user.tenant_id, user.principal_name):
        raise Conflict(f"Another object with the principal name {user.principal_name} already exists.")
    await USERS.insert(tx, f"{user.tenant_id}/{user.id}", user)


async def find_user(session: Session, tenant_id: str, principal_name: str) -> User | None:
    found = await USERS.find(session, "name", f"{tenant_id}/{principal_name.lower()}")
    return found[0].value if found else None


async def list_users(session: Session, tenant_id: str) -> list[User]:
    return [row.value for row in await USERS.list(session, prefix=f"{tenant_id}/")]


async def create_group(tx: Transaction, group: Group) -> None:
    await GROUPS.insert(tx, f"{group.tenant_id}/{group.id}", group)


async def list_groups(session: Session, tenant_id: str) -> list[Group]:
    return [row.value for row in await GROUPS.list(session, prefix=f"{tenant_id}/")]


async def add_member(tx: Transaction, tenant_id: str, group_id: str, member_id: str) -> None:
    """Raises `NotFound` for either, `Conflict` when it is a member, `InvalidInput` for a circle of groups."""
    if await GROUPS.get(tx, f"{tenant_id}/{group_id}") is None:
        raise _missing(group_id)
    if await get_principal(tx, tenant_id, member_id) is None:
        raise _missing(member_id)
    if member_id == group_id or member_id in await groups_of(tx, tenant_id, group_id):
        raise InvalidInput("A group cannot be a member of itself, directly or through others.")
    value = Membership(tenant_id=tenant_id, group_id=group_id, member_id=member_id)
    await MEMBERSHIPS.insert(tx, f"{tenant_id}/{group_id}/{member_id}", value)


async def remove_member(tx: Transaction, tenant_id: str, group_id: str, member_id: str) -> bool:
    return await MEMBERSHIPS.delete(tx, f"{tenant_id}/{group_id}/{member_id}")


async def members_of(session: Session, tenant_id: str, group_id: str) -> list[str]:
    """Object ids of direct members."""
    return [row.value.member_id for row in await MEMBERSHIPS.list(session, prefix=f"{tenant_id}/{group_id}/")]


async def groups_of(session: Session, tenant_id: str, object_id: str) -> frozenset[str]:
    """Every group that holds the object, directly or through other groups. `cache.Directory` remembers this."""
    seen: set[str] = set()
    ahead = [object_id]
    while ahead:
        for row in await MEMBERSHIPS.find(session, "member", f"{tenant_id}/{ahead.pop()}"):
            if row.value.group_id not in seen:
                seen.add(row.value.group_id)
                ahead.append(row.value.group_id)
    return frozenset(seen)


# --- any principal ---------------------------------------------------------------------------------------------


async def get_principal(session: Session, tenant_id: str, object_id: str) -> Principal | None:
    key = f"{tenant_id}/{object_id}"
    if principal := await SERVICE_PRINCIPALS.get(session, key):
        return principal.value
    if user := await USERS.get(session, key):
        return user.value
    group = await GROUPS.get(session, key)
    return group.value if group else None


async def delete_principal(tx: Transaction, tenant_id: str, object_id: str) -> bool:
    """Removes a user, group or service principal with its memberships, federated credentials and app roles.

    Tokens it holds stay valid until they expire, as on Azure; so do role assignments that name it.
    """
    key = f"{tenant_id}/{object_id}"
    principal = await SERVICE_PRINCIPALS.get(tx, key)
    gone = False
    for records in (SERVICE_PRINCIPALS, USERS, GROUPS):
        gone = await records.delete(tx, key) or gone
    if not gone:
        return False
    for row in await MEMBERSHIPS.find(tx, "member", key):
        await MEMBERSHIPS.delete(tx, row.key)
    for records_of in (MEMBERSHIPS, FEDERATED_CREDENTIALS, APP_ROLE_ASSIGNMENTS):
        for owned in await records_of.list(tx, prefix=f"{key}/"):
            await records_of.delete(tx, owned.key)
    for held in await ROLE_MEMBERS.find(tx, "member", key):
        await ROLE_MEMBERS.delete(tx, held.key)
    await forget_ownerships(tx, tenant_id, object_id)
    if principal is not None:
        for given in await APP_ROLE_ASSIGNMENTS.find(tx, "resource", f"{tenant_id}/{principal.value.app_id}"):
            await APP_ROLE_ASSIGNMENTS.delete(tx, given.key)
        for grant in await PERMISSION_GRANTS.list(tx, prefix=f"{tenant_id}/"):
            if object_id in (grant.value.client_id, grant.value.resource_id):
                await PERMISSION_GRANTS.delete(tx, grant.key)
    return True


# --- owners ----------------------------------------------------------------------------------------------------


async def add_owner(tx: Transaction, tenant_id: str, object_id: str, owner_id: str) -> None:
    """Raises `Conflict` when it is one already."""
    value = Ownership(tenant_id=tenant_id, object_id=object_id, owner_id=owner_id)
    await OWNERSHIPS.insert(tx, f"{tenant_id}/{object_id}/{owner_id}", value)


async def remove_owner(tx: Transaction, tenant_id: str, object_id: str, owner_id: str) -> bool:
    return await OWNERSHIPS.delete(tx, f"{tenant_id}/{object_id}/{owner_id}")


async def owners_of(session: Session, tenant_id: str, object_id: str) -> list[str]:
    return [row.value.owner_id for row in await OWNERSHIPS.list(session, prefix=f"{tenant_id}/{object_id}/")]


async def owned_by(session: Session, tenant_id: str, owner_id: str) -> list[str]:
    return [row.value.object_id for row in await OWNERSHIPS.find(session, "owner", f"{tenant_id}/{owner_id}")]


async def forget_ownerships(tx: Transaction, tenant_id: str, object_id: str) -> None:
    """Of an object that is gone: who owned it, and what it owned."""
    key = f"{tenant_id}/{object_id}"
    for row in [*await OWNERSHIPS.list(tx, prefix=f"{key}/"), *await OWNERSHIPS.find(tx, "owner", key)]:
        await OWNERSHIPS.delete(tx, row.key)


# --- directory roles -------------------------------------------------------------------------------------------

GLOBAL_ADMINISTRATOR = "62e90394-69f5-4237-9190-012177145e10"
"""The role template; the same in every tenant."""


async def give_directory_role(tx: Transaction, tenant_id: str, template_id: str, member_id: str) -> None:
    """Raises `Conflict` when it holds it already."""
    value = DirectoryRoleMember(tenant_id=tenant_id, template_id=template_id, member_id=member_id)
    await ROLE_MEMBERS.insert(tx, f"{tenant_id}/{template_id}/{member_id}", value)


async def take_directory_role(tx: Transaction, tenant_id: str, template_id: str, member_id: str) -> bool:
    return await ROLE_MEMBERS.delete(tx, f"{tenant_id}/{template_id}/{member_id}")


async def directory_roles_of(session: Session, tenant_id: str, member_id: str) -> frozenset[str]:
    """Template ids of the roles it holds itself. Groups cannot hold one here."""
    return frozenset(
        row.value.template_id for row in await ROLE_MEMBERS.find(session, "member", f"{tenant_id}/{member_id}")
    )


async def directory_role_members(session: Session, tenant_id: str, template_id: str) -> list[str]:
    return [row.value.member_id for row in await ROLE_MEMBERS.list(session, prefix=f"{tenant_id}/{template_id}/")]


# --- app roles -------------------------------------------------------------------------------------------------


async def assign_app_role(tx: Transaction, assignment: AppRoleAssignment) -> None:
    """The role appears in `roles` of the principal's tokens for that resource."""
    if await get_principal(tx, assignment.tenant_id, assignment.principal_id) is None:
        raise _missing(assignment.principal_id)
    await APP_ROLE_ASSIGNMENTS.insert(tx, _role_key(assignment), assignment)


async def remove_app_role(tx: Transaction, assignment: AppRoleAssignment) -> bool:
    return await APP_ROLE_ASSIGNMENTS.delete(tx, _role_key(assignment))


async def app_roles_of(session: Session, tenant_id: str, principal_id: str, resource_app_id: str) -> frozenset[str]:
    """Values of the app roles it holds on that resource, its own and those of its groups."""
    holders = {principal_id, *await groups_of(session, tenant_id, principal_id)}
    found: set[str] = set()
    for holder in holders:
        prefix = f"{tenant_id}/{holder}/{resource_app_id}/"
        rows = await APP_ROLE_ASSIGNMENTS.list(session, prefix=prefix)
        found.update(row.value.role for row in rows if row.value.role)
    return frozenset(found)


def _role_key(assignment: AppRoleAssignment) -> str:
    role = assignment.role or assignment.role_id
    return "/".join((assignment.tenant_id, assignment.principal_id, assignment.resource_app_id, role))


def _missing(object_id: str) -> NotFound:
    return NotFound(
        f"Resource '{object_id}' does not exist or one of its queried reference-property objects are not present.",
        code="Request_ResourceNotFound",
    )
