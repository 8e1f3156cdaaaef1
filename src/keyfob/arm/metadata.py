"""`GET /metadata/endpoints`: from which clients learn a cloud they do not know. Pure.

Three shapes: up to 2018 a few addresses, as Azure Stack answered; from 2019-05-01 to 2020 an array of every cloud
here, the one asked first (azure-cli's and Azure PowerShell's ARM_CLOUD_METADATA_URL); since 2022-09-01 the cloud
asked (`az cloud register`, terraform's `metadata_host`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keyfob.clouds.cloud import Cloud

_SUFFIXES = {
    "azureDataLakeStoreFileSystem": "data_lake",
    "acrLoginServer": "container_registry",
    "sqlServerHostname": "sql",
    "azureDataLakeAnalyticsCatalogAndJob": "data_lake_analytics",
    "keyVaultDns": "key_vault",
    "storage": "storage",
    "azureFrontDoorEndpointSuffix": "front_door",
    "storageSyncEndpointSuffix": "storage_sync",
    "mhsmDns": "managed_hsm",
    "mysqlServerEndpoint": "mysql",
    "postgresqlServerEndpoint": "postgresql",
    "mariadbServerEndpoint": "mariadb",
    "synapseAnalytics": "synapse",
    "attestationEndpoint": "attestation",
}
_ENDPOINTS = {
    "media": "media_resource_id",
    "batch": "batch_resource_id",
    "vmImageAliasDoc": "vm_image_alias_doc",
    "activeDirectoryDataLake": "active_directory_data_lake_resource_id",
    "sqlManagement": "sql_management",
    "gallery": "gallery",
    "microsoftGraphResourceId": "microsoft_graph_resource_id",
    "appInsightsResourceId": "app_insights_resource_id",
    "appInsightsTelemetryChannelResourceId": "app_insights_telemetry_channel_resource_id",
    "appServiceResourceId": "app_service_resource_id",
    "attestationResourceId": "attestation_resource_id",
    "synapseAnalyticsResourceId": "synapse_analytics_resource_id",
    "logAnalyticsResourceId": "log_analytics_resource_id",
    "ossrDbmsResourceId": "ossrdbms_resource_id",  # terraform's spelling
    "ossrdbmsResourceId": "ossrdbms_resource_id",  # azure-cli's
}


def endpoints(cloud: Cloud, clouds: Iterable[Cloud], api_version: str) -> Any:
    """The JSON value for an api-version."""
    if api_version < "2019":
        return _early(cloud, clouds, api_version)
    if api_version < "2022":
        return [document(cloud), *(document(other) for other in clouds if other is not cloud)]
    return document(cloud)


def document(cloud: Cloud) -> dict[str, Any]:
    """One cloud, as versions since 2019 have it. Suffixes without leading dot; what a cloud lacks is left out."""
    graph = cloud.endpoints.get("active_directory_graph_resource_id", f"{cloud.aad_graph}/")
    shown: dict[str, Any] = {
        "name": cloud.name,
        "portal": cloud.portal,
        "authentication": _authentication(cloud) | {"tenant": "common", "identityProvider": "AAD"},
        "graphAudience": graph,
        "graph": graph,
        "resourceManager": f"{cloud.resource_manager}/",
        "suffixes": {name: cloud.suffixes[key] for name, key in _SUFFIXES.items() if key in cloud.suffixes},
    }
    return shown | {name: cloud.endpoints[key] for name, key in _ENDPOINTS.items() if key in cloud.endpoints}


def _authentication(cloud: Cloud) -> dict[str, Any]:
    # clients take the first audience for "the" management audience: azure-cli compares it with its slash
    return {
        "loginEndpoint": cloud.login,
        "audiences": [cloud.management_audience, f"{cloud.resource_manager}/"],
    }


def _early(cloud: Cloud, clouds: Iterable[Cloud], api_version: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "galleryEndpoint": cloud.endpoints.get("gallery", ""),
        "graphEndpoint": cloud.endpoints.get("active_directory_graph_resource_id", f"{cloud.aad_graph}/"),
        "portalEndpoint": f"{cloud.portal}/",
        "authentication": _authentication(cloud),
    }
    if api_version < "2018":
        return shown
    shown["graphAudience"] = shown["graphEndpoint"]
    shown["authentication"] |= {"tenant": "common", "identityProvider": "AAD"}
    shown["cloudEndpoint"] = {
        {
            "AzureCloud": "public",
            "AzureChinaCloud": "chinaCloud",
            "AzureUSGovernment": "usGovCloud",
            "AzureGermanCloud": "germanCloud",
        }.get(one.name, one.name): {
            "endpoint": one.resource_manager.removeprefix("https://"),
            "locations": list(one.locations),
        }
        for one in clouds
    }
    return shown
