"""Long-running operations on two nodes: one begins, the other tells how it stands, and ends it if need be."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.postgres
SYSTEM = {"location": "westeurope", "identity": {"type": "SystemAssigned"}}
LONG = 5.0
"""Seconds that each operation takes: long enough to be seen under way, and for the node to die in the middle."""
PATIENCE = 90.0


@pytest.fixture
def nodes(node: Callable[..., Any], postgres_server: Any) -> tuple[Any, Any]:
    database = postgres_server.create_database()
    first = node(database=database, operation_seconds=LONG)
    return first, node(database=database, operation_seconds=LONG, like=first)


def path_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def status(arm: Any, started: Any) -> Any:
    """What the address that a reply names answers on this node."""
    return arm.must("GET", path_of(started.headers["azure-asyncoperation"]))


def test_the_other_node_tells_how_it_stands(nodes: tuple[Any, Any]) -> None:
    first, second = nodes
    on_a, on_b = first.arm(), second.arm()
    on_a.must("PUT", first.group("g"), {"location": "westeurope"})
    started = on_a.call("PUT", first.machine("g", "vm"), SYSTEM)
    assert started.status == 201
    seen = status(on_b, started)
    assert seen["status"] == "InProgress"
    assert on_b.must("GET", second.machine("g", "vm"))["properties"]["provisioningState"] == "Creating"
    assert on_b.finished(started, within=PATIENCE) == "Succeeded"
    told = [status(arm, started) for arm in (on_a, on_b)]
    assert told[0] == told[1]
    assert told[0]["status"] == "Succeeded"
    assert (told[0]["name"], told[0]["startTime"]) == (seen["name"], seen["startTime"])


def test_a_newer_operation_of_the_other_node_preempts(nodes: tuple[Any, Any]) -> None:
    first, second = nodes
    on_a, on_b = first.arm(), second.arm()
    on_a.must("PUT", first.group("g"), {"location": "westeurope"})
    older = on_a.call("PUT", first.machine("g", "vm"), SYSTEM)
    newer = on_b.call("PATCH", second.machine("g", "vm"), {"tags": {"by": "b"}})
    assert on_a.finished(newer, within=PATIENCE) == "Succeeded"
    assert on_b.finished(older, within=PATIENCE) == "Canceled"
    assert on_a.must("GET", first.machine("g", "vm"))["tags"] == {"by": "b"}


def test_what_a_dead_node_began_is_ended_without_being_asked_about(nodes: tuple[Any, Any]) -> None:
    """Nobody looks at the operations themselves: whoever reads the resources finds them as they should be."""
    first, second = nodes
    on_a, on_b = first.arm(), second.arm()
    for group in ("kept", "going"):
        on_a.must("PUT", first.group(group), {"location": "westeurope"})
    old = on_a.must("PUT", first.machine("kept", "old"), SYSTEM)
    inside = on_a.must("PUT", first.machine("going", "inside"), SYSTEM)
    on_a.settled(old["id"], within=PATIENCE)
    on_a.settled(inside["id"], within=PATIENCE)
    made = on_a.must("PUT", first.machine("kept", f"new-{uuid.uuid4().hex[:6]}"), SYSTEM)
    deleting = on_a.call("DELETE", old["id"])
    group = on_a.call("DELETE", first.group("going"))
    assert (deleting.status, group.status) == (202, 202)
    first.kill()
    assert on_b.must("GET", made["id"])["properties"]["provisioningState"] == "Creating"
    assert on_b.settled(made["id"], within=PATIENCE).status == 200
    assert on_b.settled(old["id"], within=PATIENCE).status == 404
    assert on_b.settled(second.group("going"), within=PATIENCE).status == 404
    for gone in (old, inside):
        assert on_b.principal(gone["identity"]["principalId"]).status == 404
    assert on_b.principal(made["identity"]["principalId"]).status == 200
    result = path_of(group.headers["location"])
    assert on_b.call("GET", result).status == 204
    assert status(on_b, deleting)["status"] == "Succeeded"


def test_what_the_last_node_began_is_ended_by_the_next(nodes: tuple[Any, Any], node: Callable[..., Any]) -> None:
    first, second = nodes
    on_a = first.arm()
    on_a.must("PUT", first.group("g"), {"location": "westeurope"})
    started = on_a.call("PUT", first.machine("g", "vm"), SYSTEM)
    second.kill()
    first.kill()
    third = node(database=first.database, operation_seconds=LONG, like=first)
    on_c = third.arm()
    assert on_c.settled(third.machine("g", "vm"), within=PATIENCE).status == 200
    assert on_c.finished(started, within=PATIENCE) == "Succeeded"
