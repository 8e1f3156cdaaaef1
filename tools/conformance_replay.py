"""Replays an official example against a server in this process and says how the answer differs from its document.

What an example takes for granted is made first: its resource group, the identities that its body names, the resources
its path lies in, and for everything but PUT the resource itself. Afterwards all of that is gone again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from conformance_documents import ABSENT, KEPT, Documents, Operation, served
from conformance_schema import Checker
from conformance_subjects import BEFORE, authorization_body, extension_body, path_value, preferred_body

from keyfob.app.parts import App
from keyfob.arm.paths import parse_path
from keyfob.clouds.table import load_clouds
from keyfob.errors import Problem
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Fields, Reply, Request, parse_target

SUBSCRIPTION = re.compile(r"(/?subscriptions/)(?:\{[^}]*\}|<[^>]*>|[^/{}<>\s\"']+)", re.IGNORECASE)
IDENTITY = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.ManagedIdentity/userAssignedIdentities/[^/\"\s?]+",
    re.IGNORECASE,
)
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|tenant-?id", re.IGNORECASE)
_PLACEHOLDER_IDENTITY = (
    "/subscriptions/{}/resourceGroups/conformance/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
)
REGION = "westus"
_MINIMAL: tuple[Mapping[str, Any], ...] = ({"location": REGION, "properties": {}}, {"properties": {}})


@dataclass
class Result:
    """What came of one example."""

    operation: Operation
    name: str
    standing: str
    status: int = 0
    problems: list[str] = field(default_factory=list)
    excused: set[tuple[str, str]] = field(default_factory=set)
    """Entries of `SHOWN_ANYWAY` and `LEFT_OUT` without which there would be more problems."""

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.operation.document, self.operation.id, self.name)


class Server:
    """An application that is built and not listening, and its operator."""

    def __init__(self, app: App, operator: Mapping[str, str]) -> None:
        self.app = app
        self.operator = operator
        self.subscription = operator["subscription_id"]
        self.regions = load_clouds()[operator["cloud"]].locations
        self.tokens: dict[str, str] = {}
        self._kept: set[tuple[str, str]] = set()

    async def send(
        self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None, *, token: str = ""
    ) -> Reply:
        """`url` is `host/path?query`; a body that is no bytes goes as JSON."""
        host, _, target = url.removeprefix("https://").partition("/")
        path, raw, query = parse_target("/" + target)
        pairs = list((headers or {}).items())
        if token:
            pairs.append(("Authorization", f"Bearer {token}"))
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            pairs.append(("Content-Type", "application/json"))
        return await self.app.front_door(
            Request(method, path, query, Fields(pairs), body or b"", host=host, raw_path=raw)
        )

    async def token(self, resource: str) -> str:
        if resource not in self.tokens:
            form = urlencode(
                {
                    "grant_type": "client_credentials",
                    "client_id": self.operator["client_id"],
                    "client_secret": self.operator["client_secret"],
                    "resource": resource,
                }
            ).encode()
            url = f"{self.operator['login']}/{self.operator['tenant_id']}/oauth2/token"
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            reply = await self.send("POST", url, form, kind)
            assert reply.status == 200, reply.body
            self.tokens[resource] = json.loads(reply.body)["access_token"]
        return self.tokens[resource]

    async def arm(
        self, method: str, path: str, body: Any = None, query: Iterable[tuple[str, str]] = (), **headers: str
    ) -> Reply:
        url = f"{self.operator['resource_manager']}{quote(path)}?{urlencode(list(query))}"
        token = await self.token(self.operator["audience"])
        return await self.send(method, url, body, headers, token=token)

    async def remember(self) -> None:
        """What is there now stays when `forget` is called."""
        self._kept = {(kind, key) for kind, key in await self.app.store.fetch("SELECT kind, key FROM records")}

    async def forget(self) -> None:
        """Everything that came after `remember` is gone."""
        async with self.app.store.transaction() as tx:
            for kind, key in await tx.fetch("SELECT kind, key FROM records"):
                if (kind, key) not in self._kept and not kind.startswith("directory.signing"):
                    await tx.execute("DELETE FROM records WHERE kind = ? AND key = ?", kind, key)
                    tx.changed(kind, key)


class Replay:
    def __init__(self, server: Server, documents: Documents) -> None:
        self._server = server
        self._documents = documents
        self._checker = Checker(documents, reply=True)
        self._requests = Checker(documents, reply=False)
        self._names: dict[tuple[str, str], set[str]] = {}
        self._bodies: dict[str, list[tuple[str, str, Any]]] = {}
        for file in documents.files():
            for operation in documents.operations(file):
                if operation.method == "PUT":
                    self._learn(operation)

    def _learn(self, operation: Operation) -> None:
        """Bodies with which official examples make a resource of a type."""
        try:
            place = parse_path(operation.probe())
        except Problem:
            return
        if not isinstance(place, ResourceId):
            return
        for key in operation.examples.values():
            example = self._documents.example(operation, key)
            body = self._body(operation, (example or {}).get("parameters", {}))
            if isinstance(body, dict):
                known = self._bodies.setdefault(place.type.lower(), [])
                known.append((place.name.lower(), operation.version, body))

    # --- one example

    async def run(self, operation: Operation, name: str) -> Result | None:
        """None when the operation is not served at all."""
        standing = served(self._server.app.resource_manager, operation.method, operation.probe(), operation.version)
        if standing == ABSENT:
            return None
        result = Result(operation, name, standing)
        example = self._documents.example(operation, operation.examples[name])
        if example is None:
            result.problems.append("the example is not among the files")
            return result
        given = self._translated(example["parameters"])
        path = self._path(operation, given)
        body = self._translated(self._body(operation, example["parameters"]))
        body = authorization_body(path, body, self._server.operator["object_id"], self._server.subscription)
        query, headers = self._query(operation, given)
        try:
            await self._prepare(operation, path, body)
            await self._before(operation, path)
            path = await self._as_made(operation, path)
            reply = await self._server.arm(operation.method, path, body, query, **headers)
            result.status = reply.status
            self._judge(operation, result, body, reply)
        finally:
            await self._server.forget()
        return result

    def _judge(self, operation: Operation, result: Result, body: Any, reply: Reply) -> None:
        declared = operation.responses.get(str(reply.status))
        if (
            result.standing == KEPT and reply.status < 300
        ):  # generic: it answers 201 and no body where a type has its own
            declared = declared or operation.responses.get("200")
            if declared is None or not reply.body:
                return
        if operation.method == "HEAD" and reply.status < 300:
            return  # 204 for every type; a few documents say 200
        if declared is None or reply.status >= 400:
            result.problems.append(f"status {reply.status} is not declared: {reply.body[:300].decode()}")
            return
        declared, file = self._documents.follow(declared, operation.file)
        schema = declared.get("schema")
        if operation.method == "HEAD":
            return
        if schema is None:
            if reply.body and reply.status != 200 and result.standing != KEPT:
                result.problems.append(f"a body with status {reply.status}: {reply.body[:100]!r}")
            return
        if not reply.body:
            if reply.status in (200, 201):
                result.problems.append(f"status {reply.status} without its body")
            return
        shown = json.loads(reply.body)
        if result.standing != KEPT:  # what is kept has the members it was given, not those of its document
            newer = self._newer(operation)
            found = self._checker.problems(shown, schema, file)
            for one in found:
                entry = shown_anyway(operation, one)
                if not tolerated(operation, one, newer):
                    result.problems.append(one)
                elif entry is not None:
                    result.excused.add(entry)
        if isinstance(body, dict) and operation.method in ("PUT", "PATCH") and isinstance(shown, dict):
            schema = next((p["schema"] for p in operation.parameters if p.get("in") == "body"), {})
            hidden = _Hidden(self._documents, schema, operation)
            if result.standing != KEPT:
                hidden.reply = (declared["schema"], file)
            result.problems += missing(body, shown, hidden)
            result.excused |= hidden.left_out

    def _newer(self, operation: Operation) -> set[str]:
        """Names of members that the provider's documents of later versions define."""
        provider = operation.document.partition("/")[0]
        key = (provider, operation.version)
        if key not in self._names:
            found: set[str] = set()
            for file in self._documents.files():
                document = self._documents.load(file)
                same = str(file.relative_to(self._documents.root)).startswith(f"{provider}/resource-manager/")
                if same and document["info"]["version"] > operation.version:
                    for one in (document.get("definitions") or {}).values():
                        names_in(one, found)
            self._names[key] = found
        return self._names[key]

    # --- what an example says, with our names

    def _translated(self, value: Any) -> Any:
        if isinstance(value, str):
            here = self._server.subscription
            value = SUBSCRIPTION.sub(lambda found: found[1] + here, value)
            return re.sub(r"(/resourceGroups/[^/]+|/[\w.]+/)[{<]([^}>]+)[}>]", r"\1\2", value)
        if isinstance(value, dict):
            moved = {self._translated(name): self._translated(item) for name, item in value.items()}
            if "templateLink" in moved:  # its address is nobody's here
                del moved["templateLink"]
                moved["template"] = EMPTY_TEMPLATE
            if isinstance(moved.get("instanceIds"), list):
                moved["instanceIds"] = ["0"]
            if isinstance(moved.get("userAssignedIdentities"), dict):
                moved["userAssignedIdentities"] = {
                    (
                        name
                        if name.startswith("/")
                        else f"{_PLACEHOLDER_IDENTITY.format(self._server.subscription)}/{name}"
                    ): one
                    for name, one in moved["userAssignedIdentities"].items()
                }
            if "administratorLoginPassword" in moved:
                moved["administratorLoginPassword"] = "Placeholder-1!"
            if _GUID.fullmatch(str(moved.get("tenantId"))):
                moved["tenantId"] = self._server.operator["tenant_id"]
            if isinstance(moved.get("location"), str) and not self._is_region(moved["location"]):
                moved["location"] = REGION
            return moved
        return [self._translated(item) for item in value] if isinstance(value, list) else value

    def _is_region(self, text: str) -> bool:
        return text.replace(" ", "").lower() in (*self._server.regions, "global")

    def _body(self, operation: Operation, given: Mapping[str, Any]) -> Any:
        for parameter in operation.parameters:
            if parameter.get("in") == "body":
                return given.get(parameter["name"])
        return None

    def _path(self, operation: Operation, given: Mapping[str, Any]) -> str:
        alone = re.fullmatch(r"/\{[^}]+\}", operation.path) is not None

        def put(found: re.Match[str]) -> str:
            word = found[1]
            special = path_value(
                operation.id, word, str(given.get(word, "x")).strip("/"), self._server.subscription, alone=alone
            )
            if special is not None:
                return special
            if word.lower() == "subscriptionid":
                return self._server.subscription
            value = str(given.get(word, "x")).strip("/")
            if word.lower() in ("scope", "resourcescope") and not value.lower().startswith(
                ("subscriptions", "providers")
            ):
                return f"subscriptions/{self._server.subscription}"
            if word.lower() == "resourceprovidernamespace" and not self._is_namespace(value):
                return "Microsoft.Compute"
            if word.lower() == "resourcetype" and value == "resourceType":
                return "virtualMachines"
            if word.lower() == "instanceid":
                return "0"
            if word.lower() == "parentresourcepath":
                return ""
            value = value.replace("myPRNameSpace/VM/", "Microsoft.Compute/virtualMachines/")
            return re.sub(r"[{}<>]", "", value)

        path = re.sub(r"\{([^}]+)\}", put, operation.path)
        return "/" + "/".join(part for part in path.split("/") if part)

    def _is_namespace(self, value: str) -> bool:
        known = self._server.app.resource_manager.registry.namespaces
        return value.lower() in {namespace.name.lower() for namespace in known}

    def _query(self, operation: Operation, given: Mapping[str, Any]) -> tuple[list[tuple[str, str]], dict[str, str]]:
        query, headers = [("api-version", operation.version)], {}
        for parameter in operation.parameters:
            name = parameter.get("name", "")
            value = given.get(name)
            if value is None or name.lower() == "api-version":
                continue
            if parameter.get("in") == "query" and name.lower() not in ("$skiptoken",):
                query.append((name, str(value).lower() if isinstance(value, bool) else str(value)))
            elif parameter.get("in") == "header":
                headers[name] = "*" if name.lower() == "if-match" else str(value)
                if name.lower() == "if-none-match" or (name.lower() == "if-match" and operation.method == "PUT"):
                    del headers[name]
        return query, headers

    # --- what it takes for granted

    async def _prepare(self, operation: Operation, path: str, body: Any) -> None:
        for text in sorted({*IDENTITY.findall(json.dumps(body or {}))}):
            await self._make(ResourceId.parse(text), operation)
        try:
            place = parse_path(path)
        except Problem:
            if operation.method != "PUT":
                await self._group(path)
            return
        if operation.method != "PUT" and await self._extension(path):
            return
        id = place if isinstance(place, ResourceId) else place.parent
        await self._group(path)
        chain = list(_resources(id))
        if isinstance(place, ResourceId) and operation.method == "PUT":
            chain = chain[:-1]
        for one in chain:
            await self._make(one, operation, path)

    async def _before(self, operation: Operation, path: str) -> None:
        """What must have happened to the resource before."""
        step = BEFORE.get(operation.id)
        if step is None:
            return
        target = re.sub(step.pattern, step.path, path)
        if step.makes:
            await self._make(ResourceId.parse(target), None)
        done = await self._server.arm(step.method, target, step.body, [("api-version", step.version)])
        assert done.status < 300, done.body

    async def _as_made(self, operation: Operation, path: str) -> str:
        """The path with names that only the server gives."""
        if operation.id != "WorkflowVersions_Get":
            return path
        workflow, word, _ = path.rpartition("/versions/")
        made = await self._server.arm("GET", f"{workflow}/versions", None, [("api-version", operation.version)])
        return f"{workflow}{word}{json.loads(made.body)['value'][0]['name']}"

    async def _extension(self, path: str) -> bool:
        """Role assignments and the like, which are no resources of the registry."""
        body = extension_body(path, self._server.operator["object_id"], self._server.subscription)
        if body is None:
            return False
        scope = ResourceId.parse(path).parent
        await self._group(path)
        for one in _resources(scope):
            await self._make(one, None)
        version = "2016-09-01" if "/locks/" in path else "2022-04-01"
        await self._server.arm("PUT", path, body, [("api-version", version)])
        return True

    async def _group(self, path: str) -> None:
        if found := re.match(r"/subscriptions/[^/]+/resourceGroups/[^/]+", path, re.IGNORECASE):
            await self._server.arm("PUT", found[0], {"location": REGION}, [("api-version", "2024-11-01")])

    async def _make(self, id: ResourceId, operation: Operation | None, path: str = "") -> None:
        """A resource of that id, in the best way an official example knows; silently nothing where none works. `path`
        is the one it is made for."""
        await self._group(str(id))
        manager = self._server.app.resource_manager
        newest = _newest(manager, id.type)
        if (await self._server.arm("GET", str(id), None, [("api-version", newest)])).status == 200:
            return
        wanted = operation.version if operation is not None else newest
        known = sorted(
            self._bodies.get(id.type.lower(), ()), key=lambda one: (one[0] != id.name.lower(), one[1] != wanted)
        )
        preferred = preferred_body(id.type, self._server.operator["tenant_id"], path)
        offered = [
            *((newest, body) for body in preferred),
            *(one[1:] for one in known[:6]),
            *((wanted, body) for body in _MINIMAL),
            *((newest, b) for b in _MINIMAL),
        ]
        for version, body in offered:
            if served(manager, "PUT", str(id), version) == ABSENT:
                continue
            translated = self._translated(body)
            for text in sorted({*IDENTITY.findall(json.dumps(translated))}):
                if ResourceId.parse(text) != id:
                    await self._make(ResourceId.parse(text), operation)
            reply = await self._server.arm("PUT", str(id), translated, [("api-version", version)])
            if reply.status in (200, 201, 202):
                return


