"""What every test may ask for: an open store (one database or both in turn), a clock that stands, predictable ids."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from keyfob.clock import CountingIds, FakeClock
from keyfob.store.migrations import migrations_of
from keyfob.store.port import Store

sys.path.append(str(Path(__file__).parents[1] / "tools"))

if not os.environ.get("CI"):  # there hypothesis has a profile of its own, untimed as well
    hypothesis.settings.register_profile("untimed", deadline=None)
    hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def watch() -> Any:
    """Holds every request accepted and every reply given in this process against the official documents; None where
    they are not."""
    from conformance_documents import Documents, folder

    root = folder()
    if root is None:
        return None
    from conformance_watch import Watch, install

    made = Watch(Documents(root))
    install(made)
    return made


@pytest.fixture(autouse=True)
def as_documented(watch: Any) -> Iterator[None]:
    """Fails a test whose application took or gave what the document of that api-version does not have."""
    yield
    if watch is not None and watch.found:
        from conformance_watch import known_traffic, unknown

        assert not (bad := unknown(watch.take(), known_traffic())), "\n".join(map(str, bad))


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


def _free_port() -> int:
    """Below the ports that the system gives out by itself (ip(7), ip_local_port_range): nobody gets it meanwhile, or
    while a killed server is down."""
    while True:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


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
        self.port = _free_port()
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
        """A child of ours, and not of pg_ctl's: so that we learn of its end. Starts again on the same port."""
        settings = [f"-c{setting}" for setting in self._settings]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._bin / "postgres",
                    "-D",
                    self.data,
                    "-h",
                    "127.0.0.1",
                    "-p",
                    str(self.port),
                    "-k",
                    self.folder,
                    *settings,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._identity(),
            )
        while self._call("pg_isready", "-h", "127.0.0.1", "-p", str(self.port)).returncode:
            if self._process.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()}")

    def create_database(self) -> str:
        """The address of a new, empty database."""
        name = f"test_{next(self._databases)}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "keyfob", name)
        return self.dsn(name)

    def kill(self) -> None:
        """SIGKILL to the server and all its processes at once. Returns when they are gone."""
        server = self._process.pid
        gone = []
        for child in Path(f"/proc/{server}/task/{server}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                gone.append(os.pidfd_open(int(child)))
        self._process.kill()
        for descriptor in gone:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        for descriptor in gone:
            select.select([descriptor], [], [])
            os.close(descriptor)
        self._process.wait()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGQUIT)  # its "immediate shutdown"
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        done = self._call(program, *arguments)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr}")

    def _call(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._bin / program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **self._identity(),
        )

    def _identity(self) -> dict[str, Any]:
        if self._user is None:
            return {"cwd": self.folder}
        return {"cwd": self.folder, "user": self._user, "group": _group_of(self._user), "extra_groups": []}


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
