"""Host name ↔ cloud, service and account. Plain functions of the clouds they are given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from keyfob.clouds.cloud import Cloud

_is_label = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?").fullmatch


def resolve(host: str, clouds: Mapping[str, Cloud]) -> tuple[Cloud, str, str] | None:
    """Whose name this is: cloud, service and account (lower-case), or None when no cloud here owns it.

    `host` has no port; case and one trailing dot do not matter. The account is one DNS label: the vault, storage
    account, server, namespace or site. It is "" for services with one address, and a region's name for the regional
    addresses of login (`westus.login.microsoft.com`, as MSAL builds them) and Resource Manager
    (`eastus.management.azure.com`, as it appears in Azure-AsyncOperation headers). Never raises.
    """
    if not host.isascii():
        return None
    name = host.lower()
    if name.endswith("."):
        name = name[:-1]
    label, _, zone = name.partition(".")
    for cloud in clouds.values():
        service = cloud.fixed_names.get(name)
        if service is not None:
            return cloud, service, ""
        service = cloud.zones.get(zone)
        if service is not None:
            return (cloud, service, label) if _is_label(label) else None
    return None


def name_of(cloud: Cloud, service: str, account: str = "") -> str:
    """The host name of a service's account, or of the service itself; the preferred one where there are several.

    KeyError when the cloud has no such service.
    """
    names = cloud.zones if account else cloud.fixed_names
    for name, owner in names.items():
        if owner == service:
            return f"{account.lower()}.{name}" if account else name
    raise KeyError(f"{cloud.name} has no host names of {service}" + (" accounts" if account else ""))


def primary_of(account: str) -> tuple[str, bool]:
    """The storage account of a storage host's label, and whether the label is its read-only secondary address.

    Storage account names hold no hyphen, so `acct-secondary` cannot be an account of its own.
    """
    primary = account.removesuffix("-secondary")
    return primary, primary != account


def patterns(clouds: Mapping[str, Cloud]) -> tuple[str, ...]:
    """Every name and wildcard the clouds own, for certificates and DNS. A `*` is one whole label (RFC 6125 §6.4.3)."""
    return tuple(_patterns(clouds))


def _patterns(clouds: Mapping[str, Cloud]) -> Iterator[str]:
    for cloud in clouds.values():
        yield from cloud.fixed_names
        for zone in cloud.zones:
            yield f"*.{zone}"
