"""Machines on which scripts are run by a stand-in for the workshop, through the whole of Resource Manager."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from keyfob.access.assignments import assign
from keyfob.app.parts import App, build
from keyfob.arm.pipeline import ResourceManager
from keyfob.arm.subscriptions import ensure_subscription
from keyfob.clock import FakeClock, SystemIds
from keyfob.clouds.table import load_clouds
from keyfob.declare import Address
from keyfob.directory.model import ServicePrincipal, Tenant
from keyfob.directory.principals import create_service_principal
from keyfob.directory.tenants import create_tenant
from keyfob.errors import Problem
from keyfob.hosts.scale_sets import scale_sets
from keyfob.hosts.virtual_machines import virtual_machines
from keyfob.hosts.workloads.logs import ProgramLog
from keyfob.hosts.workloads.run_command import RunCommands
from keyfob.hosts.workloads.workshop import Result
from keyfob.resource_id import ROOT, ResourceId
from keyfob.settings import read_settings
from keyfob.wire.http import Fields, Request, parse_target

TENANT = "aaaaaaaa-0000-4000-8000-000000000001"
S = "bbbbbbbb-0000-4000-8000-000000000001"
GROUP = f"/subscriptions/{S}/resourceGroups/g"
MACHINE = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/web"
V = "2024-11-01"
ROLES = {
    "owner": "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
    "reader": "acdd72a7-3385-48ef-bd42-f606fba81ae7",
}


class Bench:
    """A workshop that runs nothing: `result` is what every script gives, or the Problem that it raises."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.folder, self.clock = folder, clock
        self.result: Result | Problem = Result(0, "out\n", "err\n")
        self.until: asyncio.Event | None = None
        self.ran: list[tuple[ResourceId, list[str], dict[str, str], str, float]] = []
        self.left: list[asyncio.Task[None]] = []

    def folder_of(self, host_id: ResourceId) -> Path:
        return self.folder

    def log_of(self, host_id: ResourceId, name: str) -> ProgramLog:
        return ProgramLog(self.folder / f"{name}.log", self.clock)

    async def run(
        self,
        host_id: ResourceId,
        command: Sequence[str],
        *,
        folder: str,
        environment: Mapping[str, str],
        grafts: Sequence[tuple[Path, str]],
        patience: float,
        admit: Callable[[], Awaitable[None]],
    ) -> Result:
        await admit()
        ((source, target),) = grafts
        assert folder == target
        assert command[0].startswith(target) or command[1].startswith(target)
        text = (source / "script.sh").read_text()
        self.ran.append((host_id, list(command), dict(environment), text, patience))
        if self.until is not None:
            await self.until.wait()
        if isinstance(self.result, Problem):
            raise self.result
        return self.result

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        self.left.append(asyncio.get_running_loop().create_task(work))


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    json: Any

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


@dataclass
class Stage:
    app: App
    clock: FakeClock
    bench: Bench
    manager: ResourceManager
    people: dict[str, ServicePrincipal] = field(default_factory=dict)

    async def send(self, method: str, path: str, body: Any = None, *, who: str = "owner") -> Answer:
        target = path.removeprefix("https://management.azure.com")
        if "api-version=" not in target:
            target += ("&" if "?" in target else "?") + f"api-version={V}"
        decoded, raw, query = parse_target(target)
        cloud = load_clouds()["AzureCloud"]
        token = self.app.guard._tokens.mint_application(
            tenant=Tenant(id=TENANT),
            principal=self.people[who],
            audience=cloud.audiences["resource_manager"][0],
        ).token
        headers = Fields([("Authorization", f"Bearer {token}"), ("Content-Type", "application/json")])
        content = b"" if body is None else json.dumps(body).encode()
        request = Request(method, decoded, query, headers, content, host="management.azure.com", raw_path=raw)
        reply = await self.manager(request, Address(cloud, "resource_manager"))
        document = json.loads(reply.body) if reply.body else None
        return Answer(reply.status, {name.lower(): value for name, value in reply.headers}, document)

    async def ok(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self.send(method, path, body)
        assert answer.status < 300, answer.json
        return answer.json

    async def ended(self, answer: Answer) -> Any:
        """The document of the operation, once it has ended."""
        assert answer.status in (200, 201, 202), answer.json
        while True:
            found = await self.ok("GET", answer.headers["azure-asyncoperation"])
            if found["status"] != "InProgress":
                return found
            await asyncio.sleep(0)


@pytest.fixture
async def stage(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Stage]:
    app = await build(read_settings({}, data=str(tmp_path / "data")), clock=clock, ids=SystemIds())
    bench = Bench(tmp_path, clock)
    commands = RunCommands(store=app.store, workshop=bench, clock=clock, ids=SystemIds())  # type: ignore[arg-type]
    manager = ResourceManager(
        store=app.store,
        guard=app.guard,
        clouds=load_clouds(),
        providers=[
            virtual_machines(store=app.store, ids=SystemIds(), commands=commands),
            scale_sets(store=app.store, ids=SystemIds(), commands=commands),
        ],
        clock=clock,
        ids=SystemIds(),
        alone=True,
    )
    made = Stage(app, clock, bench, manager)
    async with app.store.transaction() as tx:
        await create_tenant(tx, Tenant(id=TENANT, domains=("t.example",)), clouds=load_clouds(), first_party=())
        await ensure_subscription(
            tx, subscription_id=S, tenant_id=TENANT, cloud="AzureCloud", display_name="s", now=clock.now()
        )
        for number, (who, role) in enumerate(ROLES.items(), 1):
            principal = made.people[who] = ServicePrincipal(
                id=f"cccccccc-0000-4000-8000-{number:012}",
                tenant_id=TENANT,
                app_id=f"dddddddd-0000-4000-8000-{number:012}",
                display_name=who,
            )
            await create_service_principal(tx, principal)
            await assign(
                tx,
                tenant_id=TENANT,
                scope=ROOT,
                principal_id=principal.id,
                role_definition_id=role,
                now=clock.now(),
            )
    await made.ok("PUT", f"{GROUP}?api-version=2021-04-01", {"location": "westeurope"})
    await made.ok("PUT", MACHINE, {"location": "westeurope", "properties": {}})
    yield made
    await manager.engine.operations.stop()
    for task in bench.left:
        await task
    await app.stop()
