"""Objects found, shown and listed: what every collection does the same way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from keyfob.directory.applications import find_application, get_application
from keyfob.directory.graph import shapes
from keyfob.directory.graph.asked import GUID, Asked
from keyfob.directory.graph.dialect import answer, bad, missing
from keyfob.directory.graph.filters import Filter
from keyfob.directory.graph.query import Options, next_link, page_of, parse_options, shown
from keyfob.directory.model import Application, Group, ServicePrincipal, User
from keyfob.directory.principals import find_service_principal, find_user, get_principal, members_of, owners_of
from keyfob.directory.records import APPLICATIONS, GROUPS, SERVICE_PRINCIPALS, USERS
from keyfob.store.port import Session
from keyfob.wire.http import Reply

T = TypeVar("T")
Object = User | Group | Application | ServicePrincipal
TYPES: Mapping[type, str] = {
    User: "user",
    Group: "group",
    Application: "application",
    ServicePrincipal: "servicePrincipal",
}
CASTS: Mapping[str, type] = {f"microsoft.graph.{name.lower()}": kind for kind, name in TYPES.items()}


async def find_object(session: Session, tenant_id: str, object_id: str) -> Object | None:
    if not GUID.fullmatch(object_id):
        return None
    return await get_principal(session, tenant_id, object_id) or await get_application(session, tenant_id, object_id)


async def target_of(session: Session, tenant_id: str, collection: str, key: str) -> Object | None:
    """What a path's key means in that collection: an object id, a user's name, or `appId='…'`."""
    name, equals, value = key.partition("=")
    if equals and name.lower() == "appid":
        app_id = value.strip("'").lower()
        if collection == "applications":
            app = await find_application(session, app_id) if GUID.fullmatch(app_id) else None
            return app if app is not None and app.tenant_id == tenant_id else None
        if collection == "serviceprincipals" and GUID.fullmatch(app_id):
            found = await find_service_principal(session, tenant_id, app_id)
            return found if found is not None and found.app_id == app_id else None
        return None
    value = key.lower()
    if not GUID.fullmatch(value):
        return await find_user(session, tenant_id, value) if collection == "users" and "@" in value else None
    found_object = await find_object(session, tenant_id, value)
    kinds = {"users": User, "groups": Group, "applications": Application, "serviceprincipals": ServicePrincipal}
    kind = kinds.get(collection)
    return found_object if kind is None or isinstance(found_object, kind) else None


async def user_of(asked: Asked, session: Session) -> User:
    row = await USERS.get(session, f"{asked.tenant.id}/{asked.target}") if asked.target else None
    return _required(asked, row.value if row else None)


async def group_of(asked: Asked, session: Session) -> Group:
    row = await GROUPS.get(session, f"{asked.tenant.id}/{asked.target}") if asked.target else None
    return _required(asked, row.value if row else None)


async def application_of(asked: Asked, session: Session) -> Application:
    row = await APPLICATIONS.get(session, f"{asked.tenant.id}/{asked.target}") if asked.target else None
    return _required(asked, row.value if row else None)


async def principal_of(asked: Asked, session: Session) -> ServicePrincipal:
    row = await SERVICE_PRINCIPALS.get(session, f"{asked.tenant.id}/{asked.target}") if asked.target else None
    return _required(asked, row.value if row else None)


def _required(asked: Asked, value: T | None) -> T:
    if value is None:
        raise missing(asked.parameters.get("id", "").strip("'")[:256])
    return value


# --- shown -----------------------------------------------------------------------------------------------------


async def shape_all(asked: Asked, values: Sequence[Object], *, typed: bool = False) -> list[dict[str, Any]]:
    """As Graph shows them; `typed` adds `@odata.type`, as in lists of mixed objects."""
    apps = await _applications(asked, [value for value in values if isinstance(value, ServicePrincipal)])
    made = []
    for value in values:
        if isinstance(value, User):
            one = shapes.user(value)
        elif isinstance(value, Group):
            one = shapes.group(value)
        elif isinstance(value, Application):
            one = shapes.application(value, asked.tenant)
        else:
            one = shapes.service_principal(value, apps.get(value.app_id), asked.parts.catalog)
        made.append({"@odata.type": f"#microsoft.graph.{TYPES[type(value)]}", **one} if typed else one)
    return made


async def _applications(asked: Asked, principals: Sequence[ServicePrincipal]) -> dict[str, Application]:
    """The registrations behind service principals: a few one by one, many at once."""
    wanted = [one for one in principals if one.kind == "Application"]
    if len(wanted) > 20:
        rows = await APPLICATIONS.list(asked.store, prefix=f"{asked.tenant.id}/")
        found = {row.value.app_id: row.value for row in rows}
    else:
        found = {}
    for one in wanted:
        if one.app_id not in found and (app := await find_application(asked.store, one.app_id)):
            found[one.app_id] = app
    return found


@dataclass(frozen=True, kw_only=True)
class Collection:
    """A collection: its name in contexts, its type, and how its objects are found."""

    name: str
    type: str
    all: Callable[[Asked, Filter | None], Awaitable[Iterable[Object]]]
    default: tuple[str, ...] = ()
    expands: tuple[str, ...] = ()


async def list_collection(asked: Asked, collection: Collection) -> Reply:
    properties = asked.parts.catalog.properties[collection.type]
    options = parse_options(asked.request.query, properties, collection.type, expands=collection.expands)
    items = await shape_all(asked, list(await collection.all(asked, options.filter)))
    if asked.request.path.endswith("/$count"):
        return Reply.text(str(page_of(items, options).count))
    return await _paged(asked, items, options, collection)


async def _paged(
    asked: Asked, items: list[dict[str, Any]], options: Options, collection: Collection, context: str = ""
) -> Reply:
    page = page_of(items, options)
    for item in page.items:
        for relation in options.expand:
            item[relation] = await related(asked, item["id"], relation)
    selected = f"({','.join(options.select)})" if options.select else ""
    body: dict[str, Any] = {"@odata.context": asked.context(f"{context or collection.name}{selected}")}
    if options.count:
        body["@odata.count"] = page.count
    if page.next:
        body["@odata.nextLink"] = next_link(asked.url, asked.request.query, page.next)
    defaults = collection.default if asked.version == "v1.0" else ()
    body["value"] = [shown(item, options, defaults) for item in page.items]
    return answer(body)


async def show(asked: Asked, value: Object, collection: Collection, status: int = 200) -> Reply:
    """One object, as GET and POST answer it."""
    get = asked.request.method == "GET"
    options = (
        parse_options(
            asked.request.query,
            asked.parts.catalog.properties[collection.type],
            collection.type,
            expands=collection.expands,
        )
        if get
        else Options()
    )
    (item,) = await shape_all(asked, [value])
    for relation in options.expand:
        item[relation] = await related(asked, item["id"], relation)
    selected = f"({','.join(options.select)})" if options.select else ""
    defaults = collection.default if asked.version == "v1.0" else ()
    body = {
        "@odata.context": asked.context(f"{collection.name}{selected}/$entity"),
        **shown(item, options, defaults),
    }
    kind = {"servicePrincipal": "ServicePrincipal"}.get(collection.type, collection.type.capitalize())
    return answer(body, status, *(() if get else (asked.location(value.id, kind),)))


async def related(asked: Asked, object_id: str, relation: str) -> list[dict[str, Any]]:
    find = owners_of if relation == "owners" else members_of
    return await objects_by_id(asked, await find(asked.store, asked.tenant.id, object_id))


async def objects_by_id(asked: Asked, ids: Iterable[str], cast: type | None = None) -> list[dict[str, Any]]:
    """Those that are there, with their types."""
    found = []
    for object_id in ids:
        value = await find_object(asked.store, asked.tenant.id, object_id)
        if value is not None and (cast is None or isinstance(value, cast)):
            found.append(value)
    return await shape_all(asked, found, typed=True)


async def list_objects(asked: Asked, ids: Iterable[str]) -> Reply:
    """Members, owners, groups …: a list of mixed objects. A last path segment may narrow it to one type."""
    last = asked.request.path.rpartition("/")[2].lower()
    count = last == "$count"
    reference = last == "$ref"
    cast = CASTS.get(asked.parameters.get("cast", "").lower())
    if "cast" in asked.parameters and cast is None:
        raise bad(f"Resource not found for the segment '{asked.parameters['cast'][:100]}'.", code="BadRequest")
    properties = frozenset().union(
        *(asked.parts.catalog.properties[TYPES[kind]] for kind in ([cast] if cast else TYPES))
    )
    name = TYPES[cast] if cast else "directoryObject"
    options = parse_options(asked.request.query, properties, name)
    items = await objects_by_id(asked, ids, cast)
    if count:
        return Reply.text(str(page_of(items, options).count))
    context = "Collection($ref)" if reference else "directoryObjects" if cast is None else f"{name}s"
    if reference:
        items = [{"@odata.id": f"{asked.root}/directoryObjects/{item['id']}", "id": item["id"]} for item in items]
    return await _paged(asked, items, options, Collection(name=context, type=name, all=_nobody))


async def _nobody(asked: Asked, found: Filter | None) -> Iterable[Object]:
    return ()


def certain(found: Filter | None, *names: str) -> tuple[str, str] | None:
    """A property that every match must equal, of those there is an index for."""
    for name, value in found.equal if found else ():
        if name in names and isinstance(value, str) and value and len(value) < 1_000 and "\x00" not in value:
            return name, value
    return None
