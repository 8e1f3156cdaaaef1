"""What Resource Manager answers at `/metadata/endpoints`, for `az cloud register`, terraform and PowerShell.

Members and spellings follow bodies captured from management.azure.com. No newest body of another cloud is public: its
members are filled from the table that `az` carries. Two differences from the captured list of 2019-05-01 are wanted:
every cloud's resource ids end in a slash as the public cloud's do (az takes the first audience as the resource it asks
for), and US Government's directory graph is graph.microsoftazure.us, as in az, not graph.windows.net.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from keyfob.clouds.cloud import Cloud

API_VERSIONS = ("2022-09-01", "2019-05-01", "2018-01-01", "2015-01-01", "1.0")

# Members of the 2018-01-01 body.
_REGION_KEYS = {
    "AzureCloud": "public",
    "AzureChinaCloud": "chinaCloud",
    "AzureUSGovernment": "usGovCloud",
    "AzureGermanCloud": "germanCloud",
}

# Member → az's name of the endpoint. What a cloud lacks is left out.
_ENDPOINTS_2019 = {
    "media": "media_resource_id",
    "graphAudience": "active_directory_graph_resource_id",
    "graph": "active_directory_graph_resource_id",
    "batch": "batch_resource_id",
    "vmImageAliasDoc": "vm_image_alias_doc",
    "activeDirectoryDataLake": "active_directory_data_lake_resource_id",
    "sqlManagement": "sql_management",
    "gallery": "gallery",
}
_ENDPOINTS_2022 = _ENDPOINTS_2019 | {
    "microsoftGraphResourceId": "microsoft_graph_resource_id",
    "appInsightsResourceId": "app_insights_resource_id",
    "appInsightsTelemetryChannelResourceId": "app_insights_telemetry_channel_resource_id",
    "appServiceResourceId": "app_service_resource_id",
    "attestationResourceId": "attestation_resource_id",
    "synapseAnalyticsResourceId": "synapse_analytics_resource_id",
    "logAnalyticsResourceId": "log_analytics_resource_id",
    "ossrDbmsResourceId": "ossrdbms_resource_id",  # as captured, and as terraform reads it
    "ossrdbmsResourceId": "ossrdbms_resource_id",  # as az reads it
}

# Member → our name of the suffix. Values have no leading dot: az adds it where its own table has one.
_SUFFIXES_2019 = {
    "azureDataLakeStoreFileSystem": "data_lake",
    "acrLoginServer": "container_registry",
    "sqlServerHostname": "sql",
    "azureDataLakeAnalyticsCatalogAndJob": "data_lake_analytics",
    "keyVaultDns": "key_vault",
    "storage": "storage",
    "azureFrontDoorEndpointSuffix": "front_door",
}
_SUFFIXES_2022 = _SUFFIXES_2019 | {
    "storageSyncEndpointSuffix": "storage_sync",
    "mhsmDns": "managed_hsm",
    "mysqlServerEndpoint": "mysql",
    "postgresqlServerEndpoint": "postgresql",
    "mariadbServerEndpoint": "mariadb",
    "synapseAnalytics": "synapse",
    "attestationEndpoint": "attestation",
}


def metadata_endpoints(
    cloud: Cloud, clouds: Mapping[str, Cloud], api_version: str
) -> dict[str, Any] | list[dict[str, Any]] | None:
    """The body for the cloud whose Resource Manager is asked: a list of all clouds for 2019-05-01, else one object.

    None for an api-version not in `API_VERSIONS`. 1.0 (Azure Stack tools, `Add-AzEnvironment -ARMEndpoint`) is
    2015-01-01 under its older name.
    """
    match api_version:
        case "2022-09-01":
            return _described(cloud, cloud.login, _ENDPOINTS_2022, _SUFFIXES_2022)
        case "2019-05-01":
            every = (cloud, *(other for other in clouds.values() if other is not cloud))
            return [_described(one, one.login + "/", _ENDPOINTS_2019, _SUFFIXES_2019) for one in every]
        case "2018-01-01":
            return _first_form(cloud) | {
                "graphAudience": cloud.endpoints["active_directory_graph_resource_id"],
                "authentication": _authentication(cloud, cloud.login + "/"),
                "cloudEndpoint": {_REGION_KEYS.get(one.name, one.name): _regions(one) for one in clouds.values()},
            }
        case "2015-01-01" | "1.0":
            return _first_form(cloud)
    return None


def _first_form(cloud: Cloud) -> dict[str, Any]:
    return {
        "galleryEndpoint": cloud.endpoints["gallery"],
        "graphEndpoint": cloud.endpoints["active_directory_graph_resource_id"],
        "portalEndpoint": cloud.portal + "/",
        "authentication": {"loginEndpoint": cloud.login + "/", "audiences": _audiences(cloud)},
    }


def _described(cloud: Cloud, login: str, endpoints: Mapping[str, str], suffixes: Mapping[str, str]) -> dict[str, Any]:
    present = {key: cloud.suffixes[ours] for key, ours in suffixes.items() if ours in cloud.suffixes}
    return {
        "portal": cloud.portal,
        "authentication": _authentication(cloud, login),
        "name": cloud.name,
        "suffixes": {"azureFrontDoorEndpointSuffix": ""} | present,
        "resourceManager": cloud.resource_manager + "/",
        **{key: cloud.endpoints[its] for key, its in endpoints.items() if its in cloud.endpoints},
    }


def _authentication(cloud: Cloud, login: str) -> dict[str, Any]:
    return {"loginEndpoint": login, "audiences": _audiences(cloud), "tenant": "common", "identityProvider": "AAD"}


def _audiences(cloud: Cloud) -> list[str]:
    """The first becomes az's `active_directory_resource_id`: the classic management audience, with its slash."""
    return [cloud.management_audience, cloud.resource_manager + "/"]


def _regions(cloud: Cloud) -> dict[str, Any]:
    return {"endpoint": urlsplit(cloud.resource_manager).netloc, "locations": list(cloud.locations)}
