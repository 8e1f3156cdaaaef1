"""The SCM site, `https://<site>.scm.<zone>`: the part of Kudu that deploys and tells.

What it answers and in which shape: projectkudu/kudu (PushDeploymentController, DeploymentController, DeployResult),
and what azure-cli 2.91 reads of it (appservice/custom.py). Every path needs publishing credentials or a token.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import zipfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import IO, Any, NamedTuple
from urllib.parse import quote

from keyfob.declare import Address
from keyfob.errors import Forbidden, InvalidInput, NotFound, Problem, Unauthenticated
from keyfob.hosts.app_service.deploying.admission import Admission, Publisher
from keyfob.hosts.app_service.deploying.deployments import Deployment, Deployments, Package, Status
from keyfob.hosts.app_service.running.sites import Sites
from keyfob.hosts.app_service.site import Site, SiteReader
from keyfob.hosts.workloads.logs import Line
from keyfob.hosts.workloads.workshop import Workshop
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Challenge, Reply, Request

_log = logging.getLogger(__name__)

_FILES = {"static": "", "script": "scripts/", "startup": "", "lib": "", "jar": "", "war": "", "ear": ""}
_NAMED = {"jar": "app.jar", "war": "app.war", "ear": "app.ear", "startup": "startup.sh"}
"""OneDeploy's types that are one file, and the names of those that need none."""

_TAIL = 200
"""Lines that a log stream begins with."""

LOOK = 1.0
"""Seconds between two looks whether a log stream may go on."""


class _Call(NamedTuple):
    request: Request
    site: Site
    publisher: Publisher
    rest: tuple[str, ...]
    """What follows the path that was matched."""


_Operation = Callable[[_Call], Awaitable[Reply]]


