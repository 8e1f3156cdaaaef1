"""Being a host: inside a sandbox, on sockets it brought; outside one, on loopback ports of the host's own."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha1
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from keyfob.access.guard import Guard
from keyfob.arm.resources import get_resource, get_subscription
from keyfob.clock import Clock, Ids
from keyfob.clouds.cloud import Cloud
from keyfob.declare import Caller
from keyfob.directory.applications import trusting
from keyfob.errors import Conflict, InvalidInput, NotFound, Problem
from keyfob.hosts.caller import Secret
from keyfob.hosts.clusters import ClusterIssuers, ServiceAccount, project
from keyfob.hosts.clusters.projected import LIFE, RENEWED_AT
from keyfob.hosts.dialects.arc import ARC
from keyfob.hosts.dialects.azure_ml import AZURE_ML
from keyfob.hosts.dialects.dialect import Dialect, Opening, Place, TokenQuery
from keyfob.hosts.dialects.imds import IMDS, encode_problem
from keyfob.hosts.dialects.table import DIALECTS
from keyfob.hosts.dialects.workload_identity import FILE, WORKLOAD_IDENTITY
from keyfob.hosts.endpoints import OPEN, Endpoint, Speaking, Wish, identity_disabled, outside_variables, running_host
from keyfob.hosts.handed import KeyFolder, empty, hand, machine_folder, shown_folder
from keyfob.hosts.kinds import (
    CLOUD_SHELL,
    CLUSTER,
    CONSOLE,
    FOLDERS,
    SITE,
    Kind,
    kind_of,
    names_of_hosts,
)
from keyfob.hosts.life import Life, Lives
from keyfob.hosts.sandbox.control import Sockets
from keyfob.hosts.sandbox.protocol import ENDPOINTS, SERVICE_ADDRESS, OpenRequest
from keyfob.hosts.token_endpoint import HostToken, TokenEndpoint
from keyfob.hosts.virtual_machines import InstanceMetadata
from keyfob.identities.attached import Attachments
from keyfob.identities.choose import IdentityNotFound
from keyfob.resource_id import ResourceId
from keyfob.servers.dns import DnsServer
from keyfob.servers.http import HttpServer, Listening
from keyfob.servers.tls import Authority, leaves, server_context
from keyfob.store.port import Store
from keyfob.wire.http import Reply, Request

log = logging.getLogger(__name__)

OpenDoor = Callable[[socket.socket], Awaitable[Listening]]
"""Serves the front door on a socket that a sandbox brought."""

ADDRESSES = {end.name: f"{end.address}:{end.port}".removesuffix(":80") for end in ENDPOINTS}
"""Socket of a sandbox → where a program finds it."""

MOST_ENDPOINTS = 64
"""Of one host, outside of sandboxes: each is a port of the machine's, and a wish may name any identity."""

WELL_KNOWN = frozenset({"imds", "extension"})
"""Sockets whose address is the one that clients know by heart."""


@dataclass
class Inhabited:
    """A sandbox that is being served. `environment` is what this kind of host sets for its programs."""

    dns: DnsServer
    listening: list[Listening] = field(default_factory=list)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    folder: Path | None = None
    """What the program was handed files in."""
    renewing: asyncio.Task[None] | None = None
    closed: bool = False

    async def close(self) -> None:
        self.closed = True
        if self.renewing is not None:
            self.renewing.cancel()
        for one in self.listening:
            one.close()
        self.dns.close()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class Pinned:
    """The certificate that clients of Service Fabric know by its SHA-1: made once and kept, so that it does not change
    when the server starts again."""

    authority: Authority = field(repr=False)
    folder: Path
    now: Callable[[], float]

    @cached_property
    def served(self) -> tuple[ssl.SSLContext, str]:
        """What answers with it, and its SHA-1 in hex."""
        from datetime import UTC, datetime

        self.folder.mkdir(parents=True, exist_ok=True)
        made, _ = leaves(
            self.authority, self.folder, ("localhost", "127.0.0.1"), datetime.fromtimestamp(self.now(), UTC)
        )
        der = made[0].certificate.public_bytes(Encoding.DER)
        return server_context(made), sha1(der, usedforsecurity=False).hexdigest().upper()


