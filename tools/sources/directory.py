"""first_party, graph_app_roles, graph_properties, aadsts (.json): Microsoft's own applications, what Graph's objects
have, the error codes of sign-in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sources import clouds

PUBLIC_CLIENTS = {"04b07795-8ddb-461a-bbee-02f9e1bf7b46", "1950a258-227b-4e31-a9cf-717495945fc2"}
PORTAL = "c44b4083-3bb0-49c1-b47d-974e53cbdf3c"
GRAPH = clouds.APP_IDS["graph"]

# What the sources leave unnamed; the first as tenants show it (public exports of enterprise applications).
NAMES = {
    "80a10ef9-8168-493d-abf9-3297c4ef6e3c": "Microsoft.ServiceBus",
    "8602e328-9b72-4f2d-a4ae-1387d013a2b3": "Azure API Management",
    "6a0ec4d3-30cb-4a83-91c0-ae56bc0e3d26": "Azure Container Registry",
}

# Not in the directory's list of resource applications: the audience of managed identities that other applications
# trust. Its tokens are of version 2 (decoded tokens of the real service; learn.microsoft.com, "Configure an
# application to trust a managed identity").
TOKEN_EXCHANGE = {"app_id": "fb60f99c-7a34-4190-8149-302f77469936", "name": "AAD Token Exchange Endpoint"}

# Resource names beyond the audiences of clouds.json: az's endpoint, a DNS suffix, or a fixed string of all clouds.
ENDPOINTS = {
    "ddbf3205-c6bd-46ae-8127-60eb93363864": "batch_resource_id",
    "123cd850-d9df-40bd-94d5-c9f07b7fa203": "ossrdbms_resource_id",
    "abfa0a7c-a6b6-4736-8310-5855508787cd": "app_service_resource_id",
}
SUFFIXES = {"1341df96-0b28-43da-ba24-7a6ce39be816": "managed_hsm"}
FIXED = {"a232010e-820c-4083-83bb-3ace5fc29d0b": ["https://cosmos.azure.com"]}


def files(reference: Path) -> dict[str, Any]:
    data = "src/keyfob/directory/data"
    return {
        f"{data}/first_party.json": first_party(reference),
        f"{data}/graph_app_roles.json": graph_app_roles(_read(reference, "directory/msgraph-app-roles")),
        f"{data}/graph_properties.json": graph_properties(_read(reference, "directory/msgraph-entity-types")),
        f"{data}/aadsts.json": aadsts(_read(reference, "errors/aadsts-error-codes")),
    }


def first_party(reference: Path) -> list[dict[str, Any]]:
    """Per application: app_id, name, kind, names (cloud → servicePrincipalNames), app_roles, scopes."""
    recorded = {
        app["appId"]: app for app in _read(reference, "directory/first-party-service-principals")["servicePrincipals"]
    }
    table = clouds.clouds(reference)
    made = []
    for app in _read(reference, "directory/resource-apps")["apps"]:
        app_id = app["appId"]
        seen = recorded.get(app_id, {})
        kind = "public_client" if app_id in PUBLIC_CLIENTS else "client" if app_id == PORTAL else "resource"
        made.append(
            {
                "app_id": app_id,
                # The newest name a tenant was seen to show, else the directory's list of applications.
                "name": NAMES.get(app_id) or next(iter(seen.get("displayNames", ())), None) or app["displayName"],
                "kind": kind,
                "names": {
                    cloud["name"]: _names(app_id, app["servicePrincipalNames"] or [], cloud)
                    for cloud in table
                    if kind != "resource" or _exists(app_id, cloud)
                },
                "app_roles": [_role(role) for role in seen.get("appRoles", ()) if app_id != GRAPH],
                "scopes": [
                    {"id": scope["id"], "value": scope["value"], "display_name": scope["adminConsentDisplayName"]}
                    for scope in seen.get("oauth2PermissionScopes", ())
                ],
            }
        )
    made.append(_token_exchange(table))
    return made


def _token_exchange(table: list[dict[str, Any]]) -> dict[str, Any]:
    names = {cloud["name"]: [TOKEN_EXCHANGE["app_id"], cloud["token_exchange_audience"]] for cloud in table}
    return {
        **TOKEN_EXCHANGE,
        "kind": "resource",
        "names": names,
        "app_roles": [],
        "scopes": [],
        "token_version": 2,
    }


def _exists(app_id: str, cloud: dict[str, Any]) -> bool:
    """Whether the cloud has the service at all: a service that no audience names is not in its tenants."""
    service = next((name for name, known in clouds.APP_IDS.items() if known == app_id), None)
    return service is None or bool(cloud["audiences"][service])


def _names(app_id: str, recorded: list[str], cloud: dict[str, Any]) -> list[str]:
    """The application id first. What was recorded in public-cloud tenants counts elsewhere only if it is no URL."""
    names = [app_id]
    names += [name for name in recorded if cloud["name"] == "AzureCloud" or not ("://" in name or "/" in name)]
    for service, known in clouds.APP_IDS.items():
        if known == app_id:
            names += [audience for audience in cloud["audiences"][service] if "://" in audience]
            names += _per_account(service, cloud["suffixes"])
    extra = [cloud["endpoints"].get(ENDPOINTS.get(app_id, "")), *FIXED.get(app_id, ())]
    if suffix := cloud["suffixes"].get(SUFFIXES.get(app_id, "")):
        extra.append(f"https://{suffix}")
    names += [name for name in extra if name and name not in cloud["audiences"]["resource_manager"]]
    return list(dict.fromkeys(names))


def _per_account(service: str, suffixes: dict[str, str]) -> list[str]:
    """Resource strings that name an account; `*` stands for its label.

    Storage accepts the account's own address as a resource (services-support-managed-identities, 2021); Kafka
    clients of Event Hubs ask for `https://<namespace>.servicebus.windows.net`.
    """
    if service == "storage":
        return [f"https://*.{part}.{suffixes['storage']}" for part in ("blob", "queue", "table", "file", "dfs")]
    return [f"https://*.{suffixes['service_bus']}"] if service == "event_hubs" else []


def _role(role: dict[str, Any]) -> dict[str, Any]:
    return {"id": role["id"], "value": role["value"], "display_name": role["displayName"]}


def graph_app_roles(source: dict[str, Any]) -> list[dict[str, Any]]:
    """Application permissions of Microsoft Graph that are in use, by value."""
    roles = [
        {
            "id": role["Id"].lower(),
            "value": role["Value"],
            "display_name": role["DisplayName"],
            "description": role["Description"],
        }
        for role in source["appRoles"]
        if role["IsEnabled"] and "Application" in role["AllowedMemberTypes"]
    ]
    return sorted(roles, key=lambda role: (role["value"], role["id"]))


GRAPH_TYPES = (
    "user",
    "group",
    "application",
    "servicePrincipal",
    "appRoleAssignment",
    "oAuth2PermissionGrant",
    "organization",
    "directoryRole",
    "federatedIdentityCredential",
    "directoryObject",
)


def graph_properties(source: dict[str, Any]) -> dict[str, list[str]]:
    """Type → the names of its properties, those of its base types first."""
    types = source["types"]

    def names(name: str) -> list[str]:
        kind = types.get(name)
        if kind is None:
            return []
        base = (kind["baseType"] or "").rpartition(".")[2]
        return names(base) + [one["name"] for one in kind["properties"]]

    return {name: list(dict.fromkeys(["id", *names(name)])) for name in GRAPH_TYPES}


def aadsts(source: dict[str, Any]) -> dict[str, Any]:
    """Code (digits) → name and message of the public table; `runtime` wording and OAuth `error` where captured."""
    made = {}
    for entry in sorted(source["codes"].values(), key=lambda entry: entry["code"]):
        row = {"name": entry["name"] or "", "message": entry["message"]}
        if text := entry.get("runtimeMessage"):
            row["runtime"] = text
        if error := entry.get("oauthErrorUsually"):
            row["error"] = error
        made[str(entry["code"])] = row
    return made


def _read(reference: Path, name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((reference / f"{name}.json").read_text("utf-8"))
    return value
