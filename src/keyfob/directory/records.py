"""The collections the directory keeps in the store, and how each is found.

Keys are `tenant/id`; secondary indexes carry the tenant too, because the same name may live in several.
"""

from __future__ import annotations

from keyfob.directory.model import (
    Application,
    AppRoleAssignment,
    DirectoryRoleMember,
    FederatedCredential,
    Group,
    Membership,
    Ownership,
    Pending,
    PermissionGrant,
    ServicePrincipal,
    SigningKey,
    Tenant,
    User,
)
from keyfob.store.records import Records


def normal_name(name: str) -> str:
    """Service principal names compare without case and without trailing slashes."""
    return name.rstrip("/").lower()


TENANTS = Records("directory.tenants", Tenant, index=lambda t: {"domain": [d.lower() for d in t.domains]})
USERS = Records("directory.users", User, index=lambda u: {"name": f"{u.tenant_id}/{u.principal_name.lower()}"})
GROUPS = Records("directory.groups", Group, index=lambda g: {"name": f"{g.tenant_id}/{g.display_name.lower()}"})
MEMBERSHIPS = Records("directory.memberships", Membership, index=lambda m: {"member": f"{m.tenant_id}/{m.member_id}"})
APPLICATIONS = Records(
    "directory.applications",
    Application,
    index=lambda a: {
        "app_id": a.app_id,
        "uri": sorted({f"{a.tenant_id}/{normal_name(uri)}" for uri in a.identifier_uris}),
    },
)
SERVICE_PRINCIPALS = Records(
    "directory.service_principals",
    ServicePrincipal,
    index=lambda p: {
        "name": sorted({f"{p.tenant_id}/{normal_name(n)}" for n in (p.app_id, *p.names) if n}),
        "kind": f"{p.tenant_id}/{p.kind}",
    },
)
FEDERATED_CREDENTIALS = Records("directory.federated_credentials", FederatedCredential)
APP_ROLE_ASSIGNMENTS = Records(
    "directory.app_role_assignments",
    AppRoleAssignment,
    index=lambda a: {"resource": f"{a.tenant_id}/{a.resource_app_id}"},
)
OWNERSHIPS = Records("directory.ownerships", Ownership, index=lambda o: {"owner": f"{o.tenant_id}/{o.owner_id}"})
ROLE_MEMBERS = Records(
    "directory.role_members", DirectoryRoleMember, index=lambda m: {"member": f"{m.tenant_id}/{m.member_id}"}
)
PERMISSION_GRANTS = Records(
    "directory.permission_grants", PermissionGrant, index=lambda g: {"client": f"{g.tenant_id}/{g.client_id}"}
)
SIGNING_KEYS = Records("directory.signing_keys", SigningKey)

PENDING = Records(
    "directory.pending",
    Pending,
    index=lambda p: {
        name: value for name, value in (("user_code", p.user_code), ("family", p.family)) if value and p.kind != "code"
    },
)
