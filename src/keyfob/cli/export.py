"""`keyfob export`: what is there, as one template that makes it again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from keyfob.cli.client import RESOURCES_API, Client
from keyfob.cli.output import data_option, say, tenant_option
from keyfob.resource_id import ResourceId

SCHEMAS = "https://schema.management.azure.com/schemas"
SUBSCRIPTION_SCHEMA = f"{SCHEMAS}/2018-05-01/subscriptionDeploymentTemplate.json#"
GROUP_SCHEMA = f"{SCHEMAS}/2019-04-01/deploymentTemplate.json#"
ASSIGNMENTS, LOCKS = "Microsoft.Authorization/roleAssignments", "Microsoft.Authorization/locks"
ASSIGNMENTS_API, LOCKS_API, DEPLOYMENTS_API = "2022-04-01", "2020-05-01", "2021-04-01"
IDENTITIES, IDENTITIES_API = "Microsoft.ManagedIdentity/userAssignedIdentities", "2023-01-31"
_ENVELOPE = ("location", "tags", "sku", "kind", "plan", "zones", "extendedLocation", "managedBy")
PASSWORD = "[parameters('password')]"
"""Stands for a password that a type wants and never shows; what it becomes is new each time, unless it is given."""
_PASSWORDS = {"microsoft.sql/servers": ("administratorLogin", "administratorLoginPassword")}
"""Type → the property that makes a password necessary, and the password's."""
_BY_ITSELF = frozenset({"microsoft.sql/servers/databases/master"})
"""Made with its parent: type and name."""
_READ_ONLY = frozenset(
    [
        *("provisioningState", "instanceView", "vmId", "timeCreated", "uniqueId", "createdOn", "creationTime"),
        *(
            "creationDate",
            "keyCreationTime",
            "databaseId",
            "currentSku",
            "primaryEndpoints",
            "fullyQualifiedDomainName",
        ),
    ]
)
_OWN = {
    IDENTITIES.lower(): frozenset({"principalId", "clientId", "tenantId"}),
    "microsoft.network/networkinterfaces": frozenset({"virtualMachine"}),  # the machine names its interfaces
}
"""Read-only properties of one type."""


@click.command()
@click.option("--group", "-g", metavar="NAME", help="Only this resource group; everything without it.")
@click.option("--output-file", "-o", metavar="FILE", help="Where to write it; standard output without it.")
@tenant_option
@data_option
def export(group: str | None, output_file: str | None, tenant: str | None, data: Path) -> None:
    """Write everything, or one group, as a template that deploys again. Secrets are not in it.

    \b
    Examples:
      keyfob export --group shop -o shop.json
      keyfob export > everything.json
    """
    template = Export(Client(data, tenant)).template(group)
    text = json.dumps(template, indent=2, ensure_ascii=False)
    if output_file is None:
        click.echo(text)
        return
    Path(output_file).write_text(text + "\n")
    resources = template["resources"]
    inner = [one for part in resources for one in part.get("properties", {}).get("template", {}).get("resources", [])]
    again = f"keyfob load {output_file}" + (f" --group {group}" if group else "")
    say(f"{len([*resources, *inner])} resources in {output_file}; `{again}` makes them", fg="green")