def names_in(schema: Any, found: set[str]) -> None:
    for name, inner in (schema.get("properties") or {}).items():
        found.add(name)
        names_in(inner, found)


class _Hidden:
    """Which members of a request no reply shows: those that its schema marks, and those that `reply`, the schema of
    the reply, has no place for."""

    def __init__(self, documents: Documents, schema: Any, operation: Operation) -> None:
        self._documents, self._root = documents, (schema, operation.file)
        self._document = operation.document
        self.left_out: set[tuple[str, str]] = set()
        self.reply: tuple[Any, Path] | None = None
        self._checker = Checker(documents, reply=True)

    def hidden(self, trail: tuple[str, ...]) -> bool:
        for start, name in LEFT_OUT:
            if trail and trail[-1] == name and self._document.startswith(start):
                self.left_out.add((start, name))
                return True
        return self._marked(trail) or (self.reply is not None and self._no_place(self.reply, trail))

    def _no_place(self, place: tuple[Any, Path], trail: tuple[str, ...]) -> bool:
        for name in trail:
            node, file = self._documents.follow(*place)
            if name == "[]":
                place = (node.get("items", {}), file)
                continue
            shape = self._checker._shape(node, file)
            known = {one.lower(): inner for one, inner in shape.properties.items()}
            if shape.discriminator or not known:
                return False  # which members it has, the value says
            if name.lower() not in known:
                return shape.additional is None
            place = known[name.lower()]
        return False

    def _marked(self, trail: tuple[str, ...]) -> bool:
        place: Any = self._root
        for name in trail:
            node, file = self._documents.follow(*place)
            if name == "[]":
                place = (node.get("items", {}), file)
                continue
            shape = self._checker._shape(node, file)
            place = shape.properties.get(name) or (
                shape.additional if isinstance(shape.additional, tuple) else ({}, file)
            )
            inner, _ = self._documents.follow(*place)
            mutable = inner.get("x-ms-mutability")
            if place[0].get("x-ms-secret") or inner.get("x-ms-secret") or (mutable and "read" not in mutable):
                return True
            if inner.get("readOnly") or place[0].get("readOnly"):
                return True
        return False


