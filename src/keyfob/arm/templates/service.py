"""Deployments: begun, run, remembered. Knows nothing of HTTP; `types.py` does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from keyfob.access.guard import Guard
from keyfob.arm.present import present_group
from keyfob.arm.resources import get_group, get_subscription
from keyfob.arm.templates.deploy import DEEPEST, Ask, Journal, Run, asker
from keyfob.arm.templates.evaluate import Frame, Names
from keyfob.arm.templates.facts import GROUP, MANAGEMENT_GROUP, SUBSCRIPTION, Facts, environment_of, kind_of
from keyfob.arm.templates.plan import plan
from keyfob.arm.templates.records import (
    ACTIVE,
    FAILED,
    OPERATIONS,
    RECORDS,
    RESULTS,
    RUNNING,
    TEMPLATES,
    Deployment,
    DeploymentOperation,
    Kept,
)
from keyfob.arm.templates.request import Wanted, template_hash, wanted_of
from keyfob.arm.templates.template import Opened, Part, open_template
from keyfob.clock import Clock, Ids, iso
from keyfob.clouds.cloud import Cloud
from keyfob.declare import Action, Caller
from keyfob.directory.tenants import get_tenant
from keyfob.errors import Conflict, Forbidden, InvalidInput, NotFound, Problem
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store
from keyfob.wire.http import Reply

_log = logging.getLogger(__name__)
BEAT = 15.0
"""Seconds between two signs of life of a running deployment."""
SILENT = 60.0
"""Seconds of silence after which its process is taken for dead."""
_NAME = re.compile(r"[-\w._()]{1,64}")
_KEPT_RESULTS = 3600.0
WRITE = Action("Microsoft.Resources/deployments/write")

Answer = Callable[..., Awaitable[Reply]]


class Deployments(Journal):
    """`answer` is `ResourceManager.ask`, late: the two need each other. `alone`: no other process has this store."""

    def __init__(
        self,
        *,
        store: Store,
        guard: Guard,
        clouds: Mapping[str, Cloud],
        clock: Clock,
        ids: Ids,
        answer: Answer,
        alone: bool = True,
    ) -> None:
        self.store = store
        self.guard = guard
        self._clouds = clouds
        self.clock = clock
        self._ids = ids
        self._answer = answer
        self._alone = alone
        self._owner = ids.guid()
        self._runs: dict[str, Run] = {}

    def asker(self, caller: Caller, cloud: Cloud, request_id: str) -> Ask:
        return asker(self._answer, caller=caller, cloud=cloud, request_id=request_id)

    # --- what is there

    async def find(self, id: ResourceId) -> Deployment:
        """Raises `NotFound` (`DeploymentNotFound`)."""
        row = await RECORDS.get(self.store, id.key)
        if row is None or not await self._of_this_group(row.value):
            raise NotFound(f"Deployment '{id.name}' could not be found.", code="DeploymentNotFound")
        return row.value

    async def _of_this_group(self, one: Deployment) -> bool:
        """Not of one of the same name that was deleted since."""
        group = await get_group(self.store, ResourceId.parse(one.id))
        return group is None or one.began >= group.created

    async def at(self, scope: ResourceId, tenant_id: str) -> list[Deployment]:
        prefix = scope.provider("Microsoft.Resources/deployments", "x").key[:-1]
        rows = await RECORDS.list(self.store, prefix=prefix)
        found = [row.value for row in rows if row.value.tenant_id == tenant_id]
        kept = [one for one in found if await self._of_this_group(one)]
        return sorted(kept, key=lambda one: -one.changed)

    async def operations(self, one: Deployment) -> list[DeploymentOperation]:
        rows = await OPERATIONS.list(self.store, prefix=f"{ResourceId.parse(one.id).key}/operations/")
        return sorted((row.value for row in rows), key=lambda row: -row.number)

    async def template(self, one: Deployment) -> Any:
        row = await TEMPLATES.get(self.store, ResourceId.parse(one.id).key)
        return row.value.body if row else None

    # --- opening

    async def facts(self, id: ResourceId, wanted: Wanted, caller: Caller, cloud: Cloud) -> Facts:
        scope = id.parent
        kind = kind_of(scope)
        properties: dict[str, Any] = {
            "template": wanted.template if isinstance(wanted.template, dict) else {},
            "templateHash": template_hash(wanted.template),
            "parameters": {},
            "mode": wanted.mode,
            "provisioningState": RUNNING,
        }
        if wanted.template_link is not None:
            properties["templateLink"] = dict(wanted.template_link)
        deployment: dict[str, Any] = {"name": id.name, "properties": properties}
        group = subscription = None
        if kind in (GROUP, SUBSCRIPTION):
            known = await get_subscription(self.store, scope.subscription_id or "")
            subscription = {
                "id": f"/subscriptions/{scope.subscription_id}",
                "subscriptionId": scope.subscription_id,
                "tenantId": caller.tenant_id,
                "displayName": known.display_name if known else "",
            }
        if kind == GROUP:
            found = await get_group(self.store, scope)
            group = present_group(found) if found else {"id": str(scope), "name": scope.resource_group}
        else:
            deployment["location"] = wanted.location
        tenant = await get_tenant(self.store, caller.tenant_id)
        management = None
        if kind == MANAGEMENT_GROUP:
            properties_of = {"displayName": scope.name, "tenantId": caller.tenant_id}
            management = {"id": str(scope), "name": scope.name, "type": scope.type, "properties": properties_of}
        return Facts(
            scope=scope,
            deployment=deployment,
            group=group,
            subscription=subscription,
            management_group=management,
            tenant={
                "id": f"/tenants/{caller.tenant_id}",
                "tenantId": caller.tenant_id,
                "displayName": tenant.display_name if tenant else "",
                "countryCode": "US",
            },
            environment=environment_of(cloud, self._clouds),
            deployer={
                "objectId": caller.principal_id,
                "tenantId": caller.tenant_id,
                "userPrincipalName": caller.name if "@" in caller.name else "",
            },
            now=self.clock.now(),
            guid=self._ids.guid,
            providers=_no_providers,
        )

    async def open(self, id: ResourceId, wanted: Wanted, caller: Caller, cloud: Cloud) -> tuple[Opened, list[Part]]:
        """The template with what its parameters make of it, and the order. Raises what `validate` answers."""
        if not _NAME.fullmatch(id.name):
            raise InvalidInput(
                f"The deployment name '{id.name[:100]}' is not valid: up to 64 letters, digits, '-', '_', '.' and "
                "parentheses are allowed.",
                code="InvalidDeploymentName",
            )
        facts = await self.facts(id, wanted, caller, cloud)
        if facts.kind != GROUP and wanted.mode == "Complete":
            raise InvalidInput(
                "The deployment mode 'Complete' is only supported at resource group scope.",
                code="InvalidDeploymentMode",
            )

        def work() -> tuple[Opened, list[Part]]:
            opened = open_template(wanted.template, wanted.parameters, facts, place_of=wanted.place_of)
            return opened, plan(opened, wanted.place_of)

        # in a thread: a template may take a second of thought, and others are waiting
        return await asyncio.to_thread(work)

    async def preflight(self, parts: list[Part], caller: Caller) -> None:
        """Whether the caller may write each resource. Raises `Forbidden` (`InvalidTemplateDeployment`)."""
        refused: list[Problem] = []
        for part in parts:
            action = Action(f"{part.id.type or part.type}/write")
            if not await self.guard.allows(caller, action, part.id):
                refused.append(
                    Forbidden(
                        f"Authorization failed for template resource '{part.name}' of type '{part.type}'. The client "
                        f"'{caller.name}' with object id '{caller.principal_id}' does not have permission to perform "
                        f"action '{action.name}' at scope '{part.id}'.",
                        code="AuthorizationFailed",
                        target=str(part.id),
                    )
                )
        if not refused:
            return
        told = ":".join(problem.message for problem in refused[:20])
        start = (
            "The template deployment failed with error"
            if len(refused) == 1
            else "Deployment failed with multiple errors"
        )
        raise Forbidden(
            f"{start}: '{told}'.",
            code="InvalidTemplateDeployment",
            details=refused[:20],
            info={"principal_id": caller.principal_id, "action": "write", "scope": str(parts[0].id)},
        )

    # --- beginning

    async def begin(
        self, id: ResourceId, wanted: Wanted, *, caller: Caller, cloud: Cloud, api_version: str, request_id: str
    ) -> tuple[Deployment, bool]:
        """Starts it in the background; whether the name is new. Raises `InvalidInput`, `Forbidden`, `Conflict`."""
        opened, parts = await self.open(id, wanted, caller, cloud)
        await self.preflight(parts, caller)
        record = self._record(id, wanted, opened, parts, caller, api_version)
        new = await self._insert(record, wanted.template)
        run = self._run(record, opened, parts, wanted, caller, cloud, request_id or record.correlation_id)
        run.task = asyncio.create_task(run.go(), name=f"deployment {id.name}")
        return record, new

    def _record(
        self, id: ResourceId, wanted: Wanted, opened: Opened, parts: list[Part], caller: Caller, api_version: str
    ) -> Deployment:
        now = self.clock.now()
        return Deployment(
            id=str(id),
            name=id.name,
            tenant_id=caller.tenant_id,
            location=wanted.location,
            tags=dict(wanted.tags),
            mode=wanted.mode,
            template_hash=template_hash(wanted.template),
            template_link=dict(wanted.template_link) if wanted.template_link else None,
            parameters=opened.shown_parameters,
            dependencies=_dependencies(parts),
            providers=_providers(parts),
            correlation_id=self._ids.guid(),
            operation=self._ids.guid(),
            principal_id=caller.principal_id,
            api_version=api_version,
            began=now,
            changed=now,
            beat=now,
            owner=self._owner,
        )

    async def _insert(self, record: Deployment, template: Any) -> bool:
        key = ResourceId.parse(record.id).key
        async with self.store.transaction() as tx:
            row = await RECORDS.get(tx, key)
            if row is not None and row.value.state in ACTIVE and not self._dead(row.value):
                began = iso(row.value.began)
                raise Conflict(
                    f"Unable to edit or replace deployment '{record.name}': previous deployment from '{began}' is "
                    f"still active (expiration time is '{iso(row.value.began + 7 * 86_400)}'). Please see "
                    "https://aka.ms/arm-deploy for usage details.",
                    code="DeploymentActive",
                )
            for old in await OPERATIONS.list(tx, prefix=f"{key}/operations/"):
                await OPERATIONS.delete(tx, old.key)
            await RECORDS.put(tx, key, record)
            await TEMPLATES.put(tx, key, Kept(body=template, made=record.began))
        return row is None

    def _run(
        self,
        record: Deployment,
        opened: Opened,
        parts: list[Part],
        wanted: Wanted,
        caller: Caller,
        cloud: Cloud,
        request_id: str,
        depth: int = 0,
    ) -> Run:
        run = Run(
            record=record,
            opened=opened,
            parts=parts,
            caller=caller,
            cloud=cloud,
            ask=asker(self._answer, caller=caller, cloud=cloud, request_id=request_id),
            journal=self,
            now=self.clock.now,
            guid=self._ids.guid,
            place_of=wanted.place_of,
            linked=wanted.linked,
            depth=depth,
        )
        self._runs[ResourceId.parse(record.id).key] = run
        return run

    # --- the journal of runs

    async def operation(self, run: Run, one: DeploymentOperation) -> None:
        key = f"{ResourceId.parse(run.record.id).key}/operations/{one.id.lower()}"
        async with self.store.transaction() as tx:
            await OPERATIONS.put(tx, key, one)

    async def ended(self, run: Run) -> None:
        key = ResourceId.parse(run.record.id).key
        now = self.clock.now()
        async with self.store.transaction() as tx:
            row = await RECORDS.get(tx, key)
            if row is not None and row.value.operation == run.record.operation:
                await RECORDS.put(
                    tx,
                    key,
                    msgspec.structs.replace(
                        row.value,
                        state=run.state,
                        changed=now,
                        outputs=run.outputs,
                        output_resources=tuple(run.made),
                        error=run.error(),
                    ),
                )
        if self._runs.get(key) is run:
            del self._runs[key]

    async def nested(self, run: Run, part: Part, body: Mapping[str, Any], frame: Frame) -> Run:
        if run.depth + 1 >= DEEPEST:
            raise InvalidInput(
                f"The nested deployment '{part.name}' is not valid: deployments may be nested '{DEEPEST}' levels deep.",
                code="InvalidTemplate",
            )
        ask_id = ResourceId.parse(str(part.id))
        await self.guard.authorize(
            run.caller, WRITE, ask_id, request_id=run.record.correlation_id, service="resource_manager"
        )
        if ask_id.resource_group is not None and await get_group(self.store, ask_id) is None:
            raise NotFound(
                f"Resource group '{ask_id.resource_group}' could not be found.", code="ResourceGroupNotFound"
            )
        properties = body.get("properties")
        properties = dict(properties) if isinstance(properties, Mapping) else {}
        template = properties.pop("template", None)
        resolved = await run.resolve(part, properties, frame)
        if template is not None:
            resolved["template"] = template
        base = str((run.record.template_link or {}).get("uri", ""))
        location = str(await run.resolve(part, body.get("location"), frame) or "")
        wanted = wanted_of(resolved, location=location, linked=run.linked, base=base)
        facts = await self.facts(ask_id, wanted, run.caller, run.cloud)
        outer = None if part.inner or template is None else frame
        if outer is not None:
            wanted_parameters: Mapping[str, Any] = {}
        else:
            wanted_parameters = wanted.parameters
        opened = open_template(wanted.template, wanted_parameters, facts, outer=outer, budget=run.opened.frame.budget)
        parts = plan(opened)
        record = self._record(ask_id, wanted, opened, parts, run.caller, part.api_version)
        record = msgspec.structs.replace(record, correlation_id=run.record.correlation_id)
        await self._insert(record, wanted.template)
        child = self._run(
            record, opened, parts, wanted, run.caller, run.cloud, run.record.correlation_id, run.depth + 1
        )
        if outer is not None:
            child.runtime.update(run.runtime)
        run.children.append(child)
        if run.canceled:
            child.cancel()
        await child.go()
        return child

    # --- stopping and looking after

    async def cancel(self, id: ResourceId) -> None:
        """Raises `Conflict` when it has ended."""
        one = await self.find(id)
        if one.state not in ACTIVE:
            raise Conflict(
                f"The deployment '{id.name}' cannot be cancelled: it is in the state '{one.state}'.",
                code="DeploymentCannotBeCancelled",
            )
        run = self._runs.get(id.key)
        if run is not None:
            run.cancel()
            return
        async with self.store.transaction() as tx:
            row = await RECORDS.get(tx, id.key)
            if row is not None:
                await RECORDS.put(tx, id.key, msgspec.structs.replace(row.value, cancel=True))

    async def delete(self, id: ResourceId) -> bool:
        """Forgets it; what it deployed stays. Raises `Conflict` while it runs."""
        async with self.store.transaction() as tx:
            row = await RECORDS.get(tx, id.key)
            if row is None:
                return False
            if row.value.state in ACTIVE and not self._dead(row.value):
                raise Conflict(
                    f"The deployment '{id.name}' is running and cannot be deleted.", code="DeploymentBeingUsed"
                )
            for old in await OPERATIONS.list(tx, prefix=f"{id.key}/operations/"):
                await OPERATIONS.delete(tx, old.key)
            await TEMPLATES.delete(tx, id.key)
            return await RECORDS.delete(tx, id.key)

    async def keep_result(self, id: ResourceId, body: Any) -> str:
        name = self._ids.guid()
        async with self.store.transaction() as tx:
            await RESULTS.put(tx, f"{id.key}/{name}", Kept(body=body, made=self.clock.now()))
        return name

    async def result(self, id: ResourceId, name: str) -> Any:
        row = await RESULTS.get(self.store, f"{id.key}/{name.lower()}")
        if row is None:
            raise NotFound(f"The result '{name[:100]}' could not be found.", code="NotFound")
        return row.value.body

    def _dead(self, one: Deployment) -> bool:
        """Whether nobody runs it any more."""
        if one.owner == self._owner:
            return ResourceId.parse(one.id).key not in self._runs
        return self._alone or one.beat + SILENT < self.clock.now()

    async def look_after(self) -> None:
        """Says that what runs here is alive, fails what a dead process left, forgets old results."""
        now = self.clock.now()
        for row in await RECORDS.find(self.store, "active", "yes"):
            run = self._runs.get(row.key)
            async with self.store.transaction() as tx:
                fresh = await RECORDS.get(tx, row.key)
                if fresh is None or fresh.value.state not in ACTIVE:
                    continue
                if run is not None:
                    await RECORDS.put(tx, row.key, msgspec.structs.replace(fresh.value, beat=now))
                    if fresh.value.cancel:
                        run.cancel()
                elif self._dead(fresh.value):
                    await RECORDS.put(tx, row.key, _abandoned(fresh.value, now))
        async with self.store.transaction() as tx:
            for old in await RESULTS.list(tx):
                if old.value.made + _KEPT_RESULTS < now:
                    await RESULTS.delete(tx, old.key)

    async def run(self) -> None:
        """The background task; cancelling it stops every deployment, which the next process then marks as failed."""
        try:
            while True:
                try:
                    await self.look_after()
                except Problem as problem:
                    _log.warning("deployments could not be looked after: %s", problem.message)
                await asyncio.sleep(BEAT)
        finally:
            tasks = [run.task for run in self._runs.values() if run.task is not None]
            for task in tasks:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks, return_exceptions=True)


def _abandoned(one: Deployment, now: float) -> Deployment:
    error = {
        "code": "DeploymentFailed",
        "target": one.id,
        "message": "The server stopped while the deployment was running. What it had deployed by then is there; deploy "
        "the template again to have the rest.",
    }
    return msgspec.structs.replace(one, state=FAILED, changed=now, error=error)


def _no_providers(namespace: str, kind: str | None) -> Any:
    """`providers()` is long deprecated: it gives what templates ask it for, an api-version."""
    row = {"resourceType": kind or "", "locations": [], "apiVersions": ["2021-04-01"]}
    return row if kind else {"namespace": namespace, "resourceTypes": []}


def _short(part: Part) -> dict[str, str]:
    return {"id": str(part.id), "resourceType": part.type, "resourceName": part.name}


def _dependencies(parts: list[Part]) -> list[dict[str, Any]]:
    by_key = {part.key: part for part in parts}
    return [
        {"dependsOn": [_short(by_key[key]) for key in sorted(part.needs) if key in by_key], **_short(part)}
        for part in parts
        if part.needs
    ]


def _providers(parts: list[Part]) -> list[dict[str, Any]]:
    """What `properties.providers` lists: namespaces with the types and places that are used."""
    found: dict[str, dict[str, set[Any]]] = {}
    for part in parts:
        namespace, _, kind = part.type.partition("/")
        location = part.body.get("location")
        places = found.setdefault(namespace, {}).setdefault(kind, set())
        places.add(location if isinstance(location, str) and not location.startswith("[") else None)
    return [
        {
            "namespace": namespace,
            "resourceTypes": [
                {"resourceType": kind, "locations": sorted(places, key=str)} for kind, places in kinds.items()
            ],
        }
        for namespace, kinds in found.items()
    ]


__all__ = ["Deployments", "Names"]
