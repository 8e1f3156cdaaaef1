"""The decision log: bounded, searchable, and of denials durable."""

import pytest

from keyfob.access.decide import Ungranted
from keyfob.access.log import ENTRIES, DecisionLog, Question
from keyfob.clock import CountingIds
from keyfob.declare import Action, Allowed, Caller, Denied
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store

TENANT = "11111111-1111-1111-1111-111111111111"
ROBOT = "aaaaaaaa-0000-0000-0000-000000000001"
GROUP = ResourceId.group("00000000-0000-0000-0000-000000000001", "rg")
VAULT = GROUP.provider("Microsoft.KeyVault/vaults", "v")
SECRET = VAULT.child("secrets", "s")
GET = Action("Microsoft.KeyVault/vaults/secrets/getSecret/action", data=True)
TOKEN = "eyJhbGciOiJSUzI1NiJ9.secret.part"
CALLER = Caller(tenant_id=TENANT, principal_id=ROBOT, name="app-1", claims={"idtyp": "app", "oid": ROBOT})
YES = Allowed(by="ra1", role="Key Vault Secrets User", scope="/x")
NO = Ungranted("2 role assignments of the principal", looked_at=("Reader at /: does not grant it",))


def fill(log: DecisionLog, count: int, decision: Allowed | Denied = NO, start: int = 0) -> None:
    for number in range(start, start + count):
        log.add(float(number), f"r{number}", CALLER, GET, SECRET, decision, "key_vault")


async def test_an_entry_says_everything_but_the_token(store: Store, ids: CountingIds) -> None:
    log = DecisionLog(store, ids)
    log.add(7.0, "r", CALLER, GET, SECRET, NO, "key_vault")
    (entry,) = await log.find(Question())
    assert (entry.time, entry.request_id, entry.principal_id, entry.principal_name) == (7.0, "r", ROBOT, "app-1")
    assert (entry.action, entry.data, entry.scope, entry.service) == (GET.name, True, str(SECRET), "key_vault")
    assert (entry.allowed, entry.curable, entry.principal_type) == (False, True, "ServicePrincipal")
    assert entry.reason == NO.reason
    assert entry.looked_at == NO.looked_at
    log.add(8.0, "r2", CALLER, GET, SECRET, YES, "")
    (entry,) = await log.find(Question(request_id="r2"))
    assert (entry.allowed, entry.by, entry.reason) == (True, "ra1", "Key Vault Secrets User at /x")


async def test_it_is_bounded_and_reads_do_not_push_refusals_out(store: Store, ids: CountingIds) -> None:
    log = DecisionLog(store, ids, size=10)
    fill(log, 3)
    fill(log, 1000, YES, start=100)
    found = await log.find(Question(), limit=2000)
    assert len(found) == 13
    assert [entry.time for entry in found] == sorted((entry.time for entry in found), reverse=True)
    assert len(await log.find(Question(allowed=False))) == 3


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (Question(), ["r4", "r3", "r2", "r1", "r0"]),
        (Question(request_id="r2"), ["r2"]),
        (Question(request_id="r9"), []),
        (Question(since=3.0), ["r4", "r3"]),
        (Question(allowed=True), ["r4"]),
        (Question(allowed=False), ["r3", "r2", "r1", "r0"]),
        (Question(principal_id=ROBOT), ["r4", "r3", "r2", "r1", "r0"]),
        (Question(principal_id="somebody"), []),
        (Question(tenant_id=TENANT), ["r4", "r3", "r2", "r1", "r0"]),
        (Question(tenant_id="another"), []),
    ],
)
async def test_questions_narrow(store: Store, ids: CountingIds, question: Question, expected: list[str]) -> None:
    log = DecisionLog(store, ids)
    fill(log, 4)
    fill(log, 1, YES, start=4)
    assert [entry.request_id for entry in await log.find(question)] == expected
    assert [entry.request_id for entry in await log.find(question, limit=1)] == expected[:1]
    await log.flush()
    assert [entry.request_id for entry in await log.find(question)] == expected, "nothing shows twice"


async def test_denials_outlive_the_process(store: Store, ids: CountingIds) -> None:
    log = DecisionLog(store, ids)
    fill(log, 2)
    fill(log, 1, YES, start=5)
    await log.flush()
    await log.flush()
    later = DecisionLog(store, ids)
    assert [entry.request_id for entry in await later.find(Question())] == ["r1", "r0"]
    fill(later, 1, start=9)
    assert [entry.request_id for entry in await later.find(Question())] == ["r9", "r1", "r0"]


async def test_the_store_holds_so_many_rows_and_no_more(store: Store, ids: CountingIds) -> None:
    log = DecisionLog(store, ids, size=5)
    for start in range(0, 40, 4):
        fill(log, 4, start=start)
        await log.flush()
    assert len(await ENTRIES.list(store)) == 5
    later = DecisionLog(store, ids, size=3)
    assert [entry.request_id for entry in await later.find(Question())] == ["r39", "r38", "r37", "r36", "r35"]
    fill(later, 3, start=40)
    await later.flush()
    assert len(await ENTRIES.list(store)) == 3


async def test_no_token_is_stored(store: Store, ids: CountingIds) -> None:
    log = DecisionLog(store, ids)
    log.add(1.0, "r", Caller(TENANT, ROBOT, claims={"uti": TOKEN}), GET, SECRET, NO, "")
    await log.flush()
    rows = await store.fetch("SELECT value FROM records WHERE kind = ?", "access.decisions")
    assert TOKEN not in str(rows[0][0])
