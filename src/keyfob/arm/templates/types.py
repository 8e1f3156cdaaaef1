"""Microsoft.Resources/deployments as routes of Resource Manager, at every scope.

What reads templates is imported where it is called: a server starts without it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from keyfob.arm.listing import page
from keyfob.arm.templates.facts import GROUP, TENANT, kind_of
from keyfob.arm.templates.records import (
    ACTIVE,
    FAILED,
    Deployment,
    DeploymentOperation,
    present_deployment,
    present_operation,
)
from keyfob.declare import Action, Call, Caller, Level, Provider, ResourceType, Route, SignedIn, Target
from keyfob.errors import InvalidInput, MethodNotAllowed, NotFound
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Reply

if TYPE_CHECKING:
    from keyfob.arm.templates.service import Deployments

_NAME = "Microsoft.Resources/deployments"
VERSIONS = (
    *("2014-04-01-preview", "2015-01-01", "2015-11-01", "2016-02-01", "2016-06-01", "2016-07-01", "2016-09-01"),
    *("2017-03-01", "2017-05-01", "2017-05-10", "2017-06-01", "2017-08-01", "2017-09-01", "2018-01-01", "2018-02-01"),
    *("2018-05-01", "2018-06-01", "2018-07-01", "2018-08-01", "2018-09-01", "2018-11-01", "2019-03-01", "2019-05-01"),
    *("2019-05-10", "2019-06-01", "2019-07-01", "2019-08-01", "2019-09-01", "2019-10-01", "2019-11-01", "2020-01-01"),
    *("2020-05-01", "2020-06-01", "2020-07-01", "2020-08-01", "2020-09-01", "2020-10-01", "2021-01-01", "2021-04-01"),
    *("2022-01-01", "2022-05-01", "2022-06-01", "2022-09-01", "2022-12-01", "2023-03-01", "2023-07-01", "2024-03-01"),
    *("2024-07-01", "2024-08-01", "2024-11-01", "2025-03-01", "2025-04-01"),
)
"""As `az provider show -n Microsoft.Resources` lists them for deployments."""
_ALL = f"/{{+scope}}/providers/{_NAME}"
_ONE = f"{_ALL}/{{name}}"
_OLD = "/subscriptions/{subscription}/resourcegroups/{group}/deployments/{name}/operations"
"""An older address of operations, which azure-mgmt-resource still uses for resource groups."""


def deployments_provider(deployments: Callable[[], Deployments]) -> Provider:
    """`declare.Provider` for `Microsoft.Resources`. Its type is declared for lists of providers; routes answer.
    `deployments` gives them when they are first needed."""
    routes = _Routes(deployments)
    kind = ResourceType(name=_NAME, api_versions=VERSIONS, level=Level.ANYWHERE, tracked=False)
    return Provider(namespace="Microsoft.Resources", types=(kind,), routes=routes.table(), registered=True)


def _may(verb: str) -> Action:
    return Action(f"{_NAME}/{verb}")


class _Routes:
    def __init__(self, deployments: Callable[[], Deployments]) -> None:
        self._later = deployments

    @property
    def _deployments(self) -> Deployments:
        return self._later()

    def table(self) -> tuple[Route, ...]:
        v = VERSIONS
        read, operations = _may("read"), _may("operations/read")
        anyone = SignedIn("nothing is read or written: the template comes with the request")
        export = Action("Microsoft.Resources/subscriptions/resourceGroups/exportTemplate/action")
        group = "/subscriptions/{subscription}/resourcegroups/{group}"
        return (
            Route("PUT", _ONE, _may("write"), self.put, _one, v),
            Route("GET", _ONE, read, self.get, _one, v),
            Route("HEAD", _ONE, read, self.head, _one, v),
            Route("DELETE", _ONE, _may("delete"), self.delete, _one, v),
            Route("GET", _ALL, read, self.list, _scope, v),
            Route("POST", f"{_ONE}/validate", _may("validate/action"), self.validate, _one, v),
            Route("POST", f"{_ONE}/whatIf", _may("whatIf/action"), self.what_if, _one, v),
            Route("GET", f"{_ONE}/whatIfResults/{{result}}", _may("whatIf/action"), self.what_if_result, _one, v),
            Route("POST", f"{_ONE}/cancel", _may("cancel/action"), self.cancel, _one, v),
            Route("POST", f"{_ONE}/exportTemplate", _may("exportTemplate/action"), self.export, _one, v),
            Route("GET", f"{_ONE}/operations", operations, self.operations, _one, v),
            Route("GET", f"{_ONE}/operations/{{operation}}", operations, self.operation, _one, v),
            Route(
                "GET", f"{_ONE}/operationStatuses/{{operation}}", _may("operationstatuses/read"), self.status, _one, v
            ),
            Route("GET", _OLD, operations, self.operations, _old, v),
            Route("GET", f"{_OLD}/{{operation}}", operations, self.operation, _old, v),
            Route("POST", f"{group}/exportTemplate", export, self.export_group, None, v),
            Route("POST", "/providers/Microsoft.Resources/calculateTemplateHash", anyone, self.hash, None, v),
        )

    # --- beginning

    async def put(self, call: Call) -> Reply:
        from keyfob.arm.templates.request import read_wanted

        id = _id(call)
        wanted = read_wanted(call.request.body, id.name)
        if kind_of(id.parent) != GROUP and not wanted.location:
            raise InvalidInput(
                f"The 'location' property must be specified for '{id.name}'. Please see "
                "https://aka.ms/deploy-to-subscription for usage details.",
                code="InvalidDeployment",
            )
        if kind_of(id.parent) == GROUP and wanted.location:
            raise InvalidInput(
                f"The 'location' property is not allowed for '{id.name}' at resource group scope. Please see "
                "https://aka.ms/deploy-to-subscription for usage details.",
                code="InvalidDeployment",
            )
        record, new = await self._deployments.begin(
            id,
            wanted,
            caller=_caller(call),
            cloud=call.cloud,
            api_version=call.api_version,
            request_id=call.request.request_id,
        )
        status = f"{_address(call, id)}/operationStatuses/{record.operation}?api-version={call.api_version}"
        return Reply.json(
            present_deployment(record), 201 if new else 200, (("Azure-AsyncOperation", status), ("Retry-After", "1"))
        )

    async def validate(self, call: Call) -> Reply:
        from keyfob.arm.templates.request import read_wanted

        id, caller = _id(call), _caller(call)
        wanted = read_wanted(call.request.body, id.name)
        opened, parts = await self._deployments.open(id, wanted, caller, call.cloud, call.request.request_id)
        await self._deployments.preflight(parts, caller, call.request.request_id)
        record = self._deployments.record(id, wanted, opened, parts, caller, call.api_version)
        shown = present_deployment(record, [str(part.id) for part in parts])
        shown["properties"]["provisioningState"] = "Succeeded"
        return Reply.json(shown)

    async def what_if(self, call: Call) -> Reply:
        from keyfob.arm.templates.request import read_wanted
        from keyfob.arm.templates.what_if import what_if

        id = _id(call)
        wanted = read_wanted(call.request.body, id.name)
        body = await what_if(
            self._deployments, id, wanted, caller=_caller(call), cloud=call.cloud, request_id=call.request.request_id
        )
        name = await self._deployments.keep_result(id, body)
        where = f"{_address(call, id)}/whatIfResults/{name}?api-version={call.api_version}"
        return Reply(202, headers=(("Location", where), ("Retry-After", "1")))

    async def what_if_result(self, call: Call) -> Reply:
        return Reply.json(await self._deployments.result(_id(call), call.parameters["result"]))

    async def hash(self, call: Call) -> Reply:
        from keyfob.arm.templates.request import template_hash
        from keyfob.arm.templates.source import read_source

        template = read_source(call.request.body).value
        if not isinstance(template, dict):
            raise InvalidInput("The template must be an object.", code="InvalidRequestContent")
        return Reply.json({"minifiedTemplate": json.dumps(template), "templateHash": template_hash(template)})

    # --- what is there

    async def get(self, call: Call) -> Reply:
        return Reply.json(present_deployment(await self._found(call)))

    async def head(self, call: Call) -> Reply:
        try:
            await self._found(call)
        except NotFound:
            return Reply(404)
        return Reply(204)

    async def list(self, call: Call) -> Reply:
        scope = _scope(call.parameters, None)
        rows = await self._deployments.at(scope, _caller(call).tenant_id)
        wanted = (call.request.query.get("$filter") or "").strip()
        if wanted:
            name, _, value = wanted.partition(" eq ")
            if name.strip().lower() != "provisioningstate" or not value.strip().startswith("'"):
                raise InvalidInput(
                    f"The filter '{wanted[:100]}' is not valid: provisioningState eq '…' is expected.",
                    code="InvalidFilterInQueryString",
                )
            rows = [row for row in rows if row.state.lower() == value.strip().strip("'").lower()]

        async def keep(row: Deployment) -> bool:
            return True

        async def show(row: Deployment) -> dict[str, Any]:
            return present_deployment(row)

        numbered = [(f"{at:09}", row) for at, row in enumerate(rows)]
        return Reply.json(await page(call.request, numbered, keep=keep, show=show))

    async def operations(self, call: Call) -> Reply:
        one = await self._found(call)
        shown = [present_operation(one, row) for row in await self._deployments.operations(one)]
        if one.state not in ACTIVE:
            shown.append(_evaluated(one))
        return Reply.json({"value": shown})

    async def operation(self, call: Call) -> Reply:
        one = await self._found(call)
        wanted = call.parameters["operation"].lower()
        for row in await self._deployments.operations(one):
            if row.id.lower() == wanted:
                return Reply.json(present_operation(one, row))
        raise NotFound(
            f"The deployment operation '{wanted[:100]}' could not be found.", code="DeploymentOperationNotFound"
        )

    async def status(self, call: Call) -> Reply:
        one = await self._found(call)
        if one.operation != call.parameters["operation"].lower():
            raise NotFound("The deployment operation could not be found.", code="DeploymentOperationNotFound")
        if one.state in ACTIVE:
            return Reply.json({"status": "Running"}, 200, (("Retry-After", "1"),))
        body: dict[str, Any] = {"status": one.state}
        if one.state == FAILED and one.error:
            body["error"] = one.error
        return Reply.json(body)

    async def cancel(self, call: Call) -> Reply:
        await self._deployments.cancel(_id(call))
        return Reply(204)

    async def delete(self, call: Call) -> Reply:
        await self._deployments.delete(_id(call))
        return Reply(204)

    async def export(self, call: Call) -> Reply:
        one = await self._found(call)
        return Reply.json({"template": await self._deployments.template(one)})

    async def export_group(self, call: Call) -> Reply:
        from keyfob.arm.templates.export import export_group
        from keyfob.arm.templates.source import read_source

        scope = ResourceId.group(call.parameters["subscription"], call.parameters["group"])
        wanted = read_source(call.request.body or b"{}").value
        return Reply.json(
            await export_group(
                self._deployments.asker(_caller(call), call.cloud, call.request.request_id),
                scope,
                wanted if isinstance(wanted, dict) else {},
            )
        )

    async def _found(self, call: Call) -> Deployment:
        one = await self._deployments.find(_id(call))
        if one.tenant_id != _caller(call).tenant_id:
            raise NotFound(f"Deployment '{one.name}' could not be found.", code="DeploymentNotFound")
        return one


def _evaluated(one: Deployment) -> dict[str, Any]:
    """The last row of the list: what Azure says about the outputs."""
    operation = DeploymentOperation(
        id="08584" + str(int(one.operation.replace("-", "") or "0", 16))[:15],
        kind="EvaluateDeploymentOutput",
        state=one.state,
        began=one.changed,
        changed=one.changed,
        tracking_id=one.operation,
        status="OK" if one.state != FAILED else "Conflict",
    )
    return present_operation(one, operation)


def _caller(call: Call) -> Caller:
    if call.caller is None:  # routes here are never public
        raise AssertionError
    return call.caller


def _scope(parameters: Mapping[str, str], _target: Target | None) -> ResourceId:
    scope = ResourceId.parse(parameters.get("scope") or "/")
    if kind_of(scope) == TENANT and scope.segments:
        raise MethodNotAllowed(
            "Deployments are not supported at this scope.", code="InvalidDeploymentScope", status=400
        )
    if scope.namespace is not None and scope.subscription_id is not None:
        raise InvalidInput("Deployments are not supported below a resource.", code="InvalidDeploymentScope")
    return scope


def _one(parameters: Mapping[str, str], target: Target | None) -> ResourceId:
    return _scope(parameters, target).provider(_NAME, parameters["name"])


def _old(parameters: Mapping[str, str], _target: Target | None) -> ResourceId:
    return ResourceId.group(parameters["subscription"], parameters["group"]).provider(_NAME, parameters["name"])


def _id(call: Call) -> ResourceId:
    if "group" in call.parameters:
        return _old(call.parameters, None)
    return _one(call.parameters, None)


def _address(call: Call, id: ResourceId) -> str:
    parts = urlsplit(call.request.url)
    return f"{parts.scheme}://{parts.netloc}{id}"
