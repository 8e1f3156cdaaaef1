"""A host and a resource → a token: which identity, is it known and enabled, mint or remember. No wire format here.

Instance metadata caches one token per host, identity and resource and hands it out with a shrinking `expires_in`
(troubleshooting page: "cached per resource URI for around 24 hours"); so do we. When it gives a *new* one is not
documented: here, once less than half of the life is left (12 of 24 hours), which is also when MSAL asks again.

Nothing is cached past a change: a remembered token carries the version of everything that was checked for it, and
any change of attachments, service principals, resource applications or app roles makes the next request check again.
A token whose app roles are no longer those that its identity holds is replaced at once, earlier than on Azure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256

from keyfob.clock import Clock
from keyfob.directory.model import ServicePrincipal, Tenant, User
from keyfob.directory.offered import NOT_OFFERED
from keyfob.directory.principals import app_roles_of, get_principal
from keyfob.directory.records import APP_ROLE_ASSIGNMENTS, APPLICATIONS, MEMBERSHIPS, SERVICE_PRINCIPALS, TENANTS
from keyfob.directory.resources import Resource, find_resource
from keyfob.directory.tenants import get_tenant
from keyfob.directory.tokens import Tokens
from keyfob.errors import InvalidInput, Problem
from keyfob.hosts.tally import Tally
from keyfob.identities.attached import Attachments
from keyfob.identities.choose import IdentityNotFound, choose
from keyfob.identities.model import Attached, Selector
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store

SHELL_CLIENT = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
"""What a user's tokens in Cloud Shell are for: the command line, which is the program there."""

REMEMBERED = 10_000
"""Tokens kept at most; the oldest goes first. A token is about 2 kB."""


@dataclass(frozen=True, slots=True)
class HostToken:
    """A token for a host. Times are epoch seconds; `renew_after` is when a new one would be given."""

    token: str = field(repr=False)
    client_id: str
    principal_id: str
    resource: str
    issued: float
    not_before: int
    expires_on: int
    roles: frozenset[str] = frozenset()
    """App roles of the resource that it carries."""

    @property
    def renew_after(self) -> float:
        return self.expires_on - (self.expires_on - self.issued) / 2

    def seconds_left(self, now: float) -> int:
        return max(0, int(self.expires_on - now))


