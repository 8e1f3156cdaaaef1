"""Keys of a function app through Resource Manager: named ones set, renewed and deleted.

Shapes and statuses: azure-cli's recording test_functionapp_keys_set.yaml; rules: azure-functions-host, KeysController.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from keyfob.arm.body import parse_object
from keyfob.arm.locations import display_name
from keyfob.arm.shapes import resource_path, resource_scope
from keyfob.clock import Ids
from keyfob.declare import Action, Call, Route
from keyfob.errors import InvalidInput, NotFound
from keyfob.hosts.app_service.functions.keys import DEFAULT, Chosen, FunctionKeys
from keyfob.hosts.app_service.model import API_VERSIONS
from keyfob.hosts.app_service.site import Site
from keyfob.store.port import Store
from keyfob.wire.http import Reply

MASTER = "_master"
FUNCTION_KEYS, SYSTEM_KEYS, MASTER_KEY = "functionKeys", "systemKeys", "masterKey"
LONGEST = 512
_name = re.compile(r"[A-Za-z0-9_.~-]{1,127}").fullmatch

SiteOf = Callable[[Call], Awaitable[Site]]
FunctionOf = Callable[[Site, str], Awaitable[str]]
"""The site and what somebody calls a function → its name. Raises `NotFound`."""
Told = Callable[[Site], Awaitable[None]]
"""Tells the app's host, where one runs, which keys there are now."""


class KeyRoutes:
    def __init__(self, *, store: Store, keys: FunctionKeys, ids: Ids, site: SiteOf, told: Told) -> None:
        self._store = store
        self._keys = keys
        self._ids = ids
        self._site = site
        self._told = told

    def rows(self, kind: str, function: FunctionOf) -> tuple[Route, ...]:
        path, scope = resource_path(kind), resource_scope(kind)

        def row(method: str, word: str, action: str, operation: Callable[[Call], Awaitable[Reply]]) -> Route:
            return Route(method, f"{path}/{word}", Action(f"{kind}/{action}"), operation, scope, API_VERSIONS)

        def of_host(key_type: str, action: str) -> tuple[Route, ...]:
            async def put(call: Call) -> Reply:
                return await self._put(call, await self._site(call), key_type, "")

            async def delete(call: Call) -> Reply:
                return await self._delete(call, await self._site(call), key_type, "")

            word = f"host/default/{key_type}/{{keyName}}"
            return row("PUT", word, f"host/{action}/write", put), row("DELETE", word, f"host/{action}/delete", delete)

        async def put(call: Call) -> Reply:
            site = await self._site(call)
            return await self._put(call, site, "keys", await function(site, call.parameters["functionName"]))

        async def delete(call: Call) -> Reply:
            site = await self._site(call)
            return await self._delete(call, site, "keys", await function(site, call.parameters["functionName"]))

        word = "functions/{functionName}/keys/{keyName}"
        return (
            *of_host(FUNCTION_KEYS, "functionKeys"),
            *of_host(SYSTEM_KEYS, "systemKeys"),
            *of_host(MASTER_KEY, "systemKeys"),
            row("PUT", word, "functions/keys/write", put),
            row("DELETE", word, "functions/keys/delete", delete),
        )

    async def hand_out(self, site: Site, function: str, now: float) -> dict[str, str]:
        """A function's own keys, which its host knows before anybody else does."""
        low = function.lower()
        if low not in (await self._keys.chosen(self._store, site.resource)).functions:
            async with self._store.transaction() as tx:
                chosen = await self._keys.chosen(tx, site.resource)
                chosen.functions.setdefault(low, {})
                await self._keys.change(tx, site.resource, chosen, now)
            await self._told(site)
        return (await self._keys.read(self._store, site.resource)).functions[low]

    # --- one key

    async def _put(self, call: Call, site: Site, key_type: str, function: str) -> Reply:
        _require_function_app(site)
        name = call.parameters["keyName"]
        if not _name(name):
            raise InvalidInput("Invalid key name.", code="BadRequest")
        value = self._value(call)
        async with self._store.transaction() as tx:
            chosen = await self._keys.chosen(tx, site.resource)
            there = _set(chosen, key_type, name, function, value)
            await self._keys.change(tx, site.resource, chosen, call.now)
        await self._told(site)
        return Reply.json(_shown(site, key_type, name, function, value), 200 if there else 201)

    def _value(self, call: Call) -> str:
        """The value to set: a new one where none is said."""
        body = parse_object(call.request.body) if call.request.body else {}
        given = body.get("properties", {})
        if not isinstance(given, dict):
            raise InvalidInput("The member 'properties' is an object.", code="BadRequest")
        value = given.get("value")
        if value is None or value == "":
            return self._ids.token(40)
        if not isinstance(value, str) or len(value) > LONGEST or not value.isascii() or not value.isprintable():
            raise InvalidInput(f"Invalid key value: a text of at most {LONGEST} characters.", code="BadRequest")
        return value

    async def _delete(self, call: Call, site: Site, key_type: str, function: str) -> Reply:
        _require_function_app(site)
        name = call.parameters["keyName"]
        if key_type == MASTER_KEY or name.startswith("_"):
            raise InvalidInput("Invalid key name.", code="BadRequest")
        async with self._store.transaction() as tx:
            chosen = await self._keys.chosen(tx, site.resource)
            named = _named(chosen, key_type, function)
            if not _has(named, key_type, name):
                raise NotFound(f"The key '{name[:80]}' was not found.", code="NotFound")
            named.pop(_spelled(named, name), None)
            if _is_first(key_type, name):
                named[DEFAULT] = None
            await self._keys.change(tx, site.resource, chosen, call.now)
        await self._told(site)
        return Reply(204)


def _set(chosen: Chosen, key_type: str, name: str, function: str, value: str) -> bool:
    """Whether it was there."""
    if key_type == MASTER_KEY or (key_type == SYSTEM_KEYS and name.lower() == MASTER):
        chosen.master = value
        return True
    named = _named(chosen, key_type, function)
    there = _has(named, key_type, name)
    named.pop(_spelled(named, name), None)
    named[name] = value
    return there


def _named(chosen: Chosen, key_type: str, function: str) -> dict[str, str | None]:
    if key_type == FUNCTION_KEYS:
        return chosen.host
    if key_type == SYSTEM_KEYS:
        return chosen.system
    return chosen.functions.setdefault(function.lower(), {})


def _spelled(named: Mapping[str, str | None], name: str) -> str:
    """As it stands there; as it is given where it does not."""
    return next((one for one in named if one.lower() == name.lower()), name)


def _has(named: Mapping[str, str | None], key_type: str, name: str) -> bool:
    known = _spelled(named, name)
    return named[known] is not None if known in named else _is_first(key_type, name)


def _is_first(key_type: str, name: str) -> bool:
    """Whether it is a key that every app has from the first."""
    return name.lower() == DEFAULT and key_type != SYSTEM_KEYS


def _shown(site: Site, key_type: str, name: str, function: str, value: str) -> dict[str, Any]:
    below, type = ("functions", "functions/keys") if function else ("host", f"host/{key_type}")
    return {
        "id": f"{site.id}/{below}/{function or 'default'}/{key_type}/{name}",
        "name": name,
        "type": f"{site.id.type}/{type}",
        "location": display_name(site.resource.location),
        "properties": {"name": name, "value": value},
    }


def _require_function_app(site: Site) -> None:
    if not site.is_function_app:
        raise NotFound(f"'{site.name}' is no function app: it has no keys.", code="NotFound")
