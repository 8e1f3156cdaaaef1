"""`config/…` of sites and slots: settings that anyone may read who reads the site, and settings that need `list`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from keyfob.arm.keys import DerivedKeys
from keyfob.arm.model import Resource
from keyfob.arm.resources import RESOURCES, get_resource, list_resources, resource_not_found
from keyfob.arm.shapes import resource_path, resource_scope
from keyfob.declare import Action, Call, Change, Route
from keyfob.errors import InvalidInput, MethodNotAllowed, NotFound
from keyfob.hosts.app_service.model import API_VERSIONS, OPEN_CONFIG, SECRET_CONFIG, SPELLED
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store
from keyfob.wire.http import Reply


def accept(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    name = change.id.name.lower()
    if name not in SPELLED or name == "publishingcredentials":
        raise NotFound(f"Cannot find config with name '{change.id.name[:60]}'.", code="NotFound")
    if name == "appsettings" and any(isinstance(value, dict | list) for value in given.values()):
        raise InvalidInput("The value of an application setting is a string.", code="BadRequest")
    if name == "web" and change.before is not None:  # PUT too changes what it names and leaves the rest
        rest = {key: value for key, value in change.before.properties.items() if key not in given}
        return {key: value for key, value in rest.items() if key not in ("appSettings", "connectionStrings")}
    return {}


def named_settings(given: Any) -> dict[str, Any] | None:
    """The list `[{"name", "value"}]` as a mapping; None where there is no list."""
    if not isinstance(given, list):
        return None
    return {str(one["name"]): one.get("value") for one in given if isinstance(one, Mapping) and one.get("name")}


async def replace(change: Change, row: Resource, properties: Mapping[str, Any]) -> None:
    """Another row of the site, in the same transaction."""
    changed = msgspec.structs.replace(row, properties=dict(properties), changed=change.now)
    await RESOURCES.put(change.transaction, ResourceId.parse(row.id).key, changed)


class Credentials:
    """What is derived for a site: its publishing password."""

    def __init__(self, derived: DerivedKeys, opened: Callable[[Resource], Mapping[str, Any]]) -> None:
        """`opened` gives the values of a row that is sealed."""
        self._derived = derived
        self._opened = opened

    def __repr__(self) -> str:
        return "Credentials()"

    async def list(self, change: Change) -> Reply:
        """`POST …/config/{name}/list`."""
        name = change.id.name.lower()
        document = {"id": change.before.id, "name": change.before.name, "type": change.before.type}
        properties = dict(self._opened(change.before))
        if name == "publishingcredentials":
            properties = await self._publishing(change, change.id.parent)
        elif name in {one.lower() for one in OPEN_CONFIG}:
            raise NotFound(f"'{change.id.name}' is read by GET.", code="NotFound")
        return Reply.json({**document, "properties": properties})

    async def _publishing(self, change: Change, site: ResourceId) -> dict[str, Any]:
        stored = await get_resource(change.transaction, site)
        if stored is None:
            raise resource_not_found(site)
        user, password = "$" + "__".join(site.names), self.password(stored)
        host = stored.properties["defaultHostName"]
        label, _, suffix = host.partition(".")
        return {
            "publishingUserName": user,
            "publishingPassword": password,
            "scmUri": f"https://{user}:{password}@{label}.scm.{suffix}",
        }

    def password(self, site: Any) -> str:
        """The publishing password of a stored site."""
        return self._derived.key(site, "publishing").rstrip("=")

    async def publish_profile(self, change: Change) -> Reply:
        from xml.sax.saxutils import quoteattr  # urllib.request comes with it

        made = await self._publishing(change, change.id)
        host = str(change.before.properties["defaultHostName"])
        label, _, suffix = host.partition(".")
        said = {
            "profileName": f"{change.id.name} - Web Deploy",
            "publishMethod": "MSDeploy",
            "publishUrl": f"{label}.scm.{suffix}:443",
            "msdeploySite": change.id.name,
            "userName": made["publishingUserName"],
            "userPWD": made["publishingPassword"],
            "destinationAppUrl": f"https://{host}",
        }
        inner = " ".join(f"{name}={quoteattr(value)}" for name, value in said.items())
        text = f"<publishData><publishProfile {inner}></publishProfile></publishData>"
        return Reply(200, text.encode(), content_type="application/xml")


def routes(store: Store, kind: str) -> tuple[Route, ...]:
    """Reading what is secret needs POST; the list has `web` alone, as on Azure."""
    path, scope = resource_path(kind), resource_scope(kind)
    read = Action(f"{kind}/config/read")
    rows = [Route("GET", f"{path}/config/{name}", read, _refusing(name), scope, API_VERSIONS) for name in SECRET_CONFIG]
    return (*rows, Route("GET", f"{path}/config", read, _listing(store, kind), scope, API_VERSIONS))


def _refusing(name: str) -> Callable[[Call], Awaitable[Reply]]:
    async def refuse(call: Call) -> Reply:
        raise MethodNotAllowed(f"'{name}' holds secrets: it is read by POST …/config/{name}/list.")

    return refuse


def _listing(store: Store, kind: str) -> Callable[[Call], Awaitable[Reply]]:
    async def show(call: Call) -> Reply:
        if await get_resource(store, call.scope) is None:
            raise resource_not_found(call.scope)
        rows = [
            {"id": row.id, "name": row.name, "type": row.type, "properties": row.properties}
            for row in await list_resources(store, call.scope, type_name=f"{kind}/config")
            if row.name.lower() == "web" and ResourceId.parse(row.id).parent == call.scope
        ]
        return Reply.json({"value": rows})

    return show
