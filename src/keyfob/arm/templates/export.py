"""A resource group as a template that would make it again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from keyfob.arm.templates.deploy import Ask
from keyfob.errors import Problem
from keyfob.resource_id import ResourceId

_VERSION = "2022-09-01"
_ENVELOPE = ("location", "tags", "sku", "kind", "plan", "zones", "identity", "properties")
_READ_ONLY = frozenset({"provisioningstate", "uniqueid", "creationtime", "systemdata", "etag"})


async def export_group(ask: Ask, scope: ResourceId, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """`{"template": …}`, and `error` with what could not be exported."""
    listed = json.loads((await ask("GET", f"{scope}/resources", _VERSION, None)).body)["value"]
    only = wanted.get("resources")
    if isinstance(only, list) and only and "*" not in only:
        keys = {str(one).lower() for one in only}
        listed = [row for row in listed if row["id"].lower() in keys]
    versions: dict[str, dict[str, str]] = {}
    parameters: dict[str, Any] = {}
    resources, failures = [], []
    for row in listed:
        id = ResourceId.parse(row["id"])
        namespace, _, kind = id.type.partition("/")
        try:
            if namespace not in versions:
                versions[namespace] = await _versions(ask, namespace)
            version = versions[namespace].get(kind.lower(), _VERSION)
            shown = json.loads((await ask("GET", str(id), version, None)).body)
        except Problem as problem:
            failures.append({"code": problem.code, "message": problem.message, "target": str(id)})
            continue
        resources.append(_resource(id, shown, version, parameters))
    template = {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": parameters if "SkipAllParameterization" not in str(wanted.get("options", "")) else {},
        "variables": {},
        "resources": resources,
    }
    body: dict[str, Any] = {"template": template}
    if failures:
        body["error"] = {
            "code": "ExportTemplateCompletedWithErrors",
            "message": "Export template operation completed with errors. Some resources were not exported.",
            "details": failures,
        }
    return body


async def _versions(ask: Ask, namespace: str) -> dict[str, str]:
    body = json.loads((await ask("GET", f"/providers/{namespace}", _VERSION, None)).body)
    rows = body.get("resourceTypes", ())
    return {row["resourceType"].lower(): row["apiVersions"][0] for row in rows if row["apiVersions"]}


def _resource(id: ResourceId, shown: Mapping[str, Any], version: str, parameters: dict[str, Any]) -> dict[str, Any]:
    names = "/".join(id.names)
    made: dict[str, Any] = {"type": id.type, "apiVersion": version, "name": names}
    if len(id.names) == 1:
        name = re.sub(r"\W+", "_", f"{id.type.rpartition('/')[2]}_{id.name}_name")
        parameters[name] = {"defaultValue": id.name, "type": "String"}
        made["name"] = f"[parameters('{name}')]"
    elif id.parent.namespace is not None:
        made["dependsOn"] = [f"[resourceId('{id.parent.type}', {', '.join(map(_quoted, id.names[:-1]))})]"]
    for member in _ENVELOPE:
        if shown.get(member) not in (None, {}, []):
            made[member] = _literal(_writable(member, shown[member]))
    return made


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _writable(member: str, value: Any) -> Any:
    if member == "properties" and isinstance(value, dict):
        return {name: inside for name, inside in value.items() if name.lower() not in _READ_ONLY}
    if member == "identity" and isinstance(value, dict):
        kept = {"type": value.get("type")}
        users = value.get("userAssignedIdentities")
        return kept | ({"userAssignedIdentities": {id: {} for id in users}} if users else {})
    return value


def _literal(value: Any) -> Any:
    """Texts that begin with a bracket get a second one, so that they stay texts."""
    if isinstance(value, str):
        return f"[{value}" if value.startswith("[") and value.endswith("]") else value
    if isinstance(value, dict):
        return {name: _literal(inside) for name, inside in value.items()}
    if isinstance(value, list):
        return [_literal(one) for one in value]
    return value
