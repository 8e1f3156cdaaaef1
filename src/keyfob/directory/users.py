"""Which user, of which tenant, and whether the password is right."""

from __future__ import annotations

from keyfob.directory.aadsts import Refused
from keyfob.directory.exchange import Parts
from keyfob.directory.model import Application, Tenant, User
from keyfob.directory.principals import find_user
from keyfob.directory.records import USERS


async def tenant_of_user(parts: Parts, tenant: Tenant | None, username: str) -> Tenant:
    """The tenant asked for, or under `common` the one that owns the name's domain. Raises `Refused`."""
    if tenant is not None:
        return tenant
    _, _, domain = username.rpartition("@")
    found = await parts.directory.tenant(domain) if domain else None
    if found is None:
        raise Refused(50034, user=username, tenant=domain or "organizations")
    return found


async def sign_in(parts: Parts, tenant: Tenant | None, username: str, password: str) -> tuple[Tenant, User]:
    """Checks the password. Raises `Refused`: 50034 unknown, 50126 wrong, 50057 disabled, 50053 tried too often."""
    username = username.strip()
    home = await tenant_of_user(parts, tenant, username)
    name = f"{home.id}/{username.lower()}"
    if parts.throttle.locked(name):
        raise Refused(50053)
    user = await find_user(parts.store, home.id, username)
    if not await parts.secrets.password(password, user.password_hash if user else ""):
        parts.throttle.failed(name)
        if user is None:
            raise Refused(50034, user=username, tenant=home.display_name or home.id)
        raise Refused(50126)
    if user is None or not user.enabled:
        raise Refused(50057)
    parts.throttle.succeeded(name)
    return home, user


async def user_of(parts: Parts, tenant_id: str, user_id: str) -> tuple[Tenant, User]:
    """The user behind a code or refresh token, as it is now. Raises `Refused`."""
    tenant = await parts.directory.tenant(tenant_id)
    row = await USERS.get(parts.store, f"{tenant_id}/{user_id}")
    if tenant is None or row is None:
        raise Refused(70000)
    if not row.value.enabled:
        raise Refused(50057)
    return tenant, row.value


async def require_client_in(parts: Parts, tenant: Tenant, application: Application | None, app_id: str) -> None:
    """A client that came over `common` must exist, enabled, in the user's tenant. Raises `Refused`."""
    principal = await parts.directory.service_principal(tenant.id, app_id)
    if principal is None or principal.app_id != app_id:
        raise Refused(700016, app_id=app_id, tenant=tenant.display_name or tenant.id)
    if not principal.enabled:
        raise Refused(7000112, app_id=app_id, name=principal.display_name)
    single = application is not None and application.sign_in_audience == "AzureADMyOrg"
    if application is not None and single and application.tenant_id != tenant.id:
        raise Refused(50194, app_id=app_id, name=application.display_name)
