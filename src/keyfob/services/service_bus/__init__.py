"""Service Bus through Resource Manager: namespaces, queues, topics, subscriptions, rules, authorization rules."""

from __future__ import annotations

from keyfob.arm.access_rules import access_rules
from keyfob.arm.keys import DerivedKeys
from keyfob.arm.messaging import Messaging
from keyfob.arm.shapes import Shaped
from keyfob.declare import Provider
from keyfob.services.service_bus import operations
from keyfob.services.service_bus.model import API_VERSIONS, TYPE
from keyfob.store.port import Store

__all__ = ["service_bus"]

_ENTITY = r"[A-Za-z0-9](?:[A-Za-z0-9._~-]{0,258}[A-Za-z0-9])?"
_SMALL = r"[A-Za-z0-9$](?:[A-Za-z0-9._-]{0,48}[A-Za-z0-9])?"


def service_bus(*, store: Store, master_key: bytes) -> Provider:
    derived = DerivedKeys(master_key)
    made = Messaging(
        TYPE,
        api_versions=API_VERSIONS,
        compute=operations.namespace,
        sized=operations.sized,
        note="The control plane. Encryption and network rules are kept.",
    )
    taking = Shaped(compute=operations.subscription, children=operations.with_subscription)
    types = (
        made.namespaces(),
        made.child("queues", Shaped(compute=operations.queue), _ENTITY),
        made.child("topics", Shaped(compute=operations.topic), _ENTITY),
        made.child("topics/subscriptions", taking, _SMALL),
        made.child("topics/subscriptions/rules", Shaped(compute=operations.rule), _SMALL),
        *(
            access_rules(parent, derived=derived, api_versions=API_VERSIONS)
            for parent in (TYPE, f"{TYPE}/queues", f"{TYPE}/topics")
        ),
        made.network_rules(),
    )
    return Provider(namespace="Microsoft.ServiceBus", types=types, routes=(made.name_check(store),), registered=True)
