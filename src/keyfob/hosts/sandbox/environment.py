"""The environment variables of a program in a sandbox: a pure function of those outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class TrustPaths(NamedTuple):
    """Files as the program sees them."""

    bundle: str
    """PEM: the system's authorities and ours."""

    authority: str
    """PEM: ours alone, for what adds it to a list of its own (Node)."""

    truststore: str | None = None
    """Java, when there is no cacerts file that ours could stand in for."""


_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy", "ftp_proxy", "no_proxy"})
"""Compared in lower case: a proxy is out of reach, and instance metadata must not be asked through one."""

_PREFIXES = ("MSI_", "IDENTITY_", "KEYFOB_")
"""Endpoints of other managed identity hosts, and our own client's settings, which are not the program's business."""

_OTHERS = frozenset(
    {
        # Endpoints that azure-identity 1.27, MSAL, Azure ML, Cloud Shell and Terraform prefer to 169.254.169.254.
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        "AZUREPS_HOST_ENVIRONMENT",
        "ARM_MSI_ENDPOINT",
        "DEFAULT_IDENTITY_CLIENT_ID",
        "IMDS_ENDPOINT",
        # Credentials that DefaultAzureCredential tries before a managed identity.
        "AZURE_CLIENT_CERTIFICATE_PASSWORD",
        "AZURE_CLIENT_CERTIFICATE_PATH",
        "AZURE_CLIENT_SECRET",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_KUBERNETES_CA_DATA",
        "AZURE_KUBERNETES_CA_FILE",
        "AZURE_KUBERNETES_SNI_NAME",
        "AZURE_KUBERNETES_TOKEN_PROXY",
        "AZURE_PASSWORD",
        "AZURE_TOKEN_CREDENTIALS",
        "AZURE_USERNAME",
        # A folder of authorities without ours. OpenSSL, Go and .NET go back to the system's own.
        "SSL_CERT_DIR",
    }
)

BUNDLE_VARIABLES = (
    "SSL_CERT_FILE",  # OpenSSL, Go, .NET, rustls-native-certs
    "REQUESTS_CA_BUNDLE",  # Python requests, Azure CLI
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NIX_SSL_CERT_FILE",
)

AUTHORITY_VARIABLES = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")


def is_removed(name: str) -> bool:
    """AZURE_CLIENT_ID and AZURE_TENANT_ID stay: they choose among the host's identities, not another way to one."""
    return name in _OTHERS or name.startswith(_PREFIXES) or name.lower() in _PROXIES


def leads_elsewhere() -> frozenset[str]:
    """Every variable that a host's dialect may set: what another host left of them would lead to that one."""
    return frozenset(
        {
            "AZURE_FEDERATED_TOKEN_FILE",
            "AZURE_POD_IDENTITY_AUTHORITY_HOST",
            "DEFAULT_IDENTITY_CLIENT_ID",
            "IDENTITY_API_VERSION",
            "IDENTITY_ENDPOINT",
            "IDENTITY_HEADER",
            "IDENTITY_SERVER_THUMBPRINT",
            "IMDS_ENDPOINT",
            "MSI_ENDPOINT",
            "MSI_SECRET",
        }
    )


def sandbox_environment(current: Mapping[str, str], paths: TrustPaths) -> tuple[dict[str, str], tuple[str, ...]]:
    """The environment inside, and the names taken out, sorted."""
    removed = tuple(sorted(name for name in current if is_removed(name)))
    inside = {name: value for name, value in current.items() if not is_removed(name)}
    inside.update(dict.fromkeys(BUNDLE_VARIABLES, paths.bundle))
    inside.update(dict.fromkeys(AUTHORITY_VARIABLES, paths.authority))
    if paths.truststore is not None:
        options = f"-Djavax.net.ssl.trustStore={paths.truststore} -Djavax.net.ssl.trustStorePassword=changeit"
        inside["JAVA_TOOL_OPTIONS"] = f"{current.get('JAVA_TOOL_OPTIONS', '')} {options}".strip()
    return inside, removed
