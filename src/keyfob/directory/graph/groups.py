"""Groups: made, shown, changed, deleted; members and owners; which groups hold an object."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from keyfob.directory.graph import bodies
from keyfob.directory.graph.asked import GUID, Asked, reference, references
from keyfob.directory.graph.dialect import answer, bad, missing, nothing
from keyfob.directory.graph.filters import Filter
from keyfob.directory.graph.reading import (
    Collection,
    Object,
    certain,
    find_object,
    group_of,
    list_collection,
    list_objects,
    show,
)
from keyfob.directory.model import Application, Group, ServicePrincipal, User
from keyfob.directory.principals import (
    add_member,
    add_owner,
    create_group,
    delete_principal,
    groups_of,
    list_groups,
    members_of,
    owners_of,
    remove_member,
    remove_owner,
)
from keyfob.directory.records import GROUPS, MEMBERSHIPS
from keyfob.errors import Conflict, InvalidInput
from keyfob.store.port import Session, Transaction
from keyfob.wire.http import Reply

_OWN = frozenset({"id", "displayName", "createdDateTime", "deletedDateTime", "renewedDateTime", "securityIdentifier"})
_EXISTS = "One or more added object references already exist for the following modified properties: '{}'."


async def _all(asked: Asked, found: Filter | None) -> Iterable[Object]:
    one = certain(found, "displayName", "id")
    if one is None:
        return await list_groups(asked.store, asked.tenant.id)
    name, value = one
    if name == "id":
        row = await GROUPS.get(asked.store, f"{asked.tenant.id}/{value.lower()}")
        return [row.value] if row else []
    rows = await GROUPS.find(asked.store, "name", f"{asked.tenant.id}/{value.lower()}")
    return [row.value for row in rows]


GROUP_COLLECTION = Collection(name="groups", type="group", all=_all, expands=("members", "owners"))


async def list_all(asked: Asked) -> Reply:
    return await list_collection(asked, GROUP_COLLECTION)


async def get(asked: Asked) -> Reply:
    return await show(asked, await group_of(asked, asked.store), GROUP_COLLECTION)


async def create(asked: Asked) -> Reply:
    body = asked.body()
    bodies.known(body, asked.parts.catalog.properties["group"], relations=("members", "owners"))
    name = bodies.text(body, "displayName", required=True, of="Group")
    nickname = bodies.text(body, "mailNickname", required=True, of="Group")
    for flag in ("mailEnabled", "securityEnabled"):
        if body.get(flag) is None:
            raise bodies.missing_property(flag, "Group")
        bodies.flag(body, flag, False)
    bodies.text(body, "description", of="Group")
    kinds = bodies.texts(body, "groupTypes")
    if not body["securityEnabled"] and "Unified" not in kinds:
        raise bad(
            "The service does not currently support writes of mail-enabled groups. Please ensure that the "
            "mail-enablement property is unset and the security-enablement property is set."
        )
    if "DynamicMembership" in kinds:
        raise bad("Dynamic membership is not served here.", target="groupTypes")
    members, owners = references(body, "members"), references(body, "owners")
    if asked.user and asked.caller.principal_id not in owners:
        owners.append(asked.caller.principal_id)
    group = Group(
        id=asked.parts.ids.guid(),
        tenant_id=asked.tenant.id,
        display_name=name,
        created=asked.now,
        more=bodies.rest(body, _OWN, {"mailNickname": nickname}),
    )
    async with asked.store.transaction() as tx:
        await create_group(tx, group)
        for one in members:
            await _add_member(asked, tx, group.id, one)
        for one in owners:
            await add_owner_checked(asked, tx, group.id, one)
    return await show(asked, group, GROUP_COLLECTION, 201)


async def update(asked: Asked) -> Reply:
    body = asked.body()
    bodies.known(body, asked.parts.catalog.properties["group"], relations=("members",))
    bodies.text(body, "description", of="Group")
    members = references(body, "members")
    if len(members) > 20:
        raise bad("The number of members to add in one request is limited to 20.")
    async with asked.store.transaction() as tx:
        group = await group_of(asked, tx)
        name = bodies.text(body, "displayName", group.display_name, of="Group") or group.display_name
        changed = msgspec.structs.replace(group, display_name=name, more=bodies.rest(body, _OWN, group.more))
        await GROUPS.put(tx, f"{asked.tenant.id}/{group.id}", changed)
        for one in members:
            await _add_member(asked, tx, group.id, one)
    return nothing()


async def delete(asked: Asked) -> Reply:
    async with asked.store.transaction() as tx:
        group = await group_of(asked, tx)
        await delete_principal(tx, asked.tenant.id, group.id)
    return nothing()


# --- members and owners ----------------------------------------------------------------------------------------


async def list_members(asked: Asked) -> Reply:
    group = await group_of(asked, asked.store)
    return await list_objects(asked, await members_of(asked.store, asked.tenant.id, group.id))


async def list_transitive_members(asked: Asked) -> Reply:
    group = await group_of(asked, asked.store)
    seen: dict[str, None] = {}
    ahead = [group.id]
    while ahead:
        for member in await members_of(asked.store, asked.tenant.id, ahead.pop()):
            if member not in seen:
                seen[member] = None
                ahead.append(member)
    return await list_objects(asked, seen)


async def add_member_reference(asked: Asked) -> Reply:
    member = reference(asked.body().get("@odata.id"))
    async with asked.store.transaction() as tx:
        group = await group_of(asked, tx)
        await _add_member(asked, tx, group.id, member)
    return nothing()


async def remove_member_reference(asked: Asked) -> Reply:
    member = asked.parameters["member"].lower()
    async with asked.store.transaction() as tx:
        group = await group_of(asked, tx)
        if not GUID.fullmatch(member) or not await remove_member(tx, asked.tenant.id, group.id, member):
            raise missing(member[:100])
    return nothing()


async def list_owners(asked: Asked) -> Reply:
    """Of groups, applications and service principals."""
    if await find_object(asked.store, asked.tenant.id, asked.target) is None:
        raise missing(asked.parameters["id"][:256])
    return await list_objects(asked, await owners_of(asked.store, asked.tenant.id, asked.target))


async def add_owner_reference(asked: Asked) -> Reply:
    owner = reference(asked.body().get("@odata.id"))
    async with asked.store.transaction() as tx:
        if await find_object(tx, asked.tenant.id, asked.target) is None:
            raise missing(asked.parameters["id"][:256])
        await add_owner_checked(asked, tx, asked.target, owner)
    return nothing()


async def remove_owner_reference(asked: Asked) -> Reply:
    owner = asked.parameters["owner"].lower()
    async with asked.store.transaction() as tx:
        found = await find_object(tx, asked.tenant.id, asked.target)
        if found is None or not GUID.fullmatch(owner):
            raise missing((asked.parameters["id"] if found is None else owner)[:256])
        owners = await owners_of(tx, asked.tenant.id, asked.target)
        if owner not in owners:
            raise missing(owner)
        if isinstance(found, Group) and len(owners) == 1:
            raise bad("The group must have at least one owner, hence this owner cannot be removed.")
        await remove_owner(tx, asked.tenant.id, asked.target, owner)
    return nothing()


async def _add_member(asked: Asked, tx: Transaction, group_id: str, member_id: str) -> None:
    found = await find_object(tx, asked.tenant.id, member_id)
    if found is None:
        raise missing(member_id)
    if isinstance(found, Application):
        raise bad(f"Invalid object identifier '{member_id}': an application cannot be a member.")
    if await MEMBERSHIPS.get(tx, f"{asked.tenant.id}/{group_id}/{member_id}"):
        raise bad(_EXISTS.format("members"))
    try:
        await add_member(tx, asked.tenant.id, group_id, member_id)
    except InvalidInput as problem:
        raise bad(problem.message) from None


async def add_owner_checked(asked: Asked, tx: Transaction, object_id: str, owner_id: str) -> None:
    found = await find_object(tx, asked.tenant.id, owner_id)
    if found is None:
        raise missing(owner_id)
    if not isinstance(found, User | ServicePrincipal):
        raise bad("The reference target type is invalid for the 'owners' reference.")
    try:
        await add_owner(tx, asked.tenant.id, object_id, owner_id)
    except Conflict:
        raise bad(_EXISTS.format("owners")) from None


# --- which groups hold it --------------------------------------------------------------------------------------


async def direct_groups(session: Session, tenant_id: str, object_id: str) -> list[str]:
    rows = await MEMBERSHIPS.find(session, "member", f"{tenant_id}/{object_id}")
    return [row.value.group_id for row in rows]


async def member_of(asked: Asked) -> Reply:
    await _must_be(asked)
    return await list_objects(asked, await direct_groups(asked.store, asked.tenant.id, asked.target))


async def transitive_member_of(asked: Asked) -> Reply:
    await _must_be(asked)
    return await list_objects(asked, sorted(await groups_of(asked.store, asked.tenant.id, asked.target)))


async def get_member_groups(asked: Asked) -> Reply:
    await _must_be(asked)
    bodies.flag(asked.body(), "securityEnabledOnly", False)
    found = sorted(await groups_of(asked.store, asked.tenant.id, asked.target))
    return answer({"@odata.context": asked.context("Collection(Edm.String)"), "value": found})


async def check_member_groups(asked: Asked) -> Reply:
    await _must_be(asked)
    name = "ids" if asked.request.path.lower().endswith("objects") else "groupIds"
    wanted = bodies.texts(asked.body(), name)
    if not 1 <= len(wanted) <= 20:
        raise bad(f"The number of '{name}' must be between 1 and 20.")
    held = await groups_of(asked.store, asked.tenant.id, asked.target)
    found = [one for one in wanted if one.lower() in held]
    return answer({"@odata.context": asked.context("Collection(Edm.String)"), "value": found})


async def _must_be(asked: Asked) -> None:
    if not asked.target or await find_object(asked.store, asked.tenant.id, asked.target) is None:
        raise missing(asked.parameters.get("id", "")[:256])
