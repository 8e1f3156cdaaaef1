"""A process that writes numbered records from several tasks, and prints each number once it is acknowledged.

Arguments: `sqlite PATH` or `postgres DSN`. It runs until it is killed, or the database is gone (exit status 3).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path

import msgspec

from keyfob.errors import Unavailable
from keyfob.store.migrations import migrations_of
from keyfob.store.port import Store
from keyfob.store.records import Records

WRITERS = 16


class Numbered(msgspec.Struct):
    number: int = 0
    padding: str = ""


async def main(kind: str, target: str) -> None:
    store: Store
    if kind == "sqlite":
        from keyfob.store.sqlite import open_sqlite

        store = await open_sqlite(Path(target), migrations_of("keyfob.store"))
    else:
        from keyfob.store.postgres import open_postgres

        store = await open_postgres(target, migrations_of("keyfob.store"))
    records = Records("numbered", Numbered, index=lambda value: {"number": str(value.number)})

    async def write(first: int) -> None:
        for number in itertools.count(first, WRITERS):
            async with store.transaction() as tx:
                await records.insert(tx, f"{number:08}", Numbered(number, "x" * (number % 3000)))
            os.write(1, b"%d\n" % number)

    try:
        await asyncio.gather(*map(write, range(WRITERS)))
    except Unavailable:
        os._exit(3)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
