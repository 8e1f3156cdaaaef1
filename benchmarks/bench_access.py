"""How fast the guard decides: 100,000 role assignments, 400 roles, 5,000 principals, 500 groups, one core.

    python benchmarks/bench_access.py [--assignments N] [--questions N]

The same questions never asked before (every scope new), asked once more, and from memory of the former decisions;
last `Guard.authorize_now` as a data plane calls it, which remembers decisions and writes the log. Processor time is
measured, so that other work on the machine disturbs little.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keyfob.access.assignments import assign
from keyfob.access.decide import Grant, Person
from keyfob.access.guard import Guard
from keyfob.access.index import Index
from keyfob.access.memo import Memo
from keyfob.access.roles import RoleBook
from keyfob.clock import SystemClock, SystemIds
from keyfob.declare import Action, Allowed, Caller, Decision
from keyfob.directory.model import ServicePrincipal
from keyfob.directory.principals import create_service_principal
from keyfob.resource_id import ResourceId
from keyfob.servers.run import settle
from keyfob.store.migrations import migrations_of
from keyfob.store.sqlite import open_sqlite

SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"
ACTIONS = (
    Action("Microsoft.KeyVault/vaults/secrets/getSecret/action", data=True),
    Action("Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read", data=True),
    Action("Microsoft.Compute/virtualMachines/write"),
    Action("Microsoft.Compute/virtualMachines/read"),
    Action("Microsoft.Resources/subscriptions/resourceGroups/read"),
    Action("Microsoft.Authorization/roleAssignments/write"),
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--assignments", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=100_000)
    options = parser.parse_args()
    chance = random.Random(20181128)

    started = time.process_time()
    book = RoleBook()
    role_ids = chance.sample(sorted(book.built_in), 400)
    print(f"read {len(book.built_in)} built-in roles: {(time.process_time() - started) * 1000:.1f} ms")

    scopes = [vault(chance) for _ in range(4000)]
    groups = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(500)]
    people = [
        Person(str(uuid.UUID(int=chance.getrandbits(128))), frozenset(chance.sample(groups, chance.randrange(6))))
        for _ in range(5000)
    ]
    grants = [grant(chance, n, people, groups, role_ids, scopes) for n in range(options.assignments)]
    index = Index("t", book)
    started = time.process_time()
    for number, one in enumerate(grants):
        index.put(str(number), one)
    print(f"index of {len(index):,} assignments: {(time.process_time() - started) * 1000:.0f} ms")

    questions = [
        (chance.choice(people), chance.choice(ACTIONS), chance.choice(scopes).child("secrets", f"s{number}"))
        for number in range(options.questions)
    ]
    for action in ACTIONS:
        index.decide(people[0], action, scopes[0])
    settle()  # as a server does once it is built
    allowed = run("first asking, every scope new", index, questions)
    print(f"  {allowed / len(questions):.0%} of them allowed")
    run("second asking (people merged)", index, questions)
    remembered(index, questions)
    asyncio.run(through_the_guard(options.questions))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def vault(chance: random.Random) -> ResourceId:
    subscription = f"00000000-0000-0000-0000-{chance.randrange(20):012d}"
    group = ResourceId.group(subscription, f"rg-{chance.randrange(200)}")
    return group.provider("Microsoft.KeyVault/vaults", f"vault-{chance.randrange(10_000)}")


def grant(
    chance: random.Random,
    number: int,
    people: list[Person],
    groups: list[str],
    role_ids: list[str],
    scopes: list[ResourceId],
) -> Grant:
    who = chance.choice(groups) if chance.random() < 0.2 else chance.choice(people).id
    scope = chance.choice(scopes)
    for _ in range(chance.choice((0, 0, 1, 1, 1, 2))):
        scope = scope.parent
    return Grant(str(uuid.UUID(int=number)), who, chance.choice(role_ids), scope.key)


def run(title: str, index: Index, questions: list[tuple[Person, Action, ResourceId]]) -> int:
    allowed = 0
    decide = index.decide
    started = time.process_time()
    for person, action, scope in questions:
        if decide(person, action, scope):
            allowed += 1
    report(title, len(questions), time.process_time() - started)
    return allowed


def remembered(index: Index, questions: list[tuple[Person, Action, ResourceId]]) -> None:
    memo: Memo[tuple[str, str, bool, str], Decision] = Memo(len(questions))
    for person, action, scope in questions:
        memo.put((person.id, action.name, action.data, scope.key), index.decide(person, action, scope))
    started = time.process_time()
    found = 0
    for person, action, scope in questions:
        if type(memo.get((person.id, action.name, action.data, scope.key))) is Allowed:
            found += 1
    report("from memory of former decisions", len(questions), time.process_time() - started)


class NoTokens:
    def verify(self, token: str, **more: object) -> Mapping[str, Any]:
        raise NotImplementedError

    async def verify_reloading(self, token: str, **more: object) -> Mapping[str, Any]:
        raise NotImplementedError


async def through_the_guard(count: int) -> None:
    who, tenant = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"
    scope = ResourceId.group("s", "rg").provider("Microsoft.KeyVault/vaults", "v").child("secrets", "s")
    with tempfile.TemporaryDirectory() as folder:
        store = await open_sqlite(Path(folder) / "bench.db", migrations_of("keyfob.store"))
        async with store.transaction() as tx:
            await create_service_principal(tx, ServicePrincipal(id=who, tenant_id=tenant, app_id="app"))
            await assign(
                tx, tenant_id=tenant, scope=scope.parent, principal_id=who, role_definition_id=SECRETS_USER, now=0.0
            )
        guard = Guard(store=store, tokens=NoTokens(), clock=SystemClock(), ids=SystemIds())
        caller = Caller(tenant_id=tenant, principal_id=who)
        await guard.authorize(caller, ACTIONS[0], scope, request_id="first")
        started = time.process_time()
        for _ in range(count):
            guard.authorize_now(caller, ACTIONS[0], scope, request_id="r", service="key_vault")
        report("authorize_now, logged", count, time.process_time() - started)
        await store.close()


def report(title: str, count: int, seconds: float) -> None:
    print(f"{title}: {count / seconds:,.0f} decisions/s, {seconds / count * 1e6:.2f} µs each")


if __name__ == "__main__":
    main()
