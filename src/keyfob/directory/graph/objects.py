"""Directory objects whatever their kind; the organisation, its domains, directory roles; delegated permissions."""

from __future__ import annotations

from typing import Any

from keyfob.directory.graph import bodies, shapes
from keyfob.directory.graph.asked import GUID, Asked, reference
from keyfob.directory.graph.dialect import answer, bad, missing, nothing, written
from keyfob.directory.graph.permissions import ROLE_NAMES
from keyfob.directory.graph.query import next_link, page_of, parse_options, shown
from keyfob.directory.graph.reading import CASTS, find_object, list_objects, objects_by_id, shape_all
from keyfob.directory.model import Group, PermissionGrant, ServicePrincipal, User
from keyfob.directory.principals import (
    directory_role_members,
    get_principal,
    give_directory_role,
    owned_by,
    take_directory_role,
)
from keyfob.directory.records import PERMISSION_GRANTS
from keyfob.errors import Conflict
from keyfob.wire.http import Reply

_MOST_IDS = 1_000


# --- directory objects -----------------------------------------------------------------------------------------


async def get_object(asked: Asked) -> Reply:
    found = await find_object(asked.store, asked.tenant.id, asked.target) if asked.target else None
    if found is None:
        raise missing(asked.parameters["id"][:256])
    (shape,) = await shape_all(asked, [found], typed=True)
    return answer({"@odata.context": asked.context("directoryObjects/$entity"), **shape})


async def get_by_ids(asked: Asked) -> Reply:
    body = asked.body()
    ids = bodies.texts(body, "ids")
    if not 1 <= len(ids) <= _MOST_IDS:
        raise bad(f"The number of ids must be between 1 and {_MOST_IDS}.", target="ids")
    kinds = []
    for name in bodies.texts(body, "types"):
        kind = CASTS.get(f"microsoft.graph.{name.lower().removeprefix('microsoft.graph.')}")
        if kind is not None:
            kinds.append(kind)
        elif name.lower() == "directoryobject":
            kinds += list(CASTS.values())
    wanted = [one.lower() for one in ids if GUID.fullmatch(one.lower())]
    found = await objects_by_id(asked, dict.fromkeys(wanted))
    if body.get("types"):
        allowed = {
            f"#microsoft.graph.{name.rpartition('.')[2]}".lower() for name, kind in CASTS.items() if kind in kinds
        }
        found = [one for one in found if one["@odata.type"].lower() in allowed]
    return answer({"@odata.context": asked.context("directoryObjects"), "value": found})


async def my_objects(asked: Asked) -> Reply:
    return await list_objects(asked, await owned_by(asked.store, asked.tenant.id, asked.caller.principal_id))


async def deleted_items(asked: Asked) -> Reply:
    """Nothing is kept after its deletion, so there is nothing to list or to restore."""
    item = asked.parameters.get("item", "")
    if item and not item.lower().startswith("microsoft.graph."):
        raise missing(item[:256])
    return answer({"@odata.context": asked.context("directoryObjects"), "value": []})


# --- the organisation ------------------------------------------------------------------------------------------


async def organization(asked: Asked) -> Reply:
    tenant = asked.tenant
    one = {
        "id": tenant.id,
        "deletedDateTime": None,
        "businessPhones": [],
        "countryLetterCode": None,
        "createdDateTime": written(tenant.created),
        "displayName": tenant.display_name,
        "preferredLanguage": "en",
        "tenantType": "AAD",
        "technicalNotificationMails": [],
        "verifiedDomains": [
            {
                "capabilities": "Email, OfficeCommunicationsOnline",
                "isDefault": place == 0,
                "isInitial": place == 0,
                "name": domain,
                "type": "Managed",
            }
            for place, domain in enumerate(tenant.domains)
        ],
    }
    if "id" in asked.parameters:
        if asked.parameters["id"].lower() != tenant.id:
            raise missing(asked.parameters["id"][:256])
        return answer({"@odata.context": asked.context("organization/$entity"), **one})
    return _list(asked, [one], "organization", "organization")


async def domains(asked: Asked) -> Reply:
    items: list[dict[str, Any]] = [
        {
            "id": domain,
            "authenticationType": "Managed",
            "availabilityStatus": None,
            "isAdminManaged": True,
            "isDefault": place == 0,
            "isInitial": place == 0,
            "isRoot": True,
            "isVerified": True,
            "supportedServices": [],
        }
        for place, domain in enumerate(asked.tenant.domains)
    ]
    if "id" in asked.parameters:
        for item in items:
            if item["id"] == asked.parameters["id"].lower():
                return answer({"@odata.context": asked.context("domains/$entity"), **item})
        raise missing(asked.parameters["id"][:256])
    return _list(asked, items, "domains", "domain")


# --- directory roles -------------------------------------------------------------------------------------------


async def directory_roles(asked: Asked) -> Reply:
    """The object id of a role is its template's: one of each, always there."""
    if "id" in asked.parameters:
        template = _template(asked)
        return answer({"@odata.context": asked.context("directoryRoles/$entity"), **_role(template)})
    return _list(asked, [_role(template) for template in ROLE_NAMES], "directoryRoles", "directoryRole")


async def directory_role_holders(asked: Asked) -> Reply:
    template = _template(asked)
    return await list_objects(asked, await directory_role_members(asked.store, asked.tenant.id, template))


