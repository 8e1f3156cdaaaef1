"""Deployments: begun, run, remembered. Knows nothing of HTTP; `types.py` does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from keyfob.access.guard import Guard
from keyfob.arm.dialect import error_body
from keyfob.arm.resources import get_group
from keyfob.arm.templates.deploy import AT_LEAST_ONE, DEEPEST, Ask, Ended, Journal, Lost, Run, asker
from keyfob.arm.templates.evaluate import Frame
from keyfob.arm.templates.facts import GROUP, Facts
from keyfob.arm.templates.plan import plan
from keyfob.arm.templates.preflight import may_write
from keyfob.arm.templates.records import (
    ACTIVE,
    FAILED,
    MEMORIES,
    OPERATIONS,
    OWNERS,
    RECORDS,
    RESULTS,
    RUNNING,
    TEMPLATES,
    Deployment,
    DeploymentOperation,
    Kept,
    Owner,
    Sealed,
)
from keyfob.arm.templates.request import Wanted, template_hash, wanted_of
from keyfob.arm.templates.resume import Memory, Progress, Sealer, progress_of, recall, remember
from keyfob.arm.templates.scene import facts_of
from keyfob.arm.templates.template import DEPLOYMENTS, Opened, Part, open_template
from keyfob.arm.templates.vault_secrets import ReadSecret, VaultSecrets
from keyfob.clock import Clock, Ids, iso
from keyfob.clouds.cloud import Cloud
from keyfob.declare import Action, Caller
from keyfob.errors import Conflict, InvalidInput, NotFound, Problem
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store, Transaction
from keyfob.wire.http import Reply

_log = logging.getLogger(__name__)
BEAT = 5.0
"""Seconds between two signs of life of a running deployment."""
SILENT = 20.0
"""Seconds of silence after which another process goes on with it. Should the first one come back after all, it finds
that the deployment is no longer its own, and stops."""
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
        seal: Sealer,
        read_secret: ReadSecret,
        alone: bool = True,
    ) -> None:
        self.store = store
        self.guard = guard
        self._clouds = clouds
        self.clock = clock
        self._ids = ids
        self._answer = answer
        self._seal = seal
        self.secrets = VaultSecrets(store=store, guard=guard, read=read_secret)
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
        return await facts_of(
            self.store, id, wanted, caller, cloud, clouds=self._clouds, now=self.clock.now(), guid=self._ids.guid
        )

    async def open(
        self, id: ResourceId, wanted: Wanted, caller: Caller, cloud: Cloud, request_id: str = ""
    ) -> tuple[Opened, list[Part]]:
        """The template with what its parameters make of it, and the order. Raises what `validate` answers."""
        if not _NAME.fullmatch(id.name):
            raise InvalidInput(
                f"The deployment name '{id.name[:100]}' is not valid: up to 64 letters, digits, '-', '_', '.' and "
                "parentheses are allowed.",
                code="InvalidDeploymentName",
            )
        given = await self.secrets.filled(wanted.parameters, caller, request_id)
        return await self._opened(id, replace(wanted, parameters=given), caller, cloud)

    async def _opened(self, id: ResourceId, wanted: Wanted, caller: Caller, cloud: Cloud) -> tuple[Opened, list[Part]]:
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

    async def preflight(self, parts: list[Part], caller: Caller, request_id: str = "") -> None:
        """Raises what a deployment of these is refused with before anything happens."""
        await may_write(self.guard, parts, caller)
        await self.secrets.look(parts, caller, request_id)

    # --- beginning

    async def begin(
        self, id: ResourceId, wanted: Wanted, *, caller: Caller, cloud: Cloud, api_version: str, request_id: str
    ) -> tuple[Deployment, bool]:
        """Starts it in the background; whether the name is new. Raises `InvalidInput`, `Forbidden`, `Conflict`."""
        opened, parts = await self.open(id, wanted, caller, cloud, request_id)
        await self.preflight(parts, caller, request_id)
        record = self.record(id, wanted, opened, parts, caller, api_version)
        memory = remember(opened, wanted, caller, cloud, request_id or record.correlation_id)
        new = await self._insert(record, wanted.template, memory)
        self._start(self._run(record, opened, parts, wanted, memory))
        return record, new

    def _start(self, run: Run) -> None:
        run.task = asyncio.create_task(run.go(), name=f"deployment {run.record.name}")
        run.task.add_done_callback(_over)

    def record(
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
            parameters_link=dict(wanted.parameters_link) if wanted.parameters_link else None,
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

    async def _insert(self, record: Deployment, template: Any, memory: Memory) -> bool:
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
            await RECORDS.put(tx, key, msgspec.structs.replace(record, state=RUNNING))
            await TEMPLATES.put(tx, key, Kept(body=template, made=record.began))
            await MEMORIES.put(tx, key, Sealed(sealed=memory.sealed(self._seal, key)))
            await OWNERS.put(tx, key, _owner(record))
        return row is None

    def _run(
        self,
        record: Deployment,
        opened: Opened,
        parts: list[Part],
        wanted: Wanted,
        memory: Memory,
        depth: int = 0,
        progress: Progress | None = None,
    ) -> Run:
        cloud = self._clouds[memory.cloud]
        run = Run(
            record=record,
            opened=opened,
            parts=parts,
            caller=memory.caller,
            cloud=cloud,
            ask=asker(self._answer, caller=memory.caller, cloud=cloud, request_id=memory.request_id),
            journal=self,
            now=self.clock.now,
            guid=self._ids.guid,
            place_of=wanted.place_of,
            linked=wanted.linked,
            depth=depth,
            progress=progress,
        )
        self._runs[ResourceId.parse(record.id).key] = run
        return run

    # --- the journal of runs

    async def operation(self, run: Run, one: DeploymentOperation) -> None:
        key = ResourceId.parse(run.record.id).key
        async with self.store.transaction() as tx:
            row = await OWNERS.get(tx, key)
            if row is None or row.value != Owner(owner=self._owner, operation=run.record.operation):
                raise Lost
            await OPERATIONS.put(tx, f"{key}/operations/{one.id.lower()}", one)
            if one.state != RUNNING and one.target and one.target["resourceType"].lower() == DEPLOYMENTS:
                await MEMORIES.delete(tx, ResourceId.parse(one.target["id"]).key)

    async def ended(self, run: Run) -> None:
        key = ResourceId.parse(run.record.id).key
        try:
            async with self.store.transaction() as tx:
                record = await self._own(tx, run)
                if record is None:
                    return
                now = self.clock.now()
                last = msgspec.structs.replace(
                    record,
                    state=run.state,
                    changed=now,
                    outputs=run.outputs,
                    output_resources=tuple(run.made),
                    error=run.error(),
                )
                await RECORDS.put(tx, key, last)
                await OWNERS.delete(tx, key)
                if not run.depth:  # of a nested one until the operation of what it is nested in says how it ended
                    await MEMORIES.delete(tx, key)
        finally:
            if self._runs.get(key) is run:
                del self._runs[key]

    async def _own(self, tx: Transaction, run: Run) -> Deployment | None:
        """The stored deployment, as long as it is this process that runs it."""
        row = await RECORDS.get(tx, ResourceId.parse(run.record.id).key)
        if row is None or row.value.operation != run.record.operation or row.value.owner != self._owner:
            return None
        return row.value

    async def nested(self, run: Run, part: Part, body: Mapping[str, Any], frame: Frame) -> Ended:
        if run.depth + 1 >= DEEPEST:
            raise InvalidInput(
                f"The nested deployment '{part.name}' is not valid: deployments may be nested '{DEEPEST}' levels deep.",
                code="InvalidTemplate",
            )
        id = ResourceId.parse(str(part.id))
        await self.guard.authorize(
            run.caller, WRITE, id, request_id=run.record.correlation_id, service="resource_manager"
        )
        if id.resource_group is not None and await get_group(self.store, id) is None:
            raise NotFound(f"Resource group '{id.resource_group}' could not be found.", code="ResourceGroupNotFound")
        begun = await self._begun(run, id)
        if begun is not None and begun.record.state not in ACTIVE:
            return Ended(begun.record.state, begun.record.output_resources, begun.record.error)
        properties = body.get("properties")
        properties = dict(properties) if isinstance(properties, Mapping) else {}
        template = properties.pop("template", None)
        resolved = await run.resolve(part, properties, frame)
        if template is not None:
            resolved["template"] = template
        base = str((run.record.template_link or {}).get("uri", ""))
        location = str(await run.resolve(part, body.get("location"), frame) or "")
        wanted = wanted_of(resolved, name=id.name, location=location, linked=run.linked, base=base)
        outer = None if part.inner or template is None else frame
        if begun is not None:
            wanted = replace(wanted, parameters=begun.memory.parameters)
        elif outer is None:
            filled = await self.secrets.filled(wanted.parameters, run.caller, run.record.correlation_id)
            wanted = replace(wanted, parameters=filled)
        facts = await self.facts(id, wanted, run.caller, run.cloud)
        given = {} if outer is not None else wanted.parameters
        opened = open_template(wanted.template, given, facts, outer=outer, budget=run.opened.frame.budget)
        parts = plan(opened)
        if begun is not None:
            record, memory = begun.record, begun.memory
        else:
            await self.preflight(parts, run.caller, run.record.correlation_id)
            record = self.record(id, wanted, opened, parts, run.caller, part.api_version)
            record = msgspec.structs.replace(
                record, correlation_id=run.record.correlation_id, parent=ResourceId.parse(run.record.id).key
            )
            memory = remember(opened, wanted, run.caller, run.cloud, run.record.correlation_id)
            if outer is not None:
                memory = replace(memory, parameters={})
            await self._insert(record, wanted.template, memory)
        child = self._run(record, opened, parts, wanted, memory, run.depth + 1, begun.progress if begun else None)
        if outer is not None:
            child.runtime.update(run.runtime)
        run.children.append(child)
        if run.canceled:
            child.cancel()
        await child.go()
        return Ended(child.state, child.made, child.error())

    # --- stopping and looking after

    async def cancel(self, id: ResourceId) -> None:
        """Raises `Conflict` when it has ended. Stored too: who goes on with it must know."""
        await self.find(id)
        async with self.store.transaction() as tx:
            row = await RECORDS.get(tx, id.key)
            if row is None or row.value.state not in ACTIVE:
                state = row.value.state if row else FAILED
                raise Conflict(
                    f"The deployment '{id.name}' cannot be cancelled: it is in the state '{state}'.",
                    code="DeploymentCannotBeCancelled",
                )
            await RECORDS.put(tx, id.key, msgspec.structs.replace(row.value, cancel=True))
        run = self._runs.get(id.key)
        if run is not None:
            run.cancel()

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
            await MEMORIES.delete(tx, id.key)
            await OWNERS.delete(tx, id.key)
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
        """Says that what runs here is alive, goes on with what a dead process left, forgets old results."""
        now = self.clock.now()
        for row in await RECORDS.find(self.store, "active", "yes"):
            left = None
            async with self.store.transaction() as tx:
                fresh = await RECORDS.get(tx, row.key)
                if fresh is None or fresh.value.state not in ACTIVE:
                    continue
                run = self._runs.get(row.key)
                if run is None:
                    left = await self._take(tx, row.key, fresh.value, now)
                elif fresh.value.owner == self._owner:
                    await RECORDS.put(tx, row.key, msgspec.structs.replace(fresh.value, beat=now))
                    if fresh.value.cancel:
                        run.cancel()
            if left is not None:
                await self._go_on(left)
        old = [row.key for row in await RESULTS.list(self.store) if row.value.made + _KEPT_RESULTS < now]
        if old:
            async with self.store.transaction() as tx:
                for key in old:
                    await RESULTS.delete(tx, key)

    # --- going on with what another process began

    async def _take(self, tx: Transaction, key: str, one: Deployment, now: float) -> Left | None:
        """A deployment that nobody runs, made this process's own."""
        if not self._dead(one):
            return None
        above = await RECORDS.get(tx, one.parent) if one.parent else None
        if above is not None and above.value.state in ACTIVE:
            return None  # goes on as part of that one
        memory = await MEMORIES.get(tx, key)
        if memory is None or one.parent:
            await MEMORIES.delete(tx, key)
            await OWNERS.delete(tx, key)
            await RECORDS.put(tx, key, _abandoned(one, now))
            return None
        taken = msgspec.structs.replace(one, owner=self._owner, beat=now)
        await RECORDS.put(tx, key, taken)
        await OWNERS.put(tx, key, _owner(taken))
        return Left(taken, memory.value.sealed)

    async def _go_on(self, left: Left) -> None:
        """Never raises a `Problem`: what cannot go on has failed."""
        one, id = left.record, ResourceId.parse(left.record.id)
        try:
            memory = await self._recalled(left.sealed, id.key)
            # the principal of then with the rights of now; one that is gone has none
            await self.guard.authorize(
                memory.caller, WRITE, id, request_id=one.correlation_id, service="resource_manager"
            )
            wanted = Wanted(
                template=await self.template(one),
                parameters=memory.parameters,
                mode=one.mode,
                location=one.location,
                tags=one.tags,
                template_link=one.template_link,
                parameters_link=one.parameters_link,
                linked=memory.linked,
            )
            opened, parts = await self._opened(id, wanted, memory.caller, self._clouds[memory.cloud])
            run = self._run(one, opened, parts, wanted, memory, progress=await self._progress(one))
        except Problem as problem:
            async with self.store.transaction() as tx:
                row = await RECORDS.get(tx, id.key)
                if row is not None and (row.value.operation, row.value.owner) == (one.operation, self._owner):
                    await MEMORIES.delete(tx, id.key)
                    await OWNERS.delete(tx, id.key)
                    await RECORDS.put(tx, id.key, _abandoned(row.value, self.clock.now(), problem))
            return
        if one.cancel:
            run.cancel()
        _log.info("deployment %s goes on", one.id)
        self._start(run)

    async def _recalled(self, sealed: bytes, key: str) -> Memory:
        """With the groups that whoever deploys is in now. Raises `WrongMasterKey`."""
        memory = recall(sealed, self._seal, key)
        caller = memory.caller
        standing = await self.guard.memory.standing(caller.tenant_id, caller.principal_id)
        return replace(memory, caller=replace(caller, groups=standing.person.groups))

    async def _progress(self, one: Deployment) -> Progress:
        operations = await self.operations(one)
        nested = {}
        for operation in operations:
            if operation.target and operation.target["resourceType"].lower() == DEPLOYMENTS:
                key = ResourceId.parse(operation.target["id"]).key
                if (row := await RECORDS.get(self.store, key)) is not None:
                    nested[key] = row.value
        return progress_of(operations, nested)

    async def _begun(self, run: Run, id: ResourceId) -> Begun | None:
        """What an earlier process made of a nested deployment, when this run goes on with the one that holds it."""
        if run.progress is None:
            return None
        async with self.store.transaction() as tx:
            row, memory = await RECORDS.get(tx, id.key), await MEMORIES.get(tx, id.key)
            if row is None or memory is None or row.value.correlation_id != run.record.correlation_id:
                return None
            record = row.value
            if record.state in ACTIVE:
                record = msgspec.structs.replace(record, owner=self._owner, beat=self.clock.now())
                await RECORDS.put(tx, id.key, record)
                await OWNERS.put(tx, id.key, _owner(record))
        return Begun(record, await self._recalled(memory.value.sealed, id.key), await self._progress(record))

    async def run(self) -> None:
        """The background task; cancelling it stops every deployment, and the next process goes on with them."""
        try:
            while True:
                try:
                    await self.look_after()
                except Problem as problem:
                    _log.warning("deployments could not be looked after: %s", problem.message)
                await asyncio.sleep(BEAT)
        finally:
            await self._stop()

    async def _stop(self) -> None:
        runs = dict(self._runs)
        tasks = [run.task for run in runs.values() if run.task is not None]
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(Problem):  # so that another node need not wait for the silence
            for key, run in runs.items():
                async with self.store.transaction() as tx:
                    record = await self._own(tx, run)
                    if record is not None and record.state in ACTIVE:
                        await RECORDS.put(tx, key, msgspec.structs.replace(record, beat=0.0))


@dataclass(frozen=True, slots=True)
class Left:
    """A deployment without a process."""

    record: Deployment
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Begun:
    """A nested deployment without a process."""

    record: Deployment
    memory: Memory
    progress: Progress


def _over(task: asyncio.Task[None]) -> None:
    """What could not be recorded is looked after again, as what a dead process left."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.warning("%s could not say how it ended: %s", task.get_name(), error)


def _owner(one: Deployment) -> Owner:
    return Owner(owner=one.owner, operation=one.operation)


def _abandoned(one: Deployment, now: float, problem: Problem | None = None) -> Deployment:
    error: dict[str, Any] = {
        "code": "DeploymentFailed",
        "target": one.id,
        "message": "The server stopped while the deployment was running. What it had deployed by then is there; deploy "
        "the template again to have the rest.",
    }
    if problem is not None:
        error |= {"message": AT_LEAST_ONE, "details": [error_body(problem)]}
    return msgspec.structs.replace(one, state=FAILED, changed=now, error=error)


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
