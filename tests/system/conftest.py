"""Whole servers, started as users start them, and connections to them that say exactly what they are told to say."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import select
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest

from keyfob.cli.client import LOCAL_API, Answer, Client, _Door

WATCHED = Path(__file__).parent / "watched"
ARM = "https://management.azure.com/"
TOKEN = "/metadata/identity/oauth2/token"
METADATA = (("Metadata", "true"),)
VERSIONS = {
    "microsoft.compute": "2024-11-01",
    "microsoft.managedidentity": "2023-01-31",
    "microsoft.keyvault": "2023-07-01",
    "microsoft.authorization": "2022-04-01",
    "keyfob.hosts": LOCAL_API,
    "keyfob.directory": LOCAL_API,
}
UNDER_WAY = ("Creating", "Updating", "Deleting")


class Line:
    """One connection, kept for as long as the server keeps it: a second one is never opened in its place."""

    def __init__(self, connection: http.client.HTTPConnection, headers: Any = ()) -> None:
        self._connection = connection
        self._headers = tuple(headers)
        connection.connect()
        connection.auto_open = 0

    def ask(
        self, method: str, target: str, body: bytes | None = None, headers: Any = (), host: str | None = None
    ) -> Answer:
        """Sends the target as it is given, and the Host header that is given: none at all for ""."""
        given = [*self._headers, *headers]
        self._connection.putrequest(method, target, skip_host=host is not None, skip_accept_encoding=True)
        if host:
            self._connection.putheader("Host", host)
        for name, value in given:
            self._connection.putheader(name, value)
        if body is not None:
            self._connection.putheader("Content-Length", str(len(body)))
        self._connection.endheaders(body)
        reply = self._connection.getresponse()
        return Answer(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())

    def close(self) -> None:
        self._connection.close()


class Arm(Line):
    """Resource Manager over one connection, as the operator or whoever holds `token`."""

    def __init__(self, door: http.client.HTTPConnection, token: str) -> None:
        super().__init__(door, [("Authorization", f"Bearer {token}")])

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        """The api-version is added when the path has none."""
        if "api-version=" not in path:
            _, _, after = path.lower().rpartition("/providers/")
            version = VERSIONS.get(after.partition("/")[0], "2024-11-01")
            path += ("&" if "?" in path else "?") + f"api-version={version}"
        content = () if body is None else (("Content-Type", "application/json"),)
        encoded = None if body is None else json.dumps(body).encode()
        return self.ask(method, quote(path, safe="/:?&=%$'()*,;@+~!-._"), encoded, content)

    def must(self, method: str, path: str, body: Any = None) -> Any:
        """As `call`, of something that must go well; gives its JSON."""
        answer = self.call(method, path, body)
        assert answer.status < 300, f"{method} {path}: {answer.status} {answer.body.decode()[:2000]}"
        return answer.json()

    def settled(self, path: str, *, within: float = 10.0) -> Answer:
        """Asks again until no long-running operation works on the resource."""
        deadline = time.monotonic() + within
        while True:
            answer = self.call("GET", path)
            state = answer.json().get("properties", {}).get("provisioningState") if answer.status == 200 else None
            if state not in UNDER_WAY:
                return answer
            assert time.monotonic() < deadline, f"{path} is still {state} after {within} s"

    def finished(self, started: Answer, *, within: float = 10.0) -> str:
        """Follows `Azure-AsyncOperation` to its end; gives the last status."""
        where = urlsplit(started.headers["azure-asyncoperation"])
        deadline = time.monotonic() + within
        while True:
            status = str(self.must("GET", f"{where.path}?{where.query}")["status"])
            if status != "InProgress":
                return status
            assert time.monotonic() < deadline, f"the operation is still {status} after {within} s"

    def principal(self, object_id: str) -> Answer:
        return self.call("GET", f"/providers/Keyfob.Directory/principals/{object_id}")

    def endpoint(self, host_id: str) -> str:
        return str(self.must("POST", f"{host_id}/providers/Keyfob.Hosts/openEndpoint")["endpoint"])


@dataclass
class Node:
    """A server with a data folder: `keyfob up --detach`, and how it ends."""

    data: Path
    database: str = ""
    operation_seconds: float = 0.0
    deviations: Path | None = None
    """Where the server says what it took or gave that the official documents do not have."""
    client: Any = field(default=None, repr=False)
    lines: list[http.client.HTTPConnection] = field(default_factory=list, repr=False)

    def keyfob(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KEYFOB_")}
        environment |= {"KEYFOB_DATA": str(self.data), "KEYFOB_OPERATION_SECONDS": str(self.operation_seconds)}
        if self.deviations is not None:
            from conformance_documents import folder

            path = os.pathsep.join(filter(None, (str(WATCHED), environment.get("PYTHONPATH"))))
            environment |= {"PYTHONPATH": path, "WATCHED_BY_TESTS": str(self.deviations)}
            environment |= {"KEYFOB_OPENAPI": str(folder())}
        done = subprocess.run(
            [sys.executable, "-m", "keyfob", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"keyfob {arguments[0]} failed: {done.stdout}{done.stderr}")
        return done

    def up(self) -> Node:
        self.keyfob("up", "--detach", "--port", "0", *(("--database", self.database) if self.database else ()))
        self.client = Client(self.data)
        return self

    def down(self) -> None:
        self.hang_up()
        self.keyfob("down")

    def hang_up(self) -> None:
        """Closes every connection that was made here."""
        while self.lines:
            self.lines.pop().close()

    @property
    def pid(self) -> int:
        return int(self.client.server["pid"])

    @property
    def operator(self) -> dict[str, str]:
        known: dict[str, str] = self.client.operator
        return known

    def kill(self) -> None:
        """SIGKILL. Returns when the process has ended, and its sockets and locks with it."""
        watched = os.pidfd_open(self.pid)
        try:
            signal.pidfd_send_signal(watched, signal.SIGKILL)
            assert select.select([watched], [], [], 30)[0], "the server outlives SIGKILL"
        finally:
            os.close(watched)

    def memory(self) -> int:
        """Resident memory of the server in KiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])

    # --- connections

    def door(self, name: str) -> http.client.HTTPConnection:
        """A connection to the front door, under a service's name."""
        context = ssl.create_default_context(cafile=str(self.data / "ca" / "ca.crt"))
        self.lines.append(_Door(name, self.client.server["address"], self.client.server["port"], context))
        return self.lines[-1]

    def line(self, name: str) -> Line:
        return Line(self.door(name))

    def host(self, endpoint: str) -> Line:
        """A connection of a program on the host whose endpoint this is."""
        parts = urlsplit(endpoint)
        self.lines.append(http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30))
        return Line(self.lines[-1])

    def arm(self, token: str = "") -> Arm:
        return Arm(self.door("management.azure.com"), token or self.client.token(self.operator["audience"]))

    def group(self, name: str) -> str:
        return f"/subscriptions/{self.operator['subscription_id']}/resourceGroups/{name}"

    def machine(self, group: str, name: str) -> str:
        return f"{self.group(group)}/providers/Microsoft.Compute/virtualMachines/{name}"

    def identity(self, group: str, name: str) -> str:
        return f"{self.group(group)}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Node]]:
    """Makes nodes: `node(database=…, operation_seconds=…, like=other)`; `like` shares the other's keys; `data` is a
    folder with a past. All end with the test module."""
    from conformance_documents import folder

    made: list[Node] = []
    deviations = tmp_path_factory.mktemp("watched") / "deviations" if folder() is not None else None

    def make(
        *, database: str = "", operation_seconds: float = 0.0, like: Node | None = None, data: Path | None = None
    ) -> Node:
        data = data or tmp_path_factory.mktemp("node") / "data"
        if like is not None:
            data.mkdir(mode=0o700)
            for name in ("master.key", "operator.json"):
                shutil.copy(like.data / name, data / name)
            shutil.copytree(like.data / "ca", data / "ca")
        started = Node(data, database, operation_seconds, deviations)
        made.append(started)
        return started.up()

    yield make
    for one in made:
        one.hang_up()
        with contextlib.suppress(AssertionError, subprocess.SubprocessError):
            one.down()
    if deviations is not None and deviations.exists():
        from conformance_watch import Deviation, known_traffic, unknown

        found = [Deviation(**json.loads(line)) for line in deviations.read_text().splitlines()]
        assert not (bad := unknown(found, known_traffic())), "\n".join(map(str, bad))


# --- the host's side


def token_target(resource: str = ARM, **selectors: str) -> str:
    return f"{TOKEN}?{urlencode({'api-version': '2018-02-01', 'resource': resource, **selectors})}"


def claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def oid_in(answer: Answer) -> str | None:
    """Whose token an answer holds; None when it holds none, which is looked at byte by byte."""
    if b"eyJ" not in answer.body and b"access_token" not in answer.body:
        return None
    return str(claims(answer.json()["access_token"])["oid"])


@pytest.fixture(scope="session")
def host() -> Any:
    """What a program on a host says and hears: `host.target(…)`, `host.metadata`, `host.oid(answer)`, `host.claims`."""
    return SimpleNamespace(target=token_target, oid=oid_in, claims=claims, metadata=METADATA, arm=ARM, path=TOKEN)
