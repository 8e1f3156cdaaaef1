"""Seeing the hosts: what there is, what happens, what their programs print. Ours, not Azure's; under the same guard."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from keyfob.arm.model import DELETING, Resource
from keyfob.arm.resources import get_resource, list_resources, resource_not_found
from keyfob.clock import Clock
from keyfob.declare import Action, Call, Caller, Provider, Route
from keyfob.errors import InvalidInput, NotFound
from keyfob.hosts.kinds import KINDS, SCALE_SET_INSTANCE, Kind, kind_of
from keyfob.hosts.tally import Count, Tally
from keyfob.hosts.workloads.logs import Line
from keyfob.hosts.workloads.workshop import Workshop
from keyfob.identities.attached import Attachments
from keyfob.identities.model import HostIdentities
from keyfob.resource_id import ResourceId
from keyfob.store.port import Session, Store
from keyfob.wire.http import Reply

NAMESPACE = "Keyfob.Hosts"
API_VERSIONS = ("2026-11-01",)
SCALE_SET = "Microsoft.Compute/virtualMachineScaleSets"
HOSTS_READ = Action(f"{NAMESPACE}/hosts/read")
LOGS_READ = Action(f"{NAMESPACE}/logs/read")
MOST_LINES = 100_000
NEWS = 1.0
"""Seconds between two looks for logs that are new."""

Allows = Callable[[Caller, Action, ResourceId], Awaitable[bool]]
"""Whether somebody may do something, without a line in the log of decisions."""

Opened = Callable[[], Mapping[str, tuple[int, int]]]
"""Keys of hosts → how many endpoints of it are open outside, and how many sandboxes."""


class Seeing:
    def __init__(
        self,
        *,
        store: Store,
        attachments: Attachments,
        tally: Tally,
        workshop: Workshop,
        opened: Opened,
        allows: Allows,
        clock: Clock,
    ) -> None:
        self._store = store
        self._attachments = attachments
        self._tally = tally
        self._workshop = workshop
        self._opened = opened
        self._allows = allows
        self._clock = clock
        self._began = clock.now()

    def provider(self) -> Provider:
        """`GET /subscriptions/{id}/providers/Keyfob.Hosts/hosts`, and of each host `…/logs` and `…/logs/{source}`."""
        base = f"/{{+scope}}/providers/{NAMESPACE}/logs"
        return Provider(
            namespace=NAMESPACE,
            registered=True,
            routes=(
                Route(
                    "GET",
                    f"/subscriptions/{{subscriptionId}}/providers/{NAMESPACE}/hosts",
                    HOSTS_READ,
                    self._hosts,
                    lambda parameters, target: ResourceId.subscription(parameters["subscriptionId"]),
                    API_VERSIONS,
                ),
                Route("GET", base, LOGS_READ, self._logs, api_versions=API_VERSIONS),
                Route("GET", f"{base}/{{source}}", LOGS_READ, self._log, api_versions=API_VERSIONS),
            ),
        )

    # --- hosts

    async def _hosts(self, call: Call) -> Reply:
        self._tally.sweep()
        opened = self._opened()
        rows = [
            await self._host(host, kind, opened)
            for kind in KINDS
            for name in kind.types
            for host in await list_resources(self._store, call.scope, type_name=name)
        ]
        rows += [self._set(one) for one in await list_resources(self._store, call.scope, type_name=SCALE_SET)]
        return Reply.json(
            {
                "value": sorted(rows, key=lambda row: row["id"].lower()),
                "others": _decisions(self._tally.others),
                "missed": self._tally.missed,
                "since": self._began,
                "now": self._clock.now(),
            }
        )

    async def _host(self, host: Resource, kind: Kind, opened: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
        id = ResourceId.parse(host.id)
        endpoints, sandboxes = opened.get(id.key, (0, 0))
        try:
            identities = _identities(await self._attachments.of(id))
        except NotFound:
            identities = []  # it, or the set that it is of, is being deleted
        return {
            **_named(host, kind.name),
            "state": state_of(host, kind),
            "identities": identities,
            "endpoints": endpoints,
            "sandboxes": sandboxes,
            **_counted(self._tally.look(id.key)),
        }

    def _set(self, scale_set: Resource) -> dict[str, Any]:
        """Scale sets are no hosts, but their tokens are."""
        return {
            **_named(scale_set, "scale set"),
            "state": "deleting" if scale_set.provisioning_state == DELETING else "",
            "identities": [],
            "endpoints": 0,
            "sandboxes": 0,
            **_counted(self._tally.look(ResourceId.parse(scale_set.id).key)),
        }

    # --- logs

    async def _logs(self, call: Call) -> Reply:
        await _there(self._store, call.scope)
        return Reply.json({"value": [{"name": name} for name in self._workshop.logs_of(call.scope)]})

    async def _log(self, call: Call) -> Reply:
        """Lines as JSON, one a line; `all` is every log of the host. `follow=true` does not end."""
        host = await _there(self._store, call.scope)
        source = call.parameters["source"]
        names = self._workshop.logs_of(call.scope)
        every = source.lower() == "all"
        if not every and source not in names:
            there = f"; there are: {', '.join(names)}" if names else ", nor any other"
            raise NotFound(f"The host has no log '{source[:80]}'{there}.", code="LogNotFound")
        lines = _number(call.request.query.get("lines"))
        chosen = names if every else [source]
        if (call.request.query.get("follow") or "").lower() == "true":
            parts = self._follow(call, host, chosen, lines, every=every)
            return Reply(200, b"", (("Cache-Control", "no-store"),), "application/x-ndjson", parts)
        found = [(line, name) for name in chosen for line in self._workshop.log_of(call.scope, name).tail(lines)]
        found.sort(key=lambda pair: pair[0].at)
        kept = found[-lines:] if lines else []
        return Reply(200, b"".join(_line(line, name) for line, name in kept), (), "application/x-ndjson")

    async def _follow(
        self, call: Call, host: Resource, names: Sequence[str], lines: int, *, every: bool
    ) -> AsyncGenerator[bytes, None]:
        """What each log has, then what comes, also to logs that are new; until the host is gone, whoever listens may
        not any more, or nobody does."""
        host_id, clock = call.scope, asyncio.get_running_loop().time
        heard: asyncio.Queue[bytes] = asyncio.Queue(1000)
        known: dict[str, asyncio.Task[None]] = {}

        async def listen(name: str, first: int) -> None:
            async for line in self._workshop.log_of(host_id, name).follow(first):
                await heard.put(_line(line, name))

        for name in names:
            known[name] = asyncio.create_task(listen(name, lines))
        try:
            looked = clock()
            while True:
                line = None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(NEWS):
                        line = await heard.get()
                if line is None or clock() - looked >= NEWS:
                    if not await self._goes_on(call, host):
                        return
                    looked = clock()
                    for name in self._workshop.logs_of(host_id) if every else ():
                        if name not in known:
                            known[name] = asyncio.create_task(listen(name, MOST_LINES))
                if line is not None:
                    yield line
        finally:
            for task in known.values():
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*known.values(), return_exceptions=True)

    async def _goes_on(self, call: Call, host: Resource) -> bool:
        """Whether it is this very host that has the name, and the caller may read its logs."""
        found = await get_resource(self._store, call.scope)
        if found is None or found.created != host.created or found.provisioning_state == DELETING:
            return False
        assert call.caller is not None  # the route has an action
        return await self._allows(call.caller, LOGS_READ, call.scope)


def state_of(host: Resource, kind: Kind) -> str:
    """In lower case; "" for kinds that have none."""
    if host.provisioning_state == DELETING:
        return "deleting"
    name, running = kind.state
    return str(host.properties.get(name, running)).lower() if name else ""


def _named(resource: Resource, kind: str) -> dict[str, Any]:
    id = ResourceId.parse(resource.id)
    between = "_" if kind == SCALE_SET_INSTANCE.name else "/"
    return {"id": resource.id, "name": between.join(id.names), "type": resource.type, "kind": kind}


def _identities(host: HostIdentities) -> list[dict[str, Any]]:
    known = [] if host.system is None else [host.system]
    return [
        {
            "type": "SystemAssigned" if one.resource_id is None else "UserAssigned",
            "name": "" if one.resource_id is None else ResourceId.parse(one.resource_id).name,
            "clientId": one.client_id,
            "principalId": one.principal_id,
            "enabled": one.enabled,
        }
        for one in [*known, *host.user]
    ]


def _counted(count: Count) -> dict[str, Any]:
    last = {"at": count.last, "resource": count.resource, "clientId": count.client_id} if count.last else None
    return {"tokens": {"given": count.given, "refused": count.refused, "last": last}, "decisions": _decisions(count)}


def _decisions(count: Count) -> dict[str, int]:
    return {"allowed": count.allowed, "denied": count.denied}


def _line(line: Line, source: str) -> bytes:
    return msgspec.json.encode({"at": line.at, "source": source, "stream": line.stream, "text": line.text}) + b"\n"


def _number(text: str | None) -> int:
    if text is None:
        return 100
    if not (text.isascii() and text.isdigit() and int(text) <= MOST_LINES):
        raise InvalidInput(f"'lines' is a number up to {MOST_LINES}.", code="InvalidParameter", target="lines")
    return int(text)


async def _there(session: Session, host_id: ResourceId) -> Resource:
    """Raises NotFound for what is no host."""
    found = await get_resource(session, host_id)
    if found is None or kind_of(found.type) is None:
        raise resource_not_found(host_id)
    return found
