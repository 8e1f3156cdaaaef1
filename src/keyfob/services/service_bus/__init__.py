"""Service Bus through Resource Manager: namespaces, queues, topics, subscriptions, rules, authorization rules."""

from __future__ import annotations

from keyfob.arm.access_rules import access_rules, with_root_rule
from keyfob.arm.keys import DerivedKeys
from keyfob.arm.shapes import Shaped, check_name_route, unique
from keyfob.declare import IdentitySupport, Provider, ResourceType
from keyfob.services.service_bus import operations
from keyfob.services.service_bus.model import API_VERSIONS, NAME, SHARING_A_NAME, TYPE
from keyfob.store.port import Store

__all__ = ["service_bus"]

_ENTITY = r"[A-Za-z0-9](?:[A-Za-z0-9._~-]{0,258}[A-Za-z0-9])?"
_SMALL = r"[A-Za-z0-9$](?:[A-Za-z0-9._-]{0,48}[A-Za-z0-9])?"


def service_bus(*, store: Store, master_key: bytes) -> Provider:
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
        note="The control plane. Encryption and network rules are kept.",
    )
    topic = f"{TYPE}/topics"
    subscription = f"{topic}/subscriptions"
    types = (
        namespaces,
        _child(f"{TYPE}/queues", Shaped(compute=operations.queue), _ENTITY),
        _child(topic, Shaped(compute=operations.topic), _ENTITY),
        _child(subscription, Shaped(compute=operations.subscription, children=operations.with_subscription), _SMALL),
        _child(f"{subscription}/rules", Shaped(compute=operations.rule), _SMALL),
        *(
            access_rules(parent, derived=derived, api_versions=API_VERSIONS)
            for parent in (TYPE, f"{TYPE}/queues", topic)
        ),
        _child(f"{TYPE}/networkRuleSets", Shaped(compute=operations.network_rules), "default"),
    )
    check = check_name_route(
        store,
        "/subscriptions/{subscriptionId}/providers/Microsoft.ServiceBus/checkNameAvailability",
        "Microsoft.ServiceBus/checkNameAvailability/action",
        types=SHARING_A_NAME,
        pattern=NAME,
        api_versions=API_VERSIONS,
        invalid="The namespace name is invalid: 6 to 50 letters, digits and hyphens, a letter first, no hyphen last.",
        in_use=operations.in_use,
        reasons=("InvalidName", "NameInUse"),
    )
    return Provider(namespace="Microsoft.ServiceBus", types=types, routes=(check,), registered=True)


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
