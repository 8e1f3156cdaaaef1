"""How a function app is started, and `…/functions` of Resource Manager, which asks its host."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keyfob.arm.keys import DerivedKeys
from keyfob.arm.resources import resource_not_found
from keyfob.arm.shapes import resource_path, resource_scope
from keyfob.declare import Action, Call, Route
from keyfob.errors import NotFound, Unavailable
from keyfob.hosts.app_service.functions.embedded.discovery import DEFAULT_SCRIPT
from keyfob.hosts.app_service.functions.keys import FunctionKeys, HandedOut
from keyfob.hosts.app_service.model import API_VERSIONS
from keyfob.hosts.app_service.running.command import ENVIRONMENTS, Launch
from keyfob.hosts.app_service.running.environment import HOME, ROOT
from keyfob.hosts.app_service.running.sites import KindOfSite, NoContent, Sites
from keyfob.hosts.app_service.site import Site, SiteReader
from keyfob.hosts.workloads.forward import forward
from keyfob.hosts.workloads.workshop import Workshop
from keyfob.wire.http import Fields, Reply, Request

PORT = 8080
EMBEDDED = Path(__file__).with_name("embedded")
HOST_FOLDER = "/azure-functions-host"
"""Where Azure's own images have the host."""
MODULE = "functions_host"
STATE = f"{HOME}/data/Functions/timers"

_PATIENCE = 60.0


class FunctionApps:
    """Made once. `kind` goes to `Sites`, `routes` to the provider."""

    def __init__(self, *, derived: DerivedKeys, reader: SiteReader, workshop: Workshop) -> None:
        self.keys = FunctionKeys(derived)
        self._reader = reader
        self._workshop = workshop

    @property
    def kind(self) -> KindOfSite:
        """Always on: a timer fires whether anybody asks or not."""
        return KindOfSite("functionapp", self.choose, always_on=True)

    def choose(self, site: Site, content: Path) -> Launch | None:
        """The embedded host with the app's own Python; None when the content is no function app, or not for Python."""
        if not (content / "host.json").is_file():
            return None
        described = any(content.glob("*/function.json"))
        if not described and not (content / site.setting("PYTHON_SCRIPT_FILE_NAME", DEFAULT_SCRIPT)).is_file():
            return None
        home = next((name for name in ENVIRONMENTS if (content / name / "bin" / "python").exists()), "")
        python = f"{ROOT}/{home}/bin/python" if home else "python3"
        digests = self.keys.digests(site.resource, self._handed_out(site).names())
        runtime = site.setting("FUNCTIONS_WORKER_RUNTIME", "python").lower()
        notes = [] if runtime == "python" else [f"FUNCTIONS_WORKER_RUNTIME is '{runtime}': only Python runs here"]
        return Launch(
            [python, "-m", MODULE, "--app", ROOT, "--port", str(PORT), "--state", STATE],
            PORT,
            {
                "PYTHONPATH": HOST_FOLDER,
                "PYTHONUNBUFFERED": "1",
                "FUNCTIONS_KEYS": json.dumps(digests),
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
            return Reply.json({"default": await self._hand_out(site, sites, str(found["name"]))})

        async def secrets(call: Call) -> Reply:
            site = await self._site(call)
            found = await self._function(site, sites, call.parameters["functionName"])
            key = await self._hand_out(site, sites, str(found["name"]))
            return Reply.json({"key": key, "trigger_url": f"{_invoke_url(site, found)}?code={key}"})

        def row(method: str, word: str, action: str, operation: Any) -> Route:
            return Route(method, f"{path}/{word}", Action(f"{kind}/{action}"), operation, scope, API_VERSIONS)

        return (
            row("GET", "functions", "functions/read", all_),
            row("GET", "functions/{functionName}", "functions/read", one_),
            row("POST", "functions/{functionName}/listkeys", "functions/listkeys/action", keys),
            row("POST", "functions/{functionName}/listsecrets", "functions/listsecrets/action", secrets),
        )

    async def _site(self, call: Call) -> Site:
        site = await self._reader.read(call.scope)
        if site is None:
            raise resource_not_found(call.scope)
        return site

    async def _functions(self, site: Site, sites: Sites) -> list[dict[str, Any]]:
        """What the host found; a site without content, or of another kind, has none."""
        if not site.is_function_app:
            return []
        try:
            reply = await self._ask(site, sites, "GET", "/admin/functions")
        except NoContent:
            return []
        found: list[dict[str, Any]] = json.loads(reply.body)
        return found

    async def _function(self, site: Site, sites: Sites, name: str) -> dict[str, Any]:
        for found in await self._functions(site, sites):
            if str(found["name"]).lower() == name.lower():
                return found
        raise NotFound(f"Function '{name[:80]}' was not found in the function app '{site.name}'.", code="NotFound")

    async def _hand_out(self, site: Site, sites: Sites, function: str) -> str:
        """The function's own key, which its host knows before anybody else does."""
        self._handed_out(site).add(function)
        digests = self.keys.digests(site.resource, self._handed_out(site).names())
        await self._ask(site, sites, "PUT", "/admin/keys", digests)
        return self.keys.own(site.resource, function)

    async def _ask(
        self, site: Site, sites: Sites, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Reply:
        """Asks the host, which is started if need be. Raises `NoContent`, `NotUp` and `Unavailable`."""
        running = await sites.wake(site)
        await running.ready()
        request = Request(
            method,
            path,
            Fields(),
            Fields([("x-functions-key", self.keys.master(site.resource))]),
            json.dumps(body).encode() if body is not None else b"",
            host=site.host,
            raw_path=path,
            peer="127.0.0.1",
        )
        reply = await forward(request, running.dial, patience=_PATIENCE)
        if reply.stream is not None or reply.status >= 300:
            raise Unavailable(f"The host of '{site.name}' answered {reply.status}; its log says more.")
        return reply

    def _handed_out(self, site: Site) -> HandedOut:
        return HandedOut(self._workshop.folder_of(site.id))


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
