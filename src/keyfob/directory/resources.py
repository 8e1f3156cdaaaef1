"""Which resource a token is asked for, and what stands in its `aud`.

The requested string is kept verbatim (a trailing slash too), as the v1 model does: resource servers list the spellings
they accept. It must belong to a service principal of the tenant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from keyfob.directory.aadsts import TABLE
from keyfob.directory.model import ServicePrincipal, Tenant
from keyfob.directory.offered import NOT_OFFERED
from keyfob.directory.principals import find_service_principal
from keyfob.errors import InvalidInput
from keyfob.store.port import Session

_LONGEST = 512
_FIRST_LABEL = re.compile(r"^(https://)[^./*]+(\..+)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource application and how it was asked for."""

    requested: str
    principal: ServicePrincipal

    @property
    def version(self) -> int:
        """Of the access tokens it takes."""
        return self.principal.access_token_version

    @property
    def audience(self) -> str:
        """v1: as requested; v2: the application's id, as the real service writes it."""
        return self.requested if self.version == 1 else self.principal.app_id


class UnknownResource(InvalidInput):
    """`aadsts` 500011."""

    code = "invalid_resource"
    aadsts = 500011


async def find_resource(
    session: Session, tenant: Tenant, resource: str, closed: frozenset[tuple[str, str]] = NOT_OFFERED
) -> Resource:
    """Raises `UnknownResource`, its message as Azure writes it; also for an application that is `closed` in the
    tenant's cloud: such a cloud has no such service principal."""
    wanted = resource if len(resource) <= _LONGEST and resource.isprintable() else ""
    if wanted.strip("/"):
        principal = await find_service_principal(session, tenant.id, wanted)
        if principal is None and (parts := _FIRST_LABEL.fullmatch(wanted)):
            principal = await find_service_principal(session, tenant.id, f"{parts[1]}*{parts[2]}")
        offered = principal is not None and (tenant.cloud, principal.app_id) not in closed
        if principal is not None and offered and principal.enabled and "*" not in wanted:
            return Resource(wanted, principal)
    text = TABLE[500011].text.format(resource=resource[:_LONGEST], tenant=tenant.display_name or tenant.id)
    raise UnknownResource(f"AADSTS500011: {text}", target=resource[:_LONGEST])


async def resource_audience(session: Session, tenant: Tenant, resource: str) -> str:
    """The string for `aud`. Raises `UnknownResource`."""
    return (await find_resource(session, tenant, resource)).requested
