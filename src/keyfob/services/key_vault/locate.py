"""From a host name to the vault it means, remembered until the vault changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyfob.arm.resources import RESOURCES, SUBSCRIPTIONS
from keyfob.clouds.cloud import Cloud
from keyfob.clouds.hostnames import resolve
from keyfob.declare import Target
from keyfob.errors import NotFound
from keyfob.resource_id import ResourceId
from keyfob.services.key_vault.dialect import fixed_headers
from keyfob.services.key_vault.model import Recovery
from keyfob.services.key_vault.vaults import VaultOperations
from keyfob.store.port import EVERYTHING, Store

_MOST = 2_000


@dataclass(frozen=True, slots=True)
class Known:
    """A vault, with what every answer about it needs."""

    target: Target
    recovery: Recovery
    base: str
    audiences: frozenset[str]
    head: bytes
    """The fixed headers as they go on the wire."""


def base_of(cloud: Cloud, name: str, port: int | None = None) -> str:
    """The URL of a vault, no trailing slash."""
    suffix = cloud.suffixes["key_vault"]
    return f"https://{name.lower()}.{suffix}" + (f":{port}" if port not in (None, 443) else "")


def audiences_of(target: Target) -> frozenset[str]:
    return frozenset(target.cloud.audiences["key_vault"])


def _head(target: Target) -> bytes:
    fields = fixed_headers(target.location)
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode("ascii", "replace")


class Locator:
    def __init__(self, *, store: Store, clouds: Mapping[str, Cloud], vaults: VaultOperations) -> None:
        self._store = store
        self._clouds = clouds
        self._vaults = vaults
        self._changes = 0
        self._known: dict[tuple[str, str], Known] = {}
        self._names: dict[str, tuple[str, str]] = {}
        """Resource key → where it is remembered."""
        self._hosts: dict[bytes, tuple[str, str]] = {}
        store.watch(RESOURCES.topic, self._changed)
        store.watch(SUBSCRIPTIONS.topic, lambda key: self._changed(EVERYTHING))

    async def __call__(self, cloud: Cloud, account: str) -> Target:
        """Raises `NotFound`: Azure's DNS would not even know the name."""
        place = (cloud.name, account.lower())
        known = self._known.get(place)
        if known is not None:
            return known.target
        changes = self._changes
        vault = await self._vaults.find(self._store, cloud, account)
        if vault is None:
            raise NotFound(f"There is no key vault '{account}' in {cloud.name}.", code="VaultNotFound")
        id = ResourceId.parse(vault.id)
        tenant = str(vault.properties.get("tenantId") or vault.tenant_id)
        target = Target(cloud, tenant, id, vault.name, vault.location, vault.properties)
        if changes == self._changes:
            if len(self._known) >= _MOST:
                self._changed(EVERYTHING)
            self._known[place] = Known(
                target, Recovery.of(vault.properties), base_of(cloud, vault.name), audiences_of(target), _head(target)
            )
            self._names[id.key] = place
        return target

    def by_host(self, host: bytes) -> Known | None:
        """The vault of a `Host` header, from memory; None for what is unknown, or on another port than 443."""
        place = self._hosts.get(host)
        if place is None:
            name = host.removesuffix(b":443")
            owner = resolve(name.decode("ascii"), self._clouds) if name.isascii() else None
            if owner is None or owner[1] != "key_vault":
                return None
            place = (owner[0].name, owner[2])
            if place not in self._known:
                return None
            if len(self._hosts) >= _MOST:
                self._hosts.clear()
            self._hosts[host] = place
        return self._known.get(place)

    def _changed(self, key: str) -> None:
        self._changes += 1
        if key == EVERYTHING:
            self._known.clear()
            self._names.clear()
        elif (place := self._names.pop(key, None)) is not None:
            self._known.pop(place, None)
