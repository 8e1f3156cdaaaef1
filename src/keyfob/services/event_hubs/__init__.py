"""Event Hubs through Resource Manager: namespaces, hubs, consumer groups, authorization rules."""

from __future__ import annotations

from keyfob.arm.access_rules import access_rules
from keyfob.arm.keys import DerivedKeys
from keyfob.arm.messaging import Messaging
from keyfob.arm.shapes import Shaped
from keyfob.declare import Provider
from keyfob.services.event_hubs import operations
from keyfob.services.event_hubs.model import API_VERSIONS, TYPE
from keyfob.store.port import Store

__all__ = ["event_hubs"]

_ENTITY = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,254}[A-Za-z0-9])?"


def event_hubs(*, store: Store, master_key: bytes) -> Provider:
    derived = DerivedKeys(master_key)
    made = Messaging(
        TYPE,
        api_versions=API_VERSIONS,
        compute=operations.namespace,
        sized=operations.sized,
        note="The control plane. Clusters, encryption and network rules are kept.",
    )
    types = (
        made.namespaces(),
        made.child("eventhubs", Shaped(compute=operations.hub, children=operations.with_hub), _ENTITY),
        made.child("eventhubs/consumergroups", Shaped(compute=operations.consumer_group), r"[^/\\#?]{1,50}"),
        access_rules(TYPE, derived=derived, api_versions=API_VERSIONS),
        access_rules(f"{TYPE}/eventhubs", derived=derived, api_versions=API_VERSIONS),
        made.network_rules(),
    )
    return Provider(namespace="Microsoft.EventHub", types=types, routes=(made.name_check(store),), registered=True)
