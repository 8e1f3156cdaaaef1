"""What clients read before they ask for a token: discovery documents, keys, instances, user realms.

Values of a request's parts; no store. Endpoints keep the host and port the client asked, because clients compare them.
`issuer` is the cloud's own name under any of its known hosts (as tokens carry it), else the host as asked: MSAL for Go
and Node accept an issuer of the authority's host or of a known cloud host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from keyfob.clouds.cloud import Cloud
from keyfob.directory.aadsts import Refused
from keyfob.directory.claims import v1_issuer, v2_issuer

ANYBODY = (("Access-Control-Allow-Origin", "*"), ("Cache-Control", "max-age=86400, private"))
"""Headers of what everybody may read."""

_CLAIMS = (
    "sub",
    "iss",
    "cloud_instance_name",
    "cloud_instance_host_name",
    "cloud_graph_host_name",
    "msgraph_host",
    "aud",
    "exp",
    "iat",
    "auth_time",
    "acr",
    "nonce",
    "preferred_username",
    "name",
    "tid",
    "ver",
    "at_hash",
    "c_hash",
    "email",
)


def document(cloud: Cloud, *, version: int, login: str, tenant: str, tenant_id: str | None) -> dict[str, Any]:
    """`login` is scheme, host and port as asked, `tenant` the path segment as asked; `tenant_id` None for `common`."""
    base = f"{login}/{tenant_id or tenant}"
    part = "/v2.0" if version == 2 else ""
    keys = f"{base}/discovery/v2.0/keys" if version == 2 else f"{login}/common/discovery/keys"
    known = urlsplit(login).hostname in cloud.login_hosts
    holder = tenant_id or "{tenantid}"
    issuer = v2_issuer(cloud.login if known else login, holder) if version == 2 else v1_issuer(cloud.name, holder)
    found: dict[str, Any] = {
        "token_endpoint": f"{base}/oauth2{part}/token",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": keys,
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"] if version == 2 else ["openid"],
        "issuer": issuer,
        "request_uri_parameter_supported": False,
        "authorization_endpoint": f"{base}/oauth2{part}/authorize",
        "device_authorization_endpoint": f"{base}/oauth2{part}/devicecode",
        "http_logout_supported": True,
        "frontchannel_logout_supported": True,
        "end_session_endpoint": f"{base}/oauth2{part}/logout",
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": _CLAIMS,
        "tenant_region_scope": None,
        "cloud_instance_name": _instance(cloud),
        "cloud_graph_host_name": urlsplit(cloud.aad_graph).hostname or "graph.windows.net",
        "msgraph_host": urlsplit(cloud.graph).hostname,
        "rbac_url": "https://pas.windows.net",
    }
    return found


def signing_keys(
    published: Sequence[Mapping[str, Any]], *, cloud: Cloud, version: int, login: str, tenant_id: str | None
) -> dict[str, Any]:
    """The keys document. `login` is scheme, host and port as asked; `tenant_id` None for `common`."""
    if version == 1:
        return key_set(published, issuer=None)
    known = urlsplit(login).hostname in cloud.login_hosts
    return key_set(published, issuer=v2_issuer(cloud.login if known else login, tenant_id or "{tenantid}"))


def key_set(published: Sequence[Mapping[str, Any]], *, issuer: str | None) -> dict[str, Any]:
    """`issuer` is named with each key on the v2 endpoint only."""
    return {"keys": [{**key, "issuer": issuer} if issuer else dict(key) for key in published]}


def instance(clouds: Mapping[str, Cloud], *, endpoint: str, api_version: str, login: str) -> dict[str, Any]:
    """Answers for the hosts that clouds of ours know, and for the one it was asked at. Raises `Refused` 50049."""
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        raise Refused(50049) from None
    host = (parts.hostname or "").lower()
    owner = next((cloud for cloud in clouds.values() if host in cloud.login_hosts), None)
    asked = urlsplit(login)
    if parts.scheme != "https" or (owner is None and (host, port or 443) != (asked.hostname, asked.port or 443)):
        raise Refused(50049)
    segments = [part for part in parts.path.split("/") if part]
    tenant = segments[0] if segments else "common"
    where = f"https://{host}" + (f":{port}" if port not in (None, 443) else "")
    v2 = "v2.0" in segments or api_version != "1.0"
    answer: dict[str, Any] = {
        "tenant_discovery_endpoint": f"{where}/{tenant}{'/v2.0' if v2 else ''}/.well-known/openid-configuration",
        "api-version": api_version,
    }
    if api_version != "1.0":
        answer["metadata"] = [
            {"preferred_network": group[0], "preferred_cache": _cache_name(group), "aliases": list(group)}
            for cloud in clouds.values()
            for group in (cloud.login_aliases or (cloud.login_hosts,))
        ]
    return answer


def user_realm(cloud: Cloud, *, user: str, known: bool) -> dict[str, Any]:
    """v1.0 of the user realm: whether the user's domain is one of ours."""
    if not known:
        return {"ver": "1.0", "account_type": "Unknown"}
    return {
        "ver": "1.0",
        "account_type": "Managed",
        "domain_name": user.rpartition("@")[2].lower(),
        "cloud_instance_name": _instance(cloud),
        "cloud_audience_urn": "urn:federation:MicrosoftOnline",
    }


def _instance(cloud: Cloud) -> str:
    """`microsoftonline.com`: the login host without its first label."""
    return (urlsplit(cloud.login).hostname or "").partition(".")[2]


def _cache_name(group: Sequence[str]) -> str:
    """MSAL's caches of the public cloud are keyed by login.windows.net."""
    return "login.windows.net" if "login.windows.net" in group else group[0]