async def add_directory_role_holder(asked: Asked) -> Reply:
    template, member = _template(asked), reference(asked.body().get("@odata.id"))
    async with asked.store.transaction() as tx:
        found = await get_principal(tx, asked.tenant.id, member)
        if found is None:
            raise missing(member)
        if isinstance(found, Group):
            raise bad("Groups cannot be members of a directory role here.")
        try:
            await give_directory_role(tx, asked.tenant.id, template, member)
        except Conflict:
            raise bad(
                "One or more added object references already exist for the following modified properties: 'members'."
            ) from None
    return nothing()


async def remove_directory_role_holder(asked: Asked) -> Reply:
    template, member = _template(asked), asked.parameters["member"].lower()
    async with asked.store.transaction() as tx:
        held = await directory_role_members(tx, asked.tenant.id, template)
        if member not in held:
            raise missing(member[:100])
        if template == next(iter(ROLE_NAMES)) and held == [member]:
            raise bad("The last Global Administrator cannot be removed.")
        await take_directory_role(tx, asked.tenant.id, template, member)
    return nothing()


def _template(asked: Asked) -> str:
    key = asked.parameters["id"].lower()
    template = key.removeprefix("roletemplateid=").strip("'")
    if template not in ROLE_NAMES:
        raise missing(key[:256])
    return template


def _role(template: str) -> dict[str, Any]:
    return {
        "id": template,
        "deletedDateTime": None,
        "description": ROLE_NAMES[template],
        "displayName": ROLE_NAMES[template],
        "roleTemplateId": template,
    }


# --- delegated permissions -------------------------------------------------------------------------------------


async def list_grants(asked: Asked) -> Reply:
    rows = [row.value for row in await PERMISSION_GRANTS.list(asked.store, prefix=f"{asked.tenant.id}/")]
    last = asked.request.path.rpartition("/")[2].lower()
    if "id" in asked.parameters and last == "oauth2permissiongrants":
        rows = [one for one in rows if asked.target and asked.target in (one.client_id, one.principal_id)]
    elif "id" in asked.parameters:
        found = next((row for row in rows if row.id == asked.parameters["id"]), None)
        if found is None:
            raise missing(asked.parameters["id"][:256])
        return answer({"@odata.context": asked.context("oauth2PermissionGrants/$entity"), **shapes.grant(found)})
    return _list(asked, [shapes.grant(one) for one in rows], "oauth2PermissionGrants", "oAuth2PermissionGrant")


async def create_grant(asked: Asked) -> Reply:
    body = asked.body()
    properties = asked.parts.catalog.properties["oAuth2PermissionGrant"] | {"startTime", "expiryTime"}
    bodies.known(body, properties)
    client = bodies.text(body, "clientId", required=True, of="OAuth2PermissionGrant").lower()
    resource = bodies.text(body, "resourceId", required=True, of="OAuth2PermissionGrant").lower()
    kind = bodies.text(body, "consentType", required=True, of="OAuth2PermissionGrant")
    principal = bodies.text(body, "principalId", of="OAuth2PermissionGrant").lower()
    if kind not in ("AllPrincipals", "Principal") or (kind == "Principal") != bool(principal):
        raise bad("Invalid value specified for property 'consentType' of resource 'OAuth2PermissionGrant'.")
    one = PermissionGrant(
        id=asked.parts.ids.token(32),
        tenant_id=asked.tenant.id,
        client_id=client,
        resource_id=resource,
        principal_id=principal,
        scope=_scope(body, ""),
    )
    async with asked.store.transaction() as tx:
        for object_id, type_ in ((client, ServicePrincipal), (resource, ServicePrincipal), (principal, User)):
            found = await find_object(tx, asked.tenant.id, object_id) if object_id else None
            if object_id and not isinstance(found, type_):
                raise missing(object_id)
        for row in await PERMISSION_GRANTS.find(tx, "client", f"{asked.tenant.id}/{client}"):
            if (row.value.resource_id, row.value.principal_id) == (resource, principal):
                raise Conflict("Permission entry already exists.")
        await PERMISSION_GRANTS.insert(tx, f"{asked.tenant.id}/{one.id}", one)
    return answer({"@odata.context": asked.context("oauth2PermissionGrants/$entity"), **shapes.grant(one)}, 201)


async def update_grant(asked: Asked) -> Reply:
    from msgspec.structs import replace

    body = asked.body()
    key = f"{asked.tenant.id}/{asked.parameters['id'][:200]}"
    async with asked.store.transaction() as tx:
        row = await PERMISSION_GRANTS.get(tx, key)
        if row is None:
            raise missing(asked.parameters["id"][:256])
        await PERMISSION_GRANTS.put(tx, key, replace(row.value, scope=_scope(body, row.value.scope)))
    return nothing()


async def delete_grant(asked: Asked) -> Reply:
    async with asked.store.transaction() as tx:
        if not await PERMISSION_GRANTS.delete(tx, f"{asked.tenant.id}/{asked.parameters['id'][:200]}"):
            raise missing(asked.parameters["id"][:256])
    return nothing()


def _scope(body: dict[str, Any], default: str) -> str:
    value = body.get("scope", default)
    if not isinstance(value, str) or len(value) > 8_000 or not value.isprintable():
        raise bodies.wrong("scope")
    return value


def _list(asked: Asked, items: list[dict[str, Any]], name: str, kind: str) -> Reply:
    properties = asked.parts.catalog.properties[kind]
    options = parse_options(asked.request.query, properties, kind)
    page = page_of(items, options)
    body: dict[str, Any] = {"@odata.context": asked.context(name)}
    if options.count:
        body["@odata.count"] = page.count
    if page.next:
        body["@odata.nextLink"] = next_link(asked.url, asked.request.query, page.next)
    body["value"] = [shown(one, options) for one in page.items]
    return answer(body)
