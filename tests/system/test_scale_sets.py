"""Identities that come and go as fast as they can while fifty programs ask: nobody gets a token of one that its host
does not have at that moment. On a machine, on a scale set's instances, and on instances that are updated one by one."""

from __future__ import annotations

import itertools
import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

CLIENTS = 50
INSTANCES = 5
CHANGES = 60
SHOWN = 100
"""Requests that fell whole into a time without the identity that they named: so many must have been refused."""
WITHIN = 120.0
_numbers = itertools.count()


class Asked(NamedTuple):
    sent: float
    received: float
    oid: str | None
    """Whose token it got."""
    named: str
    """Whose it asked for; "" when it named none."""


@dataclass
class Client:
    """A program on one host that asks without end."""

    host: str
    line: Any
    talk: Any
    names: Callable[[], tuple[dict[str, str], str]]
    """What to name next: selectors, and the object id that is meant."""
    stop: threading.Event
    asked: list[Asked] = field(default_factory=list)
    error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                selectors, named = self.names()
                sent = time.monotonic()
                answer = self.line.ask("GET", self.talk.target(**selectors), headers=self.talk.metadata)
                oid = self.talk.oid(answer)
                assert answer.status in ((400, 401) if oid is None else (200,)), answer.body
                self.asked.append(Asked(sent, time.monotonic(), oid, named))
        except BaseException as error:
            self.error = error


@dataclass
class Truth:
    """When each host may have had each identity: from before it was asked to be attached until after the answer that
    it is not. Open ends are still so."""

    spans: dict[tuple[str, str], list[list[float]]] = field(default_factory=dict)

    def begin(self, host: str, oid: str) -> None:
        self.spans.setdefault((host, oid), []).append([time.monotonic(), float("inf")])

    def end(self, host: str, oid: str) -> None:
        """Of those that began before the answer was asked for: the last one."""
        self.spans[host, oid][-1][1] = time.monotonic()

    def may(self, host: str, oid: str, sent: float, received: float) -> bool:
        spans = self.spans.get((host, oid), [])
        place = bisect_right(spans, received, key=lambda span: span[0])  # the last that began by then also ends last
        return place > 0 and sent <= spans[place - 1][1]


@dataclass
class Stage:
    """Hosts, identities that take turns on them, and fifty clients."""

    server: Any
    arm: Any
    talk: Any
    truth: Truth = field(default_factory=Truth)
    stop: threading.Event = field(default_factory=threading.Event)
    clients: list[Client] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)
    users: list[Any] = field(default_factory=list)

    def user(self) -> Any:
        path = self.server.identity("turns", f"user-{next(_numbers)}")
        return self.arm.must("PUT", path, {"location": "westeurope"})

    def attached(self, *users: Any) -> dict[str, Any]:
        return {"type": "UserAssigned", "userAssignedIdentities": {one["id"]: {} for one in users}}

    def start(self, hosts: list[str]) -> None:
        endpoints = {host: self.arm.endpoint(host) for host in hosts}
        for number in range(CLIENTS):
            host = hosts[number % len(hosts)]
            naming = number // len(hosts) % 2 == 1
            turns = itertools.count(number)

            def names(turns: Any = turns, naming: bool = naming) -> tuple[dict[str, str], str]:
                if not naming:
                    return {}, ""
                user = self.users[next(turns) % len(self.users)]
                return {"client_id": user["properties"]["clientId"]}, user["properties"]["principalId"]

            self.clients.append(Client(host, self.server.host(endpoints[host]), self.talk, names, self.stop))
        self.threads = [threading.Thread(target=client.run) for client in self.clients]
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(60)
        self.server.hang_up()

    def shown(self, oid: str = "") -> int:
        """How many requests there were, `SHOWN` at most, for an identity that their host did not have meanwhile: this
        one, or the one that each named."""
        found = (
            one
            for client in self.clients
            for one in list(client.asked)
            if (oid or one.named) and not self.truth.may(client.host, oid or one.named, one.sent, one.received)
        )
        return sum(1 for _ in itertools.islice(found, SHOWN))

    def turn(self, change: Callable[[int], None]) -> None:
        """Changes without a pause, until enough was asked meanwhile."""
        deadline = time.monotonic() + WITHIN
        for number in itertools.count():
            change(number)
            assert all(client.error is None for client in self.clients), [one.error for one in self.clients]
            if number >= CHANGES and number % 20 == 0 and self.shown() >= SHOWN:
                return
            assert time.monotonic() < deadline, f"{number} changes, {self.shown()} requests that show something"

    def check(self) -> None:
        assert not any(client.error for client in self.clients)
        wrong = [
            (client.host.rpartition("/")[2], one, self.truth.spans.get((client.host, one.oid)))
            for client in self.clients
            for one in client.asked
            if one.oid is not None and not self.truth.may(client.host, one.oid, one.sent, one.received)
        ]
        assert not wrong, f"{len(wrong)} tokens of identities that were not attached: {wrong[:5]}"
        other = [one for client in self.clients for one in client.asked if one.oid and one.named not in ("", one.oid)]
        assert not other, f"tokens of another identity than was named: {other[:5]}"
        got = {(client.host, one.oid) for client in self.clients for one in client.asked if one.oid}
        assert {host for host, _ in got} == {client.host for client in self.clients}
        assert len({oid for _, oid in got}) >= 3


@pytest.fixture(scope="module")
def server(node: Callable[..., Any]) -> Any:
    running = node()
    running.arm().must("PUT", running.group("turns"), {"location": "westeurope"})
    return running


