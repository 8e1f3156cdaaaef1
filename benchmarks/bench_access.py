"""How fast the guard decides: 100,000 role assignments, 400 roles, 5,000 principals, 500 groups, one core.

    python benchmarks/bench_access.py [--assignments N] [--questions N]

Three numbers for the same questions: never asked before (every scope new), the same questions once more, and through
`Guard.authorize_now`, which remembers whole decisions and writes the log. Also what a refusal costs by itself.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
import uuid

from keyfob.access.decide import Grant, Person
from keyfob.access.index import Index
from keyfob.access.memo import Memo
from keyfob.access.roles import RoleBook
from keyfob.declare import Action, Allowed, Decision
from keyfob.resource_id import ResourceId

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

    started = time.perf_counter()
    book = RoleBook()
    role_ids = chance.sample(sorted(book.built_in), 400)
    print(f"read {len(book.built_in)} built-in roles: {(time.perf_counter() - started) * 1000:.1f} ms")

    scopes = [vault(chance) for _ in range(4000)]
    groups = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(500)]
    people = [
        Person(str(uuid.UUID(int=chance.getrandbits(128))), frozenset(chance.sample(groups, chance.randrange(6))))
        for _ in range(5000)
    ]
    grants = [grant(chance, n, people, groups, role_ids, scopes) for n in range(options.assignments)]
    index = Index("t", book)
    started = time.perf_counter()
    for number, one in enumerate(grants):
        index.put(str(number), one)
    print(f"index of {len(index):,} assignments: {(time.perf_counter() - started) * 1000:.0f} ms")

    questions = [
        (chance.choice(people), chance.choice(ACTIONS), chance.choice(scopes).child("secrets", f"s{number}"))
        for number in range(options.questions)
    ]
    for action in ACTIONS:
        index.decide(people[0], action, scopes[0])
    allowed = run("first asking, every scope new", index, questions)
    print(f"  {allowed / len(questions):.0%} of them allowed")
    run("second asking (people merged)", index, questions)
    remembered(index, questions)
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
    started = time.perf_counter()
    for person, action, scope in questions:
        if decide(person, action, scope):
            allowed += 1
    report(title, len(questions), time.perf_counter() - started)
    return allowed


def remembered(index: Index, questions: list[tuple[Person, Action, ResourceId]]) -> None:
    memo: Memo[tuple[str, str, bool, str], Decision] = Memo(len(questions))
    for person, action, scope in questions:
        memo.put((person.id, action.name, action.data, scope.key), index.decide(person, action, scope))
    started = time.perf_counter()
    found = 0
    for person, action, scope in questions:
        if type(memo.get((person.id, action.name, action.data, scope.key))) is Allowed:
            found += 1
    report("from memory of former decisions", len(questions), time.perf_counter() - started)


def report(title: str, count: int, seconds: float) -> None:
    print(f"{title}: {count / seconds:,.0f} decisions/s, {seconds / count * 1e6:.2f} µs each")


if __name__ == "__main__":
    main()
