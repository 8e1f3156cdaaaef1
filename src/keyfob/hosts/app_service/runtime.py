"""What Resource Manager tells about a site's program: its instance, its deployments and how the last one came up."""

from __future__ import annotations

from typing import Any

from keyfob.arm.resources import resource_not_found
from keyfob.arm.shapes import resource_path, resource_scope
from keyfob.declare import Action, Call, Route
from keyfob.errors import NotFound
from keyfob.hosts.app_service.deploying.deployments import Deployment, Deployments, Status
from keyfob.hosts.app_service.deploying.scm import shown
from keyfob.hosts.app_service.model import API_VERSIONS
from keyfob.hosts.app_service.running.environment import instance_id
from keyfob.hosts.app_service.running.running import NotUp, Running
from keyfob.hosts.app_service.running.sites import Sites
from keyfob.hosts.app_service.site import Site, SiteReader
from keyfob.hosts.workloads.workshop import Workshop
from keyfob.wire.http import Reply

_PATIENCE = 10.0
"""Seconds that a look at a deployment's status waits for what is about to change: azure-cli looks every 15."""

_FAILED_TAIL = 20
"""Lines of a program's log that a deployment status shows of one that did not come up."""


class Runtime:
    def __init__(self, *, reader: SiteReader, sites: Sites, deployments: Deployments, workshop: Workshop) -> None:
        self._reader = reader
        self._sites = sites
        self._deployments = deployments
        self._workshop = workshop

    def routes(self, kind: str) -> tuple[Route, ...]:
        path, scope = resource_path(kind), resource_scope(kind)
        rows = (
            ("instances", "instances/read", self._instances),
            ("instances/{instanceId}", "instances/read", self._instance),
            ("deployments", "deployments/read", self._list),
            ("deployments/{deploymentId}", "deployments/read", self._deployment),
            ("deployments/{deploymentId}/log", "deployments/log/read", self._log),
            ("deploymentStatus", "deploymentStatus/read", self._statuses),
            ("deploymentStatus/{deploymentId}", "deploymentStatus/read", self._status),
        )
        return tuple(
            Route("GET", f"{path}/{word}", Action(f"{kind}/{action}"), operation, scope, API_VERSIONS)
            for word, action, operation in rows
        )

    async def _site(self, call: Call) -> Site:
        site = await self._reader.read(call.scope)
        if site is None:
            raise resource_not_found(call.scope)
        return site

    # --- instances

    async def _instances(self, call: Call) -> Reply:
        site = await self._site(call)
        running = self._sites.running(site.id)
        return Reply.json({"value": [_instance(site, running)] if running is not None else []})

    async def _instance(self, call: Call) -> Reply:
        site = await self._site(call)
        running = self._sites.running(site.id)
        if running is None or call.parameters["instanceId"].lower() != instance_id(site):
            raise NotFound(f"There is no instance '{call.parameters['instanceId'][:80]}'.", code="NotFound")
        return Reply.json(_instance(site, running))

    # --- deployments

    async def _list(self, call: Call) -> Reply:
        site = await self._site(call)
        return Reply.json({"value": [self._shown(site, one) for one in self._deployments.all(site)]})

    async def _deployment(self, call: Call) -> Reply:
        site = await self._site(call)
        return Reply.json(self._shown(site, self._deployments.get(site, call.parameters["deploymentId"])))

    async def _log(self, call: Call) -> Reply:
        site = await self._site(call)
        found = self._deployments.get(site, call.parameters["deploymentId"])
        entries = [{"log_time": one.at, "message": one.message, "type": one.kind} for one in found.log]
        return Reply.json({**self._shown(site, found), "properties": {"entries": entries}})

    def _shown(self, site: Site, one: Deployment) -> dict[str, Any]:
        id = f"{site.id}/deployments/{one.id}"
        active = self._deployments.is_active(site, one)
        properties = shown(one, f"https://{scm_host(site)}/api/deployments/{one.id}", active=active, site=site)
        return {"id": id, "name": one.id, "type": f"{site.id.type}/deployments", "properties": properties}

    # --- how a deployment came up

    async def _statuses(self, call: Call) -> Reply:
        site = await self._site(call)
        return Reply.json({"value": [await self._state(site, one) for one in self._deployments.all(site)[:1]]})

    async def _status(self, call: Call) -> Reply:
        site = await self._site(call)
        found = self._deployments.get(site, call.parameters["deploymentId"])
        return Reply.json(await self._state(site, found))

    async def _state(self, site: Site, one: Deployment) -> dict[str, Any]:
        word, why = await self._word(site, one)
        up, failed = word == "RuntimeSuccessful", word == "RuntimeFailed"
        properties = {
            "deploymentId": one.id,
            "status": word,
            "numberOfInstancesInProgress": int(word == "RuntimeStarting"),
            "numberOfInstancesSuccessful": int(up),
            "numberOfInstancesFailed": int(failed),
            "failedInstancesLogs": [f"https://{scm_host(site)}/api/logstream"] if failed else [],
            "errors": [{"extendedCode": "0", "messageTemplate": "", "message": why}] if why else [],
        }
        id = f"{site.id}/deploymentStatus/{one.id}"
        return {"id": id, "name": one.id, "type": f"{site.id.type}/deploymentStatus", "properties": properties}

    async def _word(self, site: Site, one: Deployment) -> tuple[str, str]:
        """CsmDeploymentStatus's word, and what went wrong."""
        if not one.done:
            return ("BuildInProgress" if one.status == Status.BUILDING else "BuildRequestReceived"), ""
        if one.status == Status.FAILED:
            return "BuildFailed", one.text
        running = self._sites.running(site.id)
        if running is None or not site.running:
            return "RuntimeSuccessful", ""  # nothing is started: the site is stopped, or has no program
        try:
            await running.settled(_PATIENCE)
        except NotUp as problem:
            lines = [line.text for line in self._workshop.log_of(site.id).tail(_FAILED_TAIL)]
            return "RuntimeFailed", "\n".join([problem.message, *lines])
        return ("RuntimeSuccessful" if running.up else "RuntimeStarting"), ""


def scm_host(site: Site) -> str:
    label, _, zone = site.host.partition(".")
    return f"{label}.scm.{zone}"


def _instance(site: Site, running: Running) -> dict[str, Any]:
    """WebSiteInstanceStatus."""
    name = instance_id(site)
    return {
        "id": f"{site.id}/instances/{name}",
        "name": name,
        "type": f"{site.id.type}/instances",
        "location": site.resource.location,
        "properties": {
            "state": running.state,
            "statusUrl": f"https://{scm_host(site)}/api/logstream",
            "detectorUrl": None,
            "consoleUrl": None,
            "healthCheckUrl": f"https://{site.host}{site.health_path}" if site.health_path else None,
            "containers": {},
        },
    }
