"""App Service and Functions through Resource Manager: plans, sites, slots, their settings and credentials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from keyfob.access.guard import Guard
from keyfob.arm.keys import DerivedKeys
from keyfob.arm.resources import RESOURCES
from keyfob.arm.shapes import Shaped, answering, check_name_route, posting, setting, unique
from keyfob.clock import Clock, Ids
from keyfob.clouds.cloud import Cloud
from keyfob.declare import IdentitySupport, OnPut, Plane, PostAction, Provider, ResourceType, Route
from keyfob.hosts.app_service import config, operations, plans, stacks
from keyfob.hosts.app_service.deploying.admission import Admission
from keyfob.hosts.app_service.deploying.build import build
from keyfob.hosts.app_service.deploying.content import Contents
from keyfob.hosts.app_service.deploying.deployments import Deployments
from keyfob.hosts.app_service.deploying.scm import Scm
from keyfob.hosts.app_service.functions.function_apps import FunctionApps
from keyfob.hosts.app_service.model import API_VERSIONS, NAME, NAMED_ALIKE, PLAN, SITE, SLOT
from keyfob.hosts.app_service.references import Ask, References
from keyfob.hosts.app_service.running.sites import KindOfSite, Sites
from keyfob.hosts.app_service.runtime import Runtime
from keyfob.hosts.app_service.settings import ConfigOperations, Settings
from keyfob.hosts.app_service.site import SiteReader
from keyfob.hosts.app_service.swap import Swap
from keyfob.hosts.token_endpoint import TokenEndpoint
from keyfob.hosts.workloads.workshop import Workshop
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store

__all__ = ["AppService", "KindOfSite", "app_service"]


@dataclass(frozen=True, kw_only=True)
class AppService:
    """`web` and `scm` are the planes of the sites' names; the runner is `start` and `stop`."""

    provider: Provider
    sites: Sites
    deployments: Deployments
    scm: Scm
    functions: FunctionApps

    @property
    def web(self) -> Plane:
        return self.sites.answer

    async def start(self) -> None:
        await self.sites.start()

    async def stop(self) -> None:
        await self.deployments.stop()
        await self.functions.stop()
        await self.sites.stop()


def app_service(
    *,
    store: Store,
    guard: Guard,
    clouds: Mapping[str, Cloud],
    workshop: Workshop,
    tokens: TokenEndpoint,
    ask: Ask,
    clock: Clock,
    ids: Ids,
    master_key: bytes,
    kinds: Sequence[KindOfSite] = (),
) -> AppService:
    """`ask` is the front door, where references to vaults are resolved.

    `kinds` are the kinds of site that are not started as web apps."""
    settings = Settings(master_key)
    credentials = config.Credentials(DerivedKeys(master_key), settings.open)
    reader = SiteReader(store, clouds, settings)
    contents = Contents(workshop)
    named = References(store=store, reader=reader, tokens=tokens, ask=ask, ids=ids)
    functions = FunctionApps(master_key=master_key, store=store, reader=reader, ids=ids)
    sites = Sites(
        reader=reader,
        contents=contents,
        workshop=workshop,
        clock=clock,
        resolve=named.resolve,
        kinds=(*kinds, functions.kind),
    )
    store.watch(RESOURCES.topic, sites.changed)
    store.watch(RESOURCES.topic, partial(functions.changed, sites))

    def running(id: ResourceId) -> str:
        found = sites.running(id)
        return found.content if found is not None else ""

    deployments = Deployments(
        contents=contents, build=build, renew=sites.renew, read=reader.read, running=running, clock=clock, ids=ids
    )
    scm = Scm(
        reader=reader,
        admission=Admission(store=store, guard=guard, clock=clock, password=credentials.password),
        deployments=deployments,
        sites=sites,
        workshop=workshop,
    )
    runtime = Runtime(reader=reader, sites=sites, deployments=deployments, workshop=workshop)
    live = [
        route
        for kind in (SITE, SLOT)
        for route in (*runtime.routes(kind), *named.routes(kind), *functions.routes(kind, sites))
    ]
    return AppService(
        provider=_provider(
            store, credentials, settings, Swap(settings, contents.pending, guard=guard, ids=ids), functions, live
        ),
        sites=sites,
        deployments=deployments,
        scm=scm,
        functions=functions,
    )


