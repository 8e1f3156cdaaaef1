"""A deployment at work: independent resources at once, each through Resource Manager as the principal who deploys."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import msgspec

from keyfob.arm.dialect import error_body
from keyfob.arm.templates.evaluate import Frame, Pending, copy_count, evaluate
from keyfob.arm.templates.evaluate import Loop as CopyLoop
from keyfob.arm.templates.expressions import ExpressionError
from keyfob.arm.templates.facts import GROUP, kind_of
from keyfob.arm.templates.names import camel_case
from keyfob.arm.templates.records import CANCELED, FAILED, RUNNING, SUCCEEDED, Deployment, DeploymentOperation
from keyfob.arm.templates.resume import Progress
from keyfob.arm.templates.source import Place
from keyfob.arm.templates.template import Opened, Part, PlaceOf
from keyfob.clouds.cloud import Cloud
from keyfob.declare import Caller
from keyfob.errors import InvalidInput, Problem
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Fields, Reply, Request

_log = logging.getLogger(__name__)
AT_ONCE = 50
"""Resources of one deployment that are worked on at the same time."""
DEEPEST = 5
"""How deep deployments may be nested in each other, as on Azure."""
_RESOURCES_VERSION = "2022-09-01"
AT_LEAST_ONE = (
    "At least one resource deployment operation failed. Please list deployment operations for details. Please see "
    "https://aka.ms/arm-deployment-operations for usage details."
)

Ask = Callable[[str, str, str, Any], Awaitable[Reply]]
"""Method, path, api-version and body (None: no body) → what Resource Manager answers this deployment's principal."""


def asker(answer: Callable[..., Awaitable[Reply]], *, caller: Caller, cloud: Cloud, request_id: str) -> Ask:
    """`answer` is `ResourceManager.ask`."""
    host = urlsplit(cloud.resource_manager).netloc

    async def ask(method: str, path: str, api_version: str, body: Any) -> Reply:
        raw = b"" if body is None else msgspec.json.encode(body)
        query = Fields((("api-version", api_version),))
        request = Request(method, path, query, Fields(), raw, host=host, raw_path=path, request_id=request_id)
        return await answer(request, caller=caller, cloud=cloud)

    return ask


class Lost(Exception):
    """Somebody else runs this deployment now: what is under way here ends, and writes nothing more."""


class Journal:
    """What a run tells: stored by whoever owns the records. Raises `Lost` when the run is no longer this process's."""

    async def operation(self, run: Run, one: DeploymentOperation) -> None:
        raise NotImplementedError

    async def ended(self, run: Run) -> None:
        raise NotImplementedError

    async def nested(self, run: Run, part: Part, body: Mapping[str, Any], frame: Frame) -> Ended:
        """Runs the deployment that a part is to its end."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a nested deployment."""

    state: str
    made: Sequence[str]
    error: Mapping[str, Any] | None