class TokenEndpoint:
    """What every host's dialect calls."""

    def __init__(
        self,
        *,
        store: Store,
        attachments: Attachments,
        tokens: Tokens,
        clock: Clock,
        closed: frozenset[tuple[str, str]] = NOT_OFFERED,
        tally: Tally | None = None,
    ) -> None:
        """`closed`: what `find_resource` takes."""
        self.tally = tally or Tally()
        self._closed = closed
        self._store = store
        self._attachments = attachments
        self._tokens = tokens
        self._clock = clock
        self._changes = 0
        self._remembered: dict[tuple[str, str, str], tuple[int, HostToken]] = {}
        for records in (SERVICE_PRINCIPALS, APPLICATIONS, TENANTS, APP_ROLE_ASSIGNMENTS, MEMBERSHIPS):
            store.watch(records.topic, self._changed)

    @property
    def version(self) -> int:
        """Grows whenever an answer may have changed: one comparison tells whether a remembered token still holds."""
        return self._attachments.version + self._changes

    async def issue(
        self,
        host_id: ResourceId,
        selector: Selector,
        resource: str,
        *,
        bypass_cache: bool = False,
        refused: str = "",
        lone_user_identity: bool = True,
        admit: Callable[[], Awaitable[object]] | None = None,
    ) -> HostToken:
        """Raises `NotFound` (host gone), `IdentityNotFound` (also for a disabled one), `MultipleIdentities`,
        `ConflictingSelectors`, or `InvalidInput` with the OAuth error code `invalid_resource`.

        `admit` is a condition of the host's own, that it raises for; it is part of what a remembered token stands for.
        `refused` is the SHA-256 of a token that is not to be given again. Without `lone_user_identity`, naming none
        means the system-assigned identity and no other. Which the host has is for `identities.attached` to say.
        """
        count = self.tally.of(host_id.key)
        try:
            token = await self._issue(host_id, selector, resource, bypass_cache, refused, lone_user_identity, admit)
        except Problem:
            count.refused += 1
            raise
        count.gave(self._clock.now(), resource, token.client_id)
        return token

    async def _issue(
        self,
        host_id: ResourceId,
        selector: Selector,
        resource: str,
        bypass_cache: bool,
        refused: str,
        lone_user_identity: bool,
        admit: Callable[[], Awaitable[object]] | None,
    ) -> HostToken:
        version = self.version  # before anything is looked at: what changes meanwhile makes the token old
        host = await self._attachments.of(host_id)
        if admit is not None:
            await admit()
        identity = choose(host, selector, lone_user_identity=lone_user_identity)
        tenant = await get_tenant(self._store, identity.tenant_id)
        if tenant is None:
            raise IdentityNotFound
        wanted = await find_resource(self._store, tenant, resource, self._closed)
        roles = await app_roles_of(self._store, tenant.id, identity.principal_id, wanted.principal.app_id)
        place = (host_id.key, identity.principal_id, resource)
        kept = self._remembered.get(place)
        fresh = kept is not None and not bypass_cache and self._clock.now() < kept[1].renew_after
        if refused and kept is not None and sha256(kept[1].token.encode()).hexdigest() == refused:
            fresh = False
        if kept is not None and fresh and kept[1].roles == roles:
            self._remembered[place] = (version, kept[1])
            return kept[1]
        principal = await get_principal(self._store, identity.tenant_id, identity.principal_id)
        if not isinstance(principal, ServicePrincipal):
            raise IdentityNotFound
        token = self._mint(tenant, principal, host.host_id, identity, wanted, roles)
        while len(self._remembered) >= REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[place] = (version, token)
        return token

    async def issue_own(self, tenant_id: str, principal_id: str, resource: str) -> HostToken:
        """A token of the user or service principal itself, for Cloud Shell, which has no identity of its own.

        Raises `IdentityNotFound` when it is gone or disabled, `InvalidInput` with the code `invalid_resource`.
        """
        tenant = await get_tenant(self._store, tenant_id)
        principal = await get_principal(self._store, tenant_id, principal_id)
        if tenant is None or not isinstance(principal, ServicePrincipal | User) or not principal.enabled:
            raise IdentityNotFound
        wanted = await find_resource(self._store, tenant, resource, self._closed)
        if isinstance(principal, User):
            client_id = SHELL_CLIENT
            minted = self._tokens.mint_user(
                tenant=tenant,
                user=principal,
                client_id=client_id,
                audience=wanted.audience,
                scopes=("user_impersonation",),
                version=wanted.version,
            )
        else:
            client_id = principal.app_id
            minted = self._tokens.mint_application(
                tenant=tenant,
                principal=principal,
                audience=wanted.audience,
                roles=await app_roles_of(self._store, tenant.id, principal.id, wanted.principal.app_id),
                version=wanted.version,
            )
        return HostToken(
            token=minted.token,
            client_id=client_id,
            principal_id=principal.id,
            resource=resource,
            issued=self._clock.now(),
            not_before=minted.not_before,
            expires_on=minted.expires_on,
        )

    def recall(self, host_id: ResourceId, selector: Selector, resource: str, now: float) -> HostToken | None:
        """The token `issue` would give, when memory alone can tell; never one that a change has touched."""
        host = self._attachments.cached(host_id.key)
        if host is None:
            return None
        try:
            identity = choose(host, selector)
        except InvalidInput:
            return None
        kept = self._remembered.get((host_id.key, identity.principal_id, resource))
        if kept is None or kept[0] != self.version or now >= kept[1].renew_after:
            return None
        return kept[1]

    def _mint(
        self,
        tenant: Tenant,
        principal: ServicePrincipal,
        host: str,
        identity: Attached,
        resource: Resource,
        roles: frozenset[str],
    ) -> HostToken:
        own = identity.resource_id
        minted = self._tokens.mint_managed_identity(
            tenant=tenant,
            principal=principal,
            audience=resource.audience,
            resource_id=own or host,
            host_id=host if own else None,
            roles=roles,
            version=resource.version,
        )
        return HostToken(
            token=minted.token,
            client_id=identity.client_id,
            principal_id=identity.principal_id,
            resource=resource.requested,
            issued=self._clock.now(),
            not_before=minted.not_before,
            expires_on=minted.expires_on,
            roles=roles,
        )

    def _changed(self, key: str) -> None:
        self._changes += 1
