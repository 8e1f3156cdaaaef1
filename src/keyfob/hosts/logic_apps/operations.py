"""What the engine asks about workflows. A version is kept at each PUT and PATCH; triggers follow the definition."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from keyfob.arm.keys import DerivedKeys, regenerated
from keyfob.arm.resources import RESOURCES, get_resource, resource_not_found
from keyfob.arm.shapes import Shaped, change_properties, held, mapping, put_child
from keyfob.clock import Ids, iso
from keyfob.declare import Change
from keyfob.errors import InvalidInput, MethodNotAllowed
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Reply

TYPE = "Microsoft.Logic/workflows"
TRIGGER = f"{TYPE}/triggers"
API_VERSIONS = ("2015-02-01-preview", "2016-06-01", "2016-10-01", "2017-07-01", "2018-07-01-preview", "2019-05-01")
_STATES = ("Enabled", "Disabled", "Suspended")


class ReadOnly(Shaped):
    """Read and listed; written by what it belongs to."""

    async def accept(self, change: Change) -> Mapping[str, Any]:
        raise MethodNotAllowed(f"A resource of type '{change.id.type}' cannot be written.")


class Workflows:
    def __init__(self, ids: Ids) -> None:
        self._ids = ids

    def accept(self, change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
        definition = given.get("definition")
        if not isinstance(definition, Mapping):
            raise InvalidInput("The workflow's definition is an object.", code="InvalidRequestContent")
        for part in ("triggers", "actions", "outputs", "parameters"):
            if definition.get(part) is not None and not isinstance(definition[part], Mapping):
                raise InvalidInput(
                    f"The template validation failed: '{part}' of the definition is an object.", code="InvalidTemplate"
                )
        state = given.get("state") or "Enabled"
        if state not in _STATES:
            raise InvalidInput(f"The state '{str(state)[:40]}' is not known.", code="InvalidRequestContent")
        location = str(change.body.get("location") or "")
        sequence = self._ids.guid().replace("-", "")
        return {
            "createdTime": held(change, "createdTime", iso(change.now)),
            "changedTime": iso(change.now),
            "state": state,
            "version": f"0858{sequence[:16].upper()}",
            "accessEndpoint": f"{_host(change, location)}/workflows/{_workflow_id(change.id)}",
            "parameters": given.get("parameters") or {},
            "endpointsConfiguration": {"workflow": {}, "connector": {}},
        }

    async def with_workflow(self, change: Change, properties: Mapping[str, Any]) -> None:
        version = {
            name: properties[name] for name in ("createdTime", "changedTime", "state", "definition", "parameters")
        }
        await put_child(
            change, "versions", properties["version"], version | {"version": properties["version"]},
            location=str(change.body.get("location") or ""),
        )  # fmt: skip
        triggers = mapping(properties["definition"].get("triggers"))
        wanted = {name.lower() for name in triggers}
        for row in await RESOURCES.list(change.transaction, prefix=f"{change.id.key}/triggers/"):
            if row.value.name.lower() not in wanted:
                await RESOURCES.delete(change.transaction, row.key)
        for name in triggers:
            if "/" not in name:
                shown = {
                    "createdTime": properties["createdTime"],
                    "changedTime": properties["changedTime"],
                    "state": properties["state"],
                    "workflow": {"id": f"{change.id}/versions/{properties['version']}", "name": properties["version"]},
                }
                await put_child(change, "triggers", name, shown)


class CallbackUrls:
    """The address that starts a workflow, signed with its access key."""

    def __init__(self, derived: DerivedKeys) -> None:
        self._derived = derived

    def __repr__(self) -> str:
        return "CallbackUrls()"

    async def of_workflow(self, change: Change) -> Reply:
        triggers = mapping(change.before.properties["definition"].get("triggers"))
        manual = next((name for name, one in triggers.items() if mapping(one).get("type") == "Request"), None)
        if manual is None:
            raise InvalidInput(
                f"The workflow '{change.id.name}' has no trigger of type 'Request'.", code="TriggerNotFound"
            )
        return self._answer(change.before, manual)

    async def of_trigger(self, change: Change) -> Reply:
        workflow = await get_resource(change.transaction, change.id.parent)
        if workflow is None:
            raise resource_not_found(change.id.parent)
        return self._answer(workflow, change.id.name)

    def _answer(self, workflow: Any, trigger: str) -> Reply:
        path = f"{workflow.properties['accessEndpoint']}/triggers/{trigger}/paths/invoke"
        queries = {
            "api-version": "2016-10-01",
            "sp": f"/triggers/{trigger}/run",
            "sv": "1.0",
            "sig": self._derived.key(workflow, "primary").rstrip("=").replace("+", "-").replace("/", "_"),
        }
        value = f"{path}?{urlencode(queries)}"
        return Reply.json({"value": value, "method": "POST", "basePath": path, "queries": queries})


async def regenerate(change: Change) -> Reply:
    which = change.body.get("keyType") or "Primary"
    if which not in ("Primary", "Secondary", "NotSpecified"):
        raise InvalidInput("The keyType is Primary or Secondary.", code="InvalidRequestContent")
    await change_properties(change, regenerated(change.before, "secondary" if which == "Secondary" else "primary"))
    return Reply(200)


def _host(change: Change, location: str) -> str:
    suffix = {"AzureUSGovernment": "azure.us", "AzureChinaCloud": "azure.cn"}.get(change.cloud.name, "azure.com")
    return f"https://prod-01.{location}.logic.{suffix}:443"


def _workflow_id(id: ResourceId) -> str:
    return sha256(id.key.encode()).hexdigest()[:32]