def _provider(
    store: Store,
    credentials: config.Credentials,
    settings: Settings,
    swap: Swap,
    functions: FunctionApps,
    live: Sequence[Route],
) -> Provider:
    types = [
        ResourceType(
            name=PLAN,
            api_versions=API_VERSIONS,
            operations=Shaped(compute=plans.accept, children=plans.tell_sites, removed=plans.refuse_in_use),
            name_pattern=r"[A-Za-z0-9-]{1,60}",
            created=200,
            finish=plans.finished,
            note="A name for sites to stand on.",
        ),
        *_site(SITE, credentials, settings, swap, functions, unique((SITE,), operations.name_taken)),
        *_site(SLOT, credentials, settings, swap, functions, None),
    ]
    check = check_name_route(
        store,
        "/subscriptions/{subscriptionId}/providers/Microsoft.Web/checkNameAvailability",
        "Microsoft.Web/checknameavailability/read",
        types=(SITE,),
        pattern=NAME,
        api_versions=API_VERSIONS,
        invalid="The name of a site has 2 to 60 letters, digits and hyphens, no hyphen first or last.",
        in_use=lambda name: f"Hostname '{name}' already exists. Please select a different name.",
        asked=NAMED_ALIKE,
    )
    routes = (check, *config.routes(store, SITE), *config.routes(store, SLOT), *live, *plans.routes(), *stacks.routes())
    return Provider(namespace="Microsoft.Web", types=tuple(types), routes=routes, registered=True)


def _site(
    kind: str,
    credentials: config.Credentials,
    settings: Settings,
    swap: Swap,
    functions: FunctionApps,
    claim: operations.Claim | None,
) -> list[ResourceType]:
    """The type of sites, or of slots, and of what every one of them has."""
    actions: dict[str, PostAction] = {
        "start": posting(kind, "start", setting({"state": "Running"})),
        "stop": posting(kind, "stop", setting({"state": "Stopped"})),
        "restart": posting(kind, "restart", operations.restart),
        "syncfunctiontriggers": posting(kind, "syncfunctiontriggers", answering(204)),
        "slotsswap": posting(kind, "slotsswap", swap),
        "publishxml": posting(kind, "publishxml", credentials.publish_profile),
    }
    return [
        ResourceType(
            name=kind,
            api_versions=API_VERSIONS,
            operations=Shaped(
                compute=operations.site,
                claim=claim,
                children=partial(operations.with_site, settings),
                removed=plans.leave,
                write_only=("siteConfig.appSettings", "siteConfig.connectionStrings"),
                view=operations.shown,
            ),
            identity=IdentitySupport(system=True, user=True, absent_on_put=OnPut.REMOVE),
            provisioning_state=False,
            name_pattern=NAME,
            created=200,
            finish=operations.finished,
            actions=actions,
            note="Deployed code runs in a sandbox of the machine that the server is on. `functionapp` is Functions.",
        ),
        _child(
            f"{kind}/config",
            ConfigOperations(settings),
            actions={"list": posting(f"{kind}/config", "list", credentials.list)},
        ),
        _child(f"{kind}/hostNameBindings", Shaped(compute=operations.binding)),
        _child(f"{kind}/basicPublishingCredentialsPolicies", Shaped(compute=operations.policy)),
        _child(f"{kind}/host", Shaped(), actions=functions.actions(kind)),
    ]


def _child(name: str, work: Shaped, *, actions: dict[str, PostAction] | None = None) -> ResourceType:
    return ResourceType(
        name=name,
        api_versions=API_VERSIONS,
        operations=work,
        tracked=False,
        provisioning_state=False,
        created=200,
        actions=actions or {},
    )
