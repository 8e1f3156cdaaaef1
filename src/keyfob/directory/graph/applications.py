"""Application registrations, and their federated identity credentials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from keyfob.directory.applications import (
    add_federated_credential,
    delete_application,
    delete_federated_credential,
    find_application,
    list_applications,
    list_federated_credentials,
    register_application,
    update_application,
)
from keyfob.directory.graph import bodies, shapes
from keyfob.directory.graph.asked import GUID, Asked, references
from keyfob.directory.graph.credentials import certificates_from, secrets_from, settled
from keyfob.directory.graph.dialect import answer, bad, duplicate, missing, nothing
from keyfob.directory.graph.filters import Filter
from keyfob.directory.graph.groups import add_owner_checked
from keyfob.directory.graph.query import next_link, page_of, parse_options, shown
from keyfob.directory.graph.reading import Collection, Object, application_of, certain, list_collection, show
from keyfob.directory.model import Application, AppRole, AppRoleAssignment, FederatedCredential
from keyfob.directory.records import APP_ROLE_ASSIGNMENTS, APPLICATIONS, normal_name
from keyfob.errors import Conflict, InvalidInput
from keyfob.store.port import Transaction
from keyfob.wire.http import Reply

_AUDIENCES = (
    "AzureADMyOrg",
    "AzureADMultipleOrgs",
    "AzureADandPersonalMicrosoftAccount",
    "PersonalMicrosoftAccount",
)
_OWN = frozenset(
    {
        "id",
        "appId",
        "displayName",
        "identifierUris",
        "signInAudience",
        "appRoles",
        "keyCredentials",
        "passwordCredentials",
        "createdDateTime",
        "deletedDateTime",
        "publisherDomain",
    }
)
_MOST_URIS = 256
_MOST_ROLES = 1_200


async def _all(asked: Asked, found: Filter | None) -> Iterable[Object]:
    one = certain(found, "appId", "id", "identifierUris")
    if one is None:
        return await list_applications(asked.store, asked.tenant.id)
    name, value = one
    if name == "appId":
        app = await find_application(asked.store, value)
        return [app] if app and app.tenant_id == asked.tenant.id else []
    if name == "id":
        row = await APPLICATIONS.get(asked.store, f"{asked.tenant.id}/{value.lower()}")
        return [row.value] if row else []
    rows = await APPLICATIONS.find(asked.store, "uri", f"{asked.tenant.id}/{normal_name(value)}")
    return [row.value for row in rows]


APP_COLLECTION = Collection(name="applications", type="application", all=_all, expands=("owners",))


async def list_all(asked: Asked) -> Reply:
    return await list_collection(asked, APP_COLLECTION)


async def get(asked: Asked) -> Reply:
    return await show(asked, await application_of(asked, asked.store), APP_COLLECTION)


async def create(asked: Asked) -> Reply:
    body = asked.body()
    bodies.known(body, asked.parts.catalog.properties["application"], relations=("owners",))
    name = bodies.text(body, "displayName", required=True, of="Application")
    fresh = Application(
        id=asked.parts.ids.guid(),
        tenant_id=asked.tenant.id,
        app_id=asked.parts.ids.guid(),
        display_name=name,
        scopes=(),
        created=asked.now,
        more={"isFallbackPublicClient": None},
    )
    app = _changed(asked, fresh, body)
    owners = references(body, "owners")
    if asked.caller.principal_id not in owners:
        owners.append(asked.caller.principal_id)
    async with asked.store.transaction() as tx:
        await _storing(register_application(tx, app))
        for owner in owners:
            await add_owner_checked(asked, tx, app.id, owner)
    return await show(asked, app, APP_COLLECTION, 201)


async def update(asked: Asked) -> Reply:
    body = asked.body()
    bodies.known(body, asked.parts.catalog.properties["application"])
    async with asked.store.transaction() as tx:
        old = await application_of(asked, tx)
        new = _changed(asked, old, body)
        await _follow_roles(tx, old, new)
        await _storing(update_application(tx, new))
    return nothing()


async def delete(asked: Asked) -> Reply:
    async with asked.store.transaction() as tx:
        app = await application_of(asked, tx)
        await delete_application(tx, asked.tenant.id, app.id)
    return nothing()


async def _storing(writing: Any) -> None:
    """The directory's refusals in Graph's words."""
    try:
        await writing
    except Conflict as problem:
        raise duplicate(problem.target or "appId") from None
    except InvalidInput as problem:
        code = "InvalidRedirectUri" if problem.target == "redirectUris" else "Request_BadRequest"
        raise bad(problem.message, code=code, target=problem.target) from None


def _changed(asked: Asked, old: Application, body: Mapping[str, Any]) -> Application:
    """The application as the body makes it. Raises `InvalidInput`."""
    audience = body.get("signInAudience", old.sign_in_audience) or old.sign_in_audience
    if audience not in _AUDIENCES:
        raise bad(
            "Invalid value specified for property 'signInAudience' of resource 'Application'.", target="signInAudience"
        )
    more = bodies.rest(body, _OWN, old.more)
    for platform in ("web", "spa", "publicClient"):
        if len(bodies.texts(bodies.object_of(more, platform), "redirectUris")) > _MOST_URIS:
            raise bad("The number of redirect URIs is too large.", target="redirectUris")
    bodies.flag(more, "isFallbackPublicClient", False)
    bodies.texts(more, "tags")
    bodies.objects(more, "requiredResourceAccess")
    api = bodies.object_of(more, "api")
    version = api.get("requestedAccessTokenVersion", old.access_token_version)
    if version not in (None, 1, 2) or isinstance(version, bool):
        raise bad("Access Token Accepted Version must be 1 or 2.", target="api")
    scopes = bodies.objects(api, "oauth2PermissionScopes")
    for scope in scopes:
        _guid(scope, "oauth2PermissionScopes")
    return settled(
        msgspec.structs.replace(
            old,
            display_name=bodies.text(body, "displayName", old.display_name, of="Application") or old.display_name,
            identifier_uris=bodies.texts(body, "identifierUris") if "identifierUris" in body else old.identifier_uris,
            sign_in_audience=audience,
            access_token_version=2 if version == 2 else 1,
            app_roles=_roles(body) if "appRoles" in body else old.app_roles,
            scopes=tuple(str(scope.get("value")) for scope in scopes if scope.get("value")) if api else old.scopes,
            certificates=certificates_from(asked, body, old.certificates),
            secrets=secrets_from(body, old.secrets),
            more=more,
        )
    )


def _roles(body: Mapping[str, Any]) -> tuple[AppRole, ...]:
    made = []
    for given in bodies.objects(body, "appRoles"):
        members = bodies.texts(given, "allowedMemberTypes")
        if not members or not {"Application", "User"}.issuperset(members):
            raise bad(
                "Invalid value specified for property 'allowedMemberTypes' of resource 'AppRole'.", target="appRoles"
            )
        value = bodies.text(given, "value", of="AppRole")
        if value and (len(value) > 120 or not value.isprintable() or " " in value or "/" in value):
            raise bad("Invalid value specified for property 'value' of resource 'AppRole'.", target="appRoles")
        made.append(
            AppRole(
                id=_guid(given, "appRoles"),
                value=value,
                display_name=bodies.text(given, "displayName", required=True, of="AppRole"),
                description=str(given.get("description") or "")[:1_000],
                members=members,
                enabled=bodies.flag(given, "isEnabled", True),
            )
        )
    if len(made) > _MOST_ROLES or len({one.id for one in made}) != len(made):
        raise bad("The app roles are too many, or two have the same id.", code="DuplicateValue", target="appRoles")
    values = [one.value for one in made if one.value]
    if len(set(values)) != len(values):
        raise bad("Property value cannot have duplicate values.", code="DuplicateValue", target="appRoles")
    return tuple(made)


def _guid(given: Mapping[str, Any], target: str) -> str:
    value = given.get("id")
    if not isinstance(value, str) or not GUID.fullmatch(value.lower()):
        raise bad(f"Invalid value specified for property 'id' in '{target}'.", target=target)
    return value.lower()


async def _follow_roles(tx: Transaction, old: Application, new: Application) -> None:
    """An enabled role cannot go; assignments of one that goes go too, those of a renamed one follow its value."""
    left = {role.id: role for role in new.app_roles}
    for role in old.app_roles:
        now = left.get(role.id)
        if now is not None and now.value == role.value:
            continue
        if role.enabled and now is None:
            raise bad(
                "Permission (scope or role) cannot be deleted or updated unless disabled first.",
                code="CannotDeleteOrUpdateEnabledEntitlement",
                target="appRoles",
            )
        for row in await APP_ROLE_ASSIGNMENTS.find(tx, "resource", f"{old.tenant_id}/{old.app_id}"):
            if row.value.role_id == role.id:
                await APP_ROLE_ASSIGNMENTS.delete(tx, row.key)
                if now is not None:
                    moved: AppRoleAssignment = msgspec.structs.replace(row.value, role=now.value)
                    key = "/".join((moved.tenant_id, moved.principal_id, moved.resource_app_id, now.value or now.id))
                    await APP_ROLE_ASSIGNMENTS.put(tx, key, moved)


# --- federated identity credentials ----------------------------------------------------------------------------


async def list_federated(asked: Asked) -> Reply:
    app = await application_of(asked, asked.store)
    options = parse_options(
        asked.request.query,
        asked.parts.catalog.properties["federatedIdentityCredential"],
        "federatedIdentityCredential",
    )
    found = await list_federated_credentials(asked.store, asked.tenant.id, app.id)
    page = page_of([shapes.federated(one) for one in found], options)
    body: dict[str, Any] = {"@odata.context": asked.context(_context(app))}
    if page.next:
        body["@odata.nextLink"] = next_link(asked.url, asked.request.query, page.next)
    body["value"] = [shown(one, options) for one in page.items]
    return answer(body)


async def get_federated(asked: Asked) -> Reply:
    app = await application_of(asked, asked.store)
    one = await _federated(asked, asked.store, app)
    return answer({"@odata.context": asked.context(f"{_context(app)}/$entity"), **shapes.federated(one)})


async def create_federated(asked: Asked) -> Reply:
    body = asked.body()
    bodies.known(body, asked.parts.catalog.properties["federatedIdentityCredential"])
    async with asked.store.transaction() as tx:
        app = await application_of(asked, tx)
        one = _credential(body, FederatedCredential(name="", id=asked.parts.ids.guid(), audiences=()))
        known = await list_federated_credentials(tx, asked.tenant.id, app.id)
        if any(other.name == one.name for other in known):
            raise Conflict(f"FederatedIdentityCredential with name {one.name} already exists.")
        await _credential_storing(tx, asked, app, one)
    return answer(
        {"@odata.context": asked.context(f"{_context(app)}/$entity"), **shapes.federated(one)},
        201,
        ("Location", f"{asked.base}/v2/{asked.tenant.id}/federatedIdentityCredentials/{one.id}"),
    )


async def update_federated(asked: Asked) -> Reply:
    body = asked.body()
    bodies.known(body, asked.parts.catalog.properties["federatedIdentityCredential"])
    async with asked.store.transaction() as tx:
        app = await application_of(asked, tx)
        before = await _federated(asked, tx, app)
        if body.get("name", before.name) != before.name:
            raise bad("The name of a federated identity credential cannot be changed.", target="name")
        await _credential_storing(tx, asked, app, _credential(body, before))
    return nothing()


async def delete_federated(asked: Asked) -> Reply:
    async with asked.store.transaction() as tx:
        app = await application_of(asked, tx)
        one = await _federated(asked, tx, app)
        await delete_federated_credential(tx, asked.tenant.id, app.id, one.name)
    return nothing()


async def _credential_storing(tx: Transaction, asked: Asked, app: Application, one: FederatedCredential) -> None:
    try:
        await add_federated_credential(tx, asked.tenant.id, app.id, one)
    except Conflict:
        raise Conflict(
            f"FederatedIdentityCredential with issuer {one.issuer} and subject {one.subject} already exists."
        ) from None
    except InvalidInput as problem:
        raise bad(problem.message, target=problem.target) from None


def _credential(body: Mapping[str, Any], before: FederatedCredential) -> FederatedCredential:
    def part(name: str, old: str) -> str:
        value = body.get(name, old)
        if value is None and name == "description":
            return ""
        if not isinstance(value, str) or len(value) > 600:
            raise bodies.wrong(name)
        return value

    return msgspec.structs.replace(
        before,
        name=part("name", before.name),
        issuer=part("issuer", before.issuer),
        subject=part("subject", before.subject),
        description=part("description", before.description),
        audiences=bodies.texts(body, "audiences") if "audiences" in body else before.audiences,
    )


async def _federated(asked: Asked, session: Any, app: Application) -> FederatedCredential:
    wanted = asked.parameters["credential"]
    found: Sequence[FederatedCredential] = await list_federated_credentials(session, asked.tenant.id, app.id)
    for one in found:
        if wanted.lower() == one.id or wanted == one.name:
            return one
    raise missing(wanted[:256])


def _context(app: Application) -> str:
    return f"applications('{app.id}')/federatedIdentityCredentials"
