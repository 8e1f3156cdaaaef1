"""The official OpenAPI 2.0 documents: found, their references followed, their operations told apart as served or not.

The documents are not part of this project; `KEYFOB_OPENAPI` names the folder `specification` that holds them, beside
the project in `../shared/azure/openapi/specification` without it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyfob.arm.engine import placed
from keyfob.arm.paths import parse_path
from keyfob.arm.pipeline import ResourceManager
from keyfob.declare import Level, ResourceType
from keyfob.errors import Problem
from keyfob.resource_id import ResourceId

PROJECT = Path(__file__).parents[1]
METHODS = ("get", "put", "post", "delete", "patch", "head")
REAL, KEPT, ABSENT = "real", "kept", "absent"
ANYBODY = "00000000-0000-4000-8000-000000000001"
_VM = f"subscriptions/{ANYBODY}/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/x"
_WHOLE = {
    "roleassignmentid": f"subscriptions/{ANYBODY}/providers/Microsoft.Authorization/roleAssignments/x",
    "roledefinitionid": f"subscriptions/{ANYBODY}/providers/Microsoft.Authorization/roleDefinitions/x",
    "roleid": f"subscriptions/{ANYBODY}/providers/Microsoft.Authorization/roleDefinitions/x",
    "denyassignmentid": f"subscriptions/{ANYBODY}/providers/Microsoft.Authorization/denyAssignments/x",
    "resourceid": _VM,
    "scope": f"subscriptions/{ANYBODY}/resourceGroups/g",
    "parentresourcepath": "",
    "resourcetype": "virtualMachines",
    "resourceprovidernamespace": "Microsoft.Compute",
    "subscriptionid": ANYBODY,
}


def folder() -> Path | None:
    """Where the documents are, or None."""
    named = os.environ.get("KEYFOB_OPENAPI")
    found = Path(named) if named else PROJECT.parent / "shared" / "azure" / "openapi" / "specification"
    return found if found.is_dir() else None


@dataclass(frozen=True)
class Operation:
    """One operation of one document."""

    document: str
    file: Path
    version: str
    method: str
    path: str
    """The template, with the document's `basePath`."""
    id: str
    parameters: tuple[Mapping[str, Any], ...] = ()
    responses: Mapping[str, Any] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)
    """Name → key in the folder's `examples.json`."""

    def probe(self) -> str:
        """A path of this form, with names put in."""

        def name(found: re.Match[str]) -> str:
            return _WHOLE.get(found[1].lower(), "x")

        path = re.sub(r"\{([^}]+)\}", name, self.path)
        return "/" + "/".join(part for part in path.split("/") if part)


