"""Users: made, shown, changed, deleted; `/me`; app-side password rules."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from keyfob.directory.graph import bodies
from keyfob.directory.graph.asked import GUID, Asked
from keyfob.directory.graph.dialect import bad, denied, duplicate, nothing
from keyfob.directory.graph.filters import Filter
from keyfob.directory.graph.permissions import Needs
from keyfob.directory.graph.reading import Collection, Object, certain, list_collection, list_objects, show, user_of
from keyfob.directory.graph.shapes import USER_DEFAULT
from keyfob.directory.model import User
from keyfob.directory.principals import (
    GLOBAL_ADMINISTRATOR,
    create_user,
    delete_principal,
    directory_roles_of,
    find_user,
    list_users,
    owned_by,
)
from keyfob.directory.records import USERS
from keyfob.directory.secrets import hash_secret
from keyfob.store.port import Session
from keyfob.wire.http import Reply

_OWN = frozenset(
    {
        "id",
        "accountEnabled",
        "displayName",
        "userPrincipalName",
        "passwordProfile",
        "createdDateTime",
        "deletedDateTime",
        "securityIdentifier",
        "userType",
    }
)
_LOCAL = re.compile(r"[A-Za-z0-9'._\-!#^~+$%&*/=?{|}`]{1,64}")
_CLASSES = tuple(re.compile(pattern) for pattern in ("[a-z]", "[A-Z]", "[0-9]", "[^a-zA-Z0-9]"))

PASSWORD = Needs(
    name="microsoft.directory/users/password/update",
    application=("User-PasswordProfile.ReadWrite.All",),
    delegated=("User-PasswordProfile.ReadWrite.All", "Directory.AccessAsUser.All"),
    area="users",
)
SENSITIVE = Needs(
    name="microsoft.directory/users/sensitive/update",
    application=("User-PasswordProfile.ReadWrite.All", "User.EnableDisableAccount.All", "User.ReadWrite.All"),
    delegated=("User.EnableDisableAccount.All", "User.ReadWrite.All", "Directory.AccessAsUser.All"),
    area="users",
)


async def _all(asked: Asked, found: Filter | None) -> Iterable[Object]:
    one = certain(found, "userPrincipalName", "id")
    if one is None:
        return await list_users(asked.store, asked.tenant.id)
    name, value = one
    if name == "id":
        row = await USERS.get(asked.store, f"{asked.tenant.id}/{value.lower()}")
        return [row.value] if row else []
    user = await find_user(asked.store, asked.tenant.id, value)
    return [user] if user else []


USER_COLLECTION = Collection(name="users", type="user", all=_all, default=USER_DEFAULT)


async def list_all(asked: Asked) -> Reply:
    return await list_collection(asked, USER_COLLECTION)


async def get(asked: Asked) -> Reply:
    return await show(asked, await user_of(asked, asked.store), USER_COLLECTION)


async def create(asked: Asked) -> Reply:
    body = asked.body()
    bodies.known(body, asked.parts.catalog.properties["user"])
    profile = body.get("passwordProfile")
    if not isinstance(profile, dict) or not isinstance(profile.get("password"), str):
        raise bad("A password must be specified to create a new user.", target="password")
    if body.get("accountEnabled") is None:
        raise bodies.missing_property("accountEnabled", "User")
    enabled = bodies.flag(body, "accountEnabled", True)
    display = bodies.text(body, "displayName", required=True, of="User")
    nickname = bodies.text(body, "mailNickname", required=True, of="User")
    name = _principal_name(asked, bodies.text(body, "userPrincipalName", required=True, of="User"))
    _check_texts(body)
    hashed = await _hashed(profile["password"])
    user = User(
        id=asked.parts.ids.guid(),
        tenant_id=asked.tenant.id,
        principal_name=name,
        display_name=display,
        password_hash=hashed,
        enabled=enabled,
        created=asked.now,
        more=bodies.rest(body, _OWN, {"mailNickname": nickname}),
    )
    async with asked.store.transaction() as tx:
        if await find_user(tx, asked.tenant.id, name):
            raise duplicate("userPrincipalName")
        await create_user(tx, user)
    return await show(asked, user, USER_COLLECTION, 201)


async def update(asked: Asked) -> Reply:
    body = asked.body()
    bodies.known(body, asked.parts.catalog.properties["user"])
    hashed = ""
    if body.get("passwordProfile") is not None:
        await asked.also(PASSWORD)
        profile = bodies.object_of(body, "passwordProfile")
        if "password" in profile:
            if not isinstance(profile["password"], str):
                raise bodies.wrong("password")
            hashed = await _hashed(profile["password"])
    if {"accountEnabled", "userPrincipalName"} & set(body):
        await asked.also(SENSITIVE)
    _check_texts(body)
    async with asked.store.transaction() as tx:
        user = await user_of(asked, tx)
        if {"accountEnabled", "userPrincipalName", "passwordProfile"} & set(body):
            await _not_above(asked, tx, user)
        name = user.principal_name
        if "userPrincipalName" in body:
            name = _principal_name(asked, bodies.text(body, "userPrincipalName", required=True, of="User"))
            other = await find_user(tx, asked.tenant.id, name)
            if other is not None and other.id != user.id:
                raise duplicate("userPrincipalName")
        changed = msgspec.structs.replace(
            user,
            principal_name=name,
            display_name=bodies.text(body, "displayName", user.display_name, of="User") or user.display_name,
            enabled=bodies.flag(body, "accountEnabled", user.enabled),
            password_hash=hashed or user.password_hash,
            more=bodies.rest(body, _OWN, user.more),
        )
        await USERS.put(tx, f"{asked.tenant.id}/{user.id}", changed)
    return nothing()


async def delete(asked: Asked) -> Reply:
    async with asked.store.transaction() as tx:
        user = await user_of(asked, tx)
        await _not_above(asked, tx, user)
        await delete_principal(tx, asked.tenant.id, user.id)
    return nothing()


async def owned(asked: Asked) -> Reply:
    """`ownedObjects`, also of service principals."""
    return await list_objects(asked, await owned_by(asked.store, asked.tenant.id, asked.target))


async def _not_above(asked: Asked, session: Session, user: User) -> None:
    """Holders of directory roles are changed only by a Global Administrator, or by themselves. Raises `Forbidden`."""
    tenant_id, mine = asked.tenant.id, asked.caller.principal_id
    if mine == user.id or not await directory_roles_of(session, tenant_id, user.id):
        return
    if GLOBAL_ADMINISTRATOR not in await directory_roles_of(session, tenant_id, mine):
        raise denied()


def _principal_name(asked: Asked, name: str) -> str:
    local, at, domain = name.rpartition("@")
    if not at or not _LOCAL.fullmatch(local) or GUID.fullmatch(name.lower()):
        raise bad("Property userPrincipalName is invalid.", target="userPrincipalName")
    if domain.lower() not in {one.lower() for one in asked.tenant.domains}:
        raise bad(
            "The domain portion of the userPrincipalName property is invalid. You must use one of the verified domain "
            "names in your organization.",
            target="userPrincipalName",
        )
    return name


def _check_texts(body: Mapping[str, Any]) -> None:
    for name in ("mailNickname", "givenName", "surname", "jobTitle", "department", "mobilePhone", "usageLocation"):
        if body.get(name) is not None:
            bodies.text(body, name, of="User")


async def _hashed(password: str) -> str:
    """Eight to 256 characters of three of four kinds, as Entra demands. Raises `InvalidInput`."""
    kinds = sum(1 for one in _CLASSES if one.search(password))
    if not 8 <= len(password) <= 256 or kinds < 3:
        raise bad(
            "The specified password does not comply with password complexity requirements. Please provide a different "
            "password.",
            target="password",
        )
    return await asyncio.to_thread(hash_secret, password)
