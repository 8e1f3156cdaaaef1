"""What the namespaces of Event Hubs and Service Bus have in common: one zone of names, tiers, rules who may come in.

Their authorization rules are in `access_rules.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from keyfob.arm.access_rules import with_root_rule
from keyfob.arm.shapes import Shaped, check_name_route, held, mapping, put_child, unique
from keyfob.clock import iso
from keyfob.declare import Change, IdentitySupport, ResourceType, Route
from keyfob.errors import Conflict, InvalidInput
from keyfob.store.port import Store

SHARING_A_NAME = ("Microsoft.EventHub/namespaces", "Microsoft.ServiceBus/namespaces", "Microsoft.Relay/namespaces")
"""They share one DNS zone, so a name that one of them has is taken for all."""
_NAME = r"(?=.{6,50}$)[A-Za-z](?:-?[A-Za-z0-9])+"
_TIERS = ("Basic", "Standard", "Premium")

Sized = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""The tier and the sku that was given → the sku as it is shown."""


class Messaging:
    """The declarations that one of the two services makes of its namespaces."""

    def __init__(
        self,
        name: str,
        *,
        api_versions: tuple[str, ...],
        compute: Callable[[Change, Mapping[str, Any], str], Mapping[str, Any]],
        sized: Sized,
        note: str,
    ) -> None:
        """`name` is the type's. `compute` gets the tier, lower-case, and gives the properties that only this service
        has."""
        self.name = name
        self._versions = api_versions
        self._compute = compute
        self._sized = sized
        self._note = note

    def namespaces(self) -> ResourceType:
        return ResourceType(
            name=self.name,
            api_versions=self._versions,
            operations=Shaped(compute=self._accept, claim=unique(SHARING_A_NAME, _taken), children=_with_namespace),
            identity=IdentitySupport(system=True, user=True),
            long_running=frozenset({"PUT", "DELETE"}),
            name_pattern=_NAME,
            finish=self._finished,
            note=self._note,
        )

    def child(self, rest: str, work: Shaped, pattern: str) -> ResourceType:
        return ResourceType(
            name=f"{self.name}/{rest}",
            api_versions=self._versions,
            operations=work,
            tracked=False,
            provisioning_state=False,
            created=200,
            name_pattern=pattern,
        )

    def network_rules(self) -> ResourceType:
        return self.child("networkRuleSets", Shaped(compute=_network_rules), "default")

    def name_check(self, store: Store) -> Route:
        namespace = self.name.partition("/")[0]
        return check_name_route(
            store,
            f"/subscriptions/{{subscriptionId}}/providers/{namespace}/checkNameAvailability",
            f"{namespace}/checkNameAvailability/action",
            types=SHARING_A_NAME,
            pattern=_NAME,
            api_versions=self._versions,
            invalid="The namespace name is invalid: 6 to 50 letters, digits and hyphens, a letter first, no hyphen "
            "last.",
            in_use=_in_use,
            reasons=("InvalidName", "NameInUse"),
        )

    def _accept(self, change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
        tier = str(mapping(change.body.get("sku")).get("name") or "Standard").lower()
        if tier not in {one.lower() for one in _TIERS}:
            raise InvalidInput(
                f"The sku '{tier[:40]}' is not Basic, Standard or Premium.", code="BadRequest", target="sku"
            )
        host = f"{change.id.name.lower()}.{change.cloud.suffixes['service_bus']}"
        return {
            "createdAt": held(change, "createdAt", iso(change.now)),
            "updatedAt": iso(change.now),
            "serviceBusEndpoint": f"https://{host}:443/",
            "metricId": f"{change.id.subscription_id}:{change.id.name.lower()}",
            "status": "Active",
            "disableLocalAuth": bool(given.get("disableLocalAuth", False)),
            "zoneRedundant": bool(given.get("zoneRedundant", False)),
            "publicNetworkAccess": given.get("publicNetworkAccess") or "Enabled",
            "minimumTlsVersion": given.get("minimumTlsVersion") or "1.2",
            **self._compute(change, given, tier),
        }

    def _finished(self, resource: Any, document: dict[str, Any], api_version: str) -> dict[str, Any]:
        sku = dict(resource.sku or {})
        tier = next((one for one in _TIERS if one.lower() == str(sku.get("name", "")).lower()), "Standard")
        document["sku"] = {"name": tier, "tier": tier, **self._sized(tier, sku)}
        return document


async def _with_namespace(change: Change, properties: Mapping[str, Any]) -> None:
    await with_root_rule(change, properties)
    if change.before is None:
        await put_child(change, "networkRuleSets", "default", _network_rules(change, {}))


def _network_rules(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "defaultAction": given.get("defaultAction") or "Allow",
        "publicNetworkAccess": given.get("publicNetworkAccess") or "Enabled",
        "trustedServiceAccessEnabled": bool(given.get("trustedServiceAccessEnabled", False)),
        "virtualNetworkRules": given.get("virtualNetworkRules") or [],
        "ipRules": given.get("ipRules") or [],
    }


def _in_use(name: str) -> str:
    return f"The specified name '{name}' is not available. It is already in use."


def _taken(name: str) -> Conflict:
    return Conflict(_in_use(name), code="NamespaceUnavailable")
