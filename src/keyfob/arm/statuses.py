"""Where clients look at long-running operations: `Azure-AsyncOperation` and `Location`."""

from __future__ import annotations

from urllib.parse import urlsplit

from keyfob.access.guard import Guard
from keyfob.arm.engine import Engine
from keyfob.arm.model import LongOperation
from keyfob.arm.operations import TERMINAL, State, status_document
from keyfob.arm.present import present
from keyfob.arm.resources import get_resource
from keyfob.declare import Action, Call, Route, SignedIn
from keyfob.errors import NotFound
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store
from keyfob.wire.http import Reply, Request

_WHY = "whoever began the operation, or may read the resource; the operation checks it"


def origin(request: Request) -> str:
    """Scheme and authority as the client addressed them: it sends its token to no other."""
    parts = urlsplit(request.url)
    return f"{parts.scheme}://{parts.netloc}"


def status_location(request: Request, operation: LongOperation, word: str = "operations") -> str:
    """For `Azure-AsyncOperation`; with `operationResults`, for `Location`."""
    return (
        f"{origin(request)}/subscriptions/{operation.subscription_id}/providers/{operation.namespace}/locations/"
        f"{operation.location or 'global'}/{word}/{operation.id}?api-version={operation.api_version}"
    )


def result_location(request: Request, operation: LongOperation) -> str:
    """For `Location`, of operations on groups."""
    return (
        f"{origin(request)}/subscriptions/{operation.subscription_id}/operationresults/{operation.id}"
        f"?api-version={operation.api_version}"
    )


class Statuses:
    def __init__(self, *, store: Store, guard: Guard, engine: Engine) -> None:
        self._store = store
        self._guard = guard
        self._engine = engine

    def routes(self) -> tuple[Route, ...]:
        base = "/subscriptions/{subscription}/providers/{namespace}/locations/{location}"
        return (
            Route("GET", f"{base}/operations/{{operation}}", SignedIn(_WHY), self.status),
            Route("GET", f"{base}/operationResults/{{operation}}", SignedIn(_WHY), self.result),
            Route("GET", "/subscriptions/{subscription}/operationresults/{operation}", SignedIn(_WHY), self.result),
        )

    async def status(self, call: Call) -> Reply:
        operation = await self._operation(call)
        headers = () if operation.state in TERMINAL else (("Retry-After", str(self._engine.operations.retry_after)),)
        return Reply.json(status_document(operation, call.request.path), 200, headers)

    async def result(self, call: Call) -> Reply:
        operation = await self._operation(call)
        if operation.state not in TERMINAL:
            headers = (
                ("Location", f"{call.request.url}?api-version={call.api_version}"),
                ("Retry-After", str(self._engine.operations.retry_after)),
            )
            return Reply(202, headers=headers)
        if operation.state != State.SUCCEEDED:
            return Reply.json(status_document(operation, call.request.path), 409)
        if operation.result is not None:
            return Reply.json(operation.result)
        if operation.kind in ("write", "action"):
            id = ResourceId.parse(operation.resource_id)
            resource = await get_resource(self._store, id)
            kind = self._engine.registry.find(id.type)
            if resource is not None and kind is not None:
                return Reply.json(await present(self._store, resource, kind, operation.api_version))
        return Reply(204)

    async def _operation(self, call: Call) -> LongOperation:
        assert call.caller is not None
        operation = await self._engine.operations.look(call.parameters["operation"].lower())
        missing = NotFound(
            f"The operation '{call.parameters['operation'][:40]}' was not found.", code="OperationNotFound"
        )
        if operation is None or operation.subscription_id.lower() != call.parameters["subscription"].lower():
            raise missing
        if operation.namespace.lower() != call.parameters.get("namespace", operation.namespace).lower():
            raise missing
        if (operation.tenant_id, operation.principal_id) != (call.caller.tenant_id, call.caller.principal_id):
            scope = ResourceId.parse(operation.resource_id)
            await self._guard.authorize(
                call.caller, Action(operation.action), scope, request_id=call.request.request_id
            )
        return operation
