"""A site or slot as it is to run: everything about it that is stored, read at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgspec

from keyfob.arm.model import Resource
from keyfob.arm.resources import RESOURCES, get_resource, get_subscription
from keyfob.clouds.cloud import Cloud
from keyfob.errors import NotFound
from keyfob.hosts.app_service.model import RESTARTED, SITE, SLOT, SWAPPED
from keyfob.hosts.app_service.settings import Settings
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store

_COUNTS = ("appCommandLine", "linuxFxVersion", "healthCheckPath", "pythonVersion", "nodeVersion")
"""Of `config/web`, what a program is started with."""


@dataclass(frozen=True, slots=True)
class Connection:
    value: str = field(repr=False)
    type: str = "Custom"


@dataclass(frozen=True, slots=True)
class Site:
    """`settings` and `connections` are as their owner wrote them: references to vaults are not resolved."""

    id: ResourceId
    resource: Resource
    cloud: Cloud
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    connections: Mapping[str, Connection] = field(default_factory=dict, repr=False)
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """`config/web`."""
    host_row: Resource | None = field(default=None, repr=False)
    """`host/default` of a function app, with its sealed keys."""

    @property
    def name(self) -> str:
        """Of the site, also for a slot."""
        return self.id.names[0]

    @property
    def slot(self) -> str:
        """ "" for the site itself, which clients call `production`."""
        return self.id.names[1] if len(self.id.names) > 1 else ""

    @property
    def host(self) -> str:
        return str(self.resource.properties.get("defaultHostName") or "")

    @property
    def kind(self) -> str:
        return (self.resource.kind or "app").lower()

    @property
    def is_function_app(self) -> bool:
        return "functionapp" in self.kind

    @property
    def linux(self) -> bool:
        return self.resource.properties.get("reserved") is True

    @property
    def running(self) -> bool:
        """Whether its owner wants it to run; nothing is said about its program."""
        properties = self.resource.properties
        return properties.get("state", "Running") == "Running" and properties.get("enabled") is not False

    @property
    def https_only(self) -> bool:
        return self.resource.properties.get("httpsOnly") is True

    @property
    def always_on(self) -> bool:
        return self.config.get("alwaysOn") is True

    @property
    def health_path(self) -> str:
        return str(self.config.get("healthCheckPath") or "")

    def setting(self, name: str, otherwise: str = "") -> str:
        """Names of settings compare without regard to case."""
        low = name.lower()
        return next((value for key, value in self.settings.items() if key.lower() == low), otherwise)

    def says(self, name: str) -> bool:
        return self.setting(name).strip().lower() in {"true", "1"}

    @property
    def form(self) -> str:
        """Changes with everything that a program is started with: then it must be started again."""
        properties = self.resource.properties
        parts = (
            sorted(self.settings.items()),
            sorted((name, one.value, one.type) for name, one in self.connections.items()),
            [self.config.get(name) for name in _COUNTS],
            msgspec.to_builtins(self.resource.identity),
            [properties.get(name) for name in ("keyVaultReferenceIdentity", RESTARTED, SWAPPED, "reserved", "sku")],
            self.kind,
            self.resource.created,  # another site of the same name is another
        )
        return sha256(msgspec.json.encode(parts)).hexdigest()


class SiteReader:
    """Finds sites, by id and by the first label of their names."""

    def __init__(self, store: Store, clouds: Mapping[str, Cloud], settings: Settings) -> None:
        self._store = store
        self._clouds = clouds
        self._settings = settings

    async def read(self, id: ResourceId) -> Site | None:
        resource = await get_resource(self._store, id)
        cloud = await self._cloud(id)
        if resource is None or cloud is None or resource.type.lower() not in (SITE.lower(), SLOT.lower()):
            return None
        id = ResourceId.parse(resource.id)  # as it was spelled when it was made
        settings = await self._config(id, "appsettings")
        strings = await self._config(id, "connectionstrings")
        return Site(
            id=id,
            resource=resource,
            cloud=cloud,
            settings={name: _text(value) for name, value in settings.items() if value is not None},
            connections={
                name: Connection(_text(one.get("value") or ""), str(one.get("type") or "Custom"))
                for name, one in strings.items()
                if isinstance(one, Mapping)
            },
            config=await self._config(id, "web"),
            host_row=await get_resource(self._store, id.child("host", "default")),
        )

    async def find(self, cloud: Cloud, label: str) -> Resource:
        """The site or slot whose host names begin with `label`. Raises `NotFound`.

        `shop-staging` is a site of that name, else the slot `staging` of `shop`.
        """
        for resource in await self._named(cloud, label):
            return resource
        for at in [at for at, letter in enumerate(label) if letter == "-"]:
            for resource in await self._named(cloud, label[:at]):
                slot = await get_resource(self._store, ResourceId.parse(resource.id).child("slots", label[at + 1 :]))
                if slot is not None:
                    return slot
        raise NotFound(f"There is no site '{label}' in {cloud.name}.", code="SiteNotFound")

    async def all(self) -> Sequence[ResourceId]:
        rows = [row for type in (SITE, SLOT) for row in await RESOURCES.find(self._store, "type", type.lower())]
        return [ResourceId.parse(row.value.id) for row in rows]

    async def _named(self, cloud: Cloud, name: str) -> list[Resource]:
        rows = await RESOURCES.find(self._store, "name", f"{SITE}/{name}".lower())
        return [row.value for row in rows if await self._cloud(ResourceId.parse(row.value.id)) is cloud]

    async def _cloud(self, id: ResourceId) -> Cloud | None:
        subscription = await get_subscription(self._store, id.subscription_id or "")
        return self._clouds.get(subscription.cloud) if subscription is not None else None

    async def _config(self, id: ResourceId, name: str) -> Mapping[str, Any]:
        return await self._settings.read(self._store, id, name)


def _text(value: Any) -> str:
    """Azure keeps strings; what a template gives as a number or truth value is written as JSON has it."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
