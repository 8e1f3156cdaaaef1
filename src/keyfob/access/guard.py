"""The one gate: a credential becomes a caller, a caller's wish becomes a decision, and every decision is logged.

What is checked and what is not:
- the token's signature, issuer, audience, tenant and times: `directory.tokens`, at every call (remembered by hash);
- that the principal still exists and is enabled: at every decision. A token outlives its principal, as on Azure, so
  this is no 401: the decision is Denied, and says so. Groups are the directory's of now, not the token's;
- role and deny assignments: at every decision, as they are committed;
- delegated permissions (`scp`) and conditions are not evaluated: a condition grants nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from keyfob.access.log import DecisionLog
from keyfob.access.memo import Memo
from keyfob.access.memory import Hierarchy, Memory, NoHierarchy
from keyfob.access.roles import RoleBook
from keyfob.clock import Clock, Ids
from keyfob.declare import Action, Allowed, Authorizer, Caller, Decision, Denied, Target
from keyfob.errors import Fault, Forbidden, Unauthenticated
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store

_CALLERS = 4_096
"""Callers remembered at most, about as many as tokens."""


class Verifier(Protocol):
    """`directory.tokens.Tokens`, as far as the guard needs it."""

    def verify(
        self, token: str, *, audiences: frozenset[str], tenant_id: str | None, now: float
    ) -> Mapping[str, Any]: ...

    async def verify_reloading(
        self, token: str, *, audiences: frozenset[str], tenant_id: str | None, now: float
    ) -> Mapping[str, Any]: ...


class Guard:
    """One per process. `roles`, `log` and `memory` are its parts, for those who list or explain."""

    def __init__(
        self,
        *,
        store: Store,
        tokens: Verifier,
        clock: Clock,
        ids: Ids,
        roles: RoleBook | None = None,
        hierarchy: Hierarchy | None = None,
        decisions: int = 10_000,
    ) -> None:
        self._tokens = tokens
        self._clock = clock
        self._callers: Memo[int, Caller] = Memo(_CALLERS)
        self.roles = roles or RoleBook()
        self.memory = Memory(store, self.roles, hierarchy or NoHierarchy())
        self.log = DecisionLog(store, ids, size=decisions)

    @property
    def version(self) -> int:
        """Grows with everything that may change a decision: who remembers a decision compares this."""
        return self.memory.version

    # --- who is it

    async def authenticate(
        self, authorization: str | None, *, audiences: frozenset[str], tenant_id: str | None, now: float
    ) -> Caller:
        """The caller behind an `Authorization` header. Raises `Unauthenticated`."""
        token = bearer(authorization)
        claims = await self._tokens.verify_reloading(token, audiences=audiences, tenant_id=tenant_id, now=now)
        standing = await self.memory.standing(claims["tid"], claims["oid"].lower())
        return caller_of(claims, standing.person.groups)

    def authenticate_now(
        self, authorization: str | None, *, audiences: frozenset[str], tenant_id: str | None, now: float
    ) -> Caller | None:
        """`authenticate` from memory alone, for hot paths. None: take the slow way."""
        claims = self._tokens.verify(bearer(authorization), audiences=audiences, tenant_id=tenant_id, now=now)
        standing = self.memory.standing_now(claims["tid"], claims["oid"].lower())
        return self._caller(claims, standing.person.groups) if standing else None

    def _caller(self, claims: Mapping[str, Any], groups: frozenset[str]) -> Caller:
        """`caller_of`, remembered: verified claims are remembered too, so the same ones come again and again."""
        known = self._callers.get(id(claims))
        if known is not None and known.claims is claims and known.groups is groups:
            return known
        caller = caller_of(claims, groups)
        self._callers.put(id(claims), caller)
        return caller

    # --- may they

    async def authorize(
        self,
        caller: Caller,
        action: Action,
        scope: ResourceId,
        *,
        request_id: str,
        target: Target | None = None,
        authorizer: Authorizer | None = None,
        service: str = "",
    ) -> Allowed:
        """Raises `Forbidden`; its `info` holds `principal_id`, `action`, `scope`, `reason`, `decision`, `caller` and,
        of a deny assignment, `deny_assignment` (its id), `deny_assignment_name` and `deny_assignment_scope`.

        A service's own `authorizer` is asked first, with its `target`; role assignments decide where it gives None.
        It is not asked about principals that are gone.
        """
        decision = await self._decide(caller, action, scope, target, authorizer)
        self.log.add(self._clock.now(), request_id, caller, action, scope, decision, service)
        if isinstance(decision, Allowed):
            return decision
        raise self._forbidden(caller, action, scope, decision)

    def authorize_now(
        self, caller: Caller, action: Action, scope: ResourceId, *, request_id: str, service: str = ""
    ) -> Decision | None:
        """Role assignments only, from memory alone, for hot paths. None: take the slow way; nothing was logged then."""
        decision = self.memory.decide_now(caller.tenant_id, caller.principal_id, action, scope)
        if decision is not None:
            self.log.add(self._clock.now(), request_id, caller, action, scope, decision, service)
        return decision

    async def allows(self, caller: Caller, action: Action, scope: ResourceId) -> bool:
        """For filtering lists: not logged."""
        return isinstance(await self._by_roles(caller, action, scope), Allowed)

    async def _decide(
        self, caller: Caller, action: Action, scope: ResourceId, target: Target | None, authorizer: Authorizer | None
    ) -> Decision:
        if authorizer is not None:
            if target is None:
                raise ValueError("an authorizer decides about a target: give it")
            standing = await self.memory.standing(caller.tenant_id, caller.principal_id)
            if standing.refusal:
                return Denied(standing.refusal)
            own = authorizer(replace(caller, groups=standing.person.groups), action, scope, target)
            if own is not None:
                return own
        return await self._by_roles(caller, action, scope)

    async def _by_roles(self, caller: Caller, action: Action, scope: ResourceId) -> Decision:
        while True:
            decision = self.memory.decide_now(caller.tenant_id, caller.principal_id, action, scope)
            if decision is not None:
                return decision
            await self.memory.refresh()
            await self.memory.standing(caller.tenant_id, caller.principal_id)

    def _forbidden(self, caller: Caller, action: Action, scope: ResourceId, decision: Denied) -> Forbidden:
        info: dict[str, Any] = {
            "principal_id": caller.principal_id,
            "action": action.name,
            "scope": str(scope),
            "reason": decision.reason,
            "decision": decision,
            "caller": caller,
        }
        who = f"The client '{caller.name}' with object id '{caller.principal_id}'"
        if decision.deny_assignment:
            denial = self.memory.index(caller.tenant_id).denial(decision.deny_assignment)
            name, where = (denial.name, denial.scope) if denial else ("", "")
            info |= {
                "deny_assignment": decision.deny_assignment,
                "deny_assignment_name": name,
                "deny_assignment_scope": where,
            }
            return Forbidden(
                f"{who} has permission to perform action '{action.name}' on scope '{scope}'; however, the access is "
                f"denied because of the deny assignment with name '{name}' and Id '{decision.deny_assignment}' at "
                f"scope '{where}'.",
                code="DenyAssignmentAuthorizationFailed",
                info=info,
            )
        return Forbidden(
            f"{who} does not have authorization to perform action '{action.name}' over scope '{scope}' or the scope "
            "is invalid. If access was recently granted, please refresh your credentials.",
            code="AuthorizationFailed",
            info=info,
        )


def bearer(authorization: str | None) -> str:
    """The token in an `Authorization` header. Raises `Unauthenticated`: missing, or not a Bearer credential."""
    if authorization is not None and authorization[:7] == "Bearer ":
        token = authorization[7:]
        if token and not token[0].isspace() and not token[-1].isspace() and " " not in token:
            return token  # as nearly every client writes it
    if authorization is None or not authorization.strip():
        raise Unauthenticated(Fault.MISSING, "The request has no Authorization header.")
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip() or " " in token.strip():
        raise Unauthenticated(Fault.MALFORMED, "The Authorization header is not 'Bearer' and one token.")
    return token.strip()


def caller_of(claims: Mapping[str, Any], groups: frozenset[str]) -> Caller:
    """From verified claims: v1 names (`appid`, `upn`) and v2 ones (`azp`, `preferred_username`)."""
    app_id = claims.get("appid") or claims.get("azp") or ""
    user = claims.get("upn") or claims.get("preferred_username") or claims.get("unique_name")
    principal_id = claims["oid"].lower()
    return Caller(
        tenant_id=claims["tid"].lower(),
        principal_id=principal_id,
        app_id=app_id,
        name=user or app_id or principal_id,
        groups=groups,
        roles=frozenset(claims.get("roles") or ()),
        claims=claims,
    )
