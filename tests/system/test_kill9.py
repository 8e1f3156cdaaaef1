"""The server is killed with SIGKILL under load, and started again: nothing that was acknowledged is missing, nothing
is half there, and what was under way comes to its end. Three times on the same data."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from keyfob.arm.model import DELETING, Resource
from keyfob.arm.resources import GROUPS, OPERATIONS, RESOURCES
from keyfob.directory.records import SERVICE_PRINCIPALS
from keyfob.resource_id import ResourceId
from keyfob.store.migrations import migrations_of
from keyfob.store.port import Store

LOAD = Path(__file__).with_name("load_client.py")
ROUNDS = 3
ENOUGH = 150
"""Acknowledged writes of a round before the server is killed."""
SAMPLE = 40
"""Machines whose endpoints are opened after a round: the ones that were written last."""
UNKNOWN = object()


@dataclass
class Thing:
    """One resource, as its only writer knows it. `asked` is UNKNOWN when no request is without its answer."""

    acked: Any = None
    asked: Any = UNKNOWN
    facts: dict[str, str] = field(default_factory=dict)

    def may_be(self, state: Any) -> bool:
        return state == self.acked or (self.asked is not UNKNOWN and state == self.asked)


@dataclass
class Ledger:
    """What the load was told, over all rounds."""

    things: dict[str, Thing] = field(default_factory=dict)
    tokens: dict[str, list[str]] = field(default_factory=lambda: {"operator": [], "host": []})
    writes: int = 0
    bad: list[str] = field(default_factory=list)
    cut: int = 0

    def note(self, line: dict[str, Any]) -> None:
        if "ask" in line:
            thing = self.things.pop(line["key"], Thing())
            self.things[line["key"]] = thing  # at the end: the last are those that were written last
            thing.asked = line["ask"]
        elif "ack" in line:
            thing = self.things[line["key"]]
            thing.acked, thing.asked = line["ack"], UNKNOWN
            for name, value in line.get("facts", {}).items():
                if name == "id":  # of a secret's version: each stays readable
                    thing.facts[value] = line["ack"]["value"]
                else:
                    assert thing.facts.setdefault(name, value) == value, f"{line['key']} changed its {name}"
            self.writes += 1
        elif "token" in line:
            self.tokens[line["by"]].append(line["token"])
        elif "bad" in line:
            self.bad.append(line["bad"])
        elif "cut" in line:
            self.cut += line["cut"]


@contextmanager
def load(node: Any, round_: int) -> Iterator[Any]:
    with subprocess.Popen(
        [sys.executable, str(LOAD), str(node.data), str(round_)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run_and_kill(node: Any, round_: int, ledger: Ledger) -> None:
    enough = ledger.writes + ENOUGH
    with load(node, round_) as client:
        for line in client.stdout:
            ledger.note(json.loads(line))
            if ledger.writes >= enough or ledger.bad:
                break
        node.kill()
        for line in client.stdout:  # what was acknowledged before the server died, and the client's last words
            ledger.note(json.loads(line))
        assert client.wait(30) == 0, client.stderr.read()
    assert not ledger.bad, ledger.bad
    assert ledger.writes >= enough


# --- the database itself, before anybody has repaired it


async def whole(open_store: Any) -> None:
    """Identities and principals agree, in both directions; what is under way has an operation that will end it."""
    store: Store = await open_store
    try:
        async with store.transaction() as tx:  # alone: on PostgreSQL a dying server's commit may still be on its way
            resources = {row.key: row.value for row in await RESOURCES.list(tx)}
            principals = {
                row.value.id: row.value
                for row in await SERVICE_PRINCIPALS.list(tx)
                if row.value.kind == "ManagedIdentity"
            }
            groups = {row.key: row.value for row in await GROUPS.list(tx)}
            unfinished = {row.key for row in await OPERATIONS.find(tx, "unfinished", "yes")}
    finally:
        await store.close()
    owned = {}
    for key, resource in resources.items():
        for principal_id in identities_of(resource):
            assert principal_id in principals, f"{key} has no principal"
            names = principals[principal_id].alternative_names
            assert ResourceId.parse(names[1]).key == key, f"{key} has somebody else's principal"
            going = resource.provisioning_state == DELETING and not names[0].endswith("True")
            assert principals[principal_id].enabled is not going, f"{key} is {resource.provisioning_state}"
            owned[principal_id] = key
        assert ResourceId.group(*ResourceId.parse(key).segments[1:4:2]).key in groups, f"{key} is in no group"
    assert set(principals) == set(owned), "principals without their resources"
    for key, held in {**resources, **groups}.items():
        if held.provisioning_state != "Succeeded":
            assert held.operation in unfinished, f"{key} stays {held.provisioning_state} for ever"


def identities_of(resource: Resource) -> list[str]:
    found = [resource.identity.system.principal_id] if resource.identity and resource.identity.system else []
    if resource.type.lower() == "microsoft.managedidentity/userassignedidentities":
        found.append(resource.properties["principalId"])
    return found


def check_sqlite(node: Any, folder: Path) -> None:
    """On a copy, as the killed server left it: the server itself must find the original so."""
    from keyfob.store.sqlite import open_sqlite

    folder.mkdir()
    for name in ("keyfob.db", "keyfob.db-wal"):
        if (node.data / name).exists():
            shutil.copy(node.data / name, folder / name)
    connection = sqlite3.connect(folder / "keyfob.db")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    finally:
        connection.close()
    asyncio.run(whole(open_sqlite(folder / "keyfob.db", migrations_of("keyfob.store"))))


def check_postgres(node: Any) -> None:
    from keyfob.store.postgres import open_postgres

    asyncio.run(whole(open_postgres(node.database, migrations_of("keyfob.store"))))


# --- through the restarted server


class Examination:
    """Everything that was ever acknowledged, asked for again over the public endpoints."""

    def __init__(self, node: Any, host: Any, ledger: Ledger) -> None:
        self.node = node
        self.host = host
        self.ledger = ledger
        self.arm = node.arm()
        self.vault = node.door("load-vault.vault.azure.net")
        self.bearer = {"Authorization": f"Bearer {node.client.token('https://vault.azure.net')}"}
        self.shared = node.identity("load", "shared")
        self.shared_principal = self.arm.must("GET", self.shared)["properties"]["principalId"]

    def everything(self) -> None:
        for key, thing in self.ledger.things.items():
            state = self.secret(key, thing) if key.startswith("https:") else self.resource(key, thing)
            assert thing.may_be(state), f"{key} is {state}; acknowledged {thing.acked}, asked {thing.asked}"
            thing.acked, thing.asked = state, UNKNOWN
        self.machines()
        self.tokens()

    def resource(self, key: str, thing: Thing) -> Any:
        """Its state, once nothing works on it any more."""
        answer = self.arm.settled(key)
        found = answer.json() if answer.status == 200 else {}
        identity = found.get("identity") or {}
        ids = {**found.get("properties", {}), **identity}
        if "/roleAssignments/" in key:
            return {"n": ids["principalId"]} if found else None
        if found and "/providers/" in key:  # of a creation that was never acknowledged we hear only now
            thing.facts.setdefault("principalId", ids["principalId"])
        if "principalId" in thing.facts:
            principal = self.arm.principal(thing.facts["principalId"])
            assert principal.status == answer.status, f"{key} is {answer.status}, its principal {principal.status}"
        if answer.status == 404:
            return None
        assert found["properties"].get("provisioningState", "Succeeded") == "Succeeded", found
        for name, value in thing.facts.items():
            assert ids[name] == value, f"{key} has another {name}"
        state: dict[str, Any] = {"n": found["tags"]["n"]}
        if "/virtualMachines/" in key:
            state["user"] = bool(identity.get("userAssignedIdentities"))
        return state

    def secret(self, key: str, thing: Thing) -> Any:
        for version, value in thing.facts.items():
            assert self.value_of(version) == {"value": value}
        return self.value_of(key)

    def value_of(self, url: str) -> Any:
        self.vault.request("GET", f"{urlsplit(url).path}?api-version=7.4", headers=self.bearer)
        reply = self.vault.getresponse()
        body = json.loads(reply.read())
        assert reply.status in (200, 404), body
        return {"value": body["value"]} if reply.status == 200 else None

    def machines(self) -> None:
        """The same identities get tokens, and what is detached gets none."""
        machines = [key for key, thing in self.ledger.things.items() if "/virtualMachines/vm-" in key and thing.acked]
        for key in machines[-SAMPLE:]:
            thing = self.ledger.things[key]
            line = self.node.host(self.arm.endpoint(key))
            own = line.ask("GET", self.host.target(), headers=self.host.metadata)
            assert self.host.oid(own) == thing.facts["principalId"], own.body
            other = line.ask("GET", self.host.target(msi_res_id=self.shared), headers=self.host.metadata)
            if thing.acked["user"]:
                assert self.host.oid(other) == self.shared_principal, other.body
            else:
                assert other.status == 400, other.body
                assert self.host.oid(other) is None
            line.close()

    def tokens(self) -> None:
        """Those from before the crash are still good, since the signing key is the same one."""
        for by, tokens in self.ledger.tokens.items():
            assert tokens
            for token in (tokens[0], tokens[-1]):
                answer = self.node.arm(token).call("GET", "/subscriptions")
                assert answer.status == 200, answer.body
                assert bool(answer.json()["value"]) is (by == "operator")
        forged = tokens[0][:-8] + ("AAAAAAAA" if tokens[0][-8:] != "AAAAAAAA" else "BBBBBBBB")
        assert self.node.arm(forged).call("GET", "/subscriptions").status == 401


def build(node: Any) -> None:
    """What every round finds: a group, an identity to attach, a machine that asks for tokens, a vault."""
    arm = node.arm()
    arm.must("PUT", node.group("load"), {"location": "westeurope"})
    arm.must("PUT", node.identity("load", "shared"), {"location": "westeurope"})
    arm.must("PUT", node.machine("load", "base"), {"location": "westeurope", "identity": {"type": "SystemAssigned"}})
    policy = {
        "tenantId": node.operator["tenant_id"],
        "objectId": node.operator["object_id"],
        "permissions": {"secrets": ["get", "set", "list"]},
    }
    arm.must(
        "PUT",
        f"{node.group('load')}/providers/Microsoft.KeyVault/vaults/load-vault",
        {
            "location": "westeurope",
            "properties": {
                "tenantId": node.operator["tenant_id"],
                "sku": {"family": "A", "name": "standard"},
                "accessPolicies": [policy],
            },
        },
    )
    arm.close()


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_what_was_acknowledged_survives_sigkill(
    database: str, node: Any, host: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    dsn = request.getfixturevalue("postgres_database") if database == "postgres" else ""
    server = node(database=dsn, operation_seconds=0.3)
    build(server)
    ledger = Ledger()
    for round_ in range(ROUNDS):
        run_and_kill(server, round_, ledger)
        if database == "sqlite":
            check_sqlite(server, tmp_path / str(round_))
        else:
            check_postgres(server)
        server.up()
        Examination(server, host, ledger).everything()
        server.hang_up()
    assert ledger.cut >= ROUNDS, "the server was idle when it was killed"
