"""The composition root: every part built once, by plain constructors with named arguments."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from keyfob.access.decisions import decisions_provider
from keyfob.access.door import Door
from keyfob.access.guard import Guard
from keyfob.access.provider import authorization_provider
from keyfob.app import folder
from keyfob.app.first_start import first_start, load_keys
from keyfob.app.front_door import FrontDoor, Hot, Later, first_of
from keyfob.app.hosts import Hosts, Inhabited, Pinned
from keyfob.app.local_api import LocalApi
from keyfob.app.signing import attested_signer
from keyfob.arm.extras import Extras
from keyfob.arm.extras.activity import ActivityLog
from keyfob.arm.extras.hierarchy import Hierarchy
from keyfob.arm.kept import kept_namespaces
from keyfob.arm.last_look import AskingStore
from keyfob.arm.pipeline import ResourceManager
from keyfob.arm.resources import Resources
from keyfob.arm.templates.later import LaterDeployments
from keyfob.arm.templates.types import deployments_provider
from keyfob.clock import Clock, Ids
from keyfob.clouds.availability import load_availability
from keyfob.clouds.hostnames import patterns
from keyfob.clouds.table import load_clouds
from keyfob.declare import Caller
from keyfob.directory.cache import Directory
from keyfob.directory.endpoint import TokenEndpoint as TokenService
from keyfob.directory.fetcher import HttpKeyFetcher
from keyfob.directory.first_party import load_first_party
from keyfob.directory.graph import AadGraph, graph
from keyfob.directory.keys import KeyRing
from keyfob.directory.offered import not_offered
from keyfob.directory.records import TENANTS
from keyfob.directory.seal import Seal
from keyfob.directory.tokens import Tokens
from keyfob.errors import Problem
from keyfob.hosts.api_management import api_management
from keyfob.hosts.app_service import app_service
from keyfob.hosts.clusters import ISSUER_SERVICE, ClusterIssuers, clusters
from keyfob.hosts.container_instances import Groups, SecretsSeal, container_instances
from keyfob.hosts.data_factory import data_factory
from keyfob.hosts.endpoints import Endpoint, Wish, endpoints_provider
from keyfob.hosts.logic_apps import logic_apps
from keyfob.hosts.sandbox.control import SandboxControl
from keyfob.hosts.scale_sets import Inherited, scale_sets
from keyfob.hosts.seeing import Seeing
from keyfob.hosts.tally import Tally
from keyfob.hosts.token_endpoint import TokenEndpoint
from keyfob.hosts.virtual_machines import InstanceMetadata, virtual_machines
from keyfob.hosts.workloads.caretaker import Caretaker
from keyfob.hosts.workloads.run_command import RunCommands
from keyfob.hosts.workloads.workshop import Workshop
from keyfob.identities.attached import Attachments
from keyfob.identities.availability import Rules
from keyfob.identities.types import managed_identity_provider
from keyfob.resource_id import ResourceId
from keyfob.servers.http import HttpServer, Listening
from keyfob.servers.proxy import listen_proxy
from keyfob.servers.tls import server_context
from keyfob.services.data_lake import data_lake
from keyfob.services.event_hubs import event_hubs
from keyfob.services.key_vault import key_vault
from keyfob.services.monitor import insights, operational_insights
from keyfob.services.network import network
from keyfob.services.service_bus import service_bus
from keyfob.services.sql import sql
from keyfob.services.storage import storage
from keyfob.settings import Settings
from keyfob.store.migrations import migrations_of
from keyfob.store.port import Store
from keyfob.store.sqlite import open_sqlite
from keyfob.wire.http import Reply, Request

GRACE = 5.0
"""Seconds that requests at work have when the server stops."""


@dataclass
class App:
    """A built server. `start` opens its sockets, `stop` closes everything, in that order of need."""

    settings: Settings
    store: Store
    guard: Guard
    resource_manager: ResourceManager
    front_door: FrontDoor
    server: HttpServer
    hosts: Hosts
    control: SandboxControl
    door: Doorway
    activity: ActivityLog
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    port: int = 0
    deployments: LaterDeployments = field(kw_only=True)
    workshop: Workshop = field(kw_only=True)
    runners: tuple[Runner, ...] = field(kw_only=True)

    async def start(self) -> None:
        """Raises `Problem` when the port is taken."""
        listening = await self.door.open(_bound(self.settings.address, self.settings.port))
        self.port = listening.address[1]
        proxy = await listen_proxy(
            self.server,
            sock=_bound("127.0.0.1", 0),
            allowed=self.front_door.knows,
            doors={443: listening, self.port: listening},
            handler=self.front_door,
        )
        self.hosts.proxy = f"http://127.0.0.1:{proxy.address[1]}"
        await self.control.start()
        self.tasks = [
            asyncio.create_task(self.resource_manager.engine.operations.run(), name="operations"),
            asyncio.create_task(self.guard.log.run(), name="decision log"),
            asyncio.create_task(self.deployments.run(), name="deployments"),
            asyncio.create_task(self.activity.run(), name="activity log"),
        ]
        for runner in self.runners:
            await runner.start()

    async def stop(self) -> None:
        """Also of an app that was never started."""
        await self.control.close()
        for runner in self.runners:
            await runner.stop()
        await self.workshop.shut()
        await self.hosts.close()
        await self.server.shutdown(GRACE)
        for task in self.tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        with contextlib.suppress(Problem):
            await self.guard.log.flush()
            await self.activity.flush()
        await self.store.close()


class Runner(Protocol):
    """Runs the programs of one kind of host, from the start of the server to its end."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Doorway:
    """Opens the front door on a socket: the loopback port, and each sandbox's port 443."""

    def __init__(self, server: HttpServer, front_door: FrontDoor, trust: folder.Trust, hot: Hot) -> None:
        self._server = server
        self._front_door = front_door
        self._context = server_context(trust.leaves)
        self._hot = hot

    async def open(self, sock: socket.socket) -> Listening:
        return await self._server.listen(
            sock=sock,
            handler=self._front_door,
            hot=self._hot,
            tls=self._context,
            listener="front door",
            large=self._front_door.takes_large,
        )

    async def open_plain(self, sock: socket.socket) -> Listening:
        """Port 80 of a sandbox."""
        return await self._server.listen(sock=sock, handler=self._front_door.plain, listener="front door")


