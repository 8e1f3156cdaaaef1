"""Each cloud's values, some written here by hand and all of them against the public tables."""

from __future__ import annotations

import json

import msgspec
import pytest

from keyfob.clouds.table import parse_clouds

SERVICES = {
    "resource_manager",
    "key_vault",
    "storage",
    "sql",
    "event_hubs",
    "service_bus",
    "data_lake",
    "graph",
    "aad_graph",
}


def test_there_are_four_and_the_public_one_is_first(clouds):
    assert list(clouds) == ["AzureCloud", "AzureUSGovernment", "AzureChinaCloud", "AzureGermanCloud"]
    assert all(name == cloud.name for name, cloud in clouds.items())


@pytest.mark.parametrize(
    ("name", "login", "arm", "audience", "vault", "storage", "graph", "imds"),
    [
        (
            "AzureCloud",
            "https://login.microsoftonline.com",
            "https://management.azure.com",
            "https://management.core.windows.net/",
            "vault.azure.net",
            "core.windows.net",
            "https://graph.microsoft.com",
            "AzurePublicCloud",
        ),
        (
            "AzureUSGovernment",
            "https://login.microsoftonline.us",
            "https://management.usgovcloudapi.net",
            "https://management.core.usgovcloudapi.net/",
            "vault.usgovcloudapi.net",
            "core.usgovcloudapi.net",
            "https://graph.microsoft.us",
            "AzureUSGovernmentCloud",
        ),
        (
            "AzureChinaCloud",
            "https://login.chinacloudapi.cn",
            "https://management.chinacloudapi.cn",
            "https://management.core.chinacloudapi.cn/",
            "vault.azure.cn",
            "core.chinacloudapi.cn",
            "https://microsoftgraph.chinacloudapi.cn",
            "AzureChinaCloud",
        ),
        (
            "AzureGermanCloud",
            "https://login.microsoftonline.de",
            "https://management.microsoftazure.de",
            "https://management.core.cloudapi.de/",
            "vault.microsoftazure.de",
            "core.cloudapi.de",
            "https://graph.microsoft.de",
            "AzureGermanCloud",
        ),
    ],
)
def test_the_main_names(clouds, name, login, arm, audience, vault, storage, graph, imds):
    cloud = clouds[name]
    assert (cloud.login, cloud.resource_manager, cloud.management_audience) == (login, arm, audience)
    assert (cloud.suffixes["key_vault"], cloud.suffixes["storage"]) == (vault, storage)
    assert (cloud.graph, cloud.imds_name) == (graph, imds)


def test_resource_manager_accepts_what_its_error_text_lists_in_that_order(clouds):
    assert clouds["AzureCloud"].audiences["resource_manager"] == (
        "https://management.core.windows.net/",
        "https://management.core.windows.net",
        "https://management.azure.com/",
        "https://management.azure.com",
        "797f4846-ba00-4fd7-ba43-dac1f8f63013",
    )


def test_every_cloud_answers_for_every_service_and_only_the_public_one_has_data_lake(clouds):
    for cloud in clouds.values():
        assert set(cloud.audiences) == SERVICES
        lacking = {service for service, audiences in cloud.audiences.items() if not audiences}
        assert lacking == (set() if cloud.name == "AzureCloud" else {"data_lake"})
        assert ("data_lake" in cloud.suffixes) is (cloud.name == "AzureCloud")


def test_each_audience_is_there_with_and_without_slash_and_by_its_application(clouds):
    for cloud in clouds.values():
        for service, audiences in cloud.audiences.items():
            urls = [audience for audience in audiences if "://" in audience]
            assert {url.rstrip("/") for url in urls} == {url for url in urls if not url.endswith("/")}, service
            assert {url.rstrip("/") + "/" for url in urls} == {url for url in urls if url.endswith("/")}, service
            assert len(audiences) == len(set(audiences))
            assert not audiences or len(audiences) - len(urls) == 1


def test_no_cloud_takes_anothers_vault_or_management_tokens(clouds):
    for service in ("resource_manager", "key_vault", "sql", "graph"):
        seen: set[str] = set()
        for cloud in clouds.values():
            urls = {audience for audience in cloud.audiences[service] if "://" in audience}
            assert not urls & seen
            seen |= urls


def test_urls_have_no_slash_at_the_end_and_suffixes_no_dot_in_front(clouds):
    for cloud in clouds.values():
        for url in (cloud.login, cloud.resource_manager, cloud.graph, cloud.aad_graph, cloud.portal):
            assert url.startswith("https://")
            assert not url.endswith("/")
        assert not any(suffix.startswith(".") or "/" in suffix for suffix in cloud.suffixes.values())


