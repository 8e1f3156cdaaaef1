"""Our own namespace on the Resource Manager plane: tenants and principals.

Azure has nothing of the kind at these paths; the guard stands before them as before everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keyfob.app.first_start import make_home, operator_file
from keyfob.arm.body import parse_object
from keyfob.arm.resources import SUBSCRIPTIONS
from keyfob.clock import Clock, Ids
from keyfob.clouds.cloud import Cloud
from keyfob.declare import Action, Call, Provider, Route
from keyfob.directory.applications import add_secret, create_application
from keyfob.directory.first_party import FirstParty
from keyfob.directory.model import Application, Group, Tenant, User
from keyfob.directory.principals import get_principal
from keyfob.directory.tenants import Operator, create_tenant, get_tenant, list_tenants
from keyfob.errors import Conflict, InvalidInput, NotFound
from keyfob.resource_id import ROOT, ResourceId
from keyfob.store.port import Session, Store
from keyfob.wire.http import Reply

API_VERSION = "2026-11-01"


def _root(parameters: Mapping[str, str], target: object) -> ResourceId:
    return ROOT


class LocalApi:
    """Below `/providers`: `Keyfob.Directory/tenants` and `Keyfob.Directory/principals`."""

    def __init__(
        self,
        *,
        store: Store,
        clouds: Mapping[str, Cloud],
        first_party: Sequence[FirstParty],
        namespaces: Sequence[str],
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._store = store
        self._clouds = clouds
        self._first_party = first_party
        self._namespaces = namespaces
        self._clock = clock
        self._ids = ids

    def provider(self) -> Provider:
        def route(method: str, path: str, action: str, operation: Any) -> Route:
            return Route(method, f"/providers/{path}", Action(action), operation, _root, (API_VERSION,))

        tenants = "Keyfob.Directory/tenants"
        return Provider(
            namespace="Keyfob.Directory",
            registered=True,
            routes=(
                route("GET", tenants, f"{tenants}/read", self._list),
                route("PUT", f"{tenants}/{{domain}}", f"{tenants}/write", self._create),
                route(
                    "GET",
                    "Keyfob.Directory/principals/{objectId}",
                    "Keyfob.Directory/principals/read",
                    self._principal,
                ),
            ),
        )

    # --- tenants

    async def _list(self, call: Call) -> Reply:
        return Reply.json({"value": [await self._shown(self._store, one) for one in await list_tenants(self._store)]})

    async def _create(self, call: Call) -> Reply:
        """Makes a tenant with its subscription and an operator, whose secret is in this answer and nowhere else."""
        domain = call.parameters["domain"].lower()
        cloud = parse_object(call.request.body).get("cloud", "AzureCloud")
        if not isinstance(cloud, str) or cloud not in self._clouds:
            raise InvalidInput(f"There is no cloud called '{cloud}'; there are {', '.join(self._clouds)}.")
        now, ids = self._clock.now(), self._ids
        async with self._store.transaction() as tx:
            if await get_tenant(tx, domain):
                raise Conflict(f"The domain {domain} belongs to a tenant already.", code="TenantExists")
            tenant = Tenant(id=ids.guid(), display_name=domain, domains=(domain,), cloud=cloud, created=now)
            await create_tenant(tx, tenant, clouds=self._clouds, first_party=self._first_party)
            application = Application(
                id=ids.guid(), tenant_id=tenant.id, app_id=ids.guid(), display_name="Keyfob operator", created=now
            )
            principal = await create_application(tx, application, principal_id=ids.guid())
            secret = await add_secret(
                tx,
                tenant.id,
                application.id,
                clock=self._clock,
                ids=ids,
                display_name="first",
                ends=now + 100 * 365 * 86_400,
            )
            operator = Operator(
                tenant_id=tenant.id, app_id=application.app_id, object_id=principal.id, secret=secret.text
            )
            subscription = await make_home(tx, tenant, operator, namespaces=self._namespaces, now=now, ids=ids)
            shown = await self._shown(tx, tenant)
        document = operator_file(self._clouds[cloud], operator, subscription).document()
        return Reply.json({**shown, "operator": document}, 201, (("Cache-Control", "no-store"),))

    async def _shown(self, session: Session, tenant: Tenant) -> dict[str, Any]:
        owned = [row.value.id for row in await SUBSCRIPTIONS.list(session) if row.value.tenant_id == tenant.id]
        return {
            "tenantId": tenant.id,
            "domain": tenant.domains[0] if tenant.domains else "",
            "cloud": tenant.cloud,
            "subscriptionId": owned[0] if owned else "",
            "default": tenant.default,
        }

    # --- principals

    async def _principal(self, call: Call) -> Reply:
        caller = call.caller
        wanted = call.parameters["objectId"].lower()
        found = await get_principal(self._store, caller.tenant_id, wanted) if caller else None
        if found is None:
            raise NotFound(f"A principal {wanted} does not exist in the directory.", code="PrincipalNotFound")
        kind = {User: "User", Group: "Group"}.get(type(found), "ServicePrincipal")
        return Reply.json(
            {
                "id": found.id,
                "type": kind,
                "displayName": found.display_name,
                "appId": getattr(found, "app_id", None),
                "servicePrincipalType": getattr(found, "kind", None),
                "alternativeNames": list(getattr(found, "alternative_names", ())),
            }
        )
