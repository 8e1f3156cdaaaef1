"""Starts servers and clients as processes of their own, as this user and, when that is root, as an ordinary one."""

from __future__ import annotations

import json
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parents[2] / "src"
PATIENCE = 60.0


@dataclass(frozen=True)
class User:
    uid: int
    gid: int
    python: str

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": str(SOURCES), "LANG": "C.UTF-8"}
        environment.update(options.pop("environment", {}))
        if self.uid != os.geteuid():
            options.update(user=self.uid, group=self.gid, extra_groups=[])
        return subprocess.Popen(command, env=environment, **options)


@cache
def user_named(name: str) -> User | str:
    """The user, or why there is none to test with."""
    entry = pwd.getpwuid(os.geteuid())
    if name == "ordinary" and os.geteuid() != 0:
        return "only root can become another user"
    if name == "ordinary":
        entry = pwd.getpwnam("nobody")
    reasons = []
    for python in (sys.executable, "/usr/bin/python3"):
        user = User(entry.pw_uid, entry.pw_gid, python)
        question = "from keyfob.hosts.sandbox.run import unavailable; print(unavailable() or 'yes')"
        try:
            with user.start(
                [python, "-c", question], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/"
            ) as process:
                answer, trouble = process.communicate(timeout=PATIENCE)
        except OSError as error:
            reasons.append(f"{python}: {error.strerror}")
            continue
        if answer.strip() == b"yes":
            return user
        reasons.append((answer or trouble).decode().strip().splitlines()[-1])
    return f"no sandbox for user {entry.pw_name}: {'; '.join(reasons)}"


@pytest.fixture(params=["self", "ordinary"])
def user(request: pytest.FixtureRequest) -> User:
    found = user_named(request.param)
    if isinstance(found, str):
        pytest.skip(found)
    return found


@dataclass
class Place:
    """A folder of the user's with a data folder, a server's control socket in it, and a certificate authority."""

    user: User
    folder: Path
    clients: list[subprocess.Popen[bytes]] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        os.chown(path, self.user.uid, self.user.gid)
        return path

    def serve(self, *more: str) -> Server:
        process = self.user.start(
            [self.user.python, str(HERE / "serve_sandboxes.py"), str(self.data / "control.sock"), *more],
            stdout=subprocess.PIPE,
            cwd=self.folder,
        )
        server = Server(process)
        self.servers.append(server)
        server.port = server.event()["port"]
        return server

    def start(
        self, *command: str, environment: dict[str, str] | None = None, **changes: Any
    ) -> subprocess.Popen[bytes]:
        """The client. `changes` replace its options; stdin, stdout and stderr are pipes unless given."""
        streams = {name: changes.pop(name, subprocess.PIPE) for name in ("stdin", "stdout", "stderr")}
        more = {name: changes.pop(name) for name in ("preexec_fn", "cwd") if name in changes}
        options = {
            "control": str(self.data / "control.sock"),
            "resource_id": "/vm",
            "token": "operator",
            "ca": str(self.folder / "ca.pem"),
            "cover": [str(self.data)],
            "verbose": False,
            **changes,
        }
        client = self.user.start(
            [self.user.python, str(HERE / "run_program.py"), json.dumps(options), *command],
            environment=environment or {},
            **{"cwd": self.folder, **streams, **more},
        )
        self.clients.append(client)
        return client

    def run(self, *command: str, input: bytes = b"", **changes: Any) -> Result:
        client = self.start(*command, **changes)
        output, errors = client.communicate(input, timeout=PATIENCE)
        return Result(client.returncode, output.decode(), errors.decode())

    def close(self) -> None:
        for process in (*self.clients, *(server.process for server in self.servers)):
            if process.poll() is None:
                process.kill()
            process.wait(PATIENCE)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


@dataclass(frozen=True)
class Result:
    code: int
    output: str
    errors: str


class Server:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.port = 0
        self._pending = b""

    def event(self) -> dict[str, Any]:
        """The next thing it told."""
        while b"\n" not in self._pending:
            assert self.process.stdout is not None
            self._pending += read_some(self.process.stdout)
        line, _, self._pending = self._pending.partition(b"\n")
        return json.loads(line)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)


def read_some(stream: IO[bytes]) -> bytes:
    """What comes next, b"" at the end; fails the test when nothing comes."""
    ready, _, _ = select.select([stream], [], [], PATIENCE)
    assert ready, "nothing was written in time"
    return os.read(stream.fileno(), 65536)


def read_until(process: subprocess.Popen[bytes], text: bytes, stream: IO[bytes] | None = None) -> bytes:
    """What the process writes, on stdout if not said otherwise, up to `text`."""
    seen = b""
    source = stream or process.stdout
    assert source is not None
    while text not in seen:
        more = read_some(source)
        assert more, f"{seen!r} came, {text!r} did not"
        seen += more
    return seen


@pytest.fixture
def place(user: User) -> Iterator[Place]:
    # tmp_path lies in a folder that is root's alone.
    folder = Path(tempfile.mkdtemp(prefix="keyfob-test-", dir="/tmp"))
    folder.chmod(0o755)
    (folder / "data").mkdir()
    for path in (folder, folder / "data"):
        os.chown(path, user.uid, user.gid)
    place = Place(user, folder)
    place.write("ca.pem", b"# no authority\n")
    try:
        yield place
    finally:
        place.close()
        shutil.rmtree(folder)


@pytest.fixture
def process_output() -> Any:
    return read_until
