"""API Management: `Microsoft.ApiManagement/service`, with APIs, products, named values and the like kept."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from keyfob.arm.keys import DerivedKeys, regenerated
from keyfob.arm.resources import get_resource, list_resources, resource_not_found
from keyfob.arm.shapes import (
    Shaped,
    change_properties,
    check_name_route,
    held,
    mapping,
    posting,
    resource_path,
    resource_scope,
    subscription_scope,
    unique,
)
from keyfob.clock import iso
from keyfob.declare import Action, Call, Change, IdentitySupport, PostAction, Provider, ResourceType, Route
from keyfob.directory.seal import Seal
from keyfob.errors import Conflict, InvalidInput, NotFound
from keyfob.store.port import Store
from keyfob.wire.http import Reply

__all__ = ["api_management"]

TYPE = "Microsoft.ApiManagement/service"
API_VERSIONS = (
    "2014-02-14",
    "2015-09-15",
    "2016-07-07",
    "2016-10-10",
    "2017-03-01",
    "2018-01-01",
    "2018-06-01-preview",
    "2019-01-01",
    "2019-12-01-preview",
    "2019-12-01",
    "2020-06-01-preview",
    "2020-12-01",
    "2021-01-01-preview",
    "2021-04-01-preview",
    "2021-08-01",
    "2021-12-01-preview",
    "2022-04-01-preview",
    "2022-08-01",
    "2022-09-01-preview",
    "2023-03-01-preview",
    "2023-05-01-preview",
    "2023-09-01-preview",
    "2024-05-01",
    "2024-06-01-preview",
)
_NAME = r"(?=.{1,50}$)[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_SKUS = (
    "Developer", "Standard", "Premium", "Basic", "Consumption", "Isolated", "BasicV2", "StandardV2", "PremiumV2",
)  # fmt: skip
_SECRET = "keyfob.hidden"
_REVISION = ";rev="
_IN_PRODUCT = f"{TYPE}/products/apis"
_WRITE_ONLY: Mapping[str, tuple[str, ...]] = {
    "": ("password", "clientSecret", "data", "credentials.instrumentationKey"),
    f"{TYPE}/apis": ("format", "value", "wsdlSelector", "sourceApiId", "apiType", "translateRequiredQueryParameters"),
}
"""What is not even stored: secrets, and of an API the document it is imported from."""


def api_management(*, store: Store, master_key: bytes) -> Provider:
    derived, named = DerivedKeys(master_key), _NamedValues(Seal(master_key))
    subscriptions, values = f"{TYPE}/subscriptions", f"{TYPE}/namedValues"
    services = ResourceType(
        name=TYPE,
        api_versions=API_VERSIONS,
        operations=Shaped(
            compute=_accept,
            claim=unique((TYPE,), _taken),
            required=("publisherEmail", "publisherName"),
            write_only=("certificates.*.certificatePassword", "hostnameConfigurations.*.certificatePassword"),
        ),
        identity=IdentitySupport(system=True, user=True),
        long_running=frozenset({"PUT", "PATCH", "DELETE"}),
        name_pattern=_NAME,
        note="The control plane. APIs and policies are kept; there is no gateway.",
    )

    async def list_secrets(change: Change) -> Reply:
        return Reply.json({name: derived.key(change.before, name) for name in ("primaryKey", "secondaryKey")})

    def regenerating(name: str) -> PostAction:
        async def regenerate(change: Change) -> Reply:
            await change_properties(change, regenerated(change.before, name))
            return Reply(204)

        return posting(subscriptions, f"regenerate{name[0].upper()}{name[1:]}", regenerate)

    kept = ("apis", "apis/operations", "apis/policies", "apis/releases", "apis/resolvers", "apis/resolvers/policies",
            "apis/schemas", "backends", "caches", "certificates", "groups", "loggers", "policies", "products",
            "products/policies", "tags", "users", "apiVersionSets", "authorizationServers", "identityProviders",
            "diagnostics", "policyFragments")  # fmt: skip
    types = (
        services,
        *(_child(f"{TYPE}/{name}", _DETAILS.get(name)) for name in kept),
        _child(_IN_PRODUCT, children=_as_the_api, head=204),
        _child(values, named.accept, actions={"listValue": posting(values, "listValue", named.show)}),
        _child(
            subscriptions,
            lambda change, given: {"state": given.get("state") or "submitted", "createdDate": iso(change.now)},
            actions={
                "listSecrets": posting(subscriptions, "listSecrets", list_secrets),
                "regeneratePrimaryKey": regenerating("primaryKey"),
                "regenerateSecondaryKey": regenerating("secondaryKey"),
            },
        ),
    )
    check = check_name_route(
        store,
        "/subscriptions/{subscriptionId}/providers/Microsoft.ApiManagement/checkNameAvailability",
        "Microsoft.ApiManagement/checkNameAvailability/action",
        types=(TYPE,),
        pattern=_NAME,
        api_versions=API_VERSIONS,
        invalid="The name of a service has 1 to 50 letters, digits and hyphens, a letter first, no hyphen last.",
        in_use=lambda name: f"{name} is already in use. Please select a different name.",
    )
    routes = (check, *_routes(store))
    return Provider(namespace="Microsoft.ApiManagement", types=types, routes=routes, registered=True)


def _child(
    name: str,
    compute: Any = None,
    *,
    children: Any = None,
    actions: Mapping[str, PostAction] | None = None,
    head: int = 200,
) -> ResourceType:
    return ResourceType(
        name=name,
        api_versions=API_VERSIONS,
        operations=Shaped(compute=compute, children=children, write_only=_WRITE_ONLY.get(name, _WRITE_ONLY[""])),
        tracked=False,
        provisioning_state=False,
        actions=actions or {},
        head=head,
        any_etag_creates=True,  # azure-cli makes new ones with `If-Match: *`
        name_pattern=r"[^*#&+:<>?/]{1,256}",
        note="kept",
    )


def _accept(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    sku = mapping(change.body.get("sku"))
    name = next((one for one in _SKUS if one.lower() == str(sku.get("name", "")).lower()), None)
    if name is None:
        raise InvalidInput("The sku of the service is not known.", code="InvalidParameters", target="sku.name")
    if "@" not in str(given["publisherEmail"]):
        raise InvalidInput("The publisherEmail is not an address.", code="InvalidParameters", target="publisherEmail")
    suffix = change.cloud.suffixes.get("api_management", "azure-api.net")
    label = change.id.name.lower()
    host = f"{label}.{suffix}"
    custom = [one for one in given.get("hostnameConfigurations") or [] if mapping(one).get("hostName") != host]
    own = {"type": "Proxy", "hostName": host, "negotiateClientCertificate": False, "defaultSslBinding": True}
    return {
        "targetProvisioningState": "",
        "createdAtUtc": held(change, "createdAtUtc", iso(change.now)),
        "notificationSenderEmail": given.get("notificationSenderEmail") or "apimgmt-noreply@mail.windowsazure.com",
        "gatewayUrl": f"https://{host}",
        "gatewayRegionalUrl": f"https://{label}-{change.body.get('location', '')}-01.regional.{suffix}",
        "portalUrl": f"https://{label}.portal.{suffix}",
        "developerPortalUrl": f"https://{label}.developer.{suffix}",
        "managementApiUrl": f"https://{label}.management.{suffix}",
        "scmUrl": f"https://{label}.scm.{suffix}",
        "hostnameConfigurations": [own, *custom],
        "publicIPAddresses": ["203.0.113.20"],
        "virtualNetworkType": given.get("virtualNetworkType") or "None",
        "disableGateway": bool(given.get("disableGateway", False)),
        "publicNetworkAccess": given.get("publicNetworkAccess") or "Enabled",
        "platformVersion": "stv2",
    }


def _api(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    path = given.get("path")
    name, _, revision = change.id.name.partition(_REVISION)
    if path is None and not given.get("value") and not given.get("sourceApiId"):
        raise InvalidInput("The path of the API is required.", code="ValidationError", target="path")
    return {
        "displayName": given.get("displayName") or name,
        "apiRevision": revision or given.get("apiRevision") or "1",
        "isCurrent": not revision,
        "path": path or name,
        "protocols": given.get("protocols") or ["https"],
        "subscriptionRequired": given.get("subscriptionRequired", True),
        **({"type": given["apiType"]} if given.get("apiType") else {}),
    }


_DETAILS: Mapping[str, Any] = {"apis": _api}


async def _as_the_api(change: Change, properties: Mapping[str, Any]) -> None:
    """An API in a product is shown as the API is."""
    service = change.id.parent.parent
    api = await get_resource(change.transaction, service.child("apis", change.id.name))
    if api is None:
        raise NotFound(f"API '{change.id.name}' not found.", code="ResourceNotFound")
    if isinstance(properties, dict):
        properties.clear()
        properties.update(api.properties)


def _routes(store: Store) -> tuple[Route, ...]:
    apis = f"{TYPE}/apis"

    async def revisions(call: Call) -> Reply:
        current = await get_resource(store, call.scope)
        if current is None:
            raise resource_not_found(call.scope)
        name = call.scope.name.partition(_REVISION)[0]
        rows = await list_resources(store, call.scope.parent, type_name=apis)
        shown = [
            {
                "apiId": f"/apis/{name};rev={row.properties['apiRevision']}",
                "apiRevision": row.properties["apiRevision"],
                "createdDateTime": iso(row.created),
                "updatedDateTime": iso(row.changed),
                "description": row.properties.get("apiRevisionDescription"),
                "isOnline": True,
                "isCurrent": row.properties["isCurrent"],
            }
            for row in rows
            if row.name.partition(_REVISION)[0].lower() == name.lower()
        ]
        return Reply.json({"value": shown, "count": len(shown)})

    async def deleted(call: Call) -> Reply:
        """Services are gone when they are deleted, so that nothing waits to be purged."""
        return Reply.json({"value": []})

    place = "/subscriptions/{subscriptionId}/providers/Microsoft.ApiManagement/deletedservices"
    return (
        Route("GET", f"{resource_path(apis)}/revisions", Action(f"{apis}/revisions/read"), revisions,
              resource_scope(apis), API_VERSIONS),
        Route("GET", place, Action("Microsoft.ApiManagement/deletedservices/read"), deleted, subscription_scope,
              API_VERSIONS),
    )  # fmt: skip


class _NamedValues:
    """A secret's value is kept sealed and never shown, except by `listValue`."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    def __repr__(self) -> str:
        return "NamedValues()"

    def accept(self, change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
        if given.get("secret") is not True:
            return {_SECRET: None}
        if given.get("value") is None:
            return {"value": None}
        sealed = self._seal.close(str(given["value"]).encode("utf-8", "surrogatepass"), about=change.id.key)
        return {"value": None, _SECRET: base64.b64encode(sealed).decode("ascii")}

    async def show(self, change: Change) -> Reply:
        properties = change.before.properties
        value = properties.get("value")
        if sealed := properties.get(_SECRET):
            value = self._seal.open(base64.b64decode(sealed), about=change.id.key).decode("utf-8", "surrogatepass")
        return Reply.json({"value": value})


def _taken(name: str) -> Conflict:
    return Conflict(f"Service already exists: {name}. Please select a different name.", code="ServiceAlreadyExists")
