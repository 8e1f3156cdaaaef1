"""The three editions, looked up."""

from __future__ import annotations

import json

import pytest

from keyfob.clouds.availability import Status, load_availability
from keyfob.errors import InvalidInput


@pytest.fixture(scope="module")
def availability():
    return load_availability()


@pytest.mark.parametrize(
    ("edition", "host", "kind", "cloud", "status"),
    [
        ("2018-11-28", "virtual-machines", "SystemAssigned", "AzureCloud", "Available"),
        ("2018-11-28", "virtual-machines", "UserAssigned", "AzureCloud", "Preview"),
        ("2018-11-28", "app-service", "UserAssigned", "AzureChinaCloud", "Not available"),
        ("2018-11-28", "api-management", "SystemAssigned", "AzureGermanCloud", "Not available"),
        ("2019-06-19", "logic-apps", "SystemAssigned", "AzureCloud", "Preview"),
        ("current", "virtual-machines", "UserAssigned", "AzureGermanCloud", "Available"),
        ("current", "api-management", "UserAssigned", "AzureUSGovernment", "Preview"),
        ("current", "microsoft.compute/VIRTUALMACHINES", "UserAssigned", "AzureCloud", "Available"),
        ("2018-11-28", "Microsoft.Web/sites", "UserAssigned", "AzureCloud", "Preview"),
        ("current", "Microsoft.Storage/storageAccounts", "UserAssigned", "AzureCloud", "Unknown"),
        ("current", "virtual-machines", "UserAssigned", "AzureBleuCloud", "Unknown"),
    ],
)
def test_status(availability, edition, host, kind, cloud, status):
    assert availability.status(edition, host, kind, cloud) == status


def test_container_instances_differ_by_operating_system(availability):
    where = ("2018-11-28", "Microsoft.ContainerInstance/containerGroups", "UserAssigned", "AzureCloud")
    assert availability.status(*where) is Status.PREVIEW
    assert availability.status(*where, "linux") is Status.PREVIEW
    assert availability.status(*where, "Windows") is Status.NOT_AVAILABLE
    assert availability.status(*where, "Plan9") is Status.UNKNOWN
    assert availability.refuses(*where, "Windows")
    assert not availability.refuses(*where, "Linux")


def test_only_what_the_page_denies_is_refused(availability):
    assert availability.refuses("2018-11-28", "data-factory-v2", "UserAssigned", "AzureCloud")
    assert availability.refuses("2018-11-28", "app-service", "UserAssigned", "AzureUSGovernment")
    assert not availability.refuses("2018-11-28", "app-service", "UserAssigned", "AzureCloud")  # preview
    assert not availability.refuses("2018-11-28", "no-such-host", "UserAssigned", "AzureCloud")  # unknown


def test_a_newer_list_takes_a_denial_back_but_not_for_a_closed_cloud(availability):
    where = ("current", "data-factory-v2", "UserAssigned")
    assert availability.status(*where, "AzureCloud") is Status.NOT_AVAILABLE
    assert not availability.refuses(*where, "AzureCloud")
    assert availability.refuses(*where, "AzureGermanCloud")


def test_targets(availability):
    assert availability.resource_id("2018-11-28", "key-vault", "AzureCloud") == "https://vault.azure.net"
    assert availability.resource_id("2018-11-28", "key-vault", "AzureGermanCloud") is None
    assert availability.target_status("2018-11-28", "key-vault", "AzureGermanCloud") is Status.UNKNOWN
    assert availability.target_status("2018-11-28", "event-hubs", "AzureCloud") is Status.PREVIEW
    assert availability.resource_id("2019-06-19", "sql", "AzureChinaCloud") == "https://database.chinacloudapi.cn/"
    assert availability.target_status("current", "data-lake", "AzureUSGovernment") is Status.NOT_AVAILABLE
    assert availability.resource_id("current", "data-lake", "AzureUSGovernment") is None
    assert availability.target_status("current", "cosmos-db", "AzureCloud") is Status.UNKNOWN


def test_an_edition_that_does_not_exist_is_named(availability):
    for lookup in (
        lambda: availability.status("2020-01-01", "virtual-machines", "SystemAssigned", "AzureCloud"),
        lambda: availability.resource_id("2020-01-01", "key-vault", "AzureCloud"),
    ):
        with pytest.raises(InvalidInput, match=r"2020-01-01.*2018-11-28"):
            lookup()


def test_every_cell_equals_the_transcribed_page(availability, reference):
    checked = 0
    for edition in availability.editions:
        page = json.loads((reference / f"availability-{edition}.json").read_text())
        for row in page.get("lastMatrix", page)["hostServices"]:
            for kind, cells in row["identityTypes"].items():
                for cloud, cell in cells.items():
                    for system, status in (cell.get("byOsType") or {None: cell["status"]}).items():
                        checked += 1
                        assert availability.status(edition, row["id"], kind, cloud, system) == status
    assert checked == 3 * (8 * 2 * 4 + 2)
