"""Who may use a site's SCM site: its publishing credentials, or a principal that may publish it.

Publishing credentials are the site's own (never the account's): `$site`, `$site__slot`, with a password derived for
the site, compared in constant time, and refused where `basicPublishingCredentialsPolicies/scm` says so. A bearer token
is verified and decided about by the guard, like everywhere.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from keyfob.access.guard import Guard
from keyfob.arm.resources import get_resource
from keyfob.clock import Clock
from keyfob.declare import Action, Caller
from keyfob.errors import Fault, Unauthenticated
from keyfob.hosts.app_service.site import Site
from keyfob.store.port import Store
from keyfob.wire.http import Request

PUBLISH = Action("Microsoft.Web/sites/publish/Action")
PUBLISH_SLOT = Action("Microsoft.Web/sites/slots/publish/Action")

Password = Callable[[object], str]
"""The publishing password of a stored site."""

_APP_SERVICE = ("https://appservice.azure.com", "https://appservice.azure.com/", "abfa0a7c-a6b6-4736-8310-5855508787cd")
"""azure-cli asks for a token of this resource (`app_service_resource_id`), others for Resource Manager's."""


@dataclass(frozen=True, slots=True)
class Publisher:
    """Whoever was let in. `caller` is None with publishing credentials, which are nobody's in particular."""

    name: str
    caller: Caller | None = None


class Admission:
    def __init__(self, *, store: Store, guard: Guard, clock: Clock, password: Password) -> None:
        self._store = store
        self._guard = guard
        self._clock = clock
        self._password = password

    async def admit(self, request: Request, site: Site) -> Publisher:
        """Raises `Unauthenticated`, `Forbidden`."""
        given = request.headers.get("authorization") or ""
        scheme, _, rest = given.strip().partition(" ")
        if scheme.lower() == "basic":
            return await self._basic(rest.strip(), site)
        caller = await self._guard.authenticate(
            request.headers.get("authorization"),
            audiences=frozenset((*site.cloud.audiences["resource_manager"], *_APP_SERVICE)),
            tenant_id=site.resource.tenant_id,
            now=self._clock.now(),
        )
        await self._guard.authorize(
            caller,
            _publishing(site),
            site.id,
            request_id=request.request_id,
            service="app_service",
        )
        return Publisher(caller.name, caller)

    async def still(self, publisher: Publisher, request: Request, site: Site) -> bool:
        """Whether somebody who was let in with that request would be now. Not logged."""
        if publisher.caller is not None:
            return await self._guard.allows(publisher.caller, _publishing(site), site.id)
        try:
            return (await self.admit(request, site)).name == publisher.name
        except Unauthenticated:
            return False

    async def _basic(self, encoded: str, site: Site) -> Publisher:
        try:
            user, colon, password = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise Unauthenticated(Fault.MALFORMED, "The credentials are not a user and a password.") from None
        expected = "$" + "__".join(site.id.names)
        own = user.rpartition("\\")[2]
        right_name = hmac.compare_digest(own.lower().encode(), expected.lower().encode())
        right = hmac.compare_digest(password.encode(), self._password(site.resource).encode())
        if not (colon and right_name and right):
            raise Unauthenticated(Fault.SIGNATURE, "The publishing user or its password is wrong.")
        policy = await get_resource(self._store, site.id.child("basicPublishingCredentialsPolicies", "scm"))
        if policy is None or policy.properties.get("allow") is not True:
            raise Unauthenticated(Fault.KEY, "Basic authentication is switched off for this site's SCM site.")
        return Publisher(user)


def _publishing(site: Site) -> Action:
    return PUBLISH_SLOT if site.slot else PUBLISH
