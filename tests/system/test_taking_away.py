"""What is taken away is gone at the next request, however warm the way to it is: a detached or deleted user-assigned
identity, and a deleted machine with its principal."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

NOT_FOUND = {"error": "invalid_request", "error_description": "Identity not found"}
WARM = 20
"""Requests before something is taken away: by then the answers come from memory."""
_numbers = itertools.count()


@pytest.fixture(scope="module")
def server(node: Callable[..., Any]) -> Any:
    """Its operations take a while, so that "is being deleted" can be looked at."""
    running = node(operation_seconds=0.5)
    running.arm().must("PUT", running.group("taking"), {"location": "westeurope"})
    return running


@pytest.fixture
def arm(server: Any) -> Any:
    yield server.arm()
    server.hang_up()


@dataclass
class Pair:
    """A machine with a user-assigned identity, and connections of programs on it."""

    server: Any
    arm: Any
    host: Any
    machine: str
    user: str
    user_object: str
    user_client: str
    endpoint: str

    @classmethod
    def made(cls, server: Any, arm: Any, host: Any, *, system: bool = False) -> Pair:
        n = next(_numbers)
        user = arm.must("PUT", server.identity("taking", f"user-{n}"), {"location": "westeurope"})
        machine = server.machine("taking", f"machine-{n}")
        pair = cls(
            server,
            arm,
            host,
            machine,
            user["id"],
            user["properties"]["principalId"],
            user["properties"]["clientId"],
            "",
        )
        kinds = "SystemAssigned, UserAssigned" if system else "UserAssigned"
        identity = {"type": kinds, "userAssignedIdentities": {user["id"]: {}}}
        arm.must("PUT", machine, {"location": "westeurope", "identity": identity})
        pair.endpoint = arm.endpoint(machine)
        return pair

    def line(self) -> Any:
        return self.server.host(self.endpoint)

    def ask(self, line: Any, **selectors: str) -> Any:
        return line.ask("GET", self.host.target(**selectors), headers=self.host.metadata)

    def warm(self, line: Any, **selectors: str) -> None:
        for _ in range(WARM):
            assert self.host.oid(self.ask(line, **selectors)) == self.user_object

    def refused(self, line: Any, **selectors: str) -> None:
        answer = self.ask(line, **selectors)
        assert (answer.status, answer.json()) == (400, NOT_FOUND)

    def selectors(self) -> list[dict[str, str]]:
        return [
            {},
            {"client_id": self.user_client},
            {"object_id": self.user_object},
            {"msi_res_id": self.user},
            {"mi_res_id": self.user},
        ]

    def attach(self, *, attached: bool) -> None:
        """PATCH; returns when it is acknowledged, not when the operation ends."""
        identity: dict[str, Any] = {"type": "None"}
        if attached:
            identity = {"type": "UserAssigned", "userAssignedIdentities": {self.user: {}}}
        self.arm.must("PATCH", self.machine, {"identity": identity})


@pytest.fixture
def pair(server: Any, arm: Any, host: Any) -> Pair:
    return Pair.made(server, arm, host)


def test_a_detached_identity_is_refused_at_the_next_request(pair: Pair) -> None:
    line = pair.line()
    for _ in range(3):
        for selectors in pair.selectors():
            pair.warm(line, **selectors)
        pair.attach(attached=False)
        for selectors in pair.selectors():
            pair.refused(line, **selectors)
        pair.attach(attached=True)
    pair.warm(line)


@pytest.mark.parametrize("selector", ["", "client_id", "object_id", "msi_res_id"])
def test_the_very_next_request_whatever_it_names(pair: Pair, selector: str) -> None:
    """No other request in between that could have cleared a memory."""
    line = pair.line()
    named = next(selectors for selectors in pair.selectors() if selector in selectors or not (selector or selectors))
    pair.warm(line, **named)
    pair.attach(attached=False)
    pair.refused(line, **named)
    pair.attach(attached=True)
    assert pair.host.oid(pair.ask(line, **named)) == pair.user_object


def test_detached_by_null_while_others_stay(server: Any, arm: Any, host: Any) -> None:
    pair = Pair.made(server, arm, host, system=True)
    other = arm.must("PUT", server.identity("taking", f"other-{next(_numbers)}"), {"location": "westeurope"})
    both = {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {other["id"]: {}}}
    system = arm.must("PATCH", pair.machine, {"identity": both})["identity"]["principalId"]
    line = pair.line()
    pair.warm(line, client_id=pair.user_client)
    one = {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {pair.user: None}}
    arm.must("PATCH", pair.machine, {"identity": one})
    pair.refused(line, client_id=pair.user_client)
    assert host.oid(pair.ask(line)) == system
    assert host.oid(pair.ask(line, msi_res_id=other["id"])) == other["properties"]["principalId"]


def test_on_both_connections_of_a_client(pair: Pair) -> None:
    first, second = pair.line(), pair.line()
    for line in (first, second, first):
        pair.warm(line)
    pair.attach(attached=False)
    pair.refused(second)
    pair.refused(first)
    pair.attach(attached=True)
    pair.warm(first)
    pair.attach(attached=False)
    pair.refused(first)
    pair.refused(second)


def test_on_requests_that_follow_each_other_without_waiting(pair: Pair) -> None:
    """Pipelined: many requests in one write, before and after."""
    line = pair.line()
    pair.warm(line)
    request = f"GET {pair.host.target()} HTTP/1.1\r\nHost: x\r\nMetadata: true\r\n\r\n".encode()
    connection = pair.server.lines[-1]

    def burst() -> list[bytes]:
        connection.sock.sendall(request * WARM)
        received = b""
        while len(found := re.findall(rb"HTTP/1\.1 (\d{3}) ", received)) < WARM:
            received += (chunk := connection.sock.recv(65536))
            assert chunk, received
        return found

    assert burst() == [b"200"] * WARM
    pair.attach(attached=False)
    assert burst() == [b"400"] * WARM


def test_a_deleted_user_assigned_identity_is_refused(pair: Pair) -> None:
    """On every machine that still refers to it, and its principal is gone."""
    neighbour = Pair.made(pair.server, pair.arm, pair.host)
    identity = {"type": "UserAssigned", "userAssignedIdentities": {pair.user: {}, neighbour.user: {}}}
    pair.arm.must("PATCH", neighbour.machine, {"identity": identity})
    line, other = pair.line(), neighbour.line()
    pair.warm(line)
    pair.warm(other, client_id=pair.user_client)
    pair.arm.must("DELETE", pair.user)
    pair.refused(line)
    pair.refused(other, client_id=pair.user_client)
    assert pair.arm.principal(pair.user_object).status == 404
    again = pair.arm.must("PUT", pair.user, {"location": "westeurope"})
    assert again["properties"]["principalId"] != pair.user_object
    assert pair.host.oid(pair.ask(other, client_id=pair.user_client)) is None


# --- machines


@dataclass
class Asking:
    """A program that asks without end, and when it sent each request that got a token."""

    pair: Pair
    selectors: dict[str, str]
    stop: threading.Event
    granted: list[float] = field(default_factory=list)
    refused: int = 0
    oids: set[str | None] = field(default_factory=set)
    error: BaseException | None = None
    warm: threading.Event = field(default_factory=threading.Event)

    def start(self) -> threading.Thread:
        line = self.pair.line()
        thread = threading.Thread(target=self._run, args=(line,))
        thread.start()
        return thread

    def _run(self, line: Any) -> None:
        try:
            while not self.stop.is_set():
                sent = time.monotonic()
                answer = self.pair.ask(line, **self.selectors)
                oid = self.pair.host.oid(answer)
                if oid is None:
                    assert answer.status in (400, 401), answer.body
                    self.refused += 1
                else:
                    self.granted.append(sent)
                    self.oids.add(oid)
                if len(self.granted) >= WARM:
                    self.warm.set()
        except BaseException as error:
            self.error = error
            self.warm.set()


def test_a_deleted_machine_gets_no_token_from_the_moment_it_is_acknowledged(server: Any, arm: Any, host: Any) -> None:
    pair = Pair.made(server, arm, host, system=True)
    principal = arm.must("GET", pair.machine)["identity"]["principalId"]
    stop = threading.Event()
    asking = [
        Asking(pair, selectors, stop)
        for selectors in (
            {},
            {"object_id": principal},
            {"client_id": pair.user_client},
            {"bypass_cache": "true"},
        )
    ]
    threads = [one.start() for one in asking]
    try:
        assert all(one.warm.wait(30) for one in asking)
        started = arm.call("DELETE", pair.machine)
        acknowledged = time.monotonic()
        assert started.status == 202, started.body
        while_deleting = arm.call("GET", pair.machine)
        seen = [one.refused for one in asking]
        assert arm.finished(started) == "Succeeded"
        assert arm.principal(principal).status == 404
        assert arm.call("GET", pair.machine).status == 404
        for one in asking:  # and it is still asking
            before = one.refused
            deadline = time.monotonic() + 10
            while one.refused == before and one.error is None:
                assert time.monotonic() < deadline
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert while_deleting.json()["properties"]["provisioningState"] == "Deleting"
    for one, before in zip(asking, seen, strict=True):
        assert one.error is None, one.error
        assert one.refused > before
        late = [sent for sent in one.granted if sent > acknowledged]
        assert not late, f"{len(late)} tokens after the 202, {one.selectors}"
        assert one.oids <= {principal, pair.user_object}
    assert arm.principal(pair.user_object).status == 200  # it has a life of its own


def test_a_machine_of_the_same_name_is_another_one(server: Any, arm: Any, host: Any) -> None:
    pair = Pair.made(server, arm, host, system=True)
    line = pair.line()
    first = arm.must("GET", pair.machine)["identity"]["principalId"]
    for _ in range(WARM):
        assert host.oid(pair.ask(line)) == first
    arm.finished(arm.call("DELETE", pair.machine))
    for _ in range(2):
        assert host.oid(pair.ask(line)) is None
    body = {"location": "westeurope", "identity": {"type": "SystemAssigned"}}
    second = arm.must("PUT", pair.machine, body)["identity"]["principalId"]
    assert second != first
    for _ in range(2):
        assert host.oid(pair.ask(line)) is None, "the endpoint was the first machine's"
    line = server.host(arm.endpoint(pair.machine))
    assert host.oid(pair.ask(line)) == second
    pair.refused(line, object_id=first)
    pair.refused(line, client_id=pair.user_client)


def test_a_system_identity_that_was_taken_off_is_gone(server: Any, arm: Any, host: Any) -> None:
    pair = Pair.made(server, arm, host, system=True)
    line = pair.line()
    first = arm.must("GET", pair.machine)["identity"]["principalId"]
    for _ in range(WARM):
        assert host.oid(pair.ask(line)) == first
    users = {"userAssignedIdentities": {pair.user: {}}}
    arm.must("PATCH", pair.machine, {"identity": {"type": "UserAssigned", **users}})
    pair.refused(line, object_id=first)
    assert host.oid(pair.ask(line)) == pair.user_object  # now the only one
    assert arm.principal(first).status == 404
    back = arm.must("PATCH", pair.machine, {"identity": {"type": "SystemAssigned, UserAssigned", **users}})
    assert back["identity"]["principalId"] != first


def test_a_deleted_group_takes_its_machines_principals_with_it(server: Any, arm: Any, host: Any) -> None:
    group = server.group(f"gone-{next(_numbers)}")
    arm.must("PUT", group, {"location": "westeurope"})
    machine = f"{group}/providers/Microsoft.Compute/virtualMachines/inside"
    body = {"location": "westeurope", "identity": {"type": "SystemAssigned"}}
    principal = arm.must("PUT", machine, body)["identity"]["principalId"]
    line = server.host(arm.endpoint(machine))
    for _ in range(WARM):
        assert host.oid(line.ask("GET", host.target(), headers=host.metadata)) == principal
    arm.must("DELETE", group)
    deadline = time.monotonic() + 10
    while arm.call("GET", group).status != 404:
        assert time.monotonic() < deadline
    answer = line.ask("GET", host.target(), headers=host.metadata)
    assert answer.status in (400, 401)
    assert host.oid(answer) is None
    assert arm.principal(principal).status == 404
    assert arm.call("GET", machine).status == 404