@dataclass(frozen=True, slots=True)
class _Host:
    """A host that somebody may be, and how."""

    id: ResourceId
    kind: Kind
    wish: Wish
    dialects: tuple[Dialect, ...]
    opening: Opening
    caller: Caller | None
    life: Life
    client_id: str = ""
    account: ServiceAccount | None = None
    """On a Kubernetes cluster."""
    issuer: str = ""
    tenant_id: str = ""
    authority: str = ""
    file: str = ""
    """Where its program finds the account's token."""

    def on(self, name: str) -> list[Dialect]:
        return [dialect for dialect in self.dialects if dialect.socket == name]

    def tells(self, dialect: Dialect) -> bool:
        """Whether variables lead to the dialect: always, when somebody asked for it by name."""
        return bool(self.wish.dialect) or dialect.name not in self.kind.silent


class Hosts:
    """Opens what a host's programs talk to. The listener that accepts a connection is the caller's identity."""

    def __init__(
        self,
        *,
        store: Store,
        guard: Guard,
        metadata: InstanceMetadata,
        tokens: TokenEndpoint,
        attachments: Attachments,
        server: HttpServer,
        clouds: Mapping[str, Cloud],
        clock: Clock,
        ids: Ids,
        open_door: OpenDoor,
        open_plain: OpenDoor,
        knows: Callable[[str], bool],
        bundle: Path,
        pinned: Pinned,
        issuers: ClusterIssuers,
        handed: Path,
    ) -> None:
        """`handed` holds the folders of files that sandboxes show."""
        self._handed = handed
        empty(handed)
        self._issuers = issuers
        self._renewing: list[asyncio.Task[None]] = []
        self._keys: list[KeyFolder] = []
        self._store = store
        self._guard = guard
        self._metadata = metadata
        self._tokens = tokens
        self._attachments = attachments
        self._server = server
        self._clouds = clouds
        self._clock = clock
        self._ids = ids
        self._open_door = open_door
        self._open_plain = open_plain
        self._knows = knows
        self._bundle = bundle
        self._pinned = pinned
        self._endpoints: dict[tuple[str, ...], Endpoint] = {}
        self._inhabited: list[tuple[str, Inhabited]] = []
        self._opening = asyncio.Lock()
        self._lives = Lives(store, self._forget)
        self.proxy = ""
        """URL of the proxy that leads to the front door; known once it listens."""

    async def close(self) -> None:
        """Takes back what programs outside of sandboxes were handed."""
        await self._lives.stop()
        for task in self._renewing:
            task.cancel()
        await asyncio.gather(*self._renewing, return_exceptions=True)
        for keys in self._keys:
            keys.close()
        empty(self._handed)

    # --- from outside

    async def open_endpoint(self, host_id: ResourceId, wish: Wish, caller: Caller) -> Endpoint:
        """The loopback endpoint of a host, opened the first time. Raises `NotFound`, `InvalidInput`, `Conflict`."""
        host = await self._host(host_id, wish, caller)
        whose = caller.principal_id if any(dialect.of_user for dialect in host.dialects) else ""
        key = (host.id.key, *wish, *(dialect.name for dialect in host.dialects), whose, host.issuer)
        async with self._opening:  # two that ask at once get the same one
            if key not in self._endpoints:
                if sum(other[0] == key[0] and other[-2] == whose for other in self._endpoints) >= MOST_ENDPOINTS:
                    raise Conflict(f"This host has {MOST_ENDPOINTS} endpoints already, each in a way of its own.")
                self._endpoints[key] = await self._open(host)
        return self._endpoints[key]

    async def _open(self, host: _Host) -> Endpoint:
        if ARC in host.dialects:
            keys = KeyFolder(machine_folder(FOLDERS[ARC.name]), FOLDERS[ARC.name], self._ids)
            self._keys.append(keys)
            host = replace(host, opening=replace(host.opening, keys=keys))
        if host.account is not None:
            folder = self._handed / self._ids.guid()
            folder.mkdir(parents=True, mode=0o700)
            self._renewing.append(await self._keep_projected(host, host.account, folder))
            host = replace(host, file=str(folder / FILE))
        variables = dict(outside_variables(ca_bundle=str(self._bundle), proxy=self.proxy))
        told = [dialect for dialect in host.dialects if host.tells(dialect)]
        urls: dict[str, str] = {}
        for dialect in told:
            if dialect.socket and dialect.socket not in urls:
                sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                sock.bind(("127.0.0.1", 0))
                listening = await self._listen(sock, host, dialect.socket)
                urls[dialect.socket] = f"{_scheme(dialect)}://127.0.0.1:{listening.address[1]}"
            variables |= dialect.variables(self._place(host, dialect, urls.get(dialect.socket, "")))
        variables |= _chosen(host)
        main = told[0] if told else IMDS
        authority = f"{host.authority}{host.tenant_id}" if host.account else ""
        return Endpoint(urls.get(main.socket, authority), variables, main.name)

    def _forget(self, life: Life) -> None:
        """Who opens an endpoint of that name again gets another."""
        for key in [key for key in self._endpoints if key[0] == life.host_id.key]:
            del self._endpoints[key]

    def opened(self) -> Mapping[str, tuple[int, int]]:
        """Keys of hosts → how many endpoints of each are open, and how many sandboxes."""
        endpoints = Counter(key[0] for key in self._endpoints)
        sandboxes = Counter(key for key, one in self._inhabited if not one.closed)
        return {key: (endpoints[key], sandboxes[key]) for key in {*endpoints, *sandboxes}}

    # --- in a sandbox

    async def open_sandbox(self, asked: OpenRequest, sockets: Sockets) -> Inhabited:
        """Serves a sandbox's sockets as the host, when the token may be it. Raises a Problem to refuse."""
        host_id = ResourceId.parse(asked.resource_id)
        caller = await self._admit(asked, host_id)
        wish = Wish(asked.dialect, asked.service_account, asked.client_id)
        folder = shown_folder(asked.folder, self._handed) if asked.folder else None
        return await self.inhabit(host_id, sockets, wish, caller, folder)

    async def inhabit(
        self,
        host_id: ResourceId,
        sockets: Sequence[socket.socket],
        wish: Wish | None = None,
        caller: Caller | None = None,
        folder: Path | None = None,
    ) -> Inhabited:
        """Serves the sockets of `ENDPOINTS` as the host, for a sandbox that is known to be its own: nothing is asked.

        Those that the host's kind does not use are closed, so that a program may have the port. `folder` is shown to
        the program at the dialect's place in `kinds.FOLDERS`. Raises `NotFound`, `InvalidInput`.
        """
        given = Sockets(*sockets)
        host = await self._host(host_id, wish or Wish(), caller)
        if folder is not None and ARC in host.dialects:
            host = replace(host, opening=replace(host.opening, keys=KeyFolder(folder, FOLDERS[ARC.name], self._ids)))
        if host.account is not None:
            host = replace(host, file=f"{FOLDERS[WORKLOAD_IDENTITY.name]}/{FILE}")
        inhabited = Inhabited(DnsServer(lambda name: SERVICE_ADDRESS if self._knows(name) else None), folder=folder)
        try:
            await self._furnish(inhabited, host, given)
        except BaseException:
            await inhabited.close()
            raise
        self._inhabited = [(key, one) for key, one in self._inhabited if not one.closed]
        self._inhabited.append((host.id.key, inhabited))
        return inhabited

    async def _furnish(self, inhabited: Inhabited, host: _Host, given: Sockets) -> None:
        await inhabited.dns.listen(udp=given.dns_udp, tcp=given.dns_tcp)
        inhabited.listening.append(await self._open_door(given.https))
        inhabited.listening.append(await self._open_plain(given.http))
        for name in Sockets._fields:
            if name in {"https", "http", "dns_udp", "dns_tcp"}:
                continue
            if host.on(name):
                inhabited.listening.append(await self._listen(getattr(given, name), host, name))
            else:
                getattr(given, name).close()
        if inhabited.folder is not None and host.account is not None:
            inhabited.renewing = await self._keep_projected(host, host.account, inhabited.folder)
        variables: dict[str, str] = {}
        for dialect in host.dialects:
            if host.tells(dialect):
                url = f"{_scheme(dialect)}://{ADDRESSES.get(dialect.socket, '')}"
                variables |= dialect.variables(self._place(host, dialect, url, inside=True))
        inhabited.environment = {**variables, **_chosen(host)}

    async def _admit(self, asked: OpenRequest, host_id: ResourceId) -> Caller:
        if host_id == CONSOLE:  # everybody's own
            return await self._guard.authenticate(
                f"Bearer {asked.token}",
                audiences=frozenset(
                    name for cloud in self._clouds.values() for name in cloud.audiences["resource_manager"]
                ),
                tenant_id=None,
                now=self._clock.now(),
            )
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
        return caller

    # --- both

    async def _host(self, host_id: ResourceId, wish: Wish, caller: Caller | None) -> _Host:
        """Raises `NotFound` for what is no host, `InvalidInput` for a dialect that is none."""
        if host_id == CONSOLE:
            dialects, opening = _dialects(CLOUD_SHELL, wish), self._new_opening()
            return _Host(CONSOLE, CLOUD_SHELL, wish, dialects, opening, caller, Life(CONSOLE, 0.0))
        resource = await get_resource(self._store, host_id)
        kind = kind_of(resource.type) if resource is not None else None
        if resource is None or kind is None:
            raise NotFound(f"There is no host {host_id}: a host is a {names_of_hosts()}.")
        stored = ResourceId.parse(resource.id)
        disabled = kind is SITE and await identity_disabled(self._store, stored)
        dialects = _dialects(kind, wish)
        host = _Host(
            id=stored,
            kind=kind,
            wish=wish,
            dialects=() if disabled else dialects,
            opening=self._new_opening(windows=kind is SITE and resource.properties.get("reserved") is not True),
            caller=caller,
            life=self._lives.of(stored, resource.created),
            client_id=wish.client_id or (await self._default_identity(stored) if AZURE_ML in dialects else ""),
        )
        as_account = WORKLOAD_IDENTITY in dialects or (wish.service_account and kind is not CLUSTER)
        return await self._as_account(host) if as_account else host

    def _new_opening(self, *, windows: bool = False) -> Opening:
        return Opening(secret=Secret.new(self._ids), windows=windows)

    async def _as_account(self, host: _Host) -> _Host:
        """The host with the service account that its program is. Raises `InvalidInput`, `NotFound`."""
        if host.kind is not CLUSTER:
            raise InvalidInput(f"A {host.kind.name} has no service accounts; a Kubernetes cluster has.")
        account = ServiceAccount.parse(host.wish.service_account)
        issuer = await self._issuers.of(str(host.id))
        subscription = await get_subscription(self._store, host.id.subscription_id or "")
        if subscription is None:
            raise NotFound(f"There is no host {host.id}.")
        return replace(
            host,
            account=account,
            issuer=issuer.url,
            tenant_id=issuer.tenant_id,
            authority=self._clouds[subscription.cloud].login + "/",
            client_id=host.client_id or await trusting(self._store, issuer.tenant_id, issuer.url, account.subject),
        )

    async def _keep_projected(self, host: _Host, account: ServiceAccount, folder: Path) -> asyncio.Task[None]:
        """Writes the account's token, and a new one before it ends."""
        subscription = await get_subscription(self._store, host.id.subscription_id or "")
        cloud = self._clouds[subscription.cloud] if subscription else next(iter(self._clouds.values()))

        async def write() -> None:
            issuer = await self._issuers.of(str(host.id))
            key = await self._issuers.key(issuer.id)
            token = project(
                issuer, key, account, audience=cloud.token_exchange_audience, now=self._clock.now(), ids=self._ids
            )
            hand(folder / FILE, token.encode())

        async def keep() -> None:
            while True:
                await asyncio.sleep(LIFE * RENEWED_AT)
                try:
                    await write()
                except (Problem, OSError) as error:  # the cluster is gone, or the folder
                    log.info("the token of %s is not renewed any more: %s", account.subject, error)
                    return

        await write()
        return asyncio.get_running_loop().create_task(keep(), name=f"token of {account.subject}")

    async def _default_identity(self, host_id: ResourceId) -> str:
        """What an Azure ML program's variable names: the identity of its own, else the first that was assigned."""
        found = await self._attachments.of(host_id)
        one = found.system or next(iter(found.user), None)
        return one.client_id if one else ""

    async def _listen(self, sock: socket.socket, host: _Host, name: str) -> Listening:
        """Answers on a socket as the host, in the dialects that belong there."""
        dialects = host.on(name)
        tls = self._pinned.served[0] if dialects[0].tls else None
        if IMDS in dialects:  # with more at other paths, and the fast way

            async def answer(request: Request) -> Reply:
                return await self._metadata(request, host.id)

            return await self._server.listen(
                sock=sock,
                handler=host.life.slowly(answer, encode_problem),
                hot=host.life.quickly(self._metadata.hot(host.id)),
                listener=str(host.id),
            )

        async def issue(dialect: Dialect, query: TokenQuery) -> HostToken:
            return await self._issue(host, dialect, query)

        speaking = Speaking(dialects, host.opening, issue=issue, clock=self._clock, ids=self._ids)
        return await self._server.listen(sock=sock, handler=speaking, tls=tls, listener=str(host.id))

    async def _issue(self, host: _Host, dialect: Dialect, query: TokenQuery) -> HostToken:
        host.life.check()
        if dialect.of_user:
            if host.caller is None:
                raise IdentityNotFound
            return await self._tokens.issue_own(host.caller.tenant_id, host.caller.principal_id, query.resource)
        return await self._tokens.issue(
            host.id,
            query.selector,
            query.resource,
            bypass_cache=query.bypass_cache,
            refused=query.refused,
            lone_user_identity=dialect.lone_user_identity,
            admit=lambda: running_host(self._store, host.id),
        )

    def _place(self, host: _Host, dialect: Dialect, url: str, *, inside: bool = False) -> Place:
        return Place(
            url=url,
            secret=host.opening.secret.reveal(),
            real=inside and dialect.socket in WELL_KNOWN,
            client_id=host.client_id,
            thumbprint=self._pinned.served[1] if dialect.tls else "",
            file=host.file,
            tenant_id=host.tenant_id,
            authority=host.authority,
        )


def _dialects(kind: Kind, wish: Wish) -> tuple[Dialect, ...]:
    if not wish.dialect:
        return tuple(DIALECTS[name] for name in kind.dialects if name in DIALECTS)
    found = DIALECTS.get(wish.dialect.lower())
    if found is None:
        raise InvalidInput(f"There is no dialect '{wish.dialect[:40]}'; there are: {', '.join(DIALECTS)}.")
    return (found,)


def _chosen(host: _Host) -> Mapping[str, str]:
    """What `DefaultAzureCredential` of every language takes for the identity that is meant."""
    return {"AZURE_CLIENT_ID": host.wish.client_id} if host.wish.client_id else {}


def _scheme(dialect: Dialect) -> str:
    return "https" if dialect.tls else "http"
