"""A host asks its own token endpoint: what its cloud does not offer is refused there too."""

from __future__ import annotations

import pytest

from keyfob.clouds.availability import load_availability
from keyfob.directory.first_party import load_first_party
from keyfob.directory.offered import NOT_OFFERED, not_offered
from keyfob.directory.resources import UnknownResource
from keyfob.identities.model import Selector
from keyfob.resource_id import ResourceId


def host_token(world, resource):
    path = f"{world.group}/providers/Microsoft.Compute/virtualMachines/asks"
    body = {"location": world.location, "identity": {"type": "SystemAssigned"}}
    made = world.made("PUT", path, world.version("Microsoft.Compute/virtualMachines"), body)
    endpoint = world.app.hosts._metadata._tokens
    return world.run(endpoint.issue(ResourceId.parse(made["id"]), Selector(), resource))


@pytest.mark.parametrize(
    ("edition", "cloud", "refused"),
    [
        ("2019-06-19", "AzureUSGovernment", True),
        ("2019-06-19", "AzureCloud", False),
        ("current", "AzureUSGovernment", False),
        ("current", "AzureGermanCloud", True),
    ],
)
def test_event_hubs(worlds, edition, cloud, refused):
    world = worlds(edition, cloud)
    if refused:
        with pytest.raises(UnknownResource, match="AADSTS500011"):
            host_token(world, "https://eventhubs.azure.net")
    else:
        assert host_token(world, "https://eventhubs.azure.net").token
    assert host_token(world, world.operator["audience"]).token


def test_everything_is_offered_where_the_tables_say_so(worlds):
    world = worlds("current", "AzureCloud")
    clouds = world.app.resource_manager.engine._clouds
    assert not_offered(load_availability(), "2018-11-28", clouds, load_first_party()) == NOT_OFFERED
    assert {cloud for cloud, _ in not_offered(load_availability(), "current", clouds, load_first_party())} == {
        "AzureGermanCloud"
    }