class Documents:
    """The documents of a folder, each read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._read: dict[Path, Any] = {}

    def load(self, file: Path) -> Any:
        file = Path(os.path.normpath(file))
        if file not in self._read:
            self._read[file] = json.loads(file.read_text())
        return self._read[file]

    def follow(self, node: Any, file: Path) -> tuple[Any, Path]:
        """The node behind any chain of `$ref`, and the file it is in."""
        while isinstance(node, Mapping) and isinstance(node.get("$ref"), str):
            where, _, pointer = node["$ref"].partition("#")
            if where:
                file = Path(os.path.normpath(file.parent / where))
            node = self.load(file)
            for part in pointer.strip("/").split("/") if pointer.strip("/") else ():
                node = node[part.replace("~1", "/").replace("~0", "~")]
        return node, file

    def files(self) -> Iterator[Path]:
        for file in sorted(self.root.rglob("*.json")):
            if file.name != "examples.json" and self.load(file).get("paths"):
                yield file

    def operations(self, file: Path) -> Iterator[Operation]:
        document = self.load(file)
        base = (document.get("basePath") or "").rstrip("/")
        for template, item in {**document["paths"], **(document.get("x-ms-paths") or {})}.items():
            for method in METHODS:
                if method not in item:
                    continue
                node = item[method]
                parameters = [
                    self.follow(one, file)[0] for one in (*item.get("parameters", ()), *node.get("parameters", ()))
                ]
                examples = {
                    name: one["$ref"].partition("examples/")[2]
                    for name, one in (node.get("x-ms-examples") or {}).items()
                }
                yield Operation(
                    document=str(file.relative_to(self.root)),
                    file=file,
                    version=document["info"]["version"],
                    method=method.upper(),
                    path=base + template.partition("?")[0],
                    id=node.get("operationId", f"{method} {template}"),
                    parameters=tuple(parameters),
                    responses=node["responses"],
                    examples=examples,
                )

    def example(self, operation: Operation, key: str) -> Any:
        return self.load(operation.file.parent / "examples.json").get(key)


def served(manager: ResourceManager, method: str, path: str, version: str) -> str:
    """Whether Resource Manager takes such a request: `real`, `kept` (stored, does nothing) or `absent`."""
    for table in (manager.own, manager.registry.routes):
        if found := table.match(method, path):
            versions = found[0].api_versions
            return REAL if not versions or version.lower() in {v.lower() for v in versions} else ABSENT
    if manager._methods(path) and not manager._declares(path):
        return ABSENT
    try:
        place = parse_path(path)
    except Problem:
        return ABSENT
    if isinstance(place, ResourceId):
        kind = _kind(manager, place.type, version)
        fits = kind is not None and placed(kind, place) and method in ("GET", "HEAD", "PUT", "PATCH", "DELETE")
        return standing(manager, kind) if fits and kind is not None else ABSENT
    if method == "GET":
        kind = _kind(manager, place.type, version)
        return standing(manager, kind) if kind is not None and _lists(kind, place.parent) else ABSENT
    if method == "POST" and place.parent.namespace is not None:
        kind = _kind(manager, place.parent.type, version)
        words = {name.lower() for name in kind.actions} if kind is not None else set()
        return standing(manager, kind) if kind is not None and place.word.lower() in words else ABSENT
    return ABSENT


LISTED = Path(__file__).parent / "sources" / "openapi_operations.json"
_METADATA = "imds/data-plane/"


def write_listed(documents: Documents) -> None:
    """What the coverage page needs of the documents, kept with the project: per document its version and operations."""
    found = {}
    for file in documents.files():
        operations = list(documents.operations(file))
        if operations:
            rows = [[one.method, one.probe(), one.id] for one in operations]
            found[operations[0].document] = {"version": operations[0].version, "operations": rows}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(one, separators=(',', ':'))}" for name, one in found.items())
    LISTED.write_text("{\n" + lines + "\n}\n")


def listed(app: Any) -> Iterator[tuple[str, str, dict[str, list[str]]]]:
    """Document, version, and the names of its operations by standing."""
    for document, one in json.loads(LISTED.read_text()).items():
        standings: dict[str, list[str]] = {REAL: [], KEPT: [], ABSENT: []}
        for method, path, name in one["operations"]:
            standings[_standing_of(app, document, method, path, one["version"])].append(name)
        yield document, one["version"], standings


def _standing_of(app: Any, document: str, method: str, path: str, version: str) -> str:
    if "/data-plane/" not in document:
        return served(app.resource_manager, method, path, version)
    if document.startswith(_METADATA):
        return REAL  # the replayed examples say so
    if document.startswith("keyvault/"):
        return REAL if app.front_door.planes["key_vault"].routes.match(method, path) else ABSENT
    return ABSENT


def standing(manager: ResourceManager, kind: ResourceType) -> str:
    """Real types are declared; any other is kept."""
    namespace, _, rest = kind.name.partition("/")
    known = next((n for n in manager.registry.namespaces if n.name.lower() == namespace.lower()), None)
    return REAL if known is not None and rest.lower() in known.types else KEPT


def _kind(manager: ResourceManager, type_name: str, version: str) -> ResourceType | None:
    try:
        kind = manager.registry.type(type_name, version)
    except Problem:
        return None
    if standing(manager, kind) == KEPT:
        return kind
    return kind if version.lower() in {v.lower() for v in kind.api_versions} else None


def _lists(kind: ResourceType, parent: ResourceId) -> bool:
    if kind.name.count("/") > 1:
        return parent.type.lower() == kind.name.rpartition("/")[0].lower()
    if kind.level is Level.EXTENSION:
        return parent.subscription_id is not None
    return parent.subscription_id is not None and parent.namespace is None
