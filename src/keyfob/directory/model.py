"""What a directory holds. Stored values: every field has a default, so that old rows outlive new fields.

Times are epoch seconds, identifiers lower-case GUIDs. No field holds a secret in the clear: secrets and passwords are
`scrypt$…` hashes (`secrets.py`), private keys are sealed under the master key (`keys.py`).
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

PrincipalKind = Literal["Application", "ManagedIdentity", "FirstParty"]
SignInAudience = Literal[
    "AzureADMyOrg", "AzureADMultipleOrgs", "AzureADandPersonalMicrosoftAccount", "PersonalMicrosoftAccount"
]


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    display_name: str = ""
    domains: tuple[str, ...] = ()
    """The first is the initial domain, `contoso.onmicrosoft.com`."""
    cloud: str = "AzureCloud"
    created: float = 0.0
    password_grant: bool = False
    """Whether `grant_type=password` is answered."""
    default: bool = False


class User(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    tenant_id: str = ""
    principal_name: str = ""
    """`alice@contoso.onmicrosoft.com`; unique in the tenant without regard to case."""
    display_name: str = ""
    password_hash: str = ""
    enabled: bool = True
    created: float = 0.0
    more: dict[str, Any] = {}
    """What else Microsoft Graph was told about it (`mailNickname`, `jobTitle` …), as it came."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    tenant_id: str = ""
    display_name: str = ""
    created: float = 0.0
    more: dict[str, Any] = {}
    """What else Microsoft Graph was told about it (`description`, `mailNickname` …), as it came."""


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """`member_id` (a user, group or service principal) belongs directly to `group_id`."""

    tenant_id: str = ""
    group_id: str = ""
    member_id: str = ""


class ClientSecret(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    display_name: str = ""
    hash: str = ""
    hint: str = ""
    """Its first three characters, as the portal shows."""
    starts: float = 0.0
    ends: float = 0.0


class ClientCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """Only the public certificate (DER); thumbprints are unpadded base64url of SHA-1 and SHA-256."""

    id: str
    display_name: str = ""
    der: bytes = b""
    x5t: str = ""
    x5t_s256: str = ""
    starts: float = 0.0
    ends: float = 0.0

    @property
    def thumbprint(self) -> str:
        """SHA-1 of the certificate in hexadecimal capitals, as portal and az show it."""
        return hashlib.sha1(self.der, usedforsecurity=False).hexdigest().upper()


class AppRole(msgspec.Struct, frozen=True, kw_only=True):
    """A permission that an application offers as a resource: `value` is what stands in `roles`."""

    id: str
    value: str = ""
    display_name: str = ""
    description: str = ""
    members: tuple[str, ...] = ("Application",)
    """allowedMemberTypes: `Application`, `User`."""
    enabled: bool = True


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """A registration: what may sign in, where it is sent back, what it accepts as a resource."""

    id: str
    """Object id; clients use `app_id`."""
    tenant_id: str = ""
    app_id: str = ""
    display_name: str = ""
    identifier_uris: tuple[str, ...] = ()
    redirect_uris: tuple[str, ...] = ()
    public_client: bool = False
    """Public clients hold no secret; loopback redirect URIs match on any port."""
    sign_in_audience: SignInAudience = "AzureADMyOrg"
    access_token_version: int = 1
    """`accessTokenAcceptedVersion`: 2 gives v2.0 tokens for this application as a resource."""
    app_roles: tuple[AppRole, ...] = ()
    scopes: tuple[str, ...] = ("user_impersonation",)
    """Delegated permissions it offers as a resource."""
    secrets: tuple[ClientSecret, ...] = ()
    certificates: tuple[ClientCertificate, ...] = ()
    created: float = 0.0
    more: dict[str, Any] = {}
    """What else Microsoft Graph was told about it (`web`, `api`, `requiredResourceAccess` …), as it came."""


class ServicePrincipal(msgspec.Struct, frozen=True, kw_only=True):
    """An application, managed identity or Azure service as one tenant sees it."""

    id: str
    """Object id: what role assignments name and tokens carry as `oid`."""
    tenant_id: str = ""
    app_id: str = ""
    display_name: str = ""
    kind: PrincipalKind = "Application"
    names: tuple[str, ...] = ()
    """servicePrincipalNames: the resource strings that mean it. A first label `*` stands for one DNS label."""
    alternative_names: tuple[str, ...] = ()
    enabled: bool = True
    created: float = 0.0
    access_token_version: int = 1
    tags: tuple[str, ...] = ()
    secrets: tuple[ClientSecret, ...] = ()
    """Beside those of its application: `az ad sp credential reset` puts them here."""
    certificates: tuple[ClientCertificate, ...] = ()
    more: dict[str, Any] = {}
    """What else Microsoft Graph was told about it (`notes`, `appRoleAssignmentRequired` …), as it came."""


class FederatedCredential(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of a foreign issuer that stand for the owner. All three compare exactly, case included."""

    name: str
    issuer: str = ""
    subject: str = ""
    audiences: tuple[str, ...] = ("api://AzureADTokenExchange",)
    description: str = ""
    tenant_id: str = ""
    id: str = ""
    """What Microsoft Graph calls it by; "" for those made elsewhere, which go by their name."""
    owner_id: str = ""
    """Object id of the application or of the managed identity's service principal."""


class AppRoleAssignment(msgspec.Struct, frozen=True, kw_only=True):
    """`principal_id` holds app role `role` of the resource application `resource_app_id`."""

    tenant_id: str = ""
    principal_id: str = ""
    resource_app_id: str = ""
    role: str = ""
    """Its value; "" for a role without one, which stands in no token."""
    role_id: str = ""
    created: float = 0.0


class Ownership(msgspec.Struct, frozen=True, kw_only=True):
    """`owner_id` (a user or service principal) owns `object_id` (an application, service principal or group)."""

    tenant_id: str = ""
    object_id: str = ""
    owner_id: str = ""


class DirectoryRoleMember(msgspec.Struct, frozen=True, kw_only=True):
    """`member_id` holds the directory role of that template: Global Administrator and its like."""

    tenant_id: str = ""
    template_id: str = ""
    member_id: str = ""


class PermissionGrant(msgspec.Struct, frozen=True, kw_only=True):
    """A delegated permission: client (service principal) may ask for `scope` of the resource (service principal).

    `principal_id` is "" when it holds for every user.
    """

    id: str
    tenant_id: str = ""
    client_id: str = ""
    resource_id: str = ""
    principal_id: str = ""
    scope: str = ""


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """`sealed` is the private key (PKCS #8 DER) under the master key; `kid` is the certificate's SHA-1 thumbprint."""

    kid: str
    certificate: bytes = b""
    sealed: bytes = b""
    created: float = 0.0
    retired: float | None = None
    """When it stopped signing. It stays published until its last token is dead."""


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """State between two requests of a grant: an authorization code, a device code or a refresh token.

    Stored under a hash of the code, never the code itself.
    """

    kind: Literal["code", "device", "refresh"]
    tenant_id: str = ""
    app_id: str = ""
    user_id: str = ""
    resource: str = ""
    scope: str = ""
    """Requested scopes as they came (v2), to be echoed."""
    redirect_uri: str = ""
    challenge: str = ""
    nonce: str = ""
    user_code: str = ""
    status: Literal["waiting", "approved", "declined", "spent"] = "waiting"
    issued: float = 0.0
    expires: float = 0.0
    polled: float = 0.0
    family: str = ""
    """Ties refresh tokens to the sign-in they come from."""
    amr: str = "pwd"
