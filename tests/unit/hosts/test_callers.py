"""Listeners and secrets tell which host asks."""

from __future__ import annotations

import pytest

from keyfob.errors import Conflict, NotFound, Unauthenticated
from keyfob.hosts.caller import Callers
from keyfob.resource_id import ResourceId

ONE = ResourceId.parse("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/one")
TWO = ResourceId.parse("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/two")


def test_a_listener_belongs_to_one_host():
    callers = Callers()
    callers.listens("a", ONE)
    callers.listens("b", TWO)
    assert callers.by_listener("a") == ONE
    assert callers.by_listener("b") == TWO
    with pytest.raises(Conflict):
        callers.listens("a", TWO)
    callers.closed("a")
    with pytest.raises(NotFound):
        callers.by_listener("a")


def test_the_front_door_is_nobody():
    callers = Callers()
    with pytest.raises(NotFound):
        callers.by_listener("")
    with pytest.raises(ValueError):
        callers.listens("", ONE)


def test_a_secret_tells_the_host_and_a_wrong_one_nothing():
    callers = Callers()
    callers.knows("S3cret", ONE)
    callers.knows("other", TWO)
    assert callers.by_secret("S3cret") == ONE
    for wrong in ("s3cret", "S3cret ", "", None, "\udcff"):
        with pytest.raises(Unauthenticated):
            callers.by_secret(wrong)
    callers.forgets(ONE)
    with pytest.raises(Unauthenticated):
        callers.by_secret("S3cret")
    assert callers.by_secret("other") == TWO
    assert "S3cret" not in repr(vars(callers))
