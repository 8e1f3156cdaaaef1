"""What our tokens say: issuers, the claims of each kind of token, and the table of what verification looks at.

Plain functions of values; signing is in `tokens.py`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keyfob.clouds.cloud import Cloud
from keyfob.directory.model import ServicePrincipal, Tenant, User

MANAGED_IDENTITY_LIFE = 86_700
"""`exp - iat`: 24 hours and the five minutes that `iat` lies back (decoded tokens of the real service)."""
SKEW = 300
ACCESS_LIFE = 3_599
"""`expires_in` of the other grants."""

V1_ISSUERS = {
    "AzureChinaCloud": "https://sts.chinacloudapi.cn/",
    "AzureGermanCloud": "https://sts.microsoftonline.de/",
}
"""Where the v1 issuer is not sts.windows.net: Azure/aks-engine (kube-apiserver --oidc-issuer-url) for China, Azurite's
list of valid issuer prefixes for both; US Government shares sts.windows.net."""

_GROUPS_SEGMENT = re.compile(r"/resourcegroups(?=/)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Check:
    """One claim: whether it must be there, its type, and what is done with it."""

    name: str
    required: bool
    type: type | tuple[type, ...] | None
    why: str


CHECKS: tuple[Check, ...] = (
    # required: without them a token means nothing
    Check("iss", True, str, "must be the v1 or v2 issuer of `tid`, in a cloud of ours"),
    Check("aud", True, str, "must be among the audiences the caller gives"),
    Check("exp", True, int, "must lie ahead"),
    Check("nbf", True, int, "must not lie ahead"),
    Check("iat", True, int, "type only"),
    Check("tid", True, str, "must agree with `iss`, and be the tenant the caller asks for"),
    Check("oid", True, str, "the principal that is authorised"),
    Check("sub", True, str, "type only"),
    Check("ver", True, str, "1.0 or 2.0, agreeing with `iss`"),
    # optional: checked when there
    Check("appid", False, str, "v1: the client; one of `appid` and `azp` must be there, so that no id token passes"),
    Check("azp", False, str, "v2: the client"),
    Check("groups", False, list, "type only"),
    Check("roles", False, list, "type only"),
    Check("scp", False, str, "type only"),
    Check("idtyp", False, str, "type only"),
    Check("upn", False, str, "type only"),
    Check("xms_mirid", False, str, "type only"),
    # unchecked: informative, or opaque to everybody
    Check("aio", False, None, "opaque"),
    Check("rh", False, None, "opaque"),
    Check("uti", False, None, "unique id of the token; replay is not refused"),
    Check("acr", False, None, "informative"),
    Check("amr", False, None, "informative"),
    Check("appidacr", False, None, "how the client proved itself: informative"),
    Check("azpacr", False, None, "the same in v2"),
    Check("idp", False, None, "informative"),
    Check("name", False, None, "display only"),
    Check("preferred_username", False, None, "display only"),
    Check("unique_name", False, None, "display only"),
    Check("app_displayname", False, None, "display only"),
    Check("xms_az_rid", False, None, "informative"),
    Check("xms_tcdt", False, None, "when the tenant was made"),
)

REQUIRED = tuple((check.name, check.type) for check in CHECKS if check.required)
OPTIONAL = tuple((check.name, check.type) for check in CHECKS if not check.required and check.type is not None)


def v1_issuer(cloud_name: str, tenant_id: str) -> str:
    return f"{V1_ISSUERS.get(cloud_name, 'https://sts.windows.net/')}{tenant_id}/"


def v2_issuer(login: str, tenant_id: str) -> str:
    """`login` is the cloud's authority, without trailing slash."""
    return f"{login}/{tenant_id}/v2.0"


def identity_resource(resource_id: str) -> str:
    """A resource id as `xms_mirid` has it: the segment `resourcegroups` in lower case, the rest as it is."""
    return _GROUPS_SEGMENT.sub("/resourcegroups", resource_id, count=1)


