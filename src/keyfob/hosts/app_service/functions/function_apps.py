"""How a function app is started, and `…/functions` of Resource Manager, which asks its host."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from keyfob.arm.resources import get_resource, resource_not_found
from keyfob.arm.shapes import answering, posting, resource_path, resource_scope
from keyfob.clock import Ids
from keyfob.declare import Action, Call, Change, PostAction, Route
from keyfob.errors import InvalidInput, NotFound, Problem
from keyfob.hosts.app_service.functions.embedded.discovery import DEFAULT_SCRIPT
from keyfob.hosts.app_service.functions.key_routes import KeyRoutes
from keyfob.hosts.app_service.functions.keys import FunctionKeys
from keyfob.hosts.app_service.model import API_VERSIONS
from keyfob.hosts.app_service.running.command import ENVIRONMENTS, Launch, interpreter
from keyfob.hosts.app_service.running.environment import HOME, ROOT
from keyfob.hosts.app_service.running.running import NotUp, Running
from keyfob.hosts.app_service.running.sites import KindOfSite, NoContent, Sites, SiteStopped
from keyfob.hosts.app_service.site import Site, SiteReader
from keyfob.hosts.workloads.forward import BadGateway, forward
from keyfob.resource_id import ResourceId
from keyfob.store.port import EVERYTHING, Store
from keyfob.wire.http import Fields, Reply, Request

_log = logging.getLogger(__name__)

_host_row = re.compile(r"(.*/providers/microsoft\.web/sites/[^/]+(?:/slots/[^/]+)?)/host/default").fullmatch
"""The site whose row `host/default` was changed."""

PORT = 8080
EMBEDDED = Path(__file__).with_name("embedded")
HOST_FOLDER = "/azure-functions-host"
"""Where Azure's own images have the host."""
MODULE = "functions_host"
START = f"import sys; sys.path.append({HOST_FOLDER!r}); from {MODULE}.__main__ import main; sys.exit(main())"
"""No variable leads Python to the host: PYTHONPATH is the app's."""
KEYS = "functions.keys"
"""The variable with the digests of the keys. No app setting can have this name: their periods are rewritten."""
STATE = f"{HOME}/data/Functions/timers"

_PATIENCE = 60.0
_MOST = 4 * 1024 * 1024
"""Bytes of what the host says about its functions: the app's own code runs in it."""


class HostRuntime(InvalidInput):
    """The app's host does not answer, or not well: 400 with these words, as Resource Manager says it on Azure."""

    code = "BadRequest"

    def __init__(self, what: str, app: str) -> None:
        super().__init__(f"Encountered an error ({what}) from host runtime. The log of '{app}' says more.")


WANTS = "A function app has host.json, and beside it function_app.py or folders with a function.json."


