"""Which of Azure's resource services a cloud does not offer, by an edition of the availability tables: their
applications get no tokens there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from keyfob.clouds.availability import Availability
from keyfob.clouds.cloud import Cloud
from keyfob.directory.first_party import FirstParty

NOT_OFFERED: frozenset[tuple[str, str]] = frozenset()
"""Pairs of cloud and application id; here: everything is offered."""
_AUDIENCES = {
    "azure-resource-manager": "resource_manager",
    "key-vault": "key_vault",
    "data-lake": "data_lake",
    "sql": "sql",
    "event-hubs": "event_hubs",
    "service-bus": "service_bus",
    "storage": "storage",
}
"""Row of the tables → key of `Cloud.audiences`."""


def not_offered(
    availability: Availability, edition: str, clouds: Mapping[str, Cloud], first_party: Iterable[FirstParty]
) -> frozenset[tuple[str, str]]:
    apps = tuple(first_party)
    return frozenset(
        (cloud.name, app.app_id)
        for cloud in clouds.values()
        for target in availability.edition(edition).targets
        if availability.target_refuses(edition, target, cloud.name)
        for app in apps
        if not set(cloud.audiences.get(_AUDIENCES.get(target, ""), ())).isdisjoint(app.names.get(cloud.name, ()))
    )
