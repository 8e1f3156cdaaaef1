"""Service principals of applications, managed identities and Azure's own; their app role assignments.

Managed identities belong to their resource: Graph shows them and assigns them roles, but neither changes nor deletes
them; nor Azure's own applications.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from keyfob.directory.applications import find_application, principal_of
from keyfob.directory.graph import bodies, shapes
from keyfob.directory.graph.asked import GUID, Asked, references
from keyfob.directory.graph.credentials import certificates_from, secrets_from
from keyfob.directory.graph.dialect import answer, bad, denied, duplicate, missing, nothing
from keyfob.directory.graph.filters import Filter
from keyfob.directory.graph.groups import add_owner_checked
from keyfob.directory.graph.query import next_link, page_of, parse_options, shown
from keyfob.directory.graph.reading import Collection, Object, certain, list_collection, show
from keyfob.directory.graph.reading import principal_of as target_principal
from keyfob.directory.model import Application, AppRoleAssignment, Group, ServicePrincipal, User
from keyfob.directory.principals import (
    Principal,
    assign_app_role,
    create_service_principal,
    delete_principal,
    find_service_principal,
    get_principal,
    list_service_principals,
)
from keyfob.directory.records import APP_ROLE_ASSIGNMENTS, SERVICE_PRINCIPALS
from keyfob.directory.tenants import get_tenant
from keyfob.errors import Conflict
from keyfob.store.port import Session
from keyfob.wire.http import Reply

NO_ROLE = "00000000-0000-0000-0000-000000000000"
"""Assigned without a role: default access."""
_OWN = frozenset(
    {
        "id",
        "appId",
        "accountEnabled",
        "displayName",
        "appDisplayName",
        "servicePrincipalNames",
        "servicePrincipalType",
        "alternativeNames",
        "appOwnerOrganizationId",
        "replyUrls",
        "signInAudience",
        "tags",
        "appRoles",
        "oauth2PermissionScopes",
        "keyCredentials",
        "passwordCredentials",
        "createdDateTime",
        "deletedDateTime",
    }
)


async def _all(asked: Asked, found: Filter | None) -> Iterable[Object]:
    tenant_id = asked.tenant.id
    one = certain(found, "servicePrincipalNames", "appId", "id")
    if one is None:
        return await list_service_principals(asked.store, tenant_id)
    name, value = one
    if name == "id":
        row = await SERVICE_PRINCIPALS.get(asked.store, f"{tenant_id}/{value.lower()}")
        return [row.value] if row else []
    principal = await find_service_principal(asked.store, tenant_id, value)
    return [principal] if principal else []


SP_COLLECTION = Collection(name="servicePrincipals", type="servicePrincipal", all=_all, expands=("owners",))


async def list_all(asked: Asked) -> Reply:
    return await list_collection(asked, SP_COLLECTION)


async def get(asked: Asked) -> Reply:
    return await show(asked, await target_principal(asked, asked.store), SP_COLLECTION)


async def create(asked: Asked) -> Reply:
    body = asked.body()
    bodies.known(body, asked.parts.catalog.properties["servicePrincipal"], relations=("owners",))
    app_id = bodies.text(body, "appId", required=True, of="ServicePrincipal").lower()
    owners = references(body, "owners")
    if asked.caller.principal_id not in owners:
        owners.append(asked.caller.principal_id)
    async with asked.store.transaction() as tx:
        if GUID.fullmatch(app_id) and (known := await find_service_principal(tx, asked.tenant.id, app_id)):
            raise Conflict(
                "The service principal cannot be created, updated, or restored because the service principal name "
                f"{known.app_id} is already in use."
            )
        app = await find_application(tx, app_id) if GUID.fullmatch(app_id) else None
        if app is None or (app.tenant_id != asked.tenant.id and app.sign_in_audience == "AzureADMyOrg"):
            raise bad(
                f"The appId '{app_id[:100]}' of the service principal does not reference a valid application object.",
                target="appId",
            )
        if app.tenant_id != asked.tenant.id:
            await _from_elsewhere(asked, tx, app)
        made = principal_of(app, tenant_id=asked.tenant.id, object_id=asked.parts.ids.guid())
        made = _changed(asked, msgspec.structs.replace(made, created=asked.now), body)
        await create_service_principal(tx, made)
        for owner in owners:
            await add_owner_checked(asked, tx, made.id, owner)
    return await show(asked, made, SP_COLLECTION, 201)


async def update(asked: Asked) -> Reply:
    body = asked.body()
    bodies.known(body, asked.parts.catalog.properties["servicePrincipal"])
    async with asked.store.transaction() as tx:
        old = await target_principal(asked, tx)
        if old.kind != "Application":
            raise denied()
        await SERVICE_PRINCIPALS.put(tx, f"{asked.tenant.id}/{old.id}", _changed(asked, old, body))
    return nothing()


async def delete(asked: Asked) -> Reply:
    async with asked.store.transaction() as tx:
        old = await target_principal(asked, tx)
        if old.kind != "Application":
            raise denied()
        await delete_principal(tx, asked.tenant.id, old.id)
    return nothing()


async def _from_elsewhere(asked: Asked, session: Session, app: Application) -> None:
    """A multi-tenant application of another tenant of this cloud, whose names mean nobody here yet: else it would take
    the tokens of whoever they mean. Raises `InvalidInput`."""
    home = await get_tenant(session, app.tenant_id)
    if home is None or home.cloud != asked.tenant.cloud:
        raise bad(
            f"The appId '{app.app_id}' of the service principal does not reference a valid application object.",
            target="appId",
        )
    for uri in app.identifier_uris:
        if await find_service_principal(session, asked.tenant.id, uri):
            raise duplicate("servicePrincipalNames")


def _changed(asked: Asked, old: ServicePrincipal, body: dict[str, Any]) -> ServicePrincipal:
    if "servicePrincipalNames" in body and not {name.lower() for name in old.names}.issuperset(
        name.lower() for name in bodies.texts(body, "servicePrincipalNames")
    ):
        raise bad(
            "The service principal names are those of its application: change identifierUris there.",
            target="servicePrincipalNames",
        )
    for name in ("notes", "description", "homepage", "loginUrl", "preferredSingleSignOnMode"):
        if body.get(name) is not None and not isinstance(body[name], str):
            raise bodies.wrong(name)
    bodies.flag(body, "appRoleAssignmentRequired", False)
    return msgspec.structs.replace(
        old,
        enabled=bodies.flag(body, "accountEnabled", old.enabled),
        tags=bodies.texts(body, "tags") if "tags" in body else old.tags,
        certificates=certificates_from(asked, body, old.certificates),
        secrets=secrets_from(body, old.secrets),
        more=bodies.rest(body, _OWN, old.more),
    )


# --- app role assignments --------------------------------------------------------------------------------------


def assignment_id(value: AppRoleAssignment) -> str:
    """43 characters that begin with the principal's id, as Graph's do; the same each time, so nothing is stored."""
    role = value.role_id or value.role
    digest = hashlib.sha256(f"{value.principal_id}/{value.resource_app_id}/{role}".encode()).digest()[:16]
    return base64.urlsafe_b64encode(uuid.UUID(value.principal_id).bytes_le + digest).decode().rstrip("=")


async def list_assignments(asked: Asked) -> Reply:
    """`appRoleAssignments`: what a user, group or service principal holds."""
    principal = await _principal(asked, asked.store)
    prefix = f"{asked.tenant.id}/{principal.id}/"
    rows = [row.value for row in await APP_ROLE_ASSIGNMENTS.list(asked.store, prefix=prefix)]
    return await _listed(asked, rows, "appRoleAssignments")


async def list_assigned(asked: Asked) -> Reply:
    """`appRoleAssignedTo`: who holds roles of this resource."""
    resource = await target_principal(asked, asked.store)
    rows = await APP_ROLE_ASSIGNMENTS.find(asked.store, "resource", f"{asked.tenant.id}/{resource.app_id}")
    return await _listed(asked, [row.value for row in rows], "appRoleAssignedTo")


async def assign(asked: Asked) -> Reply:
    """POST to either list: `principalId`, `resourceId`, `appRoleId`, one of which the path names."""
    body = asked.body()
    bodies.known(body, asked.parts.catalog.properties["appRoleAssignment"])
    given = {}
    for name in ("principalId", "resourceId", "appRoleId"):
        value = bodies.text(body, name, required=True, of="AppRoleAssignment").lower()
        if not GUID.fullmatch(value):
            raise bad(f"Invalid value specified for property '{name}' of resource 'AppRoleAssignment'.", target=name)
        given[name] = value
    async with asked.store.transaction() as tx:
        fixed = "resourceId" if asked.request.path.lower().endswith("appRoleAssignedTo".lower()) else "principalId"
        if given[fixed] != asked.target:
            raise bad(f"The {fixed} in the body does not match the object the request addresses.", target=fixed)
        principal = await get_principal(tx, asked.tenant.id, given["principalId"])
        resource = await get_principal(tx, asked.tenant.id, given["resourceId"])
        if principal is None or not isinstance(resource, ServicePrincipal):
            raise missing(given["principalId" if principal is None else "resourceId"])
        made = AppRoleAssignment(
            tenant_id=asked.tenant.id,
            principal_id=principal.id,
            resource_app_id=resource.app_id,
            role=await _role(asked, tx, principal, resource, given["appRoleId"]),
            role_id=given["appRoleId"],
            created=asked.now,
        )
        try:
            await assign_app_role(tx, made)
        except Conflict:
            raise bad("Permission being assigned already exists on the object") from None
    shape = shapes.assignment(made, assignment_id(made), principal, resource)
    return answer({"@odata.context": asked.context(f"{_context(asked)}/$entity"), **shape}, 201)


async def get_assignment(asked: Asked) -> Reply:
    value, _ = await _assignment(asked, asked.store)
    (shape,) = await _shaped(asked, [value])
    return answer({"@odata.context": asked.context(f"{_context(asked)}/$entity"), **shape})


async def remove_assignment(asked: Asked) -> Reply:
    async with asked.store.transaction() as tx:
        _, key = await _assignment(asked, tx)
        await APP_ROLE_ASSIGNMENTS.delete(tx, key)
    return nothing()


async def _role(asked: Asked, session: Session, principal: Principal, resource: ServicePrincipal, role_id: str) -> str:
    """The value of the role, "" for default access. Raises `InvalidInput`."""
    if role_id == NO_ROLE:
        return ""
    app = await find_application(session, resource.app_id) if resource.kind == "Application" else None
    role = next((one for one in shapes.offered(resource, app, asked.parts.catalog) if one.id == role_id), None)
    if role is None or not role.enabled:
        raise bad("Permission being assigned was not found on application", target="appRoleId")
    if ("Application" if isinstance(principal, ServicePrincipal) else "User") not in role.members:
        raise bad("Permission being assigned cannot be granted to this type of principal.", target="appRoleId")
    return role.value


async def _principal(asked: Asked, session: Session) -> User | Group | ServicePrincipal:
    found = await get_principal(session, asked.tenant.id, asked.target) if asked.target else None
    if found is None:
        raise missing(asked.parameters["id"][:256])
    return found


async def _assignment(asked: Asked, session: Session) -> tuple[AppRoleAssignment, str]:
    principal = await _principal(asked, session)
    rows = [*await APP_ROLE_ASSIGNMENTS.list(session, prefix=f"{asked.tenant.id}/{principal.id}/")]
    if isinstance(principal, ServicePrincipal):
        rows += await APP_ROLE_ASSIGNMENTS.find(session, "resource", f"{asked.tenant.id}/{principal.app_id}")
    for row in rows:
        if assignment_id(row.value) == asked.parameters["assignment"]:
            return row.value, row.key
    raise missing(asked.parameters["assignment"][:100])


async def _listed(asked: Asked, rows: Sequence[AppRoleAssignment], relation: str) -> Reply:
    options = parse_options(
        asked.request.query, asked.parts.catalog.properties["appRoleAssignment"], "appRoleAssignment"
    )
    page = page_of(await _shaped(asked, rows), options)
    body: dict[str, Any] = {"@odata.context": asked.context(_context(asked))}
    if options.count:
        body["@odata.count"] = page.count
    if page.next:
        body["@odata.nextLink"] = next_link(asked.url, asked.request.query, page.next)
    body["value"] = [shown(one, options) for one in page.items]
    return answer(body)


async def _shaped(asked: Asked, rows: Sequence[AppRoleAssignment]) -> list[dict[str, Any]]:
    made = []
    for row in rows:
        principal = await get_principal(asked.store, asked.tenant.id, row.principal_id)
        resource = await find_service_principal(asked.store, asked.tenant.id, row.resource_app_id)
        if principal is not None and resource is not None:
            made.append(shapes.assignment(row, assignment_id(row), principal, resource))
    return made


def _context(asked: Asked) -> str:
    collection, relation = asked.request.path.split("/")[2], asked.request.path.split("/")[-1]
    named = {"approleassignments": "appRoleAssignments", "approleassignedto": "appRoleAssignedTo"}
    relation = named.get(relation.lower(), "appRoleAssignments")
    return f"{collection.partition('(')[0]}('{asked.target}')/{relation}"
