"""Watches a server at work: each request it accepts and each reply it gives, against the document of that api-version.

Checked: what Resource Manager and Key Vault answer with 2xx when a document of the request's api-version knows the
operation. Not checked: refusals, types that are only kept (they have the members they were given), the generic
operations on any resource (the type's own document says more), and versions without a document here.
"""

from __future__ import annotations

import importlib.util
import json
import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from conformance_documents import KEPT, LISTED, PROJECT, Documents, Operation, served
from conformance_replay import names_in, tolerated
from conformance_schema import Checker

from keyfob.access.door import Door
from keyfob.app.front_door import FrontDoor
from keyfob.arm.pipeline import ResourceManager
from keyfob.services.key_vault.hot import HotSecrets
from keyfob.wire.http import Fields, Reply, Request, parse_target

_VAULTS = "keyvault/data-plane/"
_SPANNING = {"scope", "resourcescope"}
"""Parameters that stand for a path, also where a document forgets `x-ms-skip-url-encoding`."""


@dataclass(frozen=True)
class Deviation:
    """One sentence about one request or reply."""

    document: str
    operation: str
    problem: str

    def __str__(self) -> str:
        return f"{self.document} | {self.operation} | {self.problem}"


@dataclass(frozen=True)
class _Compiled:
    operation: Operation
    pattern: re.Pattern[str]
    literal: int
    """Characters outside of parameters: of two operations that fit, the one with more is meant."""


class Watch:
    """Holds `found`, the deviations so far, and tells `report` of each. Documents are read when the first request of
    their version comes."""

    def __init__(self, documents: Documents, report: Callable[[Deviation], None] | None = None) -> None:
        self.found: list[Deviation] = []
        self._report = report
        self.checked = 0
        self._documents = documents
        self._requests = Checker(documents, reply=False)
        self._replies = Checker(documents, reply=True)
        self._listed: dict[tuple[bool, str], list[str]] | None = None
        self._compiled: dict[tuple[bool, str], list[_Compiled]] = {}
        self._newer_names: dict[tuple[str, str], set[str]] = {}
        self._seen: set[int] = set()
        self._paused = 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """For traffic that is checked otherwise."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1

    def take(self) -> list[Deviation]:
        """What was found since the last time."""
        found, self.found = self.found, []
        return list(dict.fromkeys(found))

    def saw(self, request: Request, reply: Reply, manager: ResourceManager | None) -> None:
        """`manager` is None for what a vault answered."""
        version = (request.query.get("api-version") or "").lower()
        if self._paused or not version or not 200 <= reply.status < 300 or request.method == "HEAD":
            return
        operation = self._operation(manager is None, version, request.method, request.path)
        if operation is None:
            return
        mark = hash((operation.document, operation.id, reply.status, request.body, reply.body))
        if mark in self._seen:
            return
        self._seen.add(mark)
        if manager is not None and served(manager, request.method, request.path, operation.version) == KEPT:
            return
        self.checked += 1
        try:
            problems = [*self._of_request(operation, request), *self._of_reply(operation, reply)]
        except Exception as error:  # a server at work must not notice
            problems = [f"the check itself failed: {error!r}"]
        for problem in problems:
            one = Deviation(operation.document, operation.id, problem)
            self.found.append(one)
            if self._report is not None:
                self._report(one)

    # ---

    def _of_request(self, operation: Operation, request: Request) -> Iterator[str]:
        parameter = next((one for one in operation.parameters if one.get("in") == "body"), None)
        if parameter is None:
            return
        if not request.body.strip():
            if parameter.get("required"):
                yield "request: accepted without its body"
            return
        for one in self._requests.problems(json.loads(request.body), parameter["schema"], operation.file):
            yield f"request: {one}"

    def _of_reply(self, operation: Operation, reply: Reply) -> Iterator[str]:
        declared = operation.responses.get(str(reply.status))
        if declared is None:
            yield f"reply: status {reply.status} is not declared"
            return
        declared, file = self._documents.follow(declared, operation.file)
        schema = declared.get("schema")
        if schema is None:
            if reply.body and reply.status != 200:
                yield f"reply: a body with status {reply.status}"
        elif reply.body:
            found = self._replies.problems(json.loads(reply.body), schema, file)
            newer = self._newer(operation) if found else set()
            yield from (f"reply: {one}" for one in found if not tolerated(operation, one, newer))
        elif reply.status in (200, 201):
            yield f"reply: status {reply.status} without its body"

    def _operation(self, vault: bool, version: str, method: str, path: str) -> Operation | None:
        key = (vault, version)
        if key not in self._compiled:
            self._compiled[key] = sorted(self._compile(key), key=lambda one: -one.literal)
        for one in self._compiled[key]:
            if one.operation.method == method and one.pattern.fullmatch(path):
                return one.operation
        return None

    def _compile(self, key: tuple[bool, str]) -> Iterator[_Compiled]:
        for document in self._by_version().get(key, ()):
            for operation in self._documents.operations(self._documents.root / document):
                if "{resourceType}" in operation.path or re.fullmatch(r"/\{[^}]*\}", operation.path):
                    continue
                yield _Compiled(operation, _pattern(operation), len(re.sub(r"\{[^}]*\}", "", operation.path)))

    def _by_version(self) -> Mapping[tuple[bool, str], list[str]]:
        if self._listed is None:
            self._listed = {}
            for document, one in json.loads(LISTED.read_text()).items():
                vault = document.startswith(_VAULTS)
                if (vault or "/data-plane/" not in document) and (self._documents.root / document).exists():
                    version = one["version"].lower()
                    self._listed.setdefault((vault, version.removesuffix("-preview") if vault else version), []).append(
                        document
                    )
        return self._listed

    def _newer(self, operation: Operation) -> set[str]:
        """Names of members that the provider's documents of later versions define."""
        provider = operation.document.partition("/")[0]
        key = (provider, operation.version)
        if key not in self._newer_names:
            found: set[str] = set()
            for (_, version), documents in self._by_version().items():
                for document in documents if version > operation.version.lower() else ():
                    if document.startswith(f"{provider}/resource-manager/"):
                        definitions = self._documents.load(self._documents.root / document).get("definitions") or {}
                        for one in definitions.values():
                            names_in(one, found)
            self._newer_names[key] = found
        return self._newer_names[key]