EMPTY_TEMPLATE: Mapping[str, Any] = {
    "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
    "contentVersion": "1.0.0.0",
    "resources": [],
}
_LATER = "of a later version than the documents held; one form of a reply serves all versions"
SHOWN_ANYWAY: Mapping[tuple[str, str], str] = {
    ("servicebus/", "publicNetworkAccess"): _LATER,
    ("servicebus/", "premiumMessagingPartitions"): _LATER,
    ("servicebus/", "minimumTlsVersion"): _LATER,
    ("servicebus/", "sizeInBytes"): _LATER,
    ("sql/", "principalType"): _LATER,
    ("sql/", "nameAvailable"): "beside `available`, which the document has: what other services call it",
    ("authorization/", "condition"): "built-in roles with conditions show them in every version",
    ("compute/", "sizeInGb"): "of an image's disk: Azure shows it (azure-docs, `az vm image show`)",
    ("compute/", "sizeInBytes"): "of an image's disk: Azure shows it (azure-cli's recordings)",
    ("web/", "sku"): "of a site: azure-cli reads it at this version",
    ("authorization/", "conditionVersion"): "built-in roles with conditions show them in every version",
}
"""Members that a document of that folder does not know, and that replies have all the same."""
_PASSWORD = "a secret, which the document forgot to mark"
LEFT_OUT: Mapping[tuple[str, str], str] = {
    ("apimanagement/", "sourceApiId"): "what an API was copied from: the examples' own replies leave it out",
    ("apimanagement/", "certificatePassword"): _PASSWORD,
    ("compute/", "adminPassword"): _PASSWORD,
    ("compute/", "runAsPassword"): _PASSWORD,
    ("compute/", "customData"): _PASSWORD,
    ("compute/", "userData"): "shown when `$expand=userData` asks for it",
    ("containerinstance/", "secret"): _PASSWORD,
    ("containerinstance/", "storageAccountKey"): _PASSWORD,
    ("containerinstance/", "workspaceKey"): _PASSWORD,
    ("datafactory/", "connectionString"): "a SecureString's value is shown as asterisks",
    ("resources/", "template"): "Azure shows it by `exportTemplate` only (azure-cli's recordings)",
    ("web/", "appSettings"): "Azure shows settings by `config/appsettings/list` only",
    ("keyvault/", "value"): "of a secret: the document says in words that it is never returned",
    ("compute/", "additionalUnattendContent"): _PASSWORD,
}
"""Members of requests that replies of that folder could have, and have not."""