class Scm:
    """A plane: `declare.Plane`."""

    def __init__(
        self, *, reader: SiteReader, admission: Admission, deployments: Deployments, sites: Sites, workshop: Workshop
    ) -> None:
        self._reader = reader
        self._admission = admission
        self._deployments = deployments
        self._sites = sites
        self._workshop = workshop
        self._routes: Mapping[tuple[str, str], _Operation] = {
            ("GET", ""): self._home,
            ("POST", "api/zipdeploy"): self._zip_deploy,
            ("PUT", "api/zipdeploy"): self._zip_deploy,
            ("POST", "api/publish"): self._one_deploy,
            ("PUT", "api/publish"): self._one_deploy,
            ("GET", "api/deployments"): self._list,
            ("GET", "api/deployments/*"): self._show,
            ("GET", "api/deployments/*/log"): self._log_of,
            ("GET", "api/deployments/*/log/*"): self._log_details,
            ("GET", "api/settings"): self._settings,
            ("GET", "api/settings/*"): self._setting,
            ("GET", "api/environment"): self._environment,
            ("GET", "api/scm/info"): self._scm_info,
            ("GET", "api/logstream"): self._stream,
            ("GET", "api/logstream/*"): self._stream,
            ("GET", "logstream"): self._stream,
            ("GET", "logstream/*"): self._stream,
            ("GET", "api/logs/docker"): self._logs,
            ("GET", "dump"): self._dump,
            ("GET", "api/dump"): self._dump,
        }

    @staticmethod
    def takes_large(path: str) -> bool:
        """Packages may be larger than other bodies."""
        return path.lower() in {"/api/zipdeploy", "/api/publish"}

    async def __call__(self, request: Request, address: Address) -> Reply:
        try:
            return await self._answer(request, address)
        except Unauthenticated as failure:
            reply = _refusal(failure)
            basic = str(Challenge("Basic", {"realm": "site"}))
            return reply.adding(("WWW-Authenticate", basic))
        except Problem as problem:
            return _refusal(problem)
        except Exception:
            _log.exception("%s %s of %s failed", request.method, request.path, request.host)
            return _refusal(Problem("The server met an error that it did not expect. Its log has it."))

    async def _answer(self, request: Request, address: Address) -> Reply:
        resource = await self._reader.find(address.cloud, address.account)
        site = await self._reader.read(ResourceId.parse(resource.id))
        if site is None:
            raise NotFound("There is no such site.")
        publisher = await self._admission.admit(request, site)
        operation, rest = self._match(request)
        return await operation(_Call(request, site, publisher, rest))

    def _match(self, request: Request) -> tuple[_Operation, tuple[str, ...]]:
        parts = [part for part in request.path.split("/") if part]
        for (method, pattern), operation in self._routes.items():
            wanted = [part for part in pattern.split("/") if part]
            if method == request.method and len(wanted) == len(parts):
                pairs = list(zip(wanted, parts, strict=True))
                if all(want in ("*", part.lower()) for want, part in pairs):
                    return operation, tuple(part for want, part in pairs if want == "*")
        raise NotFound(f"There is nothing at {request.path[:120]} that this SCM site serves.")

    # --- deploying

    async def _zip_deploy(self, call: _Call) -> Reply:
        query = call.request.query
        package = Package(_kept(call.request), clean=_true(query.get("clean")))
        made = self._begin(call, package, query.get("deployer") or "ZipDeploy", "Created via a push deployment")
        return await self._answered(call, made, at_once=_true(query.get("isAsync")))

    async def _one_deploy(self, call: _Call) -> Reply:
        query = call.request.query
        flex = query.get("RemoteBuild") is not None  # Flex Consumption's deployments are zips and need no type
        kind = (query.get("type") or ("zip" if flex else "")).lower()
        path = query.get("path") or _NAMED.get(kind, "")
        if kind != "zip":
            if kind not in _FILES:
                raise InvalidInput(f"type='{kind[:40]}' not recognized")
            if not path:
                raise InvalidInput(f"Path must be defined for type='{kind}'")
            path = _FILES[kind] + path
        restart = query.get("restart") is None or _true(query.get("restart"))
        package = Package(_kept(call.request), type=kind, path=path, clean=_true(query.get("clean")), restart=restart,
                          build=_true(query.get("RemoteBuild")) if flex else None)  # fmt: skip
        made = self._begin(call, package, "OneDeploy", "OneDeploy")
        return await self._answered(call, made, at_once=flex or _true(query.get("async")))

    def _begin(self, call: _Call, package: Package, deployer: str, message: str) -> Deployment:
        query = call.request.query
        return self._deployments.begin(
            call.site,
            package,
            deployer=deployer[:100],
            author=(query.get("author") or call.publisher.name)[:200],
            message=(query.get("message") or message)[:500],
        )

    async def _answered(self, call: _Call, made: Deployment, *, at_once: bool) -> Reply:
        headers = (("SCM-DEPLOYMENT-ID", made.id),)
        if at_once:
            where = f"https://{call.request.host}/api/deployments/latest?deployer={quote(made.deployer)}"
            return Reply(202, b"", (*headers, ("Location", where), ("Retry-After", "3")))
        await self._deployments.wait(call.site, made)
        if made.status == Status.FAILED:
            raise InvalidInput(made.text)
        return Reply(200, b"", headers)

    # --- looking

    async def _home(self, call: _Call) -> Reply:
        return Reply.text(f"The SCM site of {call.site.host}. See /api/deployments, /api/settings, /logstream.\n")

    async def _list(self, call: _Call) -> Reply:
        return Reply.json([self._shown(call, one) for one in self._deployments.all(call.site)])

    async def _show(self, call: _Call) -> Reply:
        found = self._deployments.get(call.site, call.rest[0])
        headers = () if found.done else (("Location", call.request.url),)
        return Reply.json(self._shown(call, found), 200 if found.done else 202, headers)

    async def _log_of(self, call: _Call) -> Reply:
        found = self._deployments.get(call.site, call.rest[0])
        url = f"https://{call.request.host}/api/deployments/{found.id}/log"
        return Reply.json(
            [
                {
                    "log_time": one.at,
                    "id": f"{n}",
                    "message": one.message,
                    "type": one.kind,
                    "details_url": f"{url}/{n}",
                }
                for n, one in enumerate(found.log)
            ]
        )

    async def _log_details(self, call: _Call) -> Reply:
        self._deployments.get(call.site, call.rest[0])
        return Reply.json([])

    def _shown(self, call: _Call, one: Deployment) -> dict[str, Any]:
        """DeployResult."""
        url = f"https://{call.request.host}/api/deployments/{one.id}"
        return shown(one, url, active=self._deployments.is_active(call.site, one), site=call.site)

    async def _settings(self, call: _Call) -> Reply:
        """The site's own settings, as Kudu gives them to whoever may publish; not resolved."""
        return Reply.json({**_kudu_settings(call.site), **call.site.settings})

    async def _setting(self, call: _Call) -> Reply:
        known = {**_kudu_settings(call.site), **call.site.settings}
        found = next((value for name, value in known.items() if name.lower() == call.rest[0].lower()), None)
        if found is None:
            raise NotFound(f"There is no setting '{call.rest[0][:80]}'.")
        return Reply.json(found)

    async def _environment(self, call: _Call) -> Reply:
        return Reply.json({"version": "keyfob", "siteLastModified": str(call.site.resource.changed)})

    async def _scm_info(self, call: _Call) -> Reply:
        return Reply.json({"Type": "None", "GitUrl": None, "Branch": None, "RepoUrl": None})

    # --- logs

    async def _logs(self, call: _Call) -> Reply:
        lines = self._workshop.log_of(call.site.id).tail()
        return Reply.json(
            [
                {
                    "machineName": "keyfob",
                    "lastUpdated": lines[-1].at if lines else "",
                    "size": sum(len(line.text) + 1 for line in lines),
                    "href": f"https://{call.request.host}/api/logstream",
                    "path": "/home/LogFiles/app.log",
                }
            ]
        )

    async def _dump(self, call: _Call) -> Reply:
        """The log of the program and those of the deployments, as one archive."""
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            lines = self._workshop.log_of(call.site.id).tail()
            archive.writestr("LogFiles/app.log", "".join(f"{line}\n" for line in lines))
            for one in self._deployments.all(call.site):
                archive.writestr(
                    f"deployments/{one.id}/log.log", "".join(f"{entry.at} {entry.message}\n" for entry in one.log)
                )
        return Reply(200, made.getvalue(), (), "application/zip")

    async def _stream(self, call: _Call) -> Reply:
        return Reply(200, content_type="text/plain; charset=utf-8", stream=self._lines(call))

    async def _lines(self, call: _Call) -> AsyncGenerator[bytes, None]:
        """Until nobody listens, the site is gone, or whoever listens may not any more."""
        log, clock = self._workshop.log_of(call.site.id), asyncio.get_running_loop().time
        following = log.follow()
        coming = asyncio.ensure_future(anext(following))
        await asyncio.sleep(0)  # it listens from here on: no line is missed between those that are there and the next
        known = log.tail(_TAIL)
        try:
            yield b"Welcome, you are now connected to log-streaming service.\n\n"
            for line in known:
                yield _said(line)
            looked = clock()
            while True:
                await asyncio.wait([coming], timeout=LOOK)
                if clock() - looked >= LOOK:
                    if not await self._goes_on(call):
                        return
                    looked = clock()
                if coming.done():
                    yield _said(coming.result())
                    coming = asyncio.ensure_future(anext(following))
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    async def _goes_on(self, call: _Call) -> bool:
        site = await self._reader.read(call.site.id)
        same = site is not None and site.resource.created == call.site.resource.created
        return same and await self._admission.still(call.publisher, call.request, call.site)


