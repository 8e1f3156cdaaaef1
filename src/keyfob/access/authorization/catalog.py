"""`providerOperations`: the actions that resource providers are known to have, from `access/data/operations.json`.

Only the namespaces of that file, and complete only for some of them; who writes a role may name others.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

import msgspec


class Operation(msgspec.Struct, frozen=True):
    """A line of the file. `assumed`: the source did not say whether it is a data action."""

    name: str
    data: bool = False
    assumed: bool = False
    title: str = ""
    description: str = ""


def read_operations() -> list[Operation]:
    data = resources.files("keyfob.access").joinpath("data", "operations.json").read_bytes()
    return msgspec.json.decode(data, type=list[Operation])


def providers(operations: list[Operation]) -> Mapping[str, list[Operation]]:
    """By namespace, in its spelling."""
    found: dict[str, list[Operation]] = {}
    spelled: dict[str, str] = {}
    for operation in operations:
        namespace = operation.name.partition("/")[0]
        found.setdefault(spelled.setdefault(namespace.lower(), namespace), []).append(operation)
    return found


def provider_operations(namespace: str, operations: list[Operation], *, types: bool) -> dict[str, Any]:
    """The wire form; `types` is `$expand=resourceTypes`."""
    own: list[dict[str, Any]] = []
    by_type: dict[str, list[dict[str, Any]]] = {}
    for operation in operations:
        kind = operation.name.removesuffix("/action").split("/")[1:-1]
        shown = {
            "name": operation.name,
            "displayName": operation.title,
            "description": operation.description,
            "origin": "user,system",
            "properties": None,
            "isDataAction": operation.data,
        }
        (by_type.setdefault("/".join(kind), []) if kind else own).append(shown)
    return {
        "displayName": namespace,
        "operations": own,
        "resourceTypes": [
            {"name": kind, "displayName": kind, "operations": shown} for kind, shown in sorted(by_type.items())
        ]
        if types
        else [],
        "id": f"/providers/Microsoft.Authorization/providerOperations/{namespace}",
        "type": "Microsoft.Authorization/providerOperations",
        "name": namespace,
    }
