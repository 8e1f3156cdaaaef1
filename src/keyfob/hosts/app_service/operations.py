"""What the engine asks about sites and slots.

Settings that come inside a site (`siteConfig.appSettings`) are not kept there: they become `config/appsettings`, which
a reader of the site cannot read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from keyfob.arm.resources import get_resource
from keyfob.arm.shapes import change_properties, held, items, mapping, properties_of, put_child
from keyfob.clock import iso
from keyfob.declare import Change
from keyfob.errors import Conflict, InvalidInput
from keyfob.hosts.app_service import plans
from keyfob.hosts.app_service.config import named_settings
from keyfob.hosts.app_service.model import DEFAULTS, RESTARTED, WEB_CONFIG
from keyfob.hosts.app_service.settings import Settings
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Reply

Claim = Callable[[Change], Awaitable[None]]
_ADDRESSES = "203.0.113.10,203.0.113.11,203.0.113.12"


def name_taken(name: str) -> Conflict:
    return Conflict(f"Website with given name {name} already exists.", code="Conflict")


def host_label(id: ResourceId) -> str:
    """`site`, or of a slot `site-slot`: the first label of its name."""
    return "-".join(id.names).lower()


def site(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    farm = given.get("serverFarmId") or held(change, "serverFarmId", "")
    if farm:
        try:
            ResourceId.parse(str(farm))
        except InvalidInput:
            if "/" in str(farm):
                raise InvalidInput(
                    f"The parameter serverFarmId has an invalid value: '{str(farm)[:120]}'.", code="BadRequest"
                ) from None
            farm = str(ResourceId(change.id.segments[:4]).provider("Microsoft.Web/serverfarms", str(farm)))
    label, suffix = host_label(change.id), change.cloud.suffixes["web"]
    name, management = f"{label}.{suffix}", f"{label}.scm.{suffix}"
    own = [name, *(one for one in held(change, "hostNames", []) if one != name)]
    kind = plans.kind_of(change)
    return {
        "state": held(change, "state", "Running"),
        "hostNames": own,
        "repositorySiteName": label,
        "usageState": "Normal",
        "enabled": given.get("enabled", True) is not False,
        "enabledHostNames": [*own, management],
        "availabilityState": "Normal",
        "hostNameSslStates": [
            {"name": name, "sslState": "Disabled", "hostType": "Standard"},
            {"name": management, "sslState": "Disabled", "hostType": "Repository"},
        ],
        "serverFarmId": str(farm) or None,
        "reserved": given.get("reserved") is True or "linux" in kind,
        "isXenon": False,
        "hyperV": False,
        "lastModifiedTimeUtc": iso(change.now),
        "siteConfig": _shown_config(given),
        "scmSiteAlsoStopped": False,
        "clientAffinityEnabled": given.get("clientAffinityEnabled", "functionapp" not in kind),
        "clientCertEnabled": bool(given.get("clientCertEnabled", False)),
        "clientCertMode": given.get("clientCertMode") or "Required",
        "hostNamesDisabled": False,
        "outboundIpAddresses": _ADDRESSES,
        "possibleOutboundIpAddresses": _ADDRESSES,
        "containerSize": 1536 if "functionapp" in kind else 0,
        "dailyMemoryTimeQuota": 0,
        "httpsOnly": bool(given.get("httpsOnly", False)),
        "redundancyMode": given.get("redundancyMode") or "None",
        "publicNetworkAccess": given.get("publicNetworkAccess"),
        "storageAccountRequired": False,
        "keyVaultReferenceIdentity": given.get("keyVaultReferenceIdentity") or "SystemAssigned",
        "resourceGroup": change.id.resource_group,
        "defaultHostName": name,
        "customDomainVerificationId": "",
        "inProgressOperationId": None,
    }


def _shown_config(given: Mapping[str, Any]) -> dict[str, Any]:
    config = mapping(given.get("siteConfig"))
    shown = {name: config.get(name, WEB_CONFIG.get(name)) for name in ("numberOfWorkers", "linuxFxVersion", "alwaysOn",
             "http20Enabled")}  # fmt: skip
    return {**config, **shown}


async def with_site(settings: Settings, change: Change, properties: Mapping[str, Any]) -> None:
    """Its place on a plan, everything a site has from the start, and the settings that this request gives."""
    if isinstance(properties, dict):
        await plans.stand_on(change, properties)
    await put_child(change, "hostNameBindings", properties["defaultHostName"], {
        "siteName": change.id.name, "hostNameType": "Verified", "sslState": "Disabled"}, replace=False)  # fmt: skip
    if change.before is None:
        for name, value in DEFAULTS.items():
            await put_child(change, "config", name, value)
        for name in ("ftp", "scm"):
            await put_child(change, "basicPublishingCredentialsPolicies", name, {"allow": True})
        await put_child(change, "host", "default", {})
    config = mapping(properties_of(change).get("siteConfig"))
    if isinstance(config.get("appSettings"), list):
        await settings.put(change, "appsettings", named_settings(config["appSettings"]) or {})
    if isinstance(config.get("connectionStrings"), list):
        strings = {
            str(one["name"]): {"value": one.get("connectionString"), "type": one.get("type") or "Custom"}
            for one in items(config["connectionStrings"])
            if one.get("name")
        }
        await settings.put(change, "connectionstrings", strings)
    web = {name: value for name, value in config.items() if name not in ("appSettings", "connectionStrings")}
    if web and change.before is not None:
        there = await get_resource(change.transaction, change.id.child("config", "web"))
        web = {**(there.properties if there else WEB_CONFIG), **web}
    elif web:
        web = {**WEB_CONFIG, **web}
    if web:
        await put_child(change, "config", "web", {name: value for name, value in web.items() if value is not None})


async def restart(change: Change) -> Reply:
    """`POST …/restart`: who watches the site starts its program anew."""
    properties = change.before.properties
    times = int(properties.get(RESTARTED) or 0) + 1
    await change_properties(change, {**properties, "state": "Running", RESTARTED: times})
    return Reply(200)


def shown(resource: Any, properties: dict[str, Any], expand: str) -> Mapping[str, Any]:
    if properties.get("state") == "Stopped":
        return {**properties, "usageState": "Normal"}
    return properties


def finished(resource: Any, document: dict[str, Any], api_version: str) -> dict[str, Any]:
    kind = resource.kind or "app"
    linux = resource.properties.get("reserved") is True and "linux" not in kind.lower()
    document["kind"] = f"{kind},linux" if linux else kind
    id = ResourceId.parse(resource.id)
    if len(id.names) > 1:
        document["name"] = "/".join(id.names)
    return document


def binding(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "siteName": change.id.parent.name,
        "hostNameType": given.get("hostNameType") or "Verified",
        "sslState": given.get("sslState") or "Disabled",
    }


def policy(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    if change.id.name.lower() not in {"ftp", "scm"} or not isinstance(given.get("allow"), bool):
        raise InvalidInput("The policy is ftp or scm, and its property 'allow' true or false.", code="BadRequest")
    return {"allow": given["allow"]}
