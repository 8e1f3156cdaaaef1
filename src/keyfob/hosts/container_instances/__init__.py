"""Container instances: `Microsoft.ContainerInstance/containerGroups`."""

from __future__ import annotations

from typing import Any

from keyfob.arm.body import parse_object
from keyfob.arm.resources import get_resource, resource_not_found
from keyfob.arm.shapes import Shaped, items, posting, resource_path, resource_scope
from keyfob.declare import Action, Call, IdentitySupport, Provider, ResourceType, Route
from keyfob.errors import InvalidInput, NotFound, Problem
from keyfob.hosts.container_instances import states
from keyfob.hosts.container_instances.groups import TYPE, Groups
from keyfob.hosts.container_instances.operations import WRITE_ONLY, Acceptance, stop
from keyfob.hosts.container_instances.secrets import SecretsSeal
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store
from keyfob.wire.http import Reply

__all__ = ["Groups", "SecretsSeal", "container_instances"]

API_VERSIONS = (
    "2017-08-01-preview",
    "2017-10-01-preview",
    "2017-12-01-preview",
    "2018-02-01-preview",
    "2018-04-01",
    "2018-06-01",
    "2018-09-01",
    "2018-10-01",
    "2019-12-01",
    "2020-11-01",
    "2021-03-01",
    "2021-07-01",
    "2021-09-01",
    "2021-10-01",
    "2022-09-01",
    "2022-10-01-preview",
    "2023-05-01",
    "2024-05-01-preview",
    "2024-09-01-preview",
    "2024-10-01-preview",
    "2024-11-01-preview",
    "2025-09-01",
)


class NoWebSocket(Problem):
    """Azure answers with the address of a web socket; here is none."""

    status = 501
    code = "NotImplemented"


def container_instances(*, store: Store, groups: Groups, seal: SecretsSeal) -> Provider:
    acceptance = Acceptance(groups, seal)

    def view(resource: Any, properties: dict[str, Any], expand: str) -> dict[str, Any]:
        seen = groups.seen(ResourceId.parse(resource.id), resource.properties)
        return states.shown(resource.properties, properties, resource.changed, seen)

    kind = ResourceType(
        name=TYPE,
        api_versions=API_VERSIONS,
        operations=Shaped(compute=acceptance.accept, write_only=WRITE_ONLY, view=view),
        identity=IdentitySupport(system=True, user=True),
        long_running=frozenset({"PUT"}),
        deleted_shown=True,
        name_pattern=r"(?=.{1,63}$)[a-z0-9]+(?:-[a-z0-9]+)*",
        actions={
            "start": posting(TYPE, "start", acceptance.starting(anew=False)),
            "restart": posting(TYPE, "restart", acceptance.starting(anew=True)),
            "stop": posting(TYPE, "stop", stop),
        },
        note="Runs in Podman or Docker, or as processes of a sandbox. Images are never pulled; ports lead nowhere.",
    )
    return Provider(
        namespace="Microsoft.ContainerInstance", types=(kind,), routes=_routes(store, groups), registered=True
    )


def _routes(store: Store, groups: Groups) -> tuple[Route, ...]:
    path, scope = resource_path(TYPE) + "/containers/{container}", resource_scope(TYPE)

    async def container(call: Call) -> str:
        """The name of a container that the group has. Raises NotFound."""
        found = await get_resource(store, call.scope)
        if found is None:
            raise resource_not_found(call.scope)
        every = (*items(found.properties.get("containers")), *items(found.properties.get("initContainers")))
        name = call.parameters["container"]
        if name not in {str(one.get("name")) for one in every}:
            raise NotFound(f"The container '{name[:63]}' is not found.", code="ContainerNotFound")
        return name

    async def logs(call: Call) -> Reply:
        name = await container(call)
        tail, stamped = _asked(call)
        lines = groups.log(call.scope, name, tail)
        text = "".join(f"{line.at} {line.text}\n" if stamped else f"{line.text}\n" for line in lines)
        return Reply.json({"content": text})

    async def no_web_socket(call: Call) -> Reply:
        name = await container(call)
        raise NoWebSocket(
            f"There is no web socket to a container here. Run a command in '{name}' with `keyfob exec`, and read what "
            "it prints with `az container logs`."
        )

    async def run(call: Call) -> Reply:
        name = await container(call)
        command = parse_object(call.request.body).get("command")
        if not isinstance(command, list) or not command or not all(isinstance(word, str) for word in command):
            raise InvalidInput("The member 'command' is an array of texts.", code="InvalidRequestContent")
        code, output, errors = await groups.execute(call.scope, name, command)
        return Reply.json({"exitCode": code, "output": output, "errors": errors})

    execute = Action(f"{TYPE}/containers/exec/action")
    attach = Action(f"{TYPE}/containers/attach/action")
    return (
        Route("GET", f"{path}/logs", Action(f"{TYPE}/containers/logs/read"), logs, scope, API_VERSIONS),
        Route("POST", f"{path}/exec", execute, no_web_socket, scope, API_VERSIONS),
        Route("POST", f"{path}/attach", attach, no_web_socket, scope, API_VERSIONS),
        Route("POST", f"{path}/providers/Keyfob.Hosts/exec", execute, run, scope),
    )


def _asked(call: Call) -> tuple[int | None, bool]:
    """How many lines, and whether with their times. Raises InvalidInput."""
    tail = call.request.query.get("tail")
    if tail is not None and not (tail.isascii() and tail.isdigit() and len(tail) < 10):
        raise InvalidInput("The parameter 'tail' is a number of lines.", code="InvalidTail", target="tail")
    stamped = (call.request.query.get("timestamps") or "").lower() == "true"
    return (int(tail) if tail is not None else None), stamped
