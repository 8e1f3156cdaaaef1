"""Event Hubs through Resource Manager: namespaces, hubs, consumer groups, authorization rules."""

from __future__ import annotations

from keyfob.arm.access_rules import access_rules, with_root_rule
from keyfob.arm.keys import DerivedKeys
from keyfob.arm.shapes import Shaped, check_name_route, unique
from keyfob.declare import IdentitySupport, Provider, ResourceType
from keyfob.services.event_hubs import operations
from keyfob.services.event_hubs.model import API_VERSIONS, NAME, SHARING_A_NAME, TYPE
from keyfob.store.port import Store

__all__ = ["event_hubs"]

_ENTITY = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,254}[A-Za-z0-9])?"


def event_hubs(*, store: Store, master_key: bytes) -> Provider:
    derived = DerivedKeys(master_key)
    namespaces = ResourceType(
        name=TYPE,
        api_versions=API_VERSIONS,
        operations=Shaped(
            compute=operations.namespace,
            claim=unique(SHARING_A_NAME, operations.name_taken),
            children=operations.with_namespace(with_root_rule),
        ),
        identity=IdentitySupport(system=True, user=True),
        long_running=frozenset({"PUT", "DELETE"}),
        name_pattern=NAME,
        finish=operations.sized,
        note="The control plane. Clusters, encryption and network rules are kept.",
    )
    hub = f"{TYPE}/eventhubs"
    types = (
        namespaces,
        _child(hub, Shaped(compute=operations.hub, children=operations.with_hub), _ENTITY),
        _child(f"{hub}/consumergroups", Shaped(compute=operations.consumer_group), r"[^/\\#?]{1,50}"),
        access_rules(TYPE, derived=derived, api_versions=API_VERSIONS),
        access_rules(hub, derived=derived, api_versions=API_VERSIONS),
        _child(f"{TYPE}/networkRuleSets", Shaped(compute=operations.network_rules), "default"),
    )
    check = check_name_route(
        store,
        "/subscriptions/{subscriptionId}/providers/Microsoft.EventHub/checkNameAvailability",
        "Microsoft.EventHub/checkNameAvailability/action",
        types=SHARING_A_NAME,
        pattern=NAME,
        api_versions=API_VERSIONS,
        invalid="The namespace name is invalid: 6 to 50 letters, digits and hyphens, a letter first, no hyphen last.",
        in_use=operations.in_use,
        reasons=("InvalidName", "NameInUse"),
    )
    return Provider(namespace="Microsoft.EventHub", types=types, routes=(check,), registered=True)


def _child(name: str, work: Shaped, pattern: str) -> ResourceType:
    return ResourceType(
        name=name,
        api_versions=API_VERSIONS,
        operations=work,
        tracked=False,
        provisioning_state=False,
        created=200,
        name_pattern=pattern,
    )
