"""The front door: a host name means a cloud, a service and an account; the service's plane answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from keyfob.clouds.cloud import Cloud
from keyfob.clouds.hostnames import resolve
from keyfob.declare import Address, Plane
from keyfob.wire.http import Reply, Request, parse_host, parse_target

Hot = Callable[[bytes, list[tuple[bytes, bytes]]], bytes | None]


class Later:
    """A plane that is built, and whose modules are imported, when it is first asked for: most servers are started for
    a token, and every start would pay for it."""

    def __init__(self, build: Callable[[], Plane]) -> None:
        self._build = build
        self._plane: Plane | None = None

    async def __call__(self, request: Request, address: Address) -> Reply:
        if self._plane is None:
            self._plane = self._build()
        return await self._plane(request, address)


class FrontDoor:
    def __init__(
        self,
        *,
        clouds: Mapping[str, Cloud],
        planes: Mapping[str, Plane],
        health: Callable[[], Awaitable[bool]],
        large: Mapping[str, Callable[[str], bool]] | None = None,
    ) -> None:
        """`large`: service → the paths at which it takes large bodies."""
        self._clouds = clouds
        self.planes = planes
        self._health = health
        self._large = dict(large or {})

    async def __call__(self, request: Request) -> Reply:
        if request.path == "/healthz":
            well = await self._health()
            return Reply.json({"status": "ok" if well else "the database does not answer"}, 200 if well else 503)
        found = resolve(request.host, self._clouds)
        if found is None:
            return _refusal(421, "UnknownHost", f"No cloud served here has a host called '{request.host}'.")
        cloud, service, account = found
        plane = self.planes.get(service)
        if plane is None:
            words = service.replace("_", " ")
            return _refusal(501, "ServiceNotServed", f"{request.host} belongs to {words}, which is not served yet.")
        return await plane(request, Address(cloud, service, account))

    async def plain(self, request: Request) -> Reply:
        """What comes without TLS: for sites, which send it on or answer it as their owners say. Everybody else's
        clients carry tokens."""
        found = resolve(request.host, self._clouds)
        if found is not None and found[1] == "web":
            return await self(request)
        return _refusal(403, "HttpsRequired", f"{request.host} is served over https alone.")

    def takes_large(self, target: bytes, fields: list[tuple[bytes, bytes]]) -> bool:
        """Whether a request may have a large body, before it was read: its name and path tell, and somebody must
        claim to be somebody. Who that is, is asked when it is there."""
        told = dict(fields)
        found = resolve(parse_host(told.get(b"host", b"").decode("latin-1"))[0], self._clouds)
        takes = self._large.get(found[1]) if found is not None else None
        return takes is not None and b"authorization" in told and takes(parse_target(target.decode("latin-1"))[0])

    def knows(self, host: str) -> bool:
        """Whether a name belongs to any of the clouds: what DNS in a sandbox and the proxy answer for."""
        return resolve(host, self._clouds) is not None


def first_of(hot: Mapping[bytes, Hot], otherwise: Hot) -> Hot:
    """One hot function from several, chosen by the beginning of the target: `{b"/secrets/": …}`; `otherwise` gets what
    none of them is for."""
    pairs = tuple(hot.items())

    def answer(target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes | None:
        for start, function in pairs:
            if target.startswith(start):
                return function(target, headers)
        return otherwise(target, headers)

    return answer


def _refusal(status: int, code: str, message: str) -> Reply:
    body = msgspec.json.encode({"error": {"code": code, "message": message}})
    return Reply(status, body, (), "application/json; charset=utf-8")
