"""What a platform engineer expects beside resources: locks, tags, features, management groups, the activity log."""

from __future__ import annotations

from collections.abc import Sequence

from keyfob.access.guard import Guard
from keyfob.arm.checks import Bystanders
from keyfob.arm.extras.activity import ActivityLog
from keyfob.arm.extras.activity_routes import ActivityRoutes
from keyfob.arm.extras.denials import Denials
from keyfob.arm.extras.features import Features
from keyfob.arm.extras.locks import Locks
from keyfob.arm.extras.management_groups import ManagementGroups
from keyfob.arm.extras.names import names_provider
from keyfob.arm.extras.policies import policies_provider
from keyfob.arm.extras.tags import Tags
from keyfob.clock import Clock, Ids
from keyfob.declare import Provider
from keyfob.store.port import Store


class Extras:
    """All of them, for one Resource Manager. `activity.run()` is a background task; `activity.flush()` its end."""

    def __init__(self, *, store: Store, guard: Guard, clock: Clock, ids: Ids, namespaces: Sequence[str]) -> None:
        """`namespaces`: those whose features a subscription can register."""
        locks = Locks(store)
        self.activity = ActivityLog(store=store, clock=clock, ids=ids)
        self.bystanders = Bystanders(checks=(locks.check,), witnesses=(self.activity.witness,))
        self.providers: tuple[Provider, ...] = (
            locks.provider(),
            Tags(store).provider(),
            Features(store=store, namespaces=namespaces).provider(),
            ManagementGroups(store=store, guard=guard).provider(),
            ActivityRoutes(log=self.activity, guard=guard).provider(),
            Denials(store=store, guard=guard).provider(),
            policies_provider(),
            names_provider(),
        )
