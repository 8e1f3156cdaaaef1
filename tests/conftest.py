"""What every test may ask for: an open store (one database or both in turn), a clock that stands, predictable ids."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from keyfob.clock import CountingIds, FakeClock
from keyfob.store.migrations import migrations_of
from keyfob.store.port import Store


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ids() -> CountingIds:
    return CountingIds()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An open SQLite store with the schema of `keyfob.store`."""
    from keyfob.store.sqlite import open_sqlite

    opened = await open_sqlite(tmp_path / "keyfob.db", migrations_of("keyfob.store"))
    yield opened
    await opened.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def both_stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An open store with the schema of `keyfob.store`: once in SQLite, once in a PostgreSQL database of its own."""
    opened: Store
    if request.param == "sqlite":
        from keyfob.store.sqlite import open_sqlite

        opened = await open_sqlite(tmp_path / "keyfob.db", migrations_of("keyfob.store"))
    else:
        dsn = request.getfixturevalue("postgres_database")
        from keyfob.store.postgres import open_postgres

        opened = await open_postgres(dsn, migrations_of("keyfob.store"))
    yield opened
    await opened.close()


class PostgresServer:
    """A private PostgreSQL on a free loopback port. Its binaries refuse root, so root runs them as somebody else."""

    def __init__(self, *settings: str) -> None:
        """Raises LookupError, saying why, where there is no PostgreSQL."""
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
        on_path = shutil.which("postgres")
        if not found and on_path is None:
            raise LookupError("no PostgreSQL in /usr/lib/postgresql/*/bin or on the PATH")
        self._bin = found[-1].parent if found else Path(str(on_path)).parent
        self._user = _ordinary_user()
        self.folder = Path(tempfile.mkdtemp(prefix="keyfob-pg-"))
        self._settings = settings
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._databases = itertools.count(1)
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        try:
            self._run("initdb", "-D", str(self.data), "-U", "keyfob", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
            self.start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://keyfob@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder}"
        options += "".join(f" -c {setting}" for setting in self._settings)
        self._run("pg_ctl", "start", "-w", "-D", str(self.data), "-l", str(self.folder / "log"), "-o", options)

    def create_database(self) -> str:
        """The address of a new, empty database."""
        name = f"test_{next(self._databases)}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "keyfob", name)
        return self.dsn(name)

    def kill(self) -> None:
        """SIGKILL to the postmaster and all its children, as when the power goes. Returns when they are gone."""
        import select

        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        gone = []
        for process in (postmaster, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                gone.append(os.pidfd_open(process))
                os.kill(process, signal.SIGKILL)
        for descriptor in gone:
            select.select([descriptor], [], [])
            os.close(descriptor)

    def stop(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("pg_ctl", "stop", "-m", "immediate", "-D", str(self.data))
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._bin / program), *arguments],
            user=self._user,
            group=None if self._user is None else _group_of(self._user),
            extra_groups=None if self._user is None else [],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            log = self.folder / "log"
            raise RuntimeError(f"{program} failed: {done.stderr}\n{log.read_text() if log.exists() else ''}")


def _ordinary_user() -> str | None:
    if os.getuid() != 0:
        return None
    import pwd

    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


def _group_of(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    pytest.importorskip("asyncpg", reason="asyncpg is not installed")
    try:
        server = PostgresServer("fsync=off")  # these tests kill processes, they do not cut the power
    except LookupError as reason:
        pytest.skip(str(reason))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_dsn(postgres_server: PostgresServer) -> str:
    """The address of the session's PostgreSQL: its maintenance database, for tests that make their own."""
    return postgres_server.dsn()


@pytest.fixture
def postgres_database(postgres_server: PostgresServer) -> str:
    """The address of an empty database for one test."""
    return postgres_server.create_database()


@pytest.fixture
def start_postgres() -> Iterator[Callable[..., PostgresServer]]:
    """Starts a PostgreSQL that the test may kill."""
    pytest.importorskip("asyncpg", reason="asyncpg is not installed")
    with contextlib.ExitStack() as stack:

        def start(*settings: str) -> PostgresServer:
            try:
                server = PostgresServer(*settings)
            except LookupError as reason:
                pytest.skip(str(reason))
            stack.callback(server.stop)
            return server

        yield start
