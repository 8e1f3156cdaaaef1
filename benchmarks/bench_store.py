"""What the store costs beside what the disk costs.

    python benchmarks/bench_store.py

Prints operations a second and microseconds each, the median of three rounds taken in turn. Writes are durable; the
floor is a 4 KiB write with fdatasync to the same file system. PostgreSQL is measured where its binaries are installed,
on a server of its own with its default settings.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType

import msgspec

from keyfob.store.migrations import migrations_of
from keyfob.store.port import Store
from keyfob.store.records import Records

ROUNDS = 3
WRITERS = 32
RECORDS = 20_000
Measure = Callable[[], Awaitable[int]]
"""Does some operations, and returns how many."""


class Secret(msgspec.Struct):
    name: str = ""
    value: str = "x" * 200


SECRETS = Records("secret", Secret, index=lambda secret: {"name": secret.name})
PLAIN = Records("plain", Secret)


def floor(folder: Path) -> Measure:
    async def run() -> int:
        descriptor = os.open(folder / "floor", os.O_RDWR | os.O_CREAT, 0o600)
        page = os.urandom(4096)
        for number in range(1000):
            os.pwrite(descriptor, page, 4096 * number)
            os.fdatasync(descriptor)
        os.close(descriptor)
        return 1000

    return run


class Workload:
    """The same work for each database. `scale` makes a round last about a second on the slower one too."""

    def __init__(self, store: Store, scale: float) -> None:
        self.store = store
        self.scale = scale
        self.next = RECORDS

    async def fill(self) -> None:
        async with self.store.transaction() as tx:
            for number in range(RECORDS):
                await PLAIN.insert(tx, f"{number:08}", Secret(f"{number}"))

    async def point_reads(self) -> int:
        count = int(30_000 * self.scale)
        sql = "SELECT etag, value FROM records WHERE kind = ? AND key = ?"
        for number in range(count):
            await self.store.fetch(sql, "plain", f"{number * 7919 % RECORDS:08}")
        return count

    async def record_reads(self) -> int:
        count = int(30_000 * self.scale)
        for number in range(count):
            await PLAIN.get(self.store, f"{number * 7919 % RECORDS:08}")
        return count

    async def pages(self) -> int:
        count = int(1000 * self.scale)
        for number in range(count):
            await PLAIN.list(self.store, prefix=f"{number % 200:06}", limit=25)
        return count

    async def insert(self, records: Records[Secret]) -> None:
        self.next += 1
        key = f"{self.next:08}"
        async with self.store.transaction() as tx:
            await records.insert(tx, key, Secret(key))

    async def single_inserts(self) -> int:
        for _ in range(500):
            await self.insert(PLAIN)
        return 500

    async def concurrent_inserts(self, records: Records[Secret] = PLAIN) -> int:
        async def writer() -> None:
            for _ in range(50):
                await self.insert(records)

        await asyncio.gather(*(writer() for _ in range(WRITERS)))
        return 50 * WRITERS

    async def indexed_inserts(self) -> int:
        return await self.concurrent_inserts(SECRETS)

    def measures(self) -> dict[str, Measure]:
        return {
            "point read (SQL)": self.point_reads,
            "point read (record, decoded)": self.record_reads,
            "page of 25 records by prefix": self.pages,
            "durable insert, one at a time": self.single_inserts,
            f"durable insert, {WRITERS} writers": self.concurrent_inserts,
            f"the same with an index, {WRITERS} writers": self.indexed_inserts,
        }


async def compare(columns: dict[str, dict[str, Measure]]) -> None:
    """Rounds are interleaved, so that a noisy moment hurts every column alike."""
    labels = list(dict.fromkeys(label for measures in columns.values() for label in measures))
    print(f"{'operations a second (µs each)':42}" + "".join(f"{name:>22}" for name in columns))
    for label in labels:
        rates: dict[str, list[float]] = {name: [] for name in columns}
        for _ in range(ROUNDS):
            for name, measures in columns.items():
                if label in measures:
                    started = time.perf_counter()
                    count = await measures[label]()
                    rates[name].append(count / (time.perf_counter() - started))
        cells = [
            f"{statistics.median(r):,.0f} ({1e6 / statistics.median(r):,.1f})" if r else "-" for r in rates.values()
        ]
        print(f"{label:42}" + "".join(f"{cell:>22}" for cell in cells), flush=True)


def fixtures() -> ModuleType:
    """`tests/conftest.py` knows how to start a private PostgreSQL."""
    spec = importlib.util.spec_from_file_location("conftest", Path(__file__).parents[1] / "tests" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def measure(folder: Path, dsn: str | None) -> None:
    from keyfob.store.sqlite import open_sqlite

    sqlite = Workload(await open_sqlite(folder / "keyfob.db", migrations_of("keyfob.store")), 1)
    workloads = [sqlite]
    columns = {"SQLite": {"raw 4 KiB write and fdatasync (the floor)": floor(folder), **sqlite.measures()}}
    if dsn is not None:
        from keyfob.store.postgres import open_postgres

        postgres = Workload(await open_postgres(dsn, migrations_of("keyfob.store")), 0.1)
        workloads.append(postgres)
        columns["PostgreSQL"] = postgres.measures()
    for workload in workloads:
        await workload.fill()
    await compare(columns)
    for workload in workloads:
        await workload.store.close()


def main() -> None:
    run: Callable[..., None] = asyncio.run
    try:
        import uvloop

        run = uvloop.run
    except ImportError:
        print("uvloop is not installed: the standard event loop is measured")
    server = None
    try:
        server = fixtures().PostgresServer()
    except (ImportError, LookupError, RuntimeError) as reason:
        print(f"PostgreSQL is not measured: {reason}")
    try:
        with tempfile.TemporaryDirectory(prefix="keyfob-bench-") as folder:
            run(measure(Path(folder), server and server.create_database()))
    finally:
        if server is not None:
            server.stop()


if __name__ == "__main__":
    main()
