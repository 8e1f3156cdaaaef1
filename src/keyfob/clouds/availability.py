"""Where managed identities are available: by edition of Microsoft's page, host service, kind of identity and cloud.

Editions: `2018-11-28`, `2019-06-19` and `current`. Nothing newer than January 2021 says anything per cloud, so
`current` is that last matrix together with the newest plain list of services (2025), which only says "supports it".
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from importlib.resources import files
from typing import Literal

import msgspec

from keyfob.errors import InvalidInput

IdentityType = Literal["SystemAssigned", "UserAssigned"]


class Status(StrEnum):
    AVAILABLE = "Available"
    PREVIEW = "Preview"
    NOT_AVAILABLE = "Not available"
    UNKNOWN = "Unknown"
    """The edition does not say."""


_BEST_FIRST = (Status.AVAILABLE, Status.PREVIEW, Status.NOT_AVAILABLE)


class Host(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    types: tuple[str, ...]
    """Resource types; App Service and Functions share one."""
    identities: Mapping[IdentityType, Mapping[str, Status | Mapping[str, Status]]]
    """Kind of identity → cloud → status, or operating system → status."""


class TargetCell(msgspec.Struct, frozen=True, kw_only=True):
    status: Status
    resource_ids: tuple[str, ...] = ()


class TargetService(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    clouds: Mapping[str, TargetCell]


class NewerList(msgspec.Struct, frozen=True, kw_only=True):
    """A later page that only lists names."""

    date: str
    hosts: tuple[str, ...]
    targets: tuple[str, ...]


class Edition(msgspec.Struct, frozen=True, kw_only=True):
    date: str
    hosts: Mapping[str, Host]
    """Keys: `virtual-machines`, `app-service`, `container-instances`, …"""
    targets: Mapping[str, TargetService]
    """Keys: `azure-resource-manager`, `key-vault`, `storage`, …"""
    newer_list: NewerList | None = None


class Availability:
    """The editions, looked up. Every lookup raises InvalidInput for an edition that does not exist."""

    def __init__(self, editions: Mapping[str, Edition]) -> None:
        self.editions = editions

    def edition(self, name: str) -> Edition:
        found = self.editions.get(name)
        if found is None:
            raise InvalidInput(f"no availability edition '{name}'; there are {', '.join(self.editions)}")
        return found

    def status(
        self, edition: str, host: str, identity_type: IdentityType, cloud: str, os_type: str | None = None
    ) -> Status:
        """Of a host service, by its key or its resource type (without regard to case; sites are App Service).

        Where the page distinguishes operating systems, `os_type` (`Linux`, `Windows`) chooses; without it the best
        status of them counts.
        """
        found = _host(self.edition(edition), host)
        cell = found[1].identities.get(identity_type, {}).get(cloud) if found else None
        if cell is None:
            return Status.UNKNOWN
        if isinstance(cell, Status):
            return cell
        if os_type is not None:
            return next((s for name, s in cell.items() if name.lower() == os_type.lower()), Status.UNKNOWN)
        return min(cell.values(), key=_BEST_FIRST.index)

    def refuses(
        self, edition: str, host: str, identity_type: IdentityType, cloud: str, os_type: str | None = None
    ) -> bool:
        """Whether a host may not have this kind of identity there: only if the page denies it and nothing newer
        takes that back.

        A newer list that names the service without saying where outweighs the older "Not available", except in
        Germany: that cloud closed in October 2021 and gained nothing after the last matrix.
        """
        if self.status(edition, host, identity_type, cloud, os_type) is not Status.NOT_AVAILABLE:
            return False
        found = _host(self.edition(edition), host)
        newer = self.edition(edition).newer_list
        return found is None or newer is None or found[0] not in newer.hosts or cloud == "AzureGermanCloud"

    def target_status(self, edition: str, target: str, cloud: str) -> Status:
        """Of a service that takes tokens, by its key. The edition of 2018 speaks of the public cloud only."""
        cell = self._target(edition, target, cloud)
        return cell.status if cell else Status.UNKNOWN

    def target_refuses(self, edition: str, target: str, cloud: str) -> bool:
        """Whether no token is issued for a service there, by the rule of `refuses`."""
        if self.target_status(edition, target, cloud) is not Status.NOT_AVAILABLE:
            return False
        newer = self.edition(edition).newer_list
        return newer is None or target not in newer.targets or cloud == "AzureGermanCloud"

    def resource_id(self, edition: str, target: str, cloud: str) -> str | None:
        """The resource string the page gives for a target, or None where it gives none."""
        cell = self._target(edition, target, cloud)
        return cell.resource_ids[0] if cell and cell.resource_ids else None

    def _target(self, edition: str, target: str, cloud: str) -> TargetCell | None:
        service = self.edition(edition).targets.get(target)
        return service.clouds.get(cloud) if service else None


def _host(edition: Edition, host: str) -> tuple[str, Host] | None:
    if found := edition.hosts.get(host):
        return host, found
    wanted = host.lower()
    return next(((key, row) for key, row in edition.hosts.items() if wanted in map(str.lower, row.types)), None)


def load_availability() -> Availability:
    """Reads package data each time: call once and keep the answer."""
    data = files("keyfob.clouds").joinpath("data/availability.json").read_bytes()
    return Availability(msgspec.json.decode(data, type=dict[str, Edition]))
