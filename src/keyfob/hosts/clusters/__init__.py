"""Kubernetes clusters: `Microsoft.ContainerService/managedClusters`, as far as workload identity goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyfob.arm.kept import NAMED_VERSIONS
from keyfob.arm.shapes import Shaped, held, mapping
from keyfob.clock import Ids
from keyfob.clouds.hostnames import name_of
from keyfob.declare import Change, IdentitySupport, Provider, ResourceType
from keyfob.errors import InvalidInput
from keyfob.hosts.clusters.issuers import ISSUERS, ClusterIssuers, Issuer
from keyfob.hosts.clusters.projected import ServiceAccount, project

__all__ = ["ISSUER_SERVICE", "TYPE", "ClusterIssuers", "ServiceAccount", "clusters", "project"]

TYPE = "Microsoft.ContainerService/managedClusters"
ISSUER_SERVICE = "cluster_issuer"
"""What `clouds.hostnames` calls the addresses of issuers."""
_ISSUER = "keyfob.issuer"


def clusters(*, ids: Ids) -> Provider:
    """`oidcIssuerProfile.enabled` gives a cluster an issuer, whose address is shown and never changes."""

    def accept(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
        before = change.before.properties if change.before is not None else {}
        profile = mapping(given.get("oidcIssuerProfile", before.get("oidcIssuerProfile")))
        enabled = profile.get("enabled") is True
        if mapping(before.get("oidcIssuerProfile")).get("enabled") is True and not enabled:
            raise InvalidInput("The OIDC issuer cannot be disabled once it is enabled.", code="BadRequest")
        issuer = held(change, _ISSUER, None) or ids.guid()
        shown: dict[str, Any] = {"enabled": enabled}
        if enabled:
            shown["issuerURL"] = held(change, "oidcIssuerProfile", {}).get("issuerURL") or _url(change, issuer)
        return {_ISSUER: issuer, "oidcIssuerProfile": shown, "powerState": {"code": "Running"}}

    kind = ResourceType(
        name=TYPE,
        api_versions=NAMED_VERSIONS,
        any_version=True,
        operations=Shaped(compute=accept, children=_with_issuer, removed=_without_issuer),
        identity=IdentitySupport(system=True, user=True),
        note="No nodes: a program that runs as a service account is its software. Its OIDC issuer is real.",
    )
    return Provider(namespace="Microsoft.ContainerService", types=(kind,))


def _url(change: Change, issuer: str) -> str:
    region = str(change.body.get("location") or (change.before.location if change.before else "")).replace(" ", "")
    try:
        name = name_of(change.cloud, ISSUER_SERVICE, region.lower())
    except KeyError:
        raise InvalidInput(f"Clusters in {change.cloud.name} have no OIDC issuer.", code="BadRequest") from None
    return f"https://{name}/{change.tenant_id}/{issuer}/"


async def _with_issuer(change: Change, properties: Mapping[str, Any]) -> None:
    url = mapping(properties["oidcIssuerProfile"]).get("issuerURL")
    if url and await ISSUERS.get(change.transaction, properties[_ISSUER]) is None:
        made = Issuer(id=properties[_ISSUER], url=url, cluster=str(change.id), tenant_id=change.tenant_id)
        await ISSUERS.insert(change.transaction, made.id, made)


async def _without_issuer(change: Change) -> None:
    await ISSUERS.delete(change.transaction, str(change.before.properties.get(_ISSUER, "")))
