"""What else may stop a request once it is authorised, and who is told how it ended.

A check is asked after the guard, and again inside the transaction that writes: locks are one. A witness learns of
every write, delete and action when it is over: the activity log is one. Neither is asked about reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from keyfob.clouds.cloud import Cloud
from keyfob.declare import Action, Caller
from keyfob.errors import Problem
from keyfob.resource_id import ResourceId
from keyfob.store.port import Session


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """Somebody is about to do something to a scope: authorised when a check sees it, perhaps refused when a witness
    does."""

    action: Action
    scope: ResourceId
    caller: Caller
    cloud: Cloud
    method: str = "PUT"
    request_id: str = ""
    correlation_id: str = ""
    client_request_id: str = ""
    began: float = 0.0
    """Epoch seconds."""

    @property
    def reads(self) -> bool:
        return self.action.name.lower().endswith("/read")


class Check(Protocol):
    async def __call__(self, attempt: Attempt, session: Session) -> None:
        """Raises the `Problem` that stands in its way, by what the session sees."""
        ...


class Witness(Protocol):
    def __call__(self, attempt: Attempt, status: int, problem: Problem | None) -> None:
        """On every request: must not wait. `problem` is why it was refused, None when it was not."""
        ...


@dataclass(frozen=True, slots=True)
class Bystanders:
    """The checks and witnesses of one Resource Manager."""

    checks: Sequence[Check] = ()
    witnesses: Sequence[Witness] = ()

    async def check(self, attempt: Attempt, session: Session) -> None:
        """Raises what the first check that objects raises."""
        if not attempt.reads:
            for one in self.checks:
                await one(attempt, session)

    def tell(self, attempt: Attempt, status: int, problem: Problem | None = None) -> None:
        if not attempt.reads:
            for one in self.witnesses:
                one(attempt, status, problem)
