"""Container instances: `Microsoft.ContainerInstance/containerGroups`."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from keyfob.arm.resources import get_resource, resource_not_found
from keyfob.arm.shapes import Shaped, items, mapping, posting, resource_path, resource_scope, setting
from keyfob.clock import iso
from keyfob.declare import Action, Call, Change, IdentitySupport, Provider, ResourceType, Route
from keyfob.errors import InvalidInput, NotFound
from keyfob.store.port import Store
from keyfob.wire.http import Reply

__all__ = ["container_instances"]

TYPE = "Microsoft.ContainerInstance/containerGroups"
API_VERSIONS = (
    "2017-08-01-preview",
    "2017-10-01-preview",
    "2017-12-01-preview",
    "2018-02-01-preview",
    "2018-04-01",
    "2018-06-01",
    "2018-09-01",
    "2018-10-01",
    "2019-12-01",
    "2020-11-01",
    "2021-03-01",
    "2021-07-01",
    "2021-09-01",
    "2021-10-01",
    "2022-09-01",
    "2022-10-01-preview",
    "2023-05-01",
    "2024-05-01-preview",
    "2024-09-01-preview",
    "2024-10-01-preview",
    "2024-11-01-preview",
    "2025-09-01",
)
_STATE = "keyfob.state"
_WRITE_ONLY = (
    "containers.*.properties.environmentVariables.*.secureValue",
    "initContainers.*.properties.environmentVariables.*.secureValue",
    "imageRegistryCredentials.*.password",
    "volumes.*.azureFile.storageAccountKey",
    "volumes.*.secret",
    "diagnostics.logAnalytics.workspaceKey",
)
_SUFFIXES = {"AzureUSGovernment": "azurecontainer.us", "AzureChinaCloud": "azurecontainer.cn"}


def container_instances(*, store: Store) -> Provider:
    groups = ResourceType(
        name=TYPE,
        api_versions=API_VERSIONS,
        operations=Shaped(compute=_accept, write_only=_WRITE_ONLY, view=_shown),
        identity=IdentitySupport(system=True, user=True),
        long_running=frozenset({"PUT"}),
        deleted_shown=True,
        name_pattern=r"(?=.{1,63}$)[a-z0-9]+(?:-[a-z0-9]+)*",
        actions={
            "start": posting(TYPE, "start", setting({_STATE: "Running"}, status=204)),
            "restart": posting(TYPE, "restart", setting({_STATE: "Running"}, status=204)),
            "stop": posting(TYPE, "stop", setting({_STATE: "Stopped"}, status=204)),
        },
        note="No image is pulled: a program that runs as the group is its software. Secure values are kept nowhere.",
    )
    path, scope = resource_path(TYPE) + "/containers/{container}", resource_scope(TYPE)

    async def logs(call: Call) -> Reply:
        found = await get_resource(store, call.scope)
        if found is None:
            raise resource_not_found(call.scope)
        names = {str(one.get("name")) for one in items(found.properties.get("containers"))}
        if call.parameters["container"] not in names:
            raise NotFound(f"The container '{call.parameters['container']}' is not found.", code="ContainerNotFound")
        return Reply.json({"content": ""})

    route = Route("GET", f"{path}/logs", Action(f"{TYPE}/containers/logs/read"), logs, scope, API_VERSIONS)
    return Provider(namespace="Microsoft.ContainerInstance", types=(groups,), routes=(route,), registered=True)


def _accept(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    containers = items(given.get("containers"))
    if not containers:
        raise InvalidInput(
            "The container group has no containers.", code="MissingContainerGroupContainers", target="containers"
        )
    system = next((one for one in ("Linux", "Windows") if one.lower() == str(given.get("osType", "")).lower()), None)
    if system is None:
        raise InvalidInput("The osType is Linux or Windows.", code="InvalidOsType", target="osType")
    made, seen = [], set()
    for one in containers:
        name, inner = one.get("name"), dict(mapping(one.get("properties")))
        if not isinstance(name, str) or not name or name.lower() in seen:
            raise InvalidInput("Each container has a name of its own.", code="InvalidContainerName")
        seen.add(name.lower())
        if not inner.get("image"):
            raise InvalidInput(f"The container '{name[:63]}' has no image.", code="MissingImage", target="image")
        requests = mapping(mapping(inner.get("resources")).get("requests"))
        if not requests.get("cpu") or not requests.get("memoryInGB"):
            raise InvalidInput(
                f"Resources of container '{name[:63]}' are required.", code="ResourceRequestsNotSpecified"
            )
        inner.setdefault("ports", [])
        inner.setdefault("environmentVariables", [])
        made.append({**one, "properties": inner})
    before = change.before.properties if change.before is not None else {}
    result: dict[str, Any] = {
        "sku": given.get("sku") or "Standard",
        "containers": made,
        "initContainers": given.get("initContainers") or [],
        "osType": system,
        "restartPolicy": given.get("restartPolicy") or "Always",
        _STATE: before.get(_STATE, "Running"),
    }
    address = mapping(given.get("ipAddress"))
    if address:
        public = str(address.get("type", "Public")).lower() != "private"
        number = 1 + sha256(change.id.key.encode()).digest()[0] % 250
        result["ipAddress"] = {**address, "ip": f"203.0.113.{number}" if public else f"10.0.1.{number}"}
        if label := address.get("dnsNameLabel"):
            suffix = _SUFFIXES.get(change.cloud.name, "azurecontainer.io")
            result["ipAddress"]["fqdn"] = f"{label}.{change.body.get('location', '')}.{suffix}"
    return result


def _shown(resource: Any, properties: dict[str, Any], expand: str) -> Mapping[str, Any]:
    """With the state of each container."""
    state = str(resource.properties.get(_STATE, "Running"))
    running = state == "Running"
    current = {"state": "Running" if running else "Terminated", "startTime": iso(resource.changed), "detailStatus": ""}
    containers = [
        {**one, "properties": {**one["properties"], "instanceView": {
            "restartCount": 0, "currentState": current, "events": [],
        }}}
        for one in items(properties.get("containers"))
    ]  # fmt: skip
    return {**properties, "containers": containers, "instanceView": {"events": [], "state": state}}