async def build(settings: Settings, *, clock: Clock, ids: Ids) -> App:
    """Everything but open sockets. Makes what a first start needs. Raises `Problem` with a sentence for a person."""
    folder.prepare(settings)
    clouds, first_party, availability = load_clouds(), load_first_party(), load_availability()
    master_key = folder.master_key(settings)
    trust = folder.trust(settings, (*patterns(clouds), "localhost", "127.0.0.1"), clock.now())
    store = AskingStore(await open_store(settings))
    try:
        closed = not_offered(availability, settings.availability, clouds, first_party)
        seal = Seal(master_key)
        keys = KeyRing(store=store, seal=seal, clock=clock)
        await load_keys(keys, settings)
        tokens = Tokens(keys=keys, clouds=clouds, clock=clock, ids=ids)
        guard = Guard(
            store=store, tokens=tokens, clock=clock, ids=ids, decisions=settings.decisions, hierarchy=Hierarchy(store)
        )
        resources = Resources()
        attachments = Attachments(store=store, resources=Inherited(resources))
        tally = Tally(guard.log)
        host_tokens = TokenEndpoint(
            store=store, attachments=attachments, tokens=tokens, clock=clock, closed=closed, tally=tally
        )
        metadata = InstanceMetadata(
            store=store,
            tokens=host_tokens,
            signer=attested_signer(trust.authority, clock),
            clouds=clouds,
            clock=clock,
        )
        vault = key_vault(store=store, guard=guard, clouds=clouds, clock=clock, ids=ids, master_key=master_key)
        late: list[Hosts] = []

        async def open_endpoint(host_id: ResourceId, wish: Wish, caller: Caller) -> Endpoint:
            return await late[0].open_endpoint(host_id, wish, caller)

        async def inhabit(host_id: ResourceId, sockets: Sequence[socket.socket]) -> Inhabited:
            return await late[0].inhabit(host_id, sockets)

        workshop = Workshop(
            folder=settings.data / "hosts",
            inhabit=inhabit,
            ca_pem=trust.authority.pem,
            cover=(settings.data,),
            clock=clock,
        )
        groups = Groups(
            store=store,
            workshop=workshop,
            inhabit=inhabit,
            ca_pem=trust.authority.pem,
            seal=SecretsSeal(seal),
            folder=settings.data / "containers",
            clock=clock,
        )
        commands = RunCommands(store=store, workshop=workshop, clock=clock, ids=ids)
        doors: list[FrontDoor] = []

        async def through_the_door(request: Request) -> Reply:
            return await doors[0](request)

        web_sites = app_service(
            store=store,
            guard=guard,
            clouds=clouds,
            workshop=workshop,
            tokens=host_tokens,
            ask=through_the_door,
            clock=clock,
            ids=ids,
            master_key=master_key,
        )
        azure = (
            virtual_machines(store=store, ids=ids, commands=commands),
            managed_identity_provider(store=store, ids=ids, resources=resources),
            vault.provider,
            authorization_provider(store=store, guard=guard),
            scale_sets(store=store, ids=ids, commands=commands),
            web_sites.provider,
            logic_apps(ids=ids, master_key=master_key),
            data_factory(ids=ids, master_key=master_key),
            api_management(store=store, master_key=master_key),
            container_instances(store=store, groups=groups, seal=SecretsSeal(seal)),
            clusters(ids=ids),
            network(),
            operational_insights(master_key=master_key),
            insights(),
            storage(store=store, master_key=master_key),
            data_lake(store=store),
            sql(store=store),
            event_hubs(store=store, master_key=master_key),
            service_bus(store=store, master_key=master_key),
        )
        namespaces = tuple(provider.namespace for provider in azure)
        local = LocalApi(
            store=store,
            clouds=clouds,
            first_party=first_party,
            namespaces=namespaces,
            clock=clock,
            ids=ids,
        )
        extras = Extras(
            store=store, guard=guard, clock=clock, ids=ids, namespaces=(*namespaces, *kept_namespaces().values())
        )
        managers: list[ResourceManager] = []

        async def ask(request: Request, **who: Any) -> Reply:
            return await managers[0].ask(request, **who)

        deployments = LaterDeployments(
            store=store,
            guard=guard,
            clouds=clouds,
            clock=clock,
            ids=ids,
            answer=ask,
            seal=seal,
            read_secret=vault.read,
            alone=not settings.database,
        )
        resource_manager = ResourceManager(
            store=store,
            guard=guard,
            clouds=clouds,
            providers=(
                *azure,
                local.provider(),
                decisions_provider(guard=guard),
                deployments_provider(deployments),
                endpoints_provider(open_endpoint),
                Seeing(
                    store=store,
                    attachments=attachments,
                    tally=tally,
                    workshop=workshop,
                    opened=lambda: dict(late[0].opened()),
                    allows=guard.allows,
                    clock=clock,
                ).provider(),
                *extras.providers,
            ),
            bystanders=extras.bystanders,
            clock=clock,
            ids=ids,
            operation_seconds=settings.operation_seconds,
            alone=not settings.database,
            availability=Rules(availability, settings.availability),
        )
        issuers = ClusterIssuers(
            store=store, seal=seal, clock=clock, others=HttpKeyFetcher(clock=clock, trusted=[trust.certificate])
        )
        login = TokenService(
            store=store,
            keys=keys,
            tokens=tokens,
            clouds=clouds,
            seal=seal,
            clock=clock,
            ids=ids,
            directory=Directory(store, closed),
            fetcher=issuers,
        )
        front_door = FrontDoor(
            clouds=clouds,
            planes={
                "login": login,
                "resource_manager": resource_manager,
                "key_vault": Door(vault.plane, guard=guard, clock=clock),
                "graph": Later(lambda: graph(store=store, gate=guard, clock=clock, ids=ids)),
                "aad_graph": AadGraph(),
                "web": web_sites.web,
                "web_scm": web_sites.scm,
                ISSUER_SERVICE: issuers,
            },
            health=lambda: _well(store),
            large={"web_scm": web_sites.scm.takes_large},
        )
        doors.append(front_door)
        server = HttpServer()
        door = Doorway(server, front_door, trust, first_of({b"/secrets/": vault.hot}, otherwise=login.hot))
        hosts = Hosts(
            store=store,
            guard=guard,
            metadata=metadata,
            tokens=host_tokens,
            attachments=attachments,
            server=server,
            clouds=clouds,
            clock=clock,
            ids=ids,
            open_door=door.open,
            open_plain=door.open_plain,
            knows=front_door.knows,
            bundle=trust.bundle,
            pinned=Pinned(trust.authority, settings.certificates / "service-fabric", clock.now),
            issuers=issuers,
            handed=settings.data / "handed",
        )
        late.append(hosts)
        managers.append(resource_manager)
        await first_start(
            store,
            settings,
            clouds=clouds,
            first_party=first_party,
            namespaces=namespaces,
            clock=clock,
            ids=ids,
            save=lambda operator: folder.write_operator(settings.operator_file, operator),
        )
    except BaseException:
        await store.close()
        raise
    control = SandboxControl(path=settings.control_socket, open_host=hosts.open_sandbox)
    return App(
        settings,
        store,
        guard,
        resource_manager,
        front_door,
        server,
        hosts,
        control,
        door,
        extras.activity,
        deployments=deployments,
        workshop=workshop,
        runners=(
            web_sites,
            Caretaker(store=store, workshop=workshop),
            tally,
            groups,
            resource_manager.engine.operations,
        ),
    )


async def open_store(settings: Settings) -> Store:
    migrations = migrations_of("keyfob.store")
    if not settings.database:
        return await open_sqlite(settings.database_file, migrations)
    from keyfob.store.postgres import open_postgres

    return await open_postgres(settings.database, migrations)


async def _well(store: Store) -> bool:
    try:
        await TENANTS.list(store, limit=1)
    except Problem:
        return False
    return True


def _bound(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((address, port))
    except OSError as error:
        sock.close()
        raise Problem(
            f"Port {port} of {address} cannot be taken ({error.strerror}); choose another with --port, or 0 for any."
        ) from error
    return sock
