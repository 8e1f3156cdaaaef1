"""Browsers at the token service: the authorization page, the device page, signing out.

A page's form carries the original request and is checked from the beginning when it comes back. A cookie and its HMAC
in the form tell that the form is ours and from this browser.
"""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from keyfob.directory import pages
from keyfob.directory.aadsts import Description, Refused
from keyfob.directory.authorization import Authorization, Destination, read_authorization, read_destination
from keyfob.directory.exchange import Parts
from keyfob.directory.keys import b64url
from keyfob.directory.model import Pending, Tenant, User
from keyfob.directory.principals import find_user, list_users
from keyfob.directory.scopes import parse_scopes
from keyfob.directory.users import require_client_in, sign_in, tenant_of_user
from keyfob.wire.http import Fields, Reply, Request

COOKIE = "keyfob-sign-in"
_CHOICES = 50


class SignInPages:
    """`choose` lets whoever opens the page go on as any user, without a password: for one operator on one machine."""

    def __init__(self, *, parts: Parts, csrf_key: bytes, choose: bool = False) -> None:
        self._parts = parts
        self._csrf_key = csrf_key
        self._choose = choose

    # --- authorize ---------------------------------------------------------------------------------------------

    async def authorize(self, request: Request, tenant: Tenant | None, tenant_name: str, version: int) -> Reply:
        """`GET /{tenant}/oauth2/v2.0/authorize`: the page, or the browser goes back with an error."""
        found = await self._read(request.query, tenant, tenant_name, version)
        if isinstance(found, Reply):
            return found
        hidden = {"request": urlencode(request.query.pairs), "version": str(version)}
        return await self._page(request, found, tenant_name, hidden)

    async def submit(self, request: Request, form: Fields, tenant: Tenant | None, tenant_name: str) -> Reply:
        """`POST /{tenant}/login`: the form comes back."""
        self._check_csrf(request, form)
        pairs = form.get("request") or ""
        version = 1 if form.get("version") == "1" else 2
        found = await self._read(Fields(parse_qsl(pairs, keep_blank_values=True)), tenant, tenant_name, version)
        if isinstance(found, Reply):
            return found
        try:
            home, user = await self._who(form, tenant)
            await require_client_in(self._parts, home, found.application, found.application.app_id)
        except Refused as refusal:
            hidden = {"request": pairs, "version": str(version)}
            return await self._page(request, found, tenant_name, hidden, refusal=refusal, form=form)
        code = await self._parts.pending.put(
            Pending(
                kind="code",
                tenant_id=home.id,
                app_id=found.application.app_id,
                user_id=user.id,
                resource=found.resource,
                scope=found.scope,
                redirect_uri=found.destination.redirect_uri,
                challenge=found.challenge,
                nonce=found.nonce,
                family=self._parts.ids.guid(),
            )
        )
        return found.destination.reply({"code": code, "session_state": self._parts.ids.guid()}, nonce=self._nonce())

    async def _read(
        self, query: Fields, tenant: Tenant | None, tenant_name: str, version: int
    ) -> Authorization | Reply:
        destination: Destination | None = None
        try:
            application, destination = await read_destination(self._parts, tenant, tenant_name, query)
            found = read_authorization(
                query, version=version, tenant=tenant, application=application, destination=destination
            )
            if version == 2:
                parse_scopes(found.scope)
            if found.prompt == "none":
                raise Refused(50058)
        except Refused as refusal:
            if destination is None:
                return pages.message_page(
                    "Sorry, we cannot sign you in", refusal.message, nonce=self._nonce(), status=400
                )
            return destination.reply({"error": refusal.code, "error_description": refusal.message}, nonce=self._nonce())
        return found

    async def _page(
        self,
        request: Request,
        found: Authorization,
        tenant_name: str,
        hidden: dict[str, str],
        *,
        refusal: Refused | None = None,
        form: Fields | None = None,
    ) -> Reply:
        cookie, csrf = self._csrf(request)
        page = pages.SignIn(
            action=f"/{tenant_name}/login",
            client=found.application.display_name or found.application.app_id,
            csrf=csrf,
            hidden=hidden,
            login_hint=(form.get("username") if form else None) or found.login_hint,
            problem=_told(refusal),
            choices=await self._choices(found.tenant),
        )
        return self._with_cookie(request, cookie, pages.sign_in_page(page, nonce=self._nonce()))

    # --- device ------------------------------------------------------------------------------------------------

    async def device(self, request: Request, tenant_name: str) -> Reply:
        """`GET /common/oauth2/deviceauth`: the page that takes the code a device shows."""
        return await self._device_page(request, tenant_name, user_code=request.query.get("otc") or "")

    async def submit_device(self, request: Request, form: Fields, tenant: Tenant | None, tenant_name: str) -> Reply:
        self._check_csrf(request, form)
        user_code = form.get("user_code") or ""
        found = await self._parts.pending.by_user_code(user_code)
        if found is None or found[1].status != "waiting" or found[1].expires <= self._parts.clock.now():
            return await self._device_page(request, tenant_name, user_code=user_code, refusal=Refused(70018), form=form)
        key, pending = found
        if form.get("decline"):
            await self._parts.pending.decide(key, status="declined")
            return pages.message_page("You have declined", "You may close this window.", nonce=self._nonce())
        try:
            wanted = tenant
            if wanted is None and pending.tenant_id:
                wanted = await self._parts.directory.tenant(pending.tenant_id)
            home, user = await self._who(form, wanted)
            application = await self._parts.directory.application(pending.app_id)
            await require_client_in(self._parts, home, application, pending.app_id)
        except Refused as refusal:
            return await self._device_page(request, tenant_name, user_code=user_code, refusal=refusal, form=form)
        principal = await self._parts.directory.service_principal(home.id, pending.app_id)
        name = principal.display_name if principal else pending.app_id
        if not await self._parts.pending.decide(key, status="approved", user_id=user.id, tenant_id=home.id):
            return await self._device_page(request, tenant_name, user_code=user_code, refusal=Refused(70018), form=form)
        text = f"You have signed in to the {name} application on your device. You may now close this window."
        return pages.message_page("You have signed in", text, nonce=self._nonce())

    async def _device_page(
        self,
        request: Request,
        tenant_name: str,
        *,
        user_code: str,
        refusal: Refused | None = None,
        form: Fields | None = None,
    ) -> Reply:
        cookie, csrf = self._csrf(request)
        page = pages.SignIn(
            action=f"/{tenant_name}/oauth2/deviceauth",
            client="",
            csrf=csrf,
            hidden={},
            login_hint=(form.get("username") if form else None) or "",
            problem=_told(refusal),
            choices=await self._choices(None),
            device=True,
            user_code=user_code,
        )
        return self._with_cookie(request, cookie, pages.sign_in_page(page, nonce=self._nonce()))

    def signed_out(self) -> Reply:
        """There are no sessions here, so nothing needs ending, and nobody is redirected."""
        text = "It's a good idea to close all browser windows."
        return pages.message_page("You signed out", text, nonce=self._nonce())

    def described(self, code: str, found: Description | None) -> Reply:
        if found is None:
            return pages.message_page("Unknown error code", code[:16], nonce=self._nonce(), status=404)
        title = f"AADSTS{code} {found.name or ''}".strip()
        return pages.message_page(title, found.message or "", nonce=self._nonce())

    # --- who ---------------------------------------------------------------------------------------------------

    async def _who(self, form: Fields, tenant: Tenant | None) -> tuple[Tenant, User]:
        chosen = form.get("choose")
        if self._choose and chosen:
            home = await tenant_of_user(self._parts, tenant, chosen)
            user = await find_user(self._parts.store, home.id, chosen)
            if user is None:
                raise Refused(50034, user=chosen, tenant=home.display_name or home.id)
            if not user.enabled:
                raise Refused(50057)
            return home, user
        return await sign_in(self._parts, tenant, form.get("username") or "", form.get("password") or "")

    async def _choices(self, tenant: Tenant | None) -> tuple[str, ...]:
        if not self._choose or tenant is None:
            return ()
        users = await list_users(self._parts.store, tenant.id)
        return tuple(user.principal_name for user in users if user.enabled)[:_CHOICES]

    # --- forgery -----------------------------------------------------------------------------------------------

    def _csrf(self, request: Request) -> tuple[str, str]:
        """The browser's cookie, new if it has none, and what its form must carry."""
        cookie = _cookie(request) or self._parts.ids.token(32)
        return cookie, self._mark(cookie)

    def _check_csrf(self, request: Request, form: Fields) -> None:
        cookie, mark = _cookie(request), form.get("csrf") or ""
        good = bool(cookie) and hmac.compare_digest(mark.encode(), self._mark(cookie or "").encode())
        origin = request.headers.get("origin")
        if not good or (origin not in (None, "null") and origin != _origin(request)):
            raise Refused(90100, name="csrf")

    def _mark(self, cookie: str) -> str:
        return b64url(hmac.digest(self._csrf_key, cookie.encode(), "sha256"))

    def _with_cookie(self, request: Request, cookie: str, reply: Reply) -> Reply:
        secure = "; Secure" if request.scheme == "https" else ""
        return reply.adding(("Set-Cookie", f"{COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Strict{secure}"))

    def _nonce(self) -> str:
        return self._parts.ids.token(16)


def _cookie(request: Request) -> str | None:
    try:
        jar = SimpleCookie(request.headers.get("cookie") or "")
    except CookieError:
        return None
    found = jar.get(COOKIE)
    value = found.value if found else ""
    plain = value.isascii() and value.replace("-", "").replace("_", "").isalnum() and len(value) <= 64
    return value if plain else None


def _origin(request: Request) -> str:
    default = 443 if request.scheme == "https" else 80
    return f"{request.scheme}://{request.host}" + ("" if request.port in (None, default) else f":{request.port}")


def _told(refusal: Refused | None) -> str:
    """Wrong name and wrong password read the same on the page."""
    if refusal is None:
        return ""
    if refusal.aadsts in (50034, 50126):
        return "Your account or password is incorrect."
    if refusal.aadsts == 70018:
        return "That code didn't work. Check the code and try again."
    return refusal.message