@dataclass(eq=False, kw_only=True)
class Run:
    """One deployment from its first resource to its outputs."""

    record: Deployment
    opened: Opened
    parts: list[Part]
    caller: Caller
    cloud: Cloud
    ask: Ask
    journal: Journal
    now: Callable[[], float]
    guid: Callable[[], str]
    place_of: PlaceOf = lambda path: Place(1, 1)
    linked: Mapping[str, Any] = field(default_factory=dict)
    """Templates that came with it, by their address."""
    depth: int = 0
    progress: Progress | None = None
    """How far another process had come with it; None for one that begins here."""
    canceled: bool = False
    runtime: dict[tuple[str, ...], Any] = field(default_factory=dict)
    errors: list[dict[str, Any]] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    children: list[Run] = field(default_factory=list)
    state: str = RUNNING
    outputs: dict[str, Any] | None = None
    task: asyncio.Task[None] | None = None
    _numbers: int = 0

    def __post_init__(self) -> None:
        if self.progress is not None:
            self.errors += self.progress.errors
            self.made += self.progress.made
            self._numbers = self.progress.number

    @property
    def scope(self) -> ResourceId:
        return ResourceId.parse(self.record.id).parent

    def cancel(self) -> None:
        self.canceled = True
        for child in self.children:
            child.cancel()

    async def go(self) -> None:
        """Never raises but for cancellation: what goes wrong is the deployment's state."""
        try:
            await self._resources()
            if not self.errors and not self.canceled and self.record.mode == "Complete":
                await self._delete_others()
            if not self.errors and not self.canceled:
                await self._outputs()
        except Problem as problem:
            self.errors.append(error_body(problem))
        except Lost:
            _log.warning("deployment %s goes on in another process", self.record.id)
        except Exception:
            _log.exception("deployment %s failed", self.record.id)
            self.errors.append({"code": "InternalServerError", "message": "The deployment failed unexpectedly."})
        self.state = CANCELED if self.canceled and not self.errors else FAILED if self.errors else SUCCEEDED
        await self.journal.ended(self)

    def error(self) -> dict[str, Any] | None:
        if self.state == CANCELED:
            return {"code": "DeploymentCanceled", "message": "The deployment was canceled."}
        if not self.errors:
            return None
        if len(self.errors) == 1 and self.errors[0]["code"] == "DeploymentOutputEvaluationFailed":
            return self.errors[0]
        return {
            "code": "DeploymentFailed",
            "target": self.record.id,
            "message": AT_LEAST_ONE,
            "details": self.errors,
        }

    # --- resources

    async def _resources(self) -> None:
        past = self.progress or Progress()
        by_key = {part.key: part for part in self.parts if part.key not in past.done | past.failed}
        left = {part.key: part.needs - past.done for part in by_key.values()}
        users: dict[str, list[str]] = {}
        for key, needs in left.items():
            for need in needs:
                users.setdefault(need, []).append(key)
        ready = [key for key, needs in left.items() if not needs]
        busy: dict[asyncio.Task[bool], str] = {}
        try:
            while busy or (ready and not self.canceled):
                while ready and len(busy) < AT_ONCE and not self.canceled:
                    key = ready.pop(0)
                    busy[asyncio.create_task(self._deploy(by_key[key]))] = key
                done, _ = await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    key = busy.pop(task)
                    if not task.result():
                        continue  # what needs it is never ready
                    for user in users.get(key, ()):
                        left[user].discard(key)
                        if not left[user]:
                            ready.append(user)
        finally:
            for task in busy:
                task.cancel()
            await asyncio.gather(*busy, return_exceptions=True)

    async def _deploy(self, part: Part) -> bool:
        """Whether it is there now."""
        operation = self._operation(part)
        await self.journal.operation(self, operation)
        status, failure = "OK", None
        notices: list[str] = []
        try:
            status = await self._written(part, notices)
        except Problem as problem:
            status = _status(problem.status)
            failure = error_body(problem)
        except Lost:
            raise
        except Exception:
            _log.exception("resource %s of deployment %s failed", part.id, self.record.id)
            status = _status(500)
            failure = {"code": "InternalServerError", "message": "The resource could not be deployed."}
        if failure is not None:
            self.errors.append({**failure, "target": str(part.id)})
        await self.journal.operation(
            self,
            msgspec.structs.replace(
                operation,
                state=FAILED if failure else SUCCEEDED,
                changed=self.now(),
                status=status,
                message={"status": "Failed", "error": failure}
                if failure
                else {"warnings": notices}
                if notices
                else None,
            ),
        )
        return failure is None

    def _operation(self, part: Part) -> DeploymentOperation:
        begun = self.progress.begun.get(part.key) if self.progress is not None else None
        if begun is not None:
            return begun
        self._numbers += 1
        return DeploymentOperation(
            id=self.guid().replace("-", "").upper()[:16],
            number=self._numbers,
            began=self.now(),
            changed=self.now(),
            tracking_id=self.guid(),
            target={"id": str(part.id), "resourceType": part.type, "resourceName": part.name},
        )

    async def _written(self, part: Part, notices: list[str]) -> str:
        """The status; `notices` gets what the reply's `Warning` header says, such as that something is a preview."""
        frame = part.frame.within(runtime=self.runtime)
        if part.is_deployment:
            child = await self.journal.nested(self, part, part.body, frame)
            self.made += child.made
            if child.state != SUCCEEDED:
                raise Problem(
                    "The resource write operation failed to complete successfully, because it reached terminal "
                    f"provisioning state '{child.state}'.",
                    code="ResourceDeploymentFailure",
                    status=409,
                    target=str(part.id),
                    details=[_problem(child.error or {})],
                )
            return "OK"
        body = await self.resolve(part, dict(part.body), frame)
        reply = await self.ask("PUT", str(part.id), part.api_version, body)
        notices += [value for name, value in reply.headers if name.lower() == "warning"]
        await self._wait(reply, part)
        self.made.append(str(part.id))
        return _status(reply.status)

    async def _wait(self, reply: Reply, part: Part) -> None:
        """Until the long-running operation that a reply names has ended. Raises what it failed with."""
        headers = {name.lower(): value for name, value in reply.headers}
        where = headers.get("azure-asyncoperation")
        if where is None:
            return
        address = urlsplit(where)
        version = dict(pair.partition("=")[::2] for pair in address.query.split("&")).get("api-version", "")
        pause = 0.01
        while True:
            answer = json.loads((await self.ask("GET", address.path, version or part.api_version, None)).body)
            state = answer.get("status", "")
            if state in (SUCCEEDED, FAILED, CANCELED):
                break
            await asyncio.sleep(pause)
            pause = min(1.0, pause * 1.6)
        if state != SUCCEEDED:
            error = answer.get("error") or {}
            raise Problem(
                "The resource write operation failed to complete successfully, because it reached terminal "
                f"provisioning state '{state}'.",
                code="ResourceDeploymentFailure",
                status=409,
                target=str(part.id),
                details=[_problem(error)] if error else (),
            )

    async def resolve(self, part: Part, value: Any, frame: Frame) -> Any:
        """The value without expressions; what they read is read here. Raises `Problem`."""
        try:
            return await self.value(value, frame)
        except ExpressionError as error:
            place = self.place_of(part.path)
            line = {"lineNumber": place.line, "linePosition": place.column, "path": ""}
            raise InvalidInput(
                f"Unable to process template language expressions for resource '{part.id}' at line '{place.line}' and "
                f"column '{place.column}'. '{error}'",
                code="InvalidTemplate",
                info={"additionalInfo": [{"type": "TemplateViolation", "info": line}]},
            ) from None

    async def value(self, value: Any, frame: Frame) -> Any:
        while True:
            try:
                return evaluate(value, frame)
            except Pending as pending:
                self.runtime[pending.key] = await read(self.ask, pending.key)

    # --- complete mode

    async def _delete_others(self) -> None:
        """What is in the group and not in the template, as long as something of it can be deleted."""
        if kind_of(self.scope) != GROUP:
            return
        listed = json.loads((await self.ask("GET", f"{self.scope}/resources", _RESOURCES_VERSION, None)).body)
        kept = {part.key for part in self.opened.parts if part.condition} | {id.lower() for id in self.made}
        left = [row["id"] for row in listed["value"]]
        left = [id for id in left if ResourceId.parse(id).key not in kept and _is_root(ResourceId.parse(id))]
        failures: dict[str, Problem] = {}
        while left:
            again: list[str] = []
            for id in left:
                try:
                    await self._delete(ResourceId.parse(id))
                except Problem as problem:
                    failures[id] = problem
                    again.append(id)
            if len(again) == len(left):
                self.errors += [{**error_body(failures[id]), "target": id} for id in again]
                return
            left = again

    async def _delete(self, id: ResourceId) -> None:
        version = await self._version_of(id.type)
        part = Part(id=id, type=id.type, name=id.name, api_version=version, body={}, frame=self.opened.frame)
        await self._wait(await self.ask("DELETE", str(id), version, None), part)

    async def _version_of(self, kind: str) -> str:
        """The newest api-version that a type takes."""
        namespace, _, rest = kind.partition("/")
        body = json.loads((await self.ask("GET", f"/providers/{namespace}", _RESOURCES_VERSION, None)).body)
        for row in body.get("resourceTypes", ()):
            if row["resourceType"].lower() == rest.lower() and row["apiVersions"]:
                return str(row["apiVersions"][0])
        return _RESOURCES_VERSION

    # --- outputs

    async def _outputs(self) -> None:
        frame = self.opened.frame.within(runtime=self.runtime)
        made: dict[str, Any] = {}
        for name, (one, schema) in self.opened.outputs.items():
            try:
                if await self.value(schema.get("condition", True), frame) is False:
                    continue
                value = await self._output(schema, frame)
            except (ExpressionError, Problem) as error:
                self.errors.append(_bad_output(name, str(error)))
                return
            made[camel_case(name)] = (
                {"type": one.shown_type} if one.secure else {"type": one.shown_type, "value": value}
            )
        if self.opened.outputs:
            self.outputs = made

    async def _output(self, schema: Mapping[str, Any], frame: Frame) -> Any:
        copy = schema.get("copy")
        if not isinstance(copy, Mapping):
            return await self.value(schema.get("value"), frame)
        count = copy_count(await self.value(copy.get("count"), frame), "outputs")
        return [
            await self.value(copy.get("input"), frame.within(loops=(CopyLoop("", index),))) for index in range(count)
        ]