class FunctionApps:
    """Made once. `kind` goes to `Sites`, `routes` and `actions` to the provider."""

    def __init__(self, *, master_key: bytes, store: Store, reader: SiteReader, ids: Ids) -> None:
        self.keys = FunctionKeys(master_key)
        self._reader = reader
        self._store = store
        self._ids = ids
        self._telling: set[asyncio.Task[None]] = set()

    @property
    def kind(self) -> KindOfSite:
        """Always on: a timer fires whether anybody asks or not."""
        return KindOfSite("functionapp", self.choose, always_on=True, wants=WANTS)

    def choose(self, site: Site, content: Path) -> Launch | None:
        """The embedded host with the app's own Python; None when the content is no function app, or not for Python."""
        if not (content / "host.json").is_file():
            return None
        described = any(content.glob("*/function.json"))
        if not described and not (content / site.setting("PYTHON_SCRIPT_FILE_NAME", DEFAULT_SCRIPT)).is_file():
            return None
        python, notes = interpreter(site)
        home = next((name for name in ENVIRONMENTS if (content / name / "bin" / "python").exists()), "")
        if home:
            python, notes = f"{ROOT}/{home}/bin/python", []
        runtime = site.setting("FUNCTIONS_WORKER_RUNTIME", "python").lower()
        if runtime != "python":
            notes = [*notes, f"FUNCTIONS_WORKER_RUNTIME is '{runtime}': only Python runs here"]
        return Launch(
            [python, "-c", START, "--app", ROOT, "--port", str(PORT), "--state", STATE],
            PORT,
            {
                "PYTHONUNBUFFERED": "1",
                KEYS: json.dumps(self.keys.of(site.resource, site.host_row).digests()),
                "FUNCTIONS_WORKER_RUNTIME": "python",
                "FUNCTIONS_EXTENSION_VERSION": "~4",
                "AZURE_FUNCTIONS_ENVIRONMENT": "Production",
                "AzureWebJobsScriptRoot": ROOT,
            },
            notes,
            grafts=((EMBEDDED, f"{HOST_FOLDER}/{MODULE}"),),
        )

    # --- Resource Manager

    def routes(self, kind: str, sites: Sites) -> tuple[Route, ...]:
        path, scope = resource_path(kind), resource_scope(kind)

        async def all_(call: Call) -> Reply:
            site = await self._site(call)
            return Reply.json({"value": [_shown(site, one) for one in await self._functions(site, sites)]})

        async def one_(call: Call) -> Reply:
            site = await self._site(call)
            return Reply.json(_shown(site, await self._function(site, sites, call.parameters["functionName"])))

        async def keys(call: Call) -> Reply:
            site = await self._site(call)
            found = await self._function(site, sites, call.parameters["functionName"])
            return Reply.json(await handed_out(call, site, found))

        async def secrets(call: Call) -> Reply:
            site = await self._site(call)
            found = await self._function(site, sites, call.parameters["functionName"])
            shown = await handed_out(call, site, found)
            key = shown.get("default") or next(iter(shown.values()), "")
            return Reply.json({"key": key, "trigger_url": f"{_invoke_url(site, found)}?code={key}"})

        async def name_of(site: Site, name: str) -> str:
            return str((await self._function(site, sites, name))["name"])

        async def told(site: Site) -> None:
            await self._tell(site, sites)

        async def handed_out(call: Call, site: Site, found: Mapping[str, Any]) -> Mapping[str, str]:
            return await named.hand_out(site, str(found["name"]), call.now)

        def row(method: str, word: str, action: str, operation: Any) -> Route:
            return Route(method, f"{path}/{word}", Action(f"{kind}/{action}"), operation, scope, API_VERSIONS)

        async def status(call: Call) -> Reply:
            return await self._ask(await self._function_app(call), sites, "GET", "/admin/host/status")

        async def sync(call: Call) -> Reply:
            return await self._ask(await self._function_app(call), sites, "POST", "/admin/host/synctriggers")

        async def fire(call: Call) -> Reply:
            site = await self._function_app(call)
            found = await self._function(site, sites, call.parameters["functionName"])
            return await self._ask(site, sites, "POST", f"/admin/functions/{found['name']}")

        named = KeyRoutes(store=self._store, keys=self.keys, ids=self._ids, site=self._site, told=told)
        return (
            row("GET", "functions", "functions/read", all_),
            row("GET", "functions/{functionName}", "functions/read", one_),
            row("POST", "functions/{functionName}/listkeys", "functions/listkeys/action", keys),
            row("POST", "functions/{functionName}/listsecrets", "functions/listsecrets/action", secrets),
            *named.rows(kind, name_of),
            row("GET", "hostruntime/admin/host/status", "hostruntime/host/read", status),
            row("POST", "hostruntime/admin/host/synctriggers", "hostruntime/host/action", sync),
            row("POST", "hostruntime/admin/functions/{functionName}", "hostruntime/host/action", fire),
        )

    def actions(self, kind: str) -> dict[str, PostAction]:
        """Of `host/default`. Triggers need not be told: the host reads them when it starts."""
        return {
            "listkeys": posting(f"{kind}/host", "listkeys", self._list_keys),
            "sync": posting(f"{kind}/host", "sync", answering(204)),
            "listsyncstatus": posting(f"{kind}/host", "listsyncstatus", answering(204)),
        }

    async def _list_keys(self, change: Change) -> Reply:
        app = await get_resource(change.transaction, change.id.parent)
        if app is None:
            raise resource_not_found(change.id.parent)
        keys = self.keys.of(app, change.before)
        return Reply.json({"masterKey": keys.master, "functionKeys": keys.host, "systemKeys": keys.system})

    async def _site(self, call: Call) -> Site:
        site = await self._reader.read(call.scope)
        if site is None:
            raise resource_not_found(call.scope)
        return site

    async def _function_app(self, call: Call) -> Site:
        site = await self._site(call)
        if not site.is_function_app:
            raise NotFound(f"'{site.name}' is no function app.", code="NotFound")
        return site

    async def _functions(self, site: Site, sites: Sites) -> list[dict[str, Any]]:
        """What the host found; a site without content, or of another kind, has none."""
        if not site.is_function_app:
            return []
        try:
            reply = await self._ask(site, sites, "GET", "/admin/functions")
        except NoContent:
            return []
        try:
            found = json.loads(reply.body)
        except ValueError:
            raise HostRuntime("InternalServerError", site.name) from None
        listed = found if isinstance(found, list) else []
        return [one for one in listed if isinstance(one, dict) and isinstance(one.get("name"), str)]

    async def _function(self, site: Site, sites: Sites, name: str) -> dict[str, Any]:
        for found in await self._functions(site, sites):
            if str(found["name"]).lower() == name.lower():
                return found
        raise NotFound(f"Function '{name[:80]}' was not found in the function app '{site.name}'.", code="NotFound")

    async def _tell(self, site: Site, sites: Sites) -> None:
        """The app's host, where one runs, gets the keys as they are now; one that is started later begins with them."""
        running = sites.running(site.id)
        if running is None:
            return
        keys = await self.keys.read(self._store, site.resource)
        try:
            await running.ready()
            await self._send(site, running, "PUT", "/admin/keys", keys.digests())
        except (NotUp, OSError):
            return  # it ended: whoever starts it again reads them

    def changed(self, sites: Sites, key: str) -> None:
        """A resource was written, on whatever node: the app that runs here learns of its keys."""
        row = _host_row(key)
        if row is not None or key == EVERYTHING:
            task = asyncio.get_running_loop().create_task(self._tell_all(sites, row[1] if row else ""), name="keys")
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _tell_all(self, sites: Sites, only: str) -> None:
        """`only` this site, or, where it is "", all of them."""
        for id in [ResourceId.parse(only)] if only else await self._reader.all():
            site = await self._reader.read(id) if sites.running(id) is not None else None
            try:
                if site is not None and site.is_function_app:
                    await self._tell(site, sites)
            except Problem as problem:
                _log.warning("%s could not be told its keys: %s", id, problem.message)

    async def stop(self) -> None:
        """Nobody is told any more: what runs ends, too."""
        for task in [*self._telling]:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)

    async def _ask(self, site: Site, sites: Sites, method: str, path: str) -> Reply:
        """Asks the host, which is started if need be. Raises `NoContent` and `HostRuntime`."""
        try:
            return await self._send(site, await sites.up(site.id), method, path)
        except (SiteStopped, NotUp, BadGateway, OSError):
            raise HostRuntime("ServiceUnavailable", site.name) from None

    async def _send(
        self, site: Site, running: Running, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Reply:
        request = Request(
            method,
            path,
            Fields(),
            Fields([("x-functions-key", self.keys.of(site.resource, None).platform)]),
            json.dumps(body).encode() if body is not None else b"",
            host=site.host,
            raw_path=path,
            peer="127.0.0.1",
        )
        reply = await forward(request, running.dial, patience=_PATIENCE)
        content = reply.body if reply.stream is None else b"".join([part async for part in reply.stream])
        if reply.status >= 300:
            raise HostRuntime(_phrase(reply.status), site.name)
        return Reply(reply.status, content, (), "application/json; charset=utf-8")


def _invoke_url(site: Site, function: Mapping[str, Any]) -> str:
    path = function.get("invokeUrlPath")
    return f"https://{site.host}{path}" if path else ""


def _shown(site: Site, function: Mapping[str, Any]) -> dict[str, Any]:
    """FunctionEnvelope (WebApps.json)."""
    name = str(function["name"])
    where = f"https://{site.host}/admin/functions/{name}"
    return {
        "id": f"{site.id}/functions/{name}",
        "name": f"{site.name}/{name}",
        "type": f"{site.id.type}/functions",
        "location": site.resource.location,
        "properties": {
            "name": name,
            "function_app_id": str(site.id),
            "script_href": f"https://{site.host}/admin/vfs/site/wwwroot/{DEFAULT_SCRIPT}",
            "href": where,
            "config": function.get("config", {}),
            "files": None,
            "test_data": "",
            "invoke_url_template": _invoke_url(site, function) or None,
            "language": function.get("language", "python"),
            "isDisabled": bool(function.get("isDisabled")),
        },
    }


def _phrase(status: int) -> str:
    """`NotFound` of 404, as the host runtime's errors begin."""
    try:
        return HTTPStatus(status).phrase.replace(" ", "")
    except ValueError:
        return "Error"