def test_sign_in_hosts_are_those_msal_never_checks(clouds):
    authority = pytest.importorskip("msal.authority")
    # The sovereign clouds of France, Germany and Singapore that opened later are not served.
    later = {"login.sovcloud-identity.fr", "login.sovcloud-identity.de", "login.sovcloud-identity.sg"}
    served = {host for cloud in clouds.values() for host in cloud.login_hosts}
    assert served == authority.WELL_KNOWN_AUTHORITY_HOSTS - later


def test_aliases_are_the_sign_in_hosts_in_groups_and_the_first_host_is_the_authority(clouds):
    for cloud in clouds.values():
        assert sorted(host for group in cloud.login_aliases for host in group) == sorted(cloud.login_hosts)
        assert cloud.login == f"https://{cloud.login_hosts[0]}"
    assert clouds["AzureChinaCloud"].login_aliases[0][0] == "login.partner.microsoftonline.cn"


def test_regions(clouds):
    assert "westeurope" in clouds["AzureCloud"].locations
    assert clouds["AzureGermanCloud"].locations == ("germanycentral", "germanynortheast")
    assert "westeurope" not in clouds["AzureChinaCloud"].locations


def test_values_equal_azs_table(clouds, reference):
    source = json.loads((reference / "clouds/az-cloud-definitions.json").read_text())
    for entry in source["clouds"]:
        if entry["name"] not in clouds:
            continue
        cloud, its = clouds[entry["name"]], entry["endpoints"]
        assert cloud.login == its["active_directory"]
        assert cloud.resource_manager == its["resource_manager"].rstrip("/")
        assert cloud.management_audience == its["management"] == its["active_directory_resource_id"]
        assert cloud.graph == its["microsoft_graph_resource_id"].rstrip("/")
        assert cloud.portal == its["portal"]
        for ours, theirs in (
            ("key_vault", "keyvault_dns"),
            ("sql", "sql_server_hostname"),
            ("mysql", "mysql_server_endpoint"),
        ):
            assert "." + cloud.suffixes[ours] == entry["suffixes"][theirs]
        assert cloud.suffixes["storage"] == entry["suffixes"]["storage_endpoint"]
        for key, value in cloud.endpoints.items():
            assert key == "vm_image_alias_doc" or value == its[key]


def test_resource_identifiers_of_the_go_sdk_are_accepted(clouds, reference):
    environments = json.loads((reference / "clouds/sdk-environments.json").read_text())["goAutorest"]
    names = {"KeyVault": "key_vault", "Storage": "storage", "SQLDatabase": "sql", "ServiceBus": "service_bus"}
    names |= {"Graph": "aad_graph", "MicrosoftGraph": "graph", "Datalake": "data_lake"}
    for environment in environments.values():
        cloud = next(cloud for cloud in clouds.values() if cloud.imds_name == environment["Name"])
        assert environment["TokenAudience"] in cloud.audiences["resource_manager"]
        assert cloud.suffixes["service_bus"] == environment["ServiceBusEndpointSuffix"]
        for theirs, ours in names.items():
            identifier = environment["ResourceIdentifiers"][theirs]
            assert identifier is None or identifier in cloud.audiences[ours], (cloud.name, theirs)


def test_resource_ids_of_every_edition_are_accepted(clouds, reference):
    services = {
        "azure-resource-manager": "resource_manager",
        "key-vault": "key_vault",
        "data-lake": "data_lake",
        "sql": "sql",
        "event-hubs": "event_hubs",
        "service-bus": "service_bus",
        "storage": "storage",
    }
    checked = 0
    for edition in ("availability-2018-11-28", "availability-2019-06-19", "availability-current"):
        page = json.loads((reference / f"{edition}.json").read_text())
        for row in page.get("lastMatrix", page)["targetServices"]:
            cells = row.get("clouds") or {"AzureCloud": {"resourceIds": [row["resourceId"]]}}
            for name, cell in cells.items():
                for resource_id in cell["resourceIds"]:
                    if "<account>" not in resource_id:
                        checked += 1
                        assert resource_id in clouds[name].audiences[services[row["id"]]]
    assert checked > 30


def test_a_table_with_a_missing_or_wrong_field_is_refused():
    with pytest.raises(msgspec.ValidationError, match="missing required field"):
        parse_clouds(b'[{"imds_name": "X"}]')
    with pytest.raises(msgspec.ValidationError, match="Expected `array`"):
        parse_clouds(b'{"AzureCloud": {}}')