def _said(line: Line) -> bytes:
    return f"{line}\n".encode("utf-8", "replace")


def shown(one: Deployment, url: str, *, active: bool, site: Site) -> dict[str, Any]:
    words = {Status.SUCCESS: "Succeeded", Status.FAILED: "Failed"}
    progress = "" if one.done else (one.log[-1].message if one.log else "Starting.")
    return {
        "id": one.id,
        "status": int(one.status),
        "status_text": one.text,
        "author_email": "N/A",
        "author": one.author,
        "deployer": one.deployer,
        "message": one.message,
        "progress": progress,
        "received_time": one.received,
        "start_time": one.began or one.received,
        "end_time": one.ended or None,
        "last_success_end_time": one.ended if one.status == Status.SUCCESS else None,
        "complete": one.done,
        "active": active,
        "is_temp": False,
        "is_readonly": True,
        "url": url,
        "log_url": f"{url}/log",
        "site_name": site.name if not site.slot else f"{site.name}({site.slot})",
        "provisioningState": words.get(Status(one.status), "InProgress"),
    }


def _kudu_settings(site: Site) -> dict[str, str]:
    return {
        "WEBSITE_SITE_NAME": site.name,
        "SCM_DO_BUILD_DURING_DEPLOYMENT": "true" if site.says("SCM_DO_BUILD_DURING_DEPLOYMENT") else "false",
    }


def _true(text: str | None) -> bool:
    return (text or "").strip().lower() in {"true", "1"}


def _kept(request: Request) -> IO[bytes]:
    """The body as a file of the deployment's own: that of the request is closed with its answer."""
    return io.BytesIO(request.body) if request.file is None else os.fdopen(os.dup(request.file.fileno()), "rb")


def _refusal(problem: Problem) -> Reply:
    reason = problem.info.get("reason") if isinstance(problem, Forbidden) else None
    message = problem.message if not reason else f"{problem.message} {reason}"
    return Reply.json({"Message": message, "error": {"code": problem.code, "message": message}}, problem.status)