def tolerated(operation: Operation, problem: str, newer: set[str]) -> bool:
    """Whether a member may be shown though the document does not know it: the table, and what a newer document of the
    provider knows, since one form of a reply serves all versions."""
    where, _, what = problem.partition(": ")
    if what == "workspaceKey is missing":
        return True  # a secret that the document forgot to mark: Azure leaves it out
    if what == "nextLink is missing":
        return True  # marked required where Azure leaves it out of the last page
    if what != "no such member":
        return False
    name = where.rpartition(".")[2]
    if name in newer:
        return True
    if where == "$.systemData" or where.endswith("].systemData"):
        return True  # of every type since 2020-06-01, as Resource Manager has it; not every document says so
    return shown_anyway(operation, problem) is not None


def shown_anyway(operation: Operation, problem: str) -> tuple[str, str] | None:
    """The entry of `SHOWN_ANYWAY` that knows of the problem."""
    where, _, what = problem.partition(": ")
    name = where.rpartition(".")[2]
    known = ((start, one) for start, one in SHOWN_ANYWAY if operation.document.startswith(start) and name == one)
    return next(known, None) if what == "no such member" else None


def missing(given: Any, shown: Any, secrets: _Hidden, at: tuple[str, ...] = ()) -> Iterator[str]:
    """Members that a request set and the reply does not show."""
    if given is None or secrets.hidden(at):
        return
    if isinstance(given, dict):
        if not isinstance(shown, dict):
            yield f"{'.'.join(at)}: set, and the reply has {shown!r:.60}"
            return
        lower = {name.lower(): item for name, item in shown.items()}
        for name, item in given.items():
            if item is None or item == {} or item == [] or secrets.hidden((*at, name)):
                continue
            if not at and name in ("id", "name", "type", "apiVersion", "etag", "identity", "operation"):
                continue
            if name.lower() not in lower:
                yield f"{'.'.join((*at, name))}: set, and missing in the reply"
            else:
                yield from missing(item, lower[name.lower()], secrets, (*at, name))
    elif isinstance(given, list):
        if isinstance(shown, list) and len(shown) > len(given):  # what the service adds of its own
            for one in given:
                yield from min((list(missing(one, two, secrets, (*at, "[]"))) for two in shown), key=len)
            return
        if not isinstance(shown, list) or len(shown) != len(given):
            yield f"{'.'.join(at)}: a list of {len(given)} was set, and the reply has {shown!r:.60}"
            return
        for one, two in zip(given, shown, strict=True):
            yield from missing(one, two, secrets, (*at, "[]"))
    elif not _same(given, shown):
        yield f"{'.'.join(at)}: {given!r:.60} was set, and the reply has {shown!r:.60}"


def _same(given: Any, shown: Any) -> bool:
    if isinstance(given, str) and isinstance(shown, str):
        return given.replace(" ", "").lower() == shown.replace(" ", "").lower() or _moment(given) == _moment(shown)
    return bool(given == shown) or str(given).lower() == str(shown).lower()


def _moment(text: str) -> Any:
    from datetime import datetime

    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return text


def _resources(id: ResourceId) -> Iterator[ResourceId]:
    """The resources that an id names, outermost first, itself last."""
    if id.namespace is None:
        return
    yield from _resources(id.parent)
    yield id


def _newest(manager: Any, type_name: str) -> str:
    kind = manager.registry.find(type_name)
    return max(kind.api_versions) if kind is not None and kind.api_versions else "2024-11-01"
