"""availability.json: which host services and which targets know managed identities, per cloud, in three editions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any


def files(reference: Path) -> dict[str, Any]:
    then = _read(reference, "2018-11-28")
    later = _read(reference, "2019-06-19")
    now = _read(reference, "current")
    current = _edition(now["lastMatrix"])
    listed = now["newestPage"]
    targets = now["newestTargetPage"]
    # The newest pages only list services; they say nothing of clouds, kinds of identity or previews.
    current["newer_list"] = {
        "date": listed["msDate"],
        "hosts": [row["id"] for row in listed["hostServices"] if row["listed"]],
        "targets": [row["id"] for row in targets["targetServices"] if row["listed"]],
    }
    editions = {"2018-11-28": _edition(then), "2019-06-19": _edition(later), "current": current}
    return {"src/keyfob/clouds/data/availability.json": editions}


def _edition(source: dict[str, Any]) -> dict[str, Any]:
    return {
        "date": source["msDate"],
        "hosts": {row["id"]: _host(row) for row in source["hostServices"]},
        "targets": {row["id"]: _target(row) for row in source["targetServices"]},
    }


def _host(row: dict[str, Any]) -> dict[str, Any]:
    """`identities`: SystemAssigned or UserAssigned → cloud → status, or one status per operating system."""
    return {
        "name": row["service"],
        "types": [re.sub(r" \(.*\)$", "", name) for name in row["resourceTypes"]],
        "identities": {
            kind: {cloud: cell["status"] or cell["byOsType"] for cloud, cell in cells.items()}
            for kind, cells in row["identityTypes"].items()
        },
    }


def _target(row: dict[str, Any]) -> dict[str, Any]:
    """The page of 2018 has one status and one resource id per service and no cloud column: the public cloud's."""
    cells = row.get("clouds") or {"AzureCloud": {"status": row["status"], "resourceIds": [row["resourceId"]]}}
    return {
        "name": row["service"],
        "clouds": {
            cloud: {"status": cell["status"], "resource_ids": cell["resourceIds"]} for cloud, cell in cells.items()
        },
    }


def _read(reference: Path, edition: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((reference / f"availability-{edition}.json").read_text("utf-8"))
    return value
