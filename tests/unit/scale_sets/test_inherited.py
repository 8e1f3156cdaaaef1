"""Whose identities an instance has, when the set changes while somebody looks."""

from __future__ import annotations

from typing import Any

import pytest

from keyfob.arm.model import DELETING, Resource
from keyfob.arm.resources import Resources
from keyfob.hosts.scale_sets import Inherited
from keyfob.hosts.scale_sets.model import IDENTITY
from keyfob.identities.model import StoredIdentity
from keyfob.resource_id import ResourceId

SET = ResourceId.parse("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachineScaleSets/set")
INSTANCE = SET.child("virtualMachines", "0")


def row(id: ResourceId, user: str = "", **properties: Any) -> Resource:
    return Resource(
        id=str(id), type=id.type, name=id.name, identity=StoredIdentity(user=(user,)), properties=properties
    )


class Rows(Resources):
    """Rows that change, all at once, before the read with that number."""

    def __init__(self, *versions: tuple[int, dict[str, Resource]]) -> None:
        self.versions = versions
        self.reads = 0

    async def get(self, session: Any, id: ResourceId) -> Resource | None:
        self.reads += 1
        return next(rows for first, rows in reversed(self.versions) if self.reads >= first).get(id.key)


OLD = {SET.key: row(SET, "a"), INSTANCE.key: row(INSTANCE, latestModelApplied=True)}
CHANGED = {SET.key: row(SET, "b"), INSTANCE.key: row(INSTANCE, **{IDENTITY: {"user": ["a"]}})}
UPDATED = {SET.key: row(SET, "b"), INSTANCE.key: row(INSTANCE, latestModelApplied=True)}


async def seen(*versions: tuple[int, dict[str, Resource]]) -> tuple[str, ...] | None:
    found = await Inherited(Rows(*versions)).get(None, INSTANCE)  # type: ignore[arg-type]
    return None if found is None or found.identity is None else found.identity.user


@pytest.mark.parametrize("when", range(2, 8))
async def test_a_change_by_hand_never_shows_early(when: int) -> None:
    """Before it and after it the instance has the old identity, so it has it throughout."""
    assert await seen((1, OLD), (when, CHANGED)) == ("a",)


@pytest.mark.parametrize("when", range(2, 8))
async def test_an_update_shows_one_or_the_other(when: int) -> None:
    assert await seen((1, CHANGED), (when, UPDATED)) in {("a",), ("b",)}


@pytest.mark.parametrize("when", range(1, 4))
async def test_one_that_goes_is_gone(when: int) -> None:
    assert await seen((1, OLD), (when, {SET.key: OLD[SET.key]})) is None
    assert await seen((1, OLD), (1, {INSTANCE.key: OLD[INSTANCE.key]})) is None


async def test_of_a_set_that_is_being_deleted(clock: Any) -> None:
    going = Resource(id=str(SET), provisioning_state=DELETING, identity=StoredIdentity(user=("a",)))
    found = await Inherited(Rows((1, {**OLD, SET.key: going}))).get(None, INSTANCE)  # type: ignore[arg-type]
    assert found is not None
    assert found.provisioning_state == DELETING


async def test_other_resources_are_themselves() -> None:
    assert await Inherited(Rows((1, OLD))).get(None, SET) is OLD[SET.key]  # type: ignore[arg-type]