def managed_identity(
    *,
    tenant: Tenant,
    principal: ServicePrincipal,
    audience: str,
    resource_id: str,
    host_id: str | None,
    begins: int,
    roles: Collection[str] = (),
    v2_login: str | None = None,
) -> dict[str, Any]:
    """`begins` is `iat` and `nbf`. `aio`, `rh` and `uti` are added when it is signed. `v2_login` is the cloud's
    authority for a token of version 2, None for version 1."""
    version = 2 if v2_login else 1
    issuer = v2_issuer(v2_login, tenant.id) if v2_login else v1_issuer(tenant.cloud, tenant.id)
    claims: dict[str, Any] = {
        "aud": audience,
        "iss": issuer,
        "iat": begins,
        "nbf": begins,
        "exp": begins + MANAGED_IDENTITY_LIFE,
        **_client(version, principal.app_id, "2"),
        **({"idp": issuer} if version == 1 else {}),
        "idtyp": "app",
        "oid": principal.id,
        "sub": principal.id,
        "tid": tenant.id,
        "ver": f"{version}.0",
        "xms_mirid": identity_resource(resource_id),
        "xms_tcdt": int(tenant.created),
    }
    if roles:
        claims["roles"] = sorted(roles)
    if host_id is not None:
        claims["xms_az_rid"] = identity_resource(host_id)
    return claims


def application(
    *,
    tenant: Tenant,
    cloud: Cloud,
    principal: ServicePrincipal,
    audience: str,
    roles: Collection[str],
    acr: str,
    version: int,
    begins: int,
    ends: int,
) -> dict[str, Any]:
    """`acr`: "1" the client used a secret, "2" a certificate or federated assertion."""
    claims = _common(tenant, cloud, audience, version, begins, ends)
    claims |= _client(version, principal.app_id, acr)
    claims |= {"idtyp": "app", "oid": principal.id, "sub": principal.id, "app_displayname": principal.display_name}
    if roles:
        claims["roles"] = sorted(roles)
    return claims


def user(
    *,
    tenant: Tenant,
    cloud: Cloud,
    user: User,
    client_id: str,
    audience: str,
    scopes: Sequence[str],
    acr: str,
    amr: Sequence[str],
    version: int,
    begins: int,
    ends: int,
) -> dict[str, Any]:
    """A delegated token: the user's, for a client. `acr` "0" is a public client."""
    claims = _common(tenant, cloud, audience, version, begins, ends)
    claims |= _client(version, client_id, acr)
    claims |= {
        "oid": user.id,
        "sub": user.id,
        "name": user.display_name,
        "scp": " ".join(scopes),
        "idtyp": "user",
    }
    if version == 1:
        claims |= {"acr": "1", "amr": list(amr), "upn": user.principal_name, "unique_name": user.principal_name}
    else:
        claims["preferred_username"] = user.principal_name
    return claims


def identity(
    *, tenant: Tenant, issuer: str, user: User, client_id: str, nonce: str, version: int, begins: int, ends: int
) -> dict[str, Any]:
    """An id token: it tells the client who signed in, and opens nothing."""
    claims: dict[str, Any] = {
        "aud": client_id,
        "iss": issuer,
        "iat": begins,
        "nbf": begins,
        "exp": ends,
        "name": user.display_name,
        "oid": user.id,
        "preferred_username": user.principal_name,
        "sub": user.id,
        "tid": tenant.id,
        "ver": "1.0" if version == 1 else "2.0",
    }
    if version == 1:
        claims |= {"upn": user.principal_name, "unique_name": user.principal_name}
    if nonce:
        claims["nonce"] = nonce
    return claims


def _common(tenant: Tenant, cloud: Cloud, audience: str, version: int, begins: int, ends: int) -> dict[str, Any]:
    issuer = v1_issuer(cloud.name, tenant.id) if version == 1 else v2_issuer(cloud.login, tenant.id)
    claims: dict[str, Any] = {"aud": audience, "iss": issuer, "iat": begins, "nbf": begins, "exp": ends}
    if version == 1:
        claims["idp"] = issuer
    return claims | {"tid": tenant.id, "ver": f"{version}.0", "xms_tcdt": int(tenant.created)}


def _client(version: int, client_id: str, acr: str) -> Mapping[str, str]:
    return {"appid": client_id, "appidacr": acr} if version == 1 else {"azp": client_id, "azpacr": acr}
