"""Being a host: inside a sandbox, on sockets it brought; outside one, on a loopback port of the host's own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from keyfob.access.guard import Guard
from keyfob.arm.resources import get_resource, get_subscription
from keyfob.clock import Clock, Ids
from keyfob.clouds.cloud import Cloud
from keyfob.errors import NotFound
from keyfob.hosts.endpoints import OPEN, Endpoint
from keyfob.hosts.sandbox.control import Sockets
from keyfob.hosts.sandbox.protocol import SERVICE_ADDRESS, OpenRequest
from keyfob.hosts.virtual_machines import TYPE, InstanceMetadata, environment
from keyfob.resource_id import ResourceId
from keyfob.servers.dns import DnsServer
from keyfob.servers.http import HttpServer, Listening
from keyfob.store.port import Store
from keyfob.wire.http import Reply, Request

OpenDoor = Callable[[socket.socket], Awaitable[Listening]]
"""Serves the front door on a socket that a sandbox brought."""


@dataclass
class Inhabited:
    """A sandbox that is being served."""

    listening: list[Listening]
    dns: DnsServer
    environment: Mapping[str, str] = field(default_factory=dict)

    async def close(self) -> None:
        for one in self.listening:
            one.close()
        self.dns.close()


class Hosts:
    """Opens what a host's programs talk to. The listener that accepts a connection is the caller's identity."""

    def __init__(
        self,
        *,
        store: Store,
        guard: Guard,
        metadata: InstanceMetadata,
        server: HttpServer,
        clouds: Mapping[str, Cloud],
        clock: Clock,
        ids: Ids,
        open_door: OpenDoor,
        knows: Callable[[str], bool],
        bundle: Path,
    ) -> None:
        self._store = store
        self._guard = guard
        self._metadata = metadata
        self._server = server
        self._clouds = clouds
        self._clock = clock
        self._ids = ids
        self._open_door = open_door
        self._knows = knows
        self._bundle = bundle
        self._endpoints: dict[str, Endpoint] = {}
        self._opening = asyncio.Lock()
        self.proxy = ""
        """URL of the proxy that leads to the front door; known once it listens."""

    async def open_endpoint(self, host_id: ResourceId) -> Endpoint:
        """The loopback endpoint of a host, opened the first time. Raises `NotFound`."""
        host_id = await self._host(host_id)
        async with self._opening:  # two that ask at once get the same one
            if host_id.key not in self._endpoints:
                self._endpoints[host_id.key] = await self._open(host_id)
        return self._endpoints[host_id.key]

    async def _open(self, host_id: ResourceId) -> Endpoint:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.bind(("127.0.0.1", 0))
        listening = await self._listen(sock, host_id)
        url = f"http://127.0.0.1:{listening.address[1]}"
        return Endpoint(url, environment(endpoint=url, ca_bundle=str(self._bundle), proxy=self.proxy or None))

    async def open_sandbox(self, asked: OpenRequest, sockets: Sockets) -> Inhabited:
        """Serves a sandbox's sockets as the host, when the token may be it. Raises a Problem to refuse."""
        host_id = ResourceId.parse(asked.resource_id)
        await self._admit(asked, host_id)
        host_id = await self._host(host_id)
        dns = DnsServer(lambda name: SERVICE_ADDRESS if self._knows(name) else None)
        await dns.listen(udp=sockets.dns_udp, tcp=sockets.dns_tcp)
        door = await self._open_door(sockets.https)
        return Inhabited([await self._listen(sockets.imds, host_id), door], dns)

    async def _listen(self, sock: socket.socket, host_id: ResourceId) -> Listening:
        async def answer(request: Request) -> Reply:
            return await self._metadata(request, host_id)

        return await self._server.listen(
            sock=sock, handler=answer, hot=self._metadata.hot(host_id), listener=str(host_id)
        )

    async def _admit(self, asked: OpenRequest, host_id: ResourceId) -> None:
        subscription = await get_subscription(self._store, host_id.subscription_id or "")
        if subscription is None:
            raise NotFound(f"There is no host {host_id}.")
        caller = await self._guard.authenticate(
            f"Bearer {asked.token}",
            audiences=frozenset(self._clouds[subscription.cloud].audiences["resource_manager"]),
            tenant_id=subscription.tenant_id,
            now=self._clock.now(),
        )
        await self._guard.authorize(caller, OPEN, host_id, request_id=self._ids.guid(), service="hosts")

    async def _host(self, host_id: ResourceId) -> ResourceId:
        """The host's id in its stored spelling. Raises `NotFound` for what is no host."""
        resource = await get_resource(self._store, host_id)
        if resource is None or resource.type.lower() != TYPE.lower():
            raise NotFound(f"There is no host {host_id}; a virtual machine of that id would be one.")
        return ResourceId.parse(resource.id)
