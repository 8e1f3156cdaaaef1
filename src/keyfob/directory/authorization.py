"""An authorization request: read, checked, and answered by sending the browser back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from keyfob.directory import pages
from keyfob.directory.aadsts import Refused
from keyfob.directory.clients import find_client
from keyfob.directory.exchange import Parts
from keyfob.directory.model import Application, Tenant
from keyfob.directory.redirects import is_registered, with_parameters
from keyfob.wire.http import Fields, Reply

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_MODES = frozenset({"query", "fragment", "form_post"})


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where the answer goes: checked against the registration."""

    redirect_uri: str
    mode: str
    state: str | None

    def reply(self, parameters: Mapping[str, str], *, nonce: str) -> Reply:
        sent = dict(parameters)
        if self.state is not None:
            sent["state"] = self.state
        if self.mode == "form_post":
            return pages.form_post_page(self.redirect_uri, sent, nonce=nonce)
        location = with_parameters(self.redirect_uri, sent, fragment=self.mode == "fragment")
        return Reply(302, b"", (("Location", location),))


@dataclass(frozen=True, kw_only=True)
class Authorization:
    """A request that may be answered with a code once somebody has signed in."""

    version: int
    tenant: Tenant | None
    application: Application
    scope: str
    resource: str
    challenge: str
    nonce: str
    prompt: str
    login_hint: str
    destination: Destination


async def read_destination(
    parts: Parts, tenant: Tenant | None, tenant_name: str, query: Fields
) -> tuple[Application, Destination]:
    """Client and redirect URI: until these are right the browser is sent nowhere. Raises `Refused`."""
    client_id = query.get("client_id")
    if not client_id:
        raise Refused(900144, name="client_id")
    application, _ = await find_client(parts, tenant, tenant_name, client_id)
    if application is None:  # a managed identity or a service: it has nowhere to be sent back to
        raise Refused(700016, app_id=client_id, tenant=tenant_name)
    redirect_uri = query.get("redirect_uri") or (application.redirect_uris[0] if application.redirect_uris else "")
    if not is_registered(application, redirect_uri):
        raise Refused(50011, redirect_uri=redirect_uri, app_id=application.app_id)
    mode = query.get("response_mode") or "query"
    if mode not in _MODES:
        raise Refused(70007, response_mode=mode)
    return application, Destination(redirect_uri=redirect_uri, mode=mode, state=query.get("state"))


def read_authorization(
    query: Fields, *, version: int, tenant: Tenant | None, application: Application, destination: Destination
) -> Authorization:
    """The rest of the request; what is wrong with it is told to the application. Raises `Refused`."""
    if query.get("response_type") != "code":
        raise Refused(70005, response_type=query.get("response_type") or "")
    challenge = query.get("code_challenge") or ""
    if challenge and (query.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge)):
        raise Refused(90100, name="code_challenge")
    scope = query.get("scope") or ""
    if version == 2 and not scope:
        raise Refused(900144, name="scope")
    return Authorization(
        version=version,
        tenant=tenant,
        application=application,
        scope=scope if version == 2 else "",
        resource=(query.get("resource") or "") if version == 1 else "",
        challenge=challenge,
        nonce=query.get("nonce") or "",
        prompt=query.get("prompt") or "",
        login_hint=query.get("login_hint") or "",
        destination=destination,
    )
