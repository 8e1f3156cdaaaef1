"""Schemas in numbered steps. Each component has its own numbers; a step runs once, in one transaction."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import resources
from typing import Protocol

from keyfob.errors import Conflict
from keyfob.store.port import Migration, Transaction

_FILE = re.compile(r"(\d{4})-[a-z0-9-]+\.sql")
_VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_versions (
  component TEXT NOT NULL,
  version BIGINT NOT NULL,
  applied TEXT NOT NULL,
  PRIMARY KEY (component, version)
)
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One file of a `schema` folder."""

    component: str
    version: int
    sql: str


class Scripted(Transaction, Protocol):
    """A transaction that also runs a script of several statements, in the dialect both databases share."""

    async def script(self, sql: str) -> None: ...


def migrations_of(package: str) -> tuple[Migration, ...]:
    """The steps in `<package>/schema/0001-name.sql`, `0002-…`. The component is the package's last name.

    Raises ValueError when the folder holds none, or their numbers do not run 1, 2, 3….
    """
    component = package.rpartition(".")[2]
    found: list[Step] = []
    for file in (resources.files(package) / "schema").iterdir():
        if file.name.endswith(".sql"):
            match = _FILE.fullmatch(file.name)
            if match is None:
                raise ValueError(f"{package}: {file.name} is not named like 0001-what-it-adds.sql")
            found.append(Step(component, int(match[1]), file.read_text(encoding="utf-8")))
    found.sort(key=lambda step: step.version)
    if not found:
        raise ValueError(f"{package} has no schema")
    return tuple(_by_component(found)[component])


def _by_component(migrations: Sequence[Migration]) -> Mapping[str, Sequence[Migration]]:
    steps: dict[str, list[Migration]] = {}
    for migration in migrations:
        steps.setdefault(migration.component, []).append(migration)
    for component, own in steps.items():
        own.sort(key=lambda step: step.version)
        if [step.version for step in own] != list(range(1, len(own) + 1)):
            raise ValueError(f"the schema steps of {component} do not run 1, 2, 3…: two may claim one number")
    return steps


async def migrate(begin: Callable[[], AbstractAsyncContextManager[Scripted]], migrations: Sequence[Migration]) -> None:
    """Brings the database to the newest step of every component.

    Several nodes may do so at once: each transaction is alone (see the port), and looks again at what is done.
    Raises Conflict when the database is newer than this program. A component that the program does not know is left
    as it is.
    """
    steps = _by_component(migrations)
    async with begin() as transaction:
        await transaction.script(_VERSIONS)
        for component, own in steps.items():
            _refuse_newer(component, await _version(transaction, component), len(own))
    for component, own in steps.items():
        for step in own:
            async with begin() as transaction:
                version = await _version(transaction, component)
                _refuse_newer(component, version, len(own))
                if version < step.version:
                    await transaction.script(step.sql)
                    await transaction.execute(
                        "INSERT INTO schema_versions (component, version, applied) "
                        "VALUES (?, ?, CAST(CURRENT_TIMESTAMP AS TEXT))",
                        component,
                        step.version,
                    )


async def _version(transaction: Transaction, component: str) -> int:
    rows = await transaction.fetch("SELECT MAX(version) FROM schema_versions WHERE component = ?", component)
    return int(rows[0][0] or 0)


def _refuse_newer(component: str, version: int, known: int) -> None:
    if version > known:
        raise Conflict(
            f"the database is newer than this program: its {component} schema has version {version}, "
            f"this program knows {known}. Use a newer Keyfob, or another data directory",
            code="DatabaseTooNew",
        )
