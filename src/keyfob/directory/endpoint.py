"""The token service: one plane, its routes, and how its refusals are written.

Every token request passes the same phases: form → tenant → grant → client, authenticated → the grant. Nothing here
asks for a bearer token; what a client must prove is checked by `clients.py` before any grant runs.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from keyfob.clock import Clock, Ids
from keyfob.clouds.cloud import Cloud
from keyfob.declare import Address, Call, Public, Route, RouteTable
from keyfob.directory import discovery
from keyfob.directory.aadsts import Refused, describe, error_body
from keyfob.directory.cache import Directory
from keyfob.directory.clients import authenticate_client, find_client, with_basic
from keyfob.directory.exchange import ANY_TENANT, Exchange, Parts
from keyfob.directory.fetcher import HttpKeyFetcher, KeyFetcher
from keyfob.directory.grants import GRANTS
from keyfob.directory.grants.device_code import INTERVAL
from keyfob.directory.hot import HotKeys
from keyfob.directory.keys import KeyRing
from keyfob.directory.model import Pending, Tenant
from keyfob.directory.own_issuers import OwnIssuers
from keyfob.directory.pending import LIVES, PendingStore, new_user_code
from keyfob.directory.resources import UnknownResource
from keyfob.directory.scopes import parse_scopes
from keyfob.directory.seal import Seal
from keyfob.directory.secrets import SecretChecker
from keyfob.directory.sign_in import SignInPages
from keyfob.directory.throttle import Throttle
from keyfob.directory.tokens import Tokens
from keyfob.errors import NotFound, Problem
from keyfob.resource_id import ROOT
from keyfob.store.port import Store
from keyfob.wire.http import Fields, Reply, Request, form

_OPEN = Public("clients prove themselves in the request, or read what everybody may read")
_LARGEST_FORM = 256 * 1024
_NO_STORE = (("Cache-Control", "no-store, no-cache"), ("Pragma", "no-cache"), ("X-Content-Type-Options", "nosniff"))
_ANYBODY = discovery.ANYBODY

Handler = Callable[[Call, int], Awaitable[Reply]]


class TokenEndpoint:
    """A `declare.Plane` for the service `login`."""

    def __init__(
        self,
        *,
        store: Store,
        keys: KeyRing,
        tokens: Tokens,
        clouds: Mapping[str, Cloud],
        seal: Seal,
        clock: Clock,
        ids: Ids,
        directory: Directory | None = None,
        fetcher: KeyFetcher | None = None,
        choose_user: bool = False,
    ) -> None:
        self.parts = Parts(
            store=store,
            directory=directory or Directory(store),
            keys=keys,
            tokens=tokens,
            clouds=clouds,
            pending=PendingStore(store=store, clock=clock, ids=ids),
            secrets=SecretChecker(clock=clock),
            fetcher=OwnIssuers(
                store=store, keys=keys, clouds=clouds, clock=clock, others=fetcher or HttpKeyFetcher(clock=clock)
            ),
            throttle=Throttle(clock=clock),
            clock=clock,
            ids=ids,
        )
        self.hot = HotKeys(keys=keys, directory=self.parts.directory, clouds=clouds, clock=clock)
        """The keys document from memory, before a request is made of it."""
        self._pages = SignInPages(parts=self.parts, csrf_key=seal.derive("sign-in forms"), choose=choose_user)
        self.routes = RouteTable(self._routes())

    def _routes(self) -> tuple[Route, ...]:
        rows: list[Route] = []

        def both(method: str, v1: str, v2: str, handler: Handler) -> None:
            rows.append(Route(method, v1, _OPEN, _versioned(handler, 1)))
            rows.append(Route(method, v2, _OPEN, _versioned(handler, 2)))

        def one(method: str, path: str, handler: Handler) -> None:
            rows.append(Route(method, path, _OPEN, _versioned(handler, 2)))

        well_known = ".well-known/openid-configuration"
        both("GET", f"/{{tenant}}/{well_known}", f"/{{tenant}}/v2.0/{well_known}", self._discovery)
        both("GET", "/{tenant}/discovery/keys", "/{tenant}/discovery/v2.0/keys", self._keys)
        one("GET", "/{tenant}/discovery/instance", self._instance)
        one("GET", "/{tenant}/userrealm/{user}", self._realm)
        both("POST", "/{tenant}/oauth2/token", "/{tenant}/oauth2/v2.0/token", self._token)
        both("GET", "/{tenant}/oauth2/token", "/{tenant}/oauth2/v2.0/token", self._only_post)
        both("POST", "/{tenant}/oauth2/devicecode", "/{tenant}/oauth2/v2.0/devicecode", self._device_code)
        both("GET", "/{tenant}/oauth2/authorize", "/{tenant}/oauth2/v2.0/authorize", self._authorize)
        one("POST", "/{tenant}/login", self._sign_in)
        one("GET", "/{tenant}/oauth2/deviceauth", self._device_page)
        one("POST", "/{tenant}/oauth2/deviceauth", self._device_sign_in)
        one("GET", "/devicelogin", self._device_page)
        one("GET", "/error", self._error_page)
        both("GET", "/{tenant}/oauth2/logout", "/{tenant}/oauth2/v2.0/logout", self._sign_out)
        return tuple(rows)

    async def __call__(self, request: Request, address: Address) -> Reply:
        found = self.routes.match(request.method, request.path)
        try:
            if found is None:
                raise NotFound(f"There is nothing at '{request.path[:200]}'.", code="invalid_request")
            route, parameters = found
            now = self.parts.clock.now()
            return await route.operation(Call(request, parameters, address.cloud, ROOT, None, "", now))
        except Problem as problem:
            return self._refusal(problem, request, address.cloud)

    # --- reading what everybody may read -------------------------------------------------------------------------

    async def _discovery(self, call: Call, version: int) -> Reply:
        name = call.parameters["tenant"]
        tenant = await self._tenant(call)
        found = discovery.document(
            call.cloud,
            version=version,
            login=_login(call.request),
            tenant=name,
            tenant_id=tenant.id if tenant else None,
        )
        return Reply.json(found, headers=_ANYBODY)

    async def _keys(self, call: Call, version: int) -> Reply:
        tenant = await self._tenant(call)
        found = discovery.signing_keys(
            self.parts.keys.published(call.now),
            cloud=call.cloud,
            version=version,
            login=_login(call.request),
            tenant_id=tenant.id if tenant else None,
        )
        return Reply.json(found, headers=_ANYBODY)

    async def _instance(self, call: Call, _version: int) -> Reply:
        query = call.request.query
        endpoint = query.get("authorization_endpoint")
        if not endpoint:
            raise Refused(900144, name="authorization_endpoint")
        found = discovery.instance(
            self.parts.clouds,
            endpoint=endpoint,
            api_version=query.get("api-version") or "1.0",
            login=_login(call.request),
        )
        return Reply.json(found, headers=_ANYBODY)

    async def _realm(self, call: Call, _version: int) -> Reply:
        user = call.parameters["user"]
        domain = user.rpartition("@")[2]
        known = bool(domain) and await self.parts.directory.tenant(domain) is not None
        return Reply.json(discovery.user_realm(call.cloud, user=user, known=known), headers=_NO_STORE)

    # --- tokens --------------------------------------------------------------------------------------------------

    async def _token(self, call: Call, version: int) -> Reply:
        fields = with_basic(_form(call.request), call.request.headers.get("authorization"))
        exchange = Exchange(
            cloud=call.cloud,
            version=version,
            tenant_name=call.parameters["tenant"],
            tenant=await self._tenant(call),
            form=fields,
            login=_login(call.request),
            now=call.now,
        )
        grant_type = exchange.need("grant_type")
        grant = GRANTS.get(grant_type)
        if grant is None:
            raise Refused(70003, grant_type=grant_type)
        for name in grant.parameters:
            exchange.need(name)
        client = await authenticate_client(self.parts, exchange, alone=grant.alone)
        return Reply.json(await grant.answer(self.parts, exchange, client), headers=_NO_STORE)

    async def _only_post(self, call: Call, _version: int) -> Reply:
        raise Refused(900561, accepted="POST, OPTIONS", method=call.request.method)

    async def _device_code(self, call: Call, version: int) -> Reply:
        fields = _form(call.request)
        tenant, name = await self._tenant(call), call.parameters["tenant"]
        client_id = fields.get("client_id")
        if not client_id:
            raise Refused(900144, name="client_id")
        application, _ = await find_client(self.parts, tenant, name, client_id)
        if application is None:
            raise Refused(700016, app_id=client_id, tenant=name)
        scope, resource = "", ""
        if version == 2:
            scope = fields.get("scope") or ""
            if not scope:
                raise Refused(900144, name="scope")
            parse_scopes(scope)
        else:
            resource = fields.get("resource") or ""
        user_code = new_user_code()
        code = await self.parts.pending.put(
            Pending(
                kind="device",
                tenant_id=tenant.id if tenant else "",
                app_id=application.app_id,
                scope=scope,
                resource=resource,
                user_code=user_code,
            )
        )
        where = f"{_login(call.request)}/common/oauth2/deviceauth"
        life: float | str = int(LIVES["device"])
        answer = {
            "user_code": user_code,
            "device_code": code,
            "verification_uri" if version == 2 else "verification_url": where,
            "expires_in": life if version == 2 else str(life),
            "interval": INTERVAL if version == 2 else str(INTERVAL),
            "message": f"To sign in, use a web browser to open the page {where} and enter the code {user_code} to "
            "authenticate.",
        }
        return Reply.json(answer, headers=_NO_STORE)

    # --- browsers ------------------------------------------------------------------------------------------------

    async def _authorize(self, call: Call, version: int) -> Reply:
        page = await self._pages.authorize(call.request, await self._tenant(call), call.parameters["tenant"], version)
        return page.adding(*_NO_STORE[:2])

    async def _sign_in(self, call: Call, _version: int) -> Reply:
        page = await self._pages.submit(
            call.request, _form(call.request), await self._tenant(call), call.parameters["tenant"]
        )
        return page.adding(*_NO_STORE[:2])

    async def _device_page(self, call: Call, _version: int) -> Reply:
        page = await self._pages.device(call.request, call.parameters.get("tenant", "common"))
        return page.adding(*_NO_STORE[:2])

    async def _device_sign_in(self, call: Call, _version: int) -> Reply:
        page = await self._pages.submit_device(
            call.request, _form(call.request), await self._tenant(call), call.parameters["tenant"]
        )
        return page.adding(*_NO_STORE[:2])

    async def _sign_out(self, call: Call, _version: int) -> Reply:
        return self._pages.signed_out()

    async def _error_page(self, call: Call, _version: int) -> Reply:
        """Where `error_uri` leads."""
        code = call.request.query.get("code") or ""
        return self._pages.described(code, describe(code))

    # --- shared --------------------------------------------------------------------------------------------------

    async def _tenant(self, call: Call) -> Tenant | None:
        """None for `common` and `organizations`. Raises `Refused` 90002, also for a tenant of another cloud."""
        name = call.parameters["tenant"]
        if name.lower() in ANY_TENANT:
            return None
        tenant = await self.parts.directory.tenant(name) if len(name) <= 256 else None
        if tenant is None or tenant.cloud != call.cloud.name:
            raise Refused(90002, tenant=name.lower())
        return tenant

    def _refusal(self, problem: Problem, request: Request, cloud: Cloud) -> Reply:
        aadsts = problem.aadsts if isinstance(problem, Refused | UnknownResource) else None
        status, error = problem.status, problem.code
        if aadsts is None and status < 500 and status != 404:
            aadsts, error = 9002313, "invalid_request"
        trace = self.parts.ids.guid()
        message = (
            problem.message
            if problem.message.startswith("AADSTS") or aadsts is None
            else (f"AADSTS{aadsts}: {problem.message}")
        )
        body = error_body(
            aadsts=aadsts,
            error=error,
            message=message,
            now=self.parts.clock.now(),
            trace_id=trace,
            correlation_id=_correlation(request) or self.parts.ids.guid(),
            login=cloud.login,
        )
        if isinstance(problem, Refused) and problem.suberror:
            body["suberror"] = problem.suberror
        return Reply.json(body, status, headers=(*_NO_STORE, ("x-ms-request-id", trace)))


def _versioned(handler: Handler, version: int) -> Callable[[Call], Awaitable[Reply]]:
    async def operation(call: Call) -> Reply:
        return await handler(call, version)

    return operation


def _form(request: Request) -> Fields:
    """Raises `Refused` when it is too large, not UTF-8, or gives a parameter twice (RFC 6749 §3.2)."""
    if len(request.body) > _LARGEST_FORM:
        raise Refused(9002313)
    try:
        fields = form(request.body)
    except ValueError:
        raise Refused(9002313) from None
    if fields.repeated() is not None or any("\0" in value for _, value in fields.pairs):
        raise Refused(9002313)
    return fields


def _login(request: Request) -> str:
    """Scheme, host and port as the client asked them."""
    parts = urlsplit(request.url)
    return f"{parts.scheme}://{parts.netloc}"


def _correlation(request: Request) -> str | None:
    """The client's own request id, when it is a GUID."""
    given = request.headers.get("client-request-id") or request.query.get("client-request-id") or ""
    try:
        return str(uuid.UUID(given))
    except ValueError:
        return None
