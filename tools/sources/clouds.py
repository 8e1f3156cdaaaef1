"""clouds.json: what `az`, the SDKs and ARM say of each cloud, put together, and the few facts they leave out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CLOUDS = ("AzureCloud", "AzureUSGovernment", "AzureChinaCloud", "AzureGermanCloud")

APP_IDS = {
    "resource_manager": "797f4846-ba00-4fd7-ba43-dac1f8f63013",
    "key_vault": "cfa8b339-82a2-471a-a3c9-0fc0be7a4093",
    "storage": "e406a681-f3d4-42a8-90b6-c2b029497af1",
    "sql": "022907d3-0f1b-48f7-badc-1ba6abab6d66",
    "event_hubs": "80369ed6-5f11-4dd9-bef3-692475845e77",
    "service_bus": "80a10ef9-8168-493d-abf9-3297c4ef6e3c",
    "data_lake": "e9f49c6b-5ce5-44c8-925d-015017e9f7ad",
    "graph": "00000003-0000-0000-c000-000000000000",
    "aad_graph": "00000002-0000-0000-c000-000000000000",
}

# What the reference files do not hold.
# go, go_azure_sdk: the cloud's key in the two SDKs' tables. arm: its key in ARM's metadata of 2018-01-01.
# imds_name: go-autorest's `Name`, which is also the documented azEnvironment of the instance metadata service.
# login: the answer of login.microsoftonline.com/common/discovery/instance?api-version=1.1, one group per entry
#   (recorded in Azure/azure-sdk-for-js identity tests, 2021), preferred name first; China's preferred network is
#   login.partner.microsoftonline.cn there, while az and the SDKs still start from login.chinacloudapi.cn.
#   login-us.microsoftonline.com is an entry of its own; Microsoft's documents use it for Azure Government.
# web: azure-functions-host and vscode-azureappservice tables. signer: MicrosoftDocs instance-metadata-service page.
# token_exchange: Microsoft Entra workload identity federation; the German cloud closed before it existed.
OWN: dict[str, dict[str, Any]] = {
    "AzureCloud": {
        "go": "PublicCloud",
        "arm": "public",
        "login": [["login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"]],
        "web": "azurewebsites.net",
        "token_exchange": "api://AzureADTokenExchange",
        "signer": "metadata.azure.com",
        "front_door": "azurefd.net",
        "go_azure_sdk": "azure_public",
    },
    "AzureUSGovernment": {
        "go": "USGovernmentCloud",
        "arm": "usGovCloud",
        "login": [["login.microsoftonline.us", "login.usgovcloudapi.net"], ["login-us.microsoftonline.com"]],
        "web": "azurewebsites.us",
        "token_exchange": "api://AzureADTokenExchangeUSGov",
        "signer": "metadata.azure.us",
        "graph": ["https://dod-graph.microsoft.us"],
        "go_azure_sdk": "azure_gov",
    },
    "AzureChinaCloud": {
        "go": "ChinaCloud",
        "arm": "chinaCloud",
        "login": [["login.partner.microsoftonline.cn", "login.chinacloudapi.cn"]],
        "web": "chinacloudsites.cn",
        "token_exchange": "api://AzureADTokenExchangeChina",
        "signer": "metadata.azure.cn",
        "go_azure_sdk": "azure_china",
    },
    "AzureGermanCloud": {
        "go": "GermanCloud",
        "arm": "germanCloud",
        "login": [["login.microsoftonline.de"]],
        "web": "azurewebsites.de",
        "token_exchange": "api://AzureADTokenExchange",
        "signer": "metadata.microsoftazure.de",
    },
}

# Our name of a suffix → az's.
SUFFIXES = {
    "key_vault": "keyvault_dns",
    "storage": "storage_endpoint",
    "sql": "sql_server_hostname",
    "data_lake": "azure_datalake_store_file_system_endpoint",
    "data_lake_analytics": "azure_datalake_analytics_catalog_and_job_endpoint",
    "managed_hsm": "mhsm_dns",
    "container_registry": "acr_login_server_endpoint",
    "mysql": "mysql_server_endpoint",
    "postgresql": "postgresql_server_endpoint",
    "mariadb": "mariadb_server_endpoint",
    "storage_sync": "storage_sync_endpoint",
    "synapse": "synapse_analytics_endpoint",
    "attestation": "attestation_endpoint",
}

# Fields of Cloud with another name; the rest of az's endpoints are kept under az's own.
NOT_ENDPOINTS = {"active_directory", "resource_manager", "portal", "management", "active_directory_resource_id"}


def files(reference: Path) -> dict[str, Any]:
    return {"src/keyfob/clouds/data/clouds.json": clouds(reference)}


def clouds(reference: Path) -> list[dict[str, Any]]:
    """One object per cloud, with the fields of `keyfob.clouds.cloud.Cloud`."""
    az = {cloud["name"]: cloud for cloud in _read(reference, "az-cloud-definitions")["clouds"]}
    sdks = _read(reference, "sdk-environments")
    arm = _read(reference, "arm-metadata-endpoints")["bodies"]
    return [_cloud(name, az[name], sdks, arm) for name in CLOUDS]


def _cloud(name: str, az: dict[str, Any], sdks: dict[str, Any], arm: dict[str, Any]) -> dict[str, Any]:
    own, endpoints = OWN[name], az["endpoints"]
    go = sdks["goAutorest"][own["go"]]
    bus = sdks["goAzureSdk"].get(own.get("go_azure_sdk"), {}).get("services", {}).get("ServiceBus", {})
    login = endpoints["active_directory"]
    hosts = [host for group in own["login"] for host in group]
    hosts.sort(key=lambda host: f"https://{host}" != login)  # what clients are configured with comes first
    suffixes = {ours: az["suffixes"][its] for ours, its in SUFFIXES.items()} | {
        "service_bus": go["ServiceBusEndpointSuffix"],
        "api_management": go["APIManagementHostNameSuffix"],
        "web": own["web"],
        "front_door": own.get("front_door"),
    }
    kept = {key: value for key, value in endpoints.items() if value and key not in NOT_ENDPOINTS}
    # az points to a list of its own; ARM's metadata names this one.
    kept["vm_image_alias_doc"] = arm["2022-09-01"]["vmImageAliasDoc"]
    return {
        "name": name,
        "imds_name": go["Name"],
        "login": login,
        "login_hosts": hosts,
        "login_aliases": own["login"],
        "resource_manager": endpoints["resource_manager"].rstrip("/"),
        "management_audience": endpoints["active_directory_resource_id"],
        "graph": endpoints["microsoft_graph_resource_id"].rstrip("/"),
        "aad_graph": endpoints["active_directory_graph_resource_id"].rstrip("/"),
        "portal": endpoints["portal"].rstrip("/"),
        "suffixes": {key: value.removeprefix(".") for key, value in sorted(suffixes.items()) if value},
        "audiences": _audiences(endpoints, go, own, bus.get("resourceIdentifier")),
        "token_exchange_audience": own["token_exchange"],
        "instance_metadata_certificate": own["signer"],
        "locations": arm["2018-01-01"]["cloudEndpoint"][own["arm"]]["locations"],
        "endpoints": dict(sorted(kept.items())),
    }


def _audiences(
    endpoints: dict[str, Any], go: dict[str, Any], own: dict[str, Any], service_bus: str | None
) -> dict[str, list[str]]:
    identifiers = go["ResourceIdentifiers"]
    data_lake = endpoints["active_directory_data_lake_resource_id"]
    # go-autorest has one Service Bus id for all clouds; hashicorp/go-azure-sdk asks two of them by their DNS name.
    buses = dict.fromkeys([identifiers["ServiceBus"].rstrip("/"), service_bus or ""])
    wanted = {
        # In the order of Resource Manager's own error text (InvalidAuthenticationTokenAudience).
        "resource_manager": [
            endpoints["active_directory_resource_id"],
            endpoints["resource_manager"].rstrip("/") + "/",
        ],
        "key_vault": [identifiers["KeyVault"]],
        "storage": [identifiers["Storage"]],
        "sql": [identifiers["SQLDatabase"]],
        "event_hubs": ["https://eventhubs.azure.net"],
        "service_bus": [url for url in buses if url],
        "data_lake": [data_lake] if data_lake else [],
        "graph": [endpoints["microsoft_graph_resource_id"].rstrip("/"), *own.get("graph", [])],
        # go-autorest and ARM's metadata of 2019 keep graph.windows.net for US Government, az has microsoftazure.us.
        "aad_graph": [endpoints["active_directory_graph_resource_id"], go["ResourceIdentifiers"]["Graph"]],
    }
    return {service: _spellings(urls, APP_IDS[service]) for service, urls in wanted.items()}


def _spellings(urls: list[str], app_id: str) -> list[str]:
    """Each URL as given and with its last slash the other way, then the application id."""
    both = [form for url in urls for form in (url, url[:-1] if url.endswith("/") else url + "/")]
    return list(dict.fromkeys([*both, app_id])) if urls else []


def host_of(url: str) -> str:
    return urlsplit(url).netloc


def _read(reference: Path, name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((reference / "clouds" / f"{name}.json").read_text("utf-8"))
    return value
