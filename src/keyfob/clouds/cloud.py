"""One cloud: its authority, its names, its audiences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
    """Service → DNS suffix without leading dot: `key_vault`, `storage`, `sql`, `service_bus`, `data_lake`, `web`."""
    audiences: Mapping[str, tuple[str, ...]]
    """Service → accepted audiences (each spelling that clients request), the preferred first."""
    token_exchange_audience: str
    """Default audience of federated assertions."""
    instance_metadata_certificate: str
    """Subject alternative name of the attested document's signer."""
    locations: tuple[str, ...]
