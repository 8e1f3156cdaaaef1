"""What a PUT of a group means: what is refused, what is stored, whether its containers start anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any

from keyfob.arm.shapes import change_properties, items, mapping
from keyfob.declare import Change
from keyfob.errors import InvalidInput
from keyfob.hosts.container_instances.groups import NODE, SECRETS, Groups
from keyfob.hosts.container_instances.model import NAME, check_container, restart_policy
from keyfob.hosts.container_instances.secrets import SecretsSeal, collect
from keyfob.hosts.container_instances.states import FAILED, GENERATION, RUNNING, STATE, STOPPED, SUCCEEDED
from keyfob.wire.http import Reply

WRITE_ONLY = (
    "containers.*.properties.environmentVariables.*.secureValue",
    "initContainers.*.properties.environmentVariables.*.secureValue",
    "imageRegistryCredentials.*.password",
    "volumes.*.azureFile.storageAccountKey",
    "volumes.*.secret",
    "diagnostics.logAnalytics.workspaceKey",
)
_SUFFIXES = {"AzureUSGovernment": "azurecontainer.us", "AzureChinaCloud": "azurecontainer.cn"}
_RUN = ("containers", "initContainers", "volumes", "osType", "restartPolicy")
"""The members whose change starts the containers anew."""


class Acceptance:
    """What the type's operations do, with the seal for what must not be seen."""

    def __init__(self, groups: Groups, seal: SecretsSeal) -> None:
        self._groups = groups
        self._seal = seal

    def accept(self, change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
        before = change.before.properties if change.before is not None else {}
        made = checked(given)
        made |= _address(change, given)
        old = self._seal.open(before.get(SECRETS), change.id)
        secrets = collect(given, old)
        same = secrets == old and all(_bare({**given, **made}, name) == _bare(before, name) for name in _RUN)
        made[SECRETS] = before[SECRETS] if same and before.get(SECRETS) else self._seal.close(secrets, change.id)
        made[GENERATION] = before[GENERATION] if same and before else _next(before, change.now)
        made[STATE] = before.get(STATE, RUNNING)
        made[NODE] = before.get(NODE) or self._groups.node
        return made

    def starting(self, *, anew: bool) -> Callable[[Change], Awaitable[Reply]]:
        """`start` leaves alone what runs, `restart` does not."""

        async def start(change: Change) -> Reply:
            properties = change.before.properties
            seen = self._groups.seen(change.id, properties)
            runs = properties.get(STATE, RUNNING) == RUNNING and (seen is None or seen.state not in (SUCCEEDED, FAILED))
            if anew or not runs:
                set_ = {STATE: RUNNING, GENERATION: _next(properties, change.now), NODE: self._groups.node}
                await change_properties(change, {**properties, **set_})
            return Reply(204)

        return start


def _next(before: Mapping[str, Any], now: float) -> int:
    """The next generation. A new group begins with the time: what one of the same name before it has left running,
    here or in an engine, must not count as its own."""
    return int(before.get(GENERATION, now * 1000)) + 1


async def stop(change: Change) -> Reply:
    await change_properties(change, {**change.before.properties, STATE: STOPPED})
    return Reply(204)


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The members that every group has, complete. Raises InvalidInput."""
    containers, init = items(given.get("containers")), items(given.get("initContainers"))
    if not containers:
        raise InvalidInput(
            "The container group has no containers.", code="MissingContainerGroupContainers", target="containers"
        )
    system = next((one for one in ("Linux", "Windows") if one.lower() == str(given.get("osType", "")).lower()), None)
    if system is None:
        raise InvalidInput("The osType is Linux or Windows.", code="InvalidOsType", target="osType")
    made, seen = [], set()
    for one in (*containers, *init):
        name = one.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name) or name in seen:
            raise InvalidInput(
                "Each container has a name of its own, of at most 63 lower-case letters, digits and dashes.",
                code="InvalidContainerName",
            )
        seen.add(name)
        check_container(one)
    for one in containers:
        made.append({**one, "properties": _complete(one)})
    return {
        "sku": given.get("sku") or "Standard",
        "containers": made,
        "initContainers": init,
        "osType": system,
        "restartPolicy": restart_policy(given.get("restartPolicy")).value,
    }


def _complete(one: Mapping[str, Any]) -> dict[str, Any]:
    name, inner = one["name"], dict(mapping(one.get("properties")))
    if not inner.get("image"):
        raise InvalidInput(f"The container '{name}' has no image.", code="MissingImage", target="image")
    requests = mapping(mapping(inner.get("resources")).get("requests"))
    if not requests.get("cpu") or not requests.get("memoryInGB"):
        raise InvalidInput(f"Resources of container '{name}' are required.", code="ResourceRequestsNotSpecified")
    inner.setdefault("ports", [])
    inner.setdefault("environmentVariables", [])
    return inner


def _address(change: Change, given: Mapping[str, Any]) -> dict[str, Any]:
    address = mapping(given.get("ipAddress"))
    if not address:
        return {}
    public = str(address.get("type", "Public")).lower() != "private"
    number = 1 + sha256(change.id.key.encode()).digest()[0] % 250
    made = {**address, "ip": f"203.0.113.{number}" if public else f"10.0.1.{number}"}
    if label := address.get("dnsNameLabel"):
        suffix = _SUFFIXES.get(change.cloud.name, "azurecontainer.io")
        made["fqdn"] = f"{label}.{change.body.get('location', '')}.{suffix}"
    return {"ipAddress": made}


def _bare(properties: Mapping[str, Any], name: str) -> Any:
    """A member without what is never stored, to be compared."""
    if name == "volumes":
        return [{kind: value for kind, value in one.items() if kind != "secret"} for one in items(properties.get(name))]
    if name not in ("containers", "initContainers"):
        return properties.get(name)
    result = []
    for one in items(properties.get(name)):
        inner = dict(mapping(one.get("properties")))
        inner["environmentVariables"] = [
            {kind: value for kind, value in variable.items() if kind != "secureValue"}
            for variable in items(inner.get("environmentVariables"))
        ]
        result.append({**one, "properties": inner})
    return result
