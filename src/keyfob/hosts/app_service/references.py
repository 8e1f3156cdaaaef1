"""`config/configreferences/…`: which settings of a site stand for a secret of a vault.

`@Microsoft.KeyVault(SecretUri=https://{vault}.{suffix}/secrets/{name}[/{version}])`, or `VaultName=…;SecretName=…` with
an optional `SecretVersion`. Nothing is fetched: a program that runs as the site asks the vault itself, so a status is
never `Resolved`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from keyfob.arm.model import Resource
from keyfob.arm.resources import get_resource, resource_not_found
from keyfob.arm.shapes import mapping, resource_path, resource_scope
from keyfob.declare import Action, Call, Route
from keyfob.errors import NotFound
from keyfob.hosts.app_service.model import API_VERSIONS
from keyfob.store.port import Store
from keyfob.wire.http import Reply

_REFERENCE = re.compile(r"@Microsoft\.KeyVault\((.*)\)", re.IGNORECASE | re.DOTALL)
_HOLDERS = ("appsettings", "connectionstrings")


def routes(store: Store, kind: str) -> tuple[Route, ...]:
    path, scope = f"{resource_path(kind)}/config/configreferences", resource_scope(kind)
    read = Action(f"{kind}/config/read")
    rows = []
    for holder in _HOLDERS:
        rows.append(Route("GET", f"{path}/{holder}", read, _listing(store, holder), scope, API_VERSIONS))
        rows.append(Route("GET", f"{path}/{holder}/{{setting}}", read, _reading(store, holder), scope, API_VERSIONS))
    return tuple(rows)


def _listing(store: Store, holder: str) -> Callable[[Call], Awaitable[Reply]]:
    async def show(call: Call) -> Reply:
        return Reply.json({"value": [row for _, row in await _references(store, call, holder)]})

    return show


def _reading(store: Store, holder: str) -> Callable[[Call], Awaitable[Reply]]:
    async def show(call: Call) -> Reply:
        wanted = call.parameters["setting"]
        for name, row in await _references(store, call, holder):
            if name.lower() == wanted.lower():
                return Reply.json(row)
        raise NotFound(f"The setting '{wanted[:100]}' is no reference to a vault.", code="NotFound")

    return show


async def _references(store: Store, call: Call, holder: str) -> list[tuple[str, dict[str, Any]]]:
    site = await get_resource(store, call.scope)
    if site is None:
        raise resource_not_found(call.scope)
    config = await get_resource(store, call.scope.child("config", holder))
    found = []
    for name, value in (config.properties if config is not None else {}).items():
        text = mapping(value).get("value") if holder == "connectionstrings" else value
        if isinstance(text, str) and (matched := _REFERENCE.fullmatch(text.strip())):
            id = f"{call.scope}/config/configreferences/{holder}/{name}"
            row = {"id": id, "name": name, "type": f"{call.scope.type}/config/configreferences/{holder}"}
            found.append((name, row | {"properties": _reference(text, matched[1], site)}))
    return found


def _reference(text: str, inside: str, site: Resource) -> dict[str, Any]:
    named = parse_reference(inside)
    status = "InvalidSyntax"
    if named:
        status = "Initialized" if site.identity is not None else "MSINotEnabled"
    return {"reference": text, "status": status, "source": "KeyVault", **named}


def parse_reference(inside: str) -> Mapping[str, str]:
    """`vaultName`, `secretName` and perhaps `secretVersion`; nothing where the parentheses hold no reference."""
    pairs = (part.partition("=") for part in inside.split(";") if part.strip())
    given = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if "secreturi" in given:
        try:
            url = urlsplit(given["secreturi"])
            vault = (url.hostname or "").partition(".")[0]
        except ValueError:
            return {}
        word, name, version = [*url.path.strip("/").split("/"), "", ""][:3]
        if word.lower() != "secrets" or url.scheme != "https":
            return {}
    else:
        vault, name = given.get("vaultname", ""), given.get("secretname", "")
        version = given.get("secretversion", "")
    if not vault or not name:
        return {}
    return {"vaultName": vault, "secretName": name, **({"secretVersion": version} if version else {})}
