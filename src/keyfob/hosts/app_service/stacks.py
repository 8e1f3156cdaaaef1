"""`webAppStacks` and `functionAppStacks`: the runtimes that clients choose from before they make a site.

A small table, not Azure's: Python, Node and .NET in their long-term versions, since nothing is run by Keyfob itself.
Shapes are those of the examples in Microsoft.Web's document; what azure-cli reads of them is there. No end-of-life
dates: they age, and azure-cli hides what is past its date.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keyfob.declare import Call, Route, SignedIn
from keyfob.hosts.app_service.model import API_VERSIONS
from keyfob.wire.http import Reply

_WORKERS = ["~4"]
"""Versions of the Functions host."""


@dataclass(frozen=True, slots=True)
class Version:
    """`linux` and `windows` are `runtimeVersion` there; empty where the system lacks it."""

    text: str
    value: str
    linux: str
    windows: str = ""
    actions: str = ""
    """Of the GitHub action that builds for it."""


@dataclass(frozen=True, slots=True)
class Stack:
    name: str
    text: str
    system: str
    versions: tuple[Version, ...]
    worker: str = ""
    """`FUNCTIONS_WORKER_RUNTIME`."""


WEB = (
    Stack(
        "dotnet",
        ".NET",
        "Windows",
        tuple(Version(f".NET {n} (LTS)", f"dotnet{n}", f"DOTNETCORE|{n}.0", f"v{n}.0", f"{n}.x") for n in ("10", "8")),
    ),
    Stack(
        "node",
        "Node",
        "Linux",
        tuple(Version(f"Node {n} LTS", f"{n}-lts", f"NODE|{n}-lts", f"~{n}", f"{n}.x") for n in ("24", "22", "20")),
    ),
    Stack(
        "python",
        "Python",
        "Linux",
        tuple(Version(f"Python {n}", n, f"PYTHON|{n}", actions=n) for n in ("3.14", "3.13", "3.12", "3.11", "3.10")),
    ),
)
FUNCTIONS = (
    Stack(
        "dotnet",
        ".NET",
        "Windows",
        tuple(
            Version(
                f".NET {n} Isolated",
                f"{n} (LTS), isolated worker model",
                f"DOTNET-ISOLATED|{n}.0",
                f"v{n}.0",
                f"{n}.0.x",
            )
            for n in ("10", "8")
        ),
        "dotnet-isolated",
    ),
    Stack(
        "node",
        "Node.js",
        "Windows",
        tuple(Version(f"Node.js {n} LTS", f"{n} LTS", f"Node|{n}", f"~{n}", f"{n}.x") for n in ("24", "22", "20")),
        "node",
    ),
    Stack(
        "python",
        "Python",
        "Linux",
        tuple(Version(f"Python {n}", n, f"Python|{n}", actions=n) for n in ("3.13", "3.12", "3.11", "3.10")),
        "python",
    ),
)
_TABLES: Mapping[str, tuple[Stack, ...]] = {"webAppStacks": WEB, "functionAppStacks": FUNCTIONS}


def routes() -> tuple[Route, ...]:
    known = SignedIn("the list of runtimes names nothing of anybody's")
    return tuple(
        Route("GET", path, known, _listing(table), api_versions=API_VERSIONS)
        for table in _TABLES
        for path in (f"/providers/Microsoft.Web/{table}", f"/providers/Microsoft.Web/locations/{{location}}/{table}")
    )


def _listing(table: str) -> Any:
    async def listed(call: Call) -> Reply:
        """`stackOsType` is `Linux`, `Windows` or absent, `stack` one of the names; versions that the system lacks are
        left out. Whoever asks with `sku` is told what a Flex Consumption app of a runtime is made with."""
        query = call.request.query
        asked, name = (query.get("stackOsType") or "").lower(), (query.get("stack") or "").lower()
        systems = [one for one in ("linux", "windows") if asked in ("", "all", one)]
        location = call.parameters.get("location")
        chosen = (one for one in _TABLES[table] if name in ("", one.name))
        shown = (_stack(table, one, systems, location, flex=bool(query.get("sku"))) for one in chosen)
        return Reply.json({"value": [stack for stack in shown if stack["properties"]["majorVersions"]]})

    return listed


def _stack(table: str, stack: Stack, systems: Sequence[str], location: str | None, *, flex: bool) -> dict[str, Any]:
    kind = f"Microsoft.Web/locations/{table}" if location else f"Microsoft.Web/{table}"
    majors: dict[str, list[dict[str, Any]]] = {}
    for version in stack.versions:
        if settings := _settings(stack, version, systems):
            if flex and stack.worker and "linuxRuntimeSettings" in settings:
                settings["linuxRuntimeSettings"]["Sku"] = [_flex(stack, version)]
            row = {"displayText": version.text, "value": version.value, "stackSettings": settings}
            majors.setdefault(_major(stack, version), []).append(row)
    return {
        "id": f"/providers/{kind}/{stack.name}",
        "name": stack.name,
        "type": kind,
        **({"location": location} if location else {}),
        "properties": {
            "displayText": stack.text,
            "value": stack.name,
            "preferredOs": stack.system,
            "majorVersions": [
                {"displayText": f"{stack.text} {major}", "value": major, "minorVersions": minors}
                for major, minors in majors.items()
            ],
        },
    }


def _major(stack: Stack, version: Version) -> str:
    """`24` of `NODE|24-lts`."""
    return version.linux.partition("|")[2].partition(".")[0].partition("-")[0]


def _settings(stack: Stack, version: Version, systems: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for system in systems:
        runtime = version.linux if system == "linux" else version.windows
        if runtime:
            found[f"{system}RuntimeSettings"] = {
                "runtimeVersion": runtime,
                "remoteDebuggingSupported": False,
                "appInsightsSettings": {"isSupported": True},
                "gitHubActionSettings": {"isSupported": True, "supportedVersion": version.actions},
                **(_worker(stack, runtime, linux=system == "linux") if stack.worker else {}),
            }
    return found


def _flex(stack: Stack, version: Version) -> dict[str, Any]:
    """`Sku` of the service's answer: its members are not in the document, azure-cli and Az.Functions read them."""
    return {
        "skuCode": "FC1",
        "instanceMemoryMB": [{"size": size, "isDefault": size == 2048} for size in (512, 2048, 4096)],
        "maximumInstanceCount": {
            "lowestMaximumInstanceCount": 40,
            "highestMaximumInstanceCount": 1000,
            "defaultValue": 100,
        },
        "functionAppConfigProperties": {
            "runtime": {"name": stack.worker, "version": version.linux.partition("|")[2]},
        },
    }


def _worker(stack: Stack, runtime: str, *, linux: bool) -> dict[str, Any]:
    """What a function app of the runtime is made with."""
    settings = {"FUNCTIONS_WORKER_RUNTIME": stack.worker}
    config: dict[str, Any] = {"use32BitWorkerProcess": False}
    if linux:
        config["linuxFxVersion"] = runtime
    elif stack.worker == "node":
        settings["WEBSITE_NODE_DEFAULT_VERSION"] = runtime
    return {
        "appSettingsDictionary": settings,
        "siteConfigPropertiesDictionary": config,
        "supportedFunctionsExtensionVersions": _WORKERS,
    }
