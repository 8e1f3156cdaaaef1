"""Token endpoints outside a sandbox: opened on request, one loopback listener a host."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from keyfob.declare import Action, Call, Provider, Route
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Reply

OPEN = Action("Keyfob.Hosts/endpoints/open/action")
"""Being a host: what opening its endpoint, or a sandbox as it, needs on the host's resource."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a host's own endpoint listens, and the variables that lead a program there."""

    url: str
    variables: Mapping[str, str]


def endpoints_provider(open_endpoint: Callable[[ResourceId], Awaitable[Endpoint]]) -> Provider:
    """`POST {host}/providers/Keyfob.Hosts/openEndpoint`: ours, not Azure's; under the same guard as everything.

    `open_endpoint` raises `NotFound` when the resource is no host.
    """

    async def open_(call: Call) -> Reply:
        endpoint = await open_endpoint(call.scope)
        return Reply.json({"endpoint": endpoint.url, "variables": dict(endpoint.variables)})

    return Provider(
        namespace="Keyfob.Hosts",
        registered=True,
        routes=(Route("POST", "/{+scope}/providers/Keyfob.Hosts/openEndpoint", OPEN, open_),),
    )
