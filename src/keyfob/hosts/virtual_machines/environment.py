"""The variables that make a program on this machine a virtual machine, where there is no sandbox.

Only clients that honour `AZURE_POD_IDENTITY_AUTHORITY_HOST` find the endpoint this way (azure-identity for Python and
JavaScript, MSAL for Python, Java and .NET, az); Go's azidentity, terraform and plain `curl` need 169.254.169.254 and
therefore the sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping


def environment(
    *, endpoint: str, ca_bundle: str, proxy: str | None = None, extra_no_proxy: tuple[str, ...] = ()
) -> Mapping[str, str]:
    """`endpoint` is the host's own listener (`http://127.0.0.1:50001`), `ca_bundle` the path of a PEM file,
    `proxy` the URL of the HTTP proxy under which the real service names lead here."""
    variables = {
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": endpoint.rstrip("/"),
        # each library reads its own: requests, OpenSSL and Go, Node, curl, gRPC
        "REQUESTS_CA_BUNDLE": ca_bundle,
        "SSL_CERT_FILE": ca_bundle,
        "NODE_EXTRA_CA_CERTS": ca_bundle,
        "CURL_CA_BUNDLE": ca_bundle,
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": ca_bundle,
    }
    if proxy:
        around = ",".join(("127.0.0.1", "localhost", "169.254.169.254", *extra_no_proxy))
        variables |= {"HTTPS_PROXY": proxy, "https_proxy": proxy, "NO_PROXY": around, "no_proxy": around}
    return variables
