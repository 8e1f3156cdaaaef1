"""One cloud: its authority, its names, its audiences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import urlsplit

_CLUSTER_ISSUERS = {
    "AzureCloud": "oic.prod-aks.azure.com",
    "AzureUSGovernment": "oic.prod-aks.azure.us",
    "AzureChinaCloud": "oic.prod-aks.azure.cn",
}
"""Where clusters' OIDC issuers are, behind the region: as `az aks show --query oidcIssuerProfile.issuerUrl` prints them
in many public repositories."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cloud:
    """A cloud as its clients know it. URLs have no trailing slash unless the audience itself has one."""

    name: str
    """`AzureCloud`, `AzureUSGovernment`, `AzureChinaCloud`, `AzureGermanCloud`."""
    imds_name: str
    """`AzurePublicCloud`, … as `azEnvironment` has it."""
    login: str
    """Authority, `https://login.microsoftonline.com`."""
    login_hosts: tuple[str, ...]
    """Every host name under which the authority answers, the preferred first."""
    resource_manager: str
    """`https://management.azure.com`."""
    management_audience: str
    """`https://management.core.windows.net/`."""
    graph: str
    """`https://graph.microsoft.com`."""
    portal: str
    suffixes: Mapping[str, str]
    """Service → DNS suffix without leading dot: `key_vault`, `storage`, `sql`, `service_bus`, `data_lake`, `web`.

    What the cloud does not have is absent. More keys, for metadata only: `managed_hsm`, `container_registry`,
    `mysql`, `postgresql`, `mariadb`, `synapse`, `attestation`, `storage_sync`, `data_lake_analytics`, `front_door`,
    `api_management`.
    """
    audiences: Mapping[str, tuple[str, ...]]
    """Service → accepted audiences (each spelling that clients request), the preferred first.

    Keys, in every cloud: `resource_manager`, `key_vault`, `storage`, `sql`, `event_hubs`, `service_bus`,
    `data_lake`, `graph`, `aad_graph`. Empty where the cloud lacks the service. Forms that name an account
    (`https://acct.blob.core.windows.net`) are the service's own affair.
    """
    token_exchange_audience: str
    """Default audience of federated assertions."""
    instance_metadata_certificate: str
    """Subject alternative name of the attested document's signer."""
    locations: tuple[str, ...]
    aad_graph: str = ""
    """The retired directory graph, `https://graph.windows.net`."""
    login_aliases: tuple[tuple[str, ...], ...] = ()
    """`login_hosts` in the groups that instance discovery answers with; the first of each is preferred."""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Further addresses by the names that `az cloud show` gives them, `gallery`, `batch_resource_id`, …"""

    @cached_property
    def fixed_names(self) -> Mapping[str, str]:
        """Host name → service, for services with one address in the cloud."""
        names = dict.fromkeys(self.login_hosts, "login")
        graphs = [self.graph, *(audience for audience in self.audiences.get("graph", ()) if "://" in audience)]
        for url, service in (
            (self.resource_manager, "resource_manager"),
            *((url, "graph") for url in graphs),
            (self.aad_graph, "aad_graph"),
            (self.portal, "portal"),
        ):
            if url:
                names[urlsplit(url).netloc] = service
        return names

    @cached_property
    def zones(self) -> Mapping[str, str]:
        """DNS suffix → service, where one label before it names the account (or the region, for login and ARM)."""
        zones = dict.fromkeys(self.login_hosts, "login")
        zones[urlsplit(self.resource_manager).netloc] = "resource_manager"
        for service in ("key_vault", "sql", "service_bus", "data_lake", "web"):
            if suffix := self.suffixes.get(service):
                zones[suffix] = service
        if web := self.suffixes.get("web"):
            zones[f"scm.{web}"] = "web_scm"
        if issuers := _CLUSTER_ISSUERS.get(self.name):
            zones[issuers] = "cluster_issuer"
        if storage := self.suffixes.get("storage"):
            zones |= {f"{part}.{storage}": f"storage_{part}" for part in ("blob", "queue", "table", "file", "dfs")}
        return zones