class Export:
    """Reads with the public API, as the operator."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.subscription = f"/subscriptions/{client.operator['subscription_id']}"
        self._versions: dict[str, str] = {}
        self._children: dict[str, list[str]] = {}

    def template(self, group: str | None) -> dict[str, Any]:
        self._learn_types()
        scope = self.subscription if group is None else f"{self.subscription}/resourceGroups/{group}"
        groups = (
            self._list(f"{self.subscription}/resourceGroups", RESOURCES_API) if group is None else [self._group(group)]
        )
        found = {str(one["id"]).lower(): one for one in self._all(scope)}
        tie = Ties(self.subscription, self._client.operator["tenant_id"], found.values(), self._version)
        parts = {str(one["id"]).lower(): tie.resource(one, self._version(one["type"])) for one in found.values()}
        extensions = self._extensions(scope, tie, found)
        if group is not None:
            return _template(GROUP_SCHEMA, [*parts.values(), *extensions.get(scope.lower(), [])])
        resources: list[dict[str, Any]] = []
        for one in groups:
            resources += self._nested(one, tie, parts, extensions.get(str(one["id"]).lower(), []))
        resources += extensions.get(self.subscription.lower(), [])
        return _template(SUBSCRIPTION_SCHEMA, resources)

    def _nested(
        self, group: Mapping[str, Any], tie: Ties, parts: Mapping[str, Any], extensions: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """The group, and a deployment into it of what it holds."""
        place = {"location": group["location"], "name": group["name"]}
        made = {"type": "Microsoft.Resources/resourceGroups", "apiVersion": DEPLOYMENTS_API, **place}
        if group.get("tags"):
            made["tags"] = group["tags"]
        prefix = str(group["id"]).lower() + "/"
        inner = [part for id, part in parts.items() if id.startswith(prefix)] + extensions
        if not inner:
            return [made]
        nested = {
            "type": "Microsoft.Resources/deployments",
            "apiVersion": DEPLOYMENTS_API,
            "name": f"group-{group['name']}"[:64],
            "resourceGroup": group["name"],
            "dependsOn": [tie.text(str(group["id"]))],
            "properties": {
                "mode": "Incremental",
                "expressionEvaluationOptions": {"scope": "inner"},
                "template": _template(GROUP_SCHEMA, inner),
            },
        }
        return [made, nested]

    # --- reading

    def _list(self, path: str, version: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        answer = self._client.arm_json("GET", path, api_version=version)
        while True:
            rows += answer["value"]
            if not answer.get("nextLink"):
                return rows
            answer = self._client.arm_json("GET", answer["nextLink"])

    def _group(self, name: str) -> dict[str, Any]:
        path = f"{self.subscription}/resourceGroups/{quote(name)}"
        found: dict[str, Any] = self._client.arm_json("GET", path, api_version=RESOURCES_API)
        return found

    def _learn_types(self) -> None:
        for provider in self._list("/providers", RESOURCES_API):
            for kind in provider["resourceTypes"]:
                name = f"{provider['namespace']}/{kind['resourceType']}"
                versions = sorted(kind["apiVersions"], reverse=True)
                released = [one for one in versions if "preview" not in one]
                self._versions[name.lower()] = next(iter(released or versions), "")
                parent = name.lower().rpartition("/")[0]
                if "/" in parent:
                    self._children.setdefault(parent, []).append(name)

    def _version(self, kind: str) -> str:
        return self._versions.get(kind.lower()) or "2024-05-01"

    def _all(self, scope: str) -> Iterable[dict[str, Any]]:
        """Every resource with its children, whole."""
        waiting = [(one["id"], one["type"]) for one in self._list(f"{scope}/resources", RESOURCES_API)]
        seen: set[str] = set()
        while waiting:
            id, kind = waiting.pop(0)
            if id.lower() in seen:
                continue
            seen.add(id.lower())
            answer = self._client.arm("GET", id, api_version=self._version(kind))
            if answer.status != 200 or f"{kind}/{answer.json()['name']}".lower() in _BY_ITSELF:
                continue  # deleted meanwhile, or nobody's to make
            yield answer.json()
            for child in self._children.get(kind.lower(), ()):
                below = self._client.arm("GET", f"{id}/{child.rpartition('/')[2]}", api_version=self._version(child))
                rows = below.json().get("value", []) if below.status == 200 else []
                waiting += [(one["id"], child) for one in rows if isinstance(one, dict) and one.get("id")]

    def _extensions(self, scope: str, tie: Ties, found: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
        """Role assignments and locks, by the group (or subscription) whose deployment makes them."""
        made: dict[str, list[dict[str, Any]]] = {}
        for kind, version in ((ASSIGNMENTS, ASSIGNMENTS_API), (LOCKS, LOCKS_API)):
            for one in self._list(f"{scope}/providers/{kind}", version):
                at = ResourceId.parse(one["id"]).parent
                inside = ResourceId.parse(scope).contains(at) and at.subscription_id is not None
                if not inside or (at.namespace is not None and at.key not in found):
                    continue
                where = (
                    ResourceId.group(at.subscription_id or "", at.resource_group)
                    if at.resource_group
                    else ResourceId.subscription(at.subscription_id or "")
                )
                before = [id for id in found if at.contains(ResourceId.parse(id))] if kind == LOCKS else []
                made.setdefault(where.key, []).append(tie.extension(one, kind, version, at, before))
        return made


class Ties:
    """What ties resources together: ids inside bodies become expressions, and an order."""

    def __init__(
        self, subscription: str, tenant: str, resources: Iterable[Mapping[str, Any]], version: Callable[[str], str]
    ) -> None:
        self._subscription = subscription
        self._tenant = tenant
        self._ids: dict[str, str] = {}
        self._principals: dict[str, str] = {}
        for one in resources:
            id = str(one["id"])
            self._ids[id.lower()] = id
            system = (one.get("identity") or {}).get("principalId")
            own = (one.get("properties") or {}).get("principalId")
            if system:
                call = f"reference({self._call(id)}, '{version(str(one['type']))}', 'Full')"
                self._principals[str(system)] = f"[{call}.identity.principalId]"
            elif own and str(one["type"]).lower() == IDENTITIES.lower():
                self._principals[str(own)] = f"[reference({self._call(id)}, '{IDENTITIES_API}').principalId]"

    def _call(self, id: str) -> str:
        rest = id[len(self._subscription) :].replace("'", "''")
        return f"concat(subscription().id, '{rest}')"

    def text(self, value: str) -> str:
        """A text as a template has it: ids in this subscription relative to whichever it is deployed to."""
        if value.lower() == self._subscription.lower():
            return "[subscription().id]"
        if value.lower() == self._tenant.lower():
            return "[subscription().tenantId]"
        if value.lower().startswith(self._subscription.lower() + "/"):
            return f"[{self._call(value)}]"
        return f"[{value}" if value.startswith("[") else value

    def _value(self, value: Any, named: set[str]) -> Any:
        if isinstance(value, str):
            named.update(known for known in self._ids if _names(value.lower(), known))
            return self.text(value)
        if isinstance(value, Mapping):
            return {self._value(name, named): self._value(inner, named) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._value(inner, named) for inner in value]
        return value

    def resource(self, one: Mapping[str, Any], version: str) -> dict[str, Any]:
        id = ResourceId.parse(one["id"])
        named: set[str] = set()
        part: dict[str, Any] = {"type": one["type"], "apiVersion": version, "name": "/".join(id.names)}
        part |= {name: self._value(one[name], named) for name in _ENVELOPE if one.get(name)}
        if identity := one.get("identity"):
            users = identity.get("userAssignedIdentities") or {}
            part["identity"] = {"type": identity["type"]}
            if users:
                part["identity"]["userAssignedIdentities"] = {self._value(user, named): {} for user in users}
        hidden = _READ_ONLY | _OWN.get(str(one["type"]).lower(), frozenset())
        properties = {name: value for name, value in (one.get("properties") or {}).items() if name not in hidden}
        part["properties"] = self._value(properties, named)
        login, password = _PASSWORDS.get(str(one["type"]).lower(), ("", ""))
        if login and properties.get(login):
            part["properties"][password] = PASSWORD
        named.update(key for key in id.chain() if key in self._ids)
        named.discard(id.key)
        if named:
            part["dependsOn"] = [self.text(self._ids[key]) for key in sorted(named) if not self._inside(key, id)]
        return part

    @staticmethod
    def _inside(key: str, id: ResourceId) -> bool:
        """A resource does not wait for its own children."""
        return key.startswith(id.key + "/")

    def extension(
        self, one: Mapping[str, Any], kind: str, version: str, at: ResourceId, before: list[str]
    ) -> dict[str, Any]:
        part: dict[str, Any] = {"type": kind, "apiVersion": version, "name": one["name"]}
        named = set(before)
        if at.namespace is not None:
            part["scope"] = self.text(str(at))
            named.add(at.key)
        given = one["properties"]
        if kind == LOCKS:
            part["properties"] = {name: given[name] for name in ("level", "notes", "owners") if given.get(name)}
        else:
            principal = str(given["principalId"])
            role = str(given["roleDefinitionId"]).rpartition("/")[2]
            part["properties"] = {
                "roleDefinitionId": f"[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '{role}')]",
                "principalId": self._principals.get(principal, principal),
                "principalType": given.get("principalType") or "ServicePrincipal",
            }
            named |= {
                id for id, spelled in self._ids.items() if self._call(spelled) in part["properties"]["principalId"]
            }
        if named:
            part["dependsOn"] = [self.text(self._ids[key]) for key in sorted(named) if key in self._ids]
        return part


def _names(text: str, id: str) -> bool:
    """Whether a text names a resource, or something below it."""
    return text == id or text.startswith(id + "/")


def _template(schema: str, resources: list[dict[str, Any]]) -> dict[str, Any]:
    template: dict[str, Any] = {"$schema": schema, "contentVersion": "1.0.0.0"}
    if any(PASSWORD in part.get("properties", {}).values() for part in resources):
        template["parameters"] = {"password": {"type": "securestring", "defaultValue": "[concat('Kf1!', newGuid())]"}}
    return template | {"resources": resources}
