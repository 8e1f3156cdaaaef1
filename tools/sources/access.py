"""roles.json and operations.json: the built-in roles, and the operations that resource providers are known to have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PERMISSION = ("actions", "notActions", "dataActions", "notDataActions", "condition", "conditionVersion")


def files(reference: Path) -> dict[str, Any]:
    folder = reference / "rbac"
    return {
        "src/keyfob/access/data/roles.json": roles(json.loads((folder / "built-in-roles.json").read_text("utf-8"))),
        "src/keyfob/access/data/operations.json": operations(
            json.loads((folder / "provider-operations.json").read_text("utf-8"))
        ),
    }


def roles(source: dict[str, Any]) -> list[dict[str, Any]]:
    """By name; without what every built-in role has (type, assignable scope `/`) and without empty lists."""
    made = []
    for role in source["roleDefinitions"]:
        if role["assignableScopes"] != ["/"] or role["roleType"] != "BuiltInRole":
            raise ValueError(f"{role['roleName']} is not a built-in role of every scope")
        made.append(
            {
                "name": role["name"].lower(),
                "roleName": role["roleName"],
                "description": role["description"] or "",
                "permissions": [
                    {key: part[key] for key in PERMISSION if part.get(key)} for part in role["permissions"]
                ],
            }
        )
    if len(made) != source["count"] or len({role["name"] for role in made}) != len(made):
        raise ValueError(f"{len(made)} roles where the source counts {source['count']}, or one GUID twice")
    return sorted(made, key=lambda role: (role["roleName"].casefold(), role["name"]))


def operations(source: dict[str, Any]) -> list[dict[str, Any]]:
    """By name. `data` is present (true) on data actions; `assumed` where the source does not say which it is."""
    made = []
    for operation in source["operations"]:
        row: dict[str, Any] = {"name": operation["name"]}
        if operation["isDataAction"]:
            row["data"] = True
        if operation.get("isDataActionAssumed"):
            row["assumed"] = True
        if title := operation.get("displayName"):
            row["title"] = title
        description = operation.get("description")
        if description and description != title:
            row["description"] = description
        made.append(row)
    return sorted(made, key=lambda row: (row["name"].casefold(), row.get("data", False)))