@pytest.fixture
def stage(server: Any, host: Any) -> Any:
    made = Stage(server, server.arm(), host)
    made.users = [made.user() for _ in range(4)]
    yield made
    made.end()


def principal(user: Any) -> str:
    return str(user["properties"]["principalId"])


def scale_set(stage: Stage, mode: str) -> tuple[str, list[str]]:
    """A set whose instances have the first identity, and those instances."""
    path = f"{stage.server.group('turns')}/providers/Microsoft.Compute/virtualMachineScaleSets/set-{next(_numbers)}"
    body = {
        "location": "westeurope",
        "sku": {"name": "Standard_B1s", "capacity": INSTANCES},
        "identity": stage.attached(stage.users[0]),
        "properties": {"upgradePolicy": {"mode": mode}},
    }
    hosts = [f"{path}/virtualMachines/{number}" for number in range(INSTANCES)]
    for host in hosts:
        stage.truth.begin(host, principal(stage.users[0]))
    stage.arm.must("PUT", path, body)
    return path, hosts


def swap(stage: Stage, path: str, hosts: list[str]) -> Callable[[int], None]:
    """The next identity in the place of the one before, on all the hosts at once; each third time the one that is there
    is deleted first, and a new one stands in its place in the row."""
    there = stage.users[0]

    def change(number: int) -> None:
        nonlocal there
        before, place = there, stage.users.index(there)
        if deleting := number % 3 == 2:
            stage.arm.must("DELETE", before["id"])
            for host in hosts:
                stage.truth.end(host, principal(before))
            stage.users[place] = stage.user()
        there = stage.users[(place + 1) % len(stage.users)]
        for host in hosts:
            stage.truth.begin(host, principal(there))
        block = {"type": "UserAssigned", "userAssignedIdentities": {before["id"]: None, there["id"]: {}}}
        stage.arm.must("PATCH", path, {"identity": block})
        if not deleting:
            for host in hosts:
                stage.truth.end(host, principal(before))

    return change


def test_on_a_machine(stage: Stage) -> None:
    path = stage.server.machine("turns", f"machine-{next(_numbers)}")
    stage.truth.begin(path, principal(stage.users[0]))
    stage.arm.must("PUT", path, {"location": "westeurope", "identity": stage.attached(stage.users[0])})
    stage.start([path])
    stage.turn(swap(stage, path, [path]))
    stage.end()
    stage.check()


def test_on_the_instances_of_a_scale_set(stage: Stage) -> None:
    path, hosts = scale_set(stage, "Automatic")
    stage.start(hosts)
    stage.turn(swap(stage, path, hosts))
    stage.end()
    stage.check()


def test_on_instances_that_are_updated_one_by_one(stage: Stage) -> None:
    """The set has the new identity at once, each instance only once it is updated."""
    path, hosts = scale_set(stage, "Manual")
    stage.start(hosts)
    now = dict.fromkeys(hosts, stage.users[0])
    model = [stage.users[0]]

    def change(number: int) -> None:
        step = number % (INSTANCES + 1)
        if step == 0:
            after = stage.users[(stage.users.index(model[0]) + 1) % len(stage.users)]
            block = {"type": "UserAssigned", "userAssignedIdentities": {model[0]["id"]: None, after["id"]: {}}}
            stage.arm.must("PATCH", path, {"identity": block})
            model[0] = after
            return
        host = hosts[step - 1]
        stage.truth.begin(host, principal(model[0]))
        answer = stage.arm.call("POST", f"{path}/manualupgrade", {"instanceIds": [str(step - 1)]})
        assert answer.status in (200, 202), answer.body
        stage.truth.end(host, principal(now[host]))
        now[host] = model[0]

    stage.turn(change)
    stage.end()
    stage.check()


def test_power_and_number_of_instances_under_load(stage: Stage) -> None:
    """Instances that stop, start and go: none of them gets anything while it is not there."""
    path, hosts = scale_set(stage, "Automatic")
    oid = principal(stage.users[0])
    stage.start(hosts)

    stopped: list[int] = []

    def change(number: int) -> None:
        """Two are stopped by turns: while one stops or starts, the other is idle."""
        if number % 2 == 0:
            place = number // 2 % INSTANCES
            stage.arm.must("POST", f"{path}/deallocate", {"instanceIds": [str(place)]})
            stage.truth.end(hosts[place], oid)
            stopped.append(place)
        elif len(stopped) > 1:
            place = stopped.pop(0)
            stage.truth.begin(hosts[place], oid)
            stage.arm.must("POST", f"{path}/start", {"instanceIds": [str(place)]})

    deadline = time.monotonic() + WITHIN
    for number in itertools.count():
        change(number)
        assert time.monotonic() < deadline, number
        if number >= CHANGES and number % 20 == 1 and stage.shown(oid) >= SHOWN:
            break
    answer = stage.arm.call("POST", f"{path}/delete", {"instanceIds": ["0", "1"]})
    assert answer.status in (200, 202), answer.body
    for place in {0, 1} - set(stopped):
        stage.truth.end(hosts[place], oid)
    left = [sum(len(client.asked) for client in stage.clients if client.host == host) for host in hosts]
    while any(
        sum(len(client.asked) for client in stage.clients if client.host == host) < before + 20
        for host, before in zip(hosts, left, strict=True)
    ):
        assert time.monotonic() < deadline
        assert all(client.error is None for client in stage.clients)
        time.sleep(0.01)
    stage.end()
    wrong = [
        (client.host, one)
        for client in stage.clients
        for one in client.asked
        if one.oid and not stage.truth.may(client.host, one.oid, one.sent, one.received)
    ]
    assert not wrong, wrong[:5]