async def read(ask: Ask, key: tuple[str, ...]) -> Any:
    """What `reference` and `list…` give. Raises `Problem`."""
    kind, id, version, more = key
    if kind != "reference":
        body = json.loads(more) if more else None
        return json.loads((await ask("POST", f"{id}/{kind}", version, body)).body or b"{}")
    shown = json.loads((await ask("GET", id, version, None)).body)
    if more != "full":
        return shown.get("properties", shown)
    parsed = ResourceId.parse(id)
    return {
        **shown,
        "apiVersion": version,
        "resourceId": _short(parsed),
        "referenceApiVersion": version,
        "subscriptionId": parsed.subscription_id or "",
        "resourceGroupName": parsed.resource_group or "",
        "scope": "",
        "condition": True,
        "isConditionTrue": True,
        "isTemplateResource": False,
        "isAction": False,
        "provisioningOperation": "Read",
    }


def _short(id: ResourceId) -> str:
    pairs = zip(id.type.split("/")[1:], id.names, strict=False)
    return f"{id.namespace}/" + "/".join(part for pair in pairs for part in pair) if id.namespace else str(id)


def _is_root(id: ResourceId) -> bool:
    return id.parent.namespace is None


def _status(code: int) -> str:
    """`Created`, `BadRequest`: as operations show it."""
    try:
        return HTTPStatus(code).phrase.replace(" ", "").replace("-", "")
    except ValueError:
        return str(code)


def _problem(error: Mapping[str, Any]) -> Problem:
    return Problem(
        str(error.get("message", "")),
        code=str(error.get("code", "")),
        target=error.get("target"),
        details=[_problem(one) for one in error.get("details") or ()],
    )


def _bad_output(name: str, message: str) -> dict[str, Any]:
    return {
        "code": "DeploymentOutputEvaluationFailed",
        "message": f"Unable to evaluate template outputs: '{name}'. Please see error details and deployment "
        "operations. Please see https://aka.ms/arm-common-errors for usage details.",
        "details": [
            {
                "code": "DeploymentOutputEvaluationFailed",
                "target": name,
                "message": f"The template output '{name}' is not valid: {message.rstrip('.')}.",
            }
        ],
    }