def _pattern(operation: Operation) -> re.Pattern[str]:
    spanning = _SPANNING | {one["name"].lower() for one in operation.parameters if one.get("x-ms-skip-url-encoding")}
    made = ""
    for segment in operation.path.strip("/").split("/"):
        name = segment[1:-1].lower() if segment.startswith("{") and segment.endswith("}") else ""
        if name in spanning:
            made += "/.+" if made else "(?:/.+)?"  # the root's scope is empty
        elif name == "secret-version":  # clients ask for the newest with nothing there, and the slash goes, too
            made += "(?:/[^/]+)?"
        else:
            pieces = re.split(r"(\{[^}]*\})", segment)
            made += "/" + "".join("[^/]+" if one.startswith("{") else re.escape(one) for one in pieces)
    return re.compile(made, re.IGNORECASE)


# --- put between


def install(watch: Watch) -> None:
    """Every application built in this process from now on is watched, for as long as the process lives."""
    ours: weakref.WeakSet[Any] = weakref.WeakSet()
    door_init, manager_call = FrontDoor.__init__, ResourceManager.__call__
    vault_call, hot_call = Door.__call__, HotSecrets.__call__

    def built(self: FrontDoor, **parts: Any) -> None:
        door_init(self, **parts)
        for plane in (self.planes.get("resource_manager"), self.planes.get("key_vault")):
            if plane is not None:
                ours.add(plane)

    async def managed(self: ResourceManager, request: Request, address: Any) -> Reply:
        reply = await manager_call(self, request, address)
        if self in ours:
            watch.saw(request, reply, self)
        return reply

    async def vaulted(self: Door, request: Request, address: Any) -> Reply:
        reply = await vault_call(self, request, address)
        if self in ours:
            watch.saw(request, reply, None)
        return reply

    def quick(self: HotSecrets, target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes | None:
        answer = hot_call(self, target, headers)
        if answer is not None:
            path, _, query = parse_target(target.decode())
            head, _, body = answer.partition(b"\r\n\r\n")
            watch.saw(Request("GET", path, query, Fields()), Reply(int(head.split(b" ", 2)[1]), body), None)
        return answer

    FrontDoor.__init__ = built  # type: ignore[method-assign]
    ResourceManager.__call__ = managed  # type: ignore[method-assign]
    Door.__call__ = vaulted  # type: ignore[method-assign]
    HotSecrets.__call__ = quick  # type: ignore[method-assign]


def known_traffic() -> Mapping[tuple[str, str, str], str]:
    """`TRAFFIC` of tests/conformance/known.py: (end of the document, operation, problem) → why."""
    spec = importlib.util.spec_from_file_location("conformance_known", PROJECT / "tests" / "conformance" / "known.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    known: Mapping[tuple[str, str, str], str] = module.TRAFFIC
    return known


def unknown(found: Iterable[Deviation], known: Mapping[tuple[str, str, str], str]) -> list[Deviation]:
    def is_known(one: Deviation) -> bool:
        return any(
            one.document.endswith(document) and fnmatchcase(one.operation, operation) and fnmatchcase(one.problem, text)
            for document, operation, text in known
        )

    return [one for one in found if not is_known(one)]
