"""A whole server, started as a user starts it, beside nginx and a Go peer that does the same work.

    python benchmarks/bench_server.py [--quick]

A resource group, a virtual machine, a vault, a secret and a role assignment are made through the public API; then
wrk loads the machine's token endpoint, the keys document, the token service and the secret, keep-alive on loopback.
Start-up, memory and the guard's decisions follow. How to read the figures: docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from bench_http import (
    HERE,
    RESOURCE,
    Sample,
    Subject,
    build_go,
    certificate,
    compare,
    cpu_seconds,
    free_port,
    nginx_conf,
    pinned,
    running,
    table,
)

from keyfob.cli.client import Client

SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"
SECRETS_OFFICER = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
ROLES = "/providers/Microsoft.Authorization/roleDefinitions/"
VAULT_NAME = "keyfob-bench"
TARGET = f"/metadata/identity/oauth2/token?api-version=2018-02-01&resource={quote(RESOURCE, safe='')}"
SECRET_TARGET = "/secrets/greeting?api-version=7.4"
KEYS_TARGET = "/common/discovery/v2.0/keys"
DIFFERENT = "Keyfob, no two requests alike"
UNLIKE = """local number = 0
request = function()
  number = number + 1
  wrk.headers["x-ms-client-request-id"] = number
  return wrk.format()
end
"""
"""The edge knows requests by their bytes again; this spares it nothing."""
FIRST_TOKEN = 0.5
MEMORY = 80.0
DECISIONS = 100_000
TLS_RATIO = 1.2
TIE = 1.2


# --- Keyfob, as a user starts it ---


class Server:
    """`keyfob up` in a process of its own, ready when this returns."""

    def __init__(self, data: Path, core: int | None = None) -> None:
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "keyfob", "up", "--data", str(data), "--port", "0"]
        env = {
            **os.environ,
            "KEYFOB_READY_FD": str(writing),
            "PYTHONPYCACHEPREFIX": str(data.parent.parent / "bytecode"),
        }
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode beside it
        with (data.parent / "keyfob.log").open("ab") as log:
            self.began = time.monotonic()
            self.process = subprocess.Popen(
                [*(pinned(core) if core is not None else ()), *command],
                stdout=log,
                stderr=log,
                pass_fds=[writing],
                env=env,
            )
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            if not pipe.readline():
                raise SystemExit("keyfob up did not start:\n" + (data.parent / "keyfob.log").read_text())
        self.ready = time.monotonic() - self.began
        self.client = Client(data)

    @property
    def pid(self) -> int:
        return self.process.pid

    def megabytes(self) -> float:
        """Resident memory."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0.0

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def keyfob(data: Path, core: int | None = None) -> Iterator[Server]:
    server = Server(data, core)
    try:
        yield server
    finally:
        server.stop()


def make_machine(client: Client) -> dict[str, Any]:
    group = f"/subscriptions/{client.operator['subscription_id']}/resourceGroups/bench"
    client.arm_json("PUT", group, {"location": "westeurope"}, api_version="2024-11-01")
    machine: dict[str, Any] = client.arm_json(
        "PUT",
        f"{group}/providers/Microsoft.Compute/virtualMachines/web",
        {"location": "westeurope", "identity": {"type": "SystemAssigned"}},
        api_version="2024-11-01",
    )
    return machine


def make_vault(client: Client, reader: str) -> str:
    """A vault with the secret `greeting`, that the principal `reader` may read. Gives its id."""
    group = f"/subscriptions/{client.operator['subscription_id']}/resourceGroups/bench"
    vault = f"{group}/providers/Microsoft.KeyVault/vaults/{VAULT_NAME}"
    properties = {
        "tenantId": client.operator["tenant_id"],
        "sku": {"family": "A", "name": "standard"},
        "enableRbacAuthorization": True,
    }
    client.arm_json("PUT", vault, {"location": "westeurope", "properties": properties}, api_version="2023-07-01")
    for number, (role, principal) in enumerate(
        ((SECRETS_USER, reader), (SECRETS_OFFICER, client.operator["object_id"])), 1
    ):
        client.arm_json(
            "PUT",
            f"{vault}/providers/Microsoft.Authorization/roleAssignments/00000000-0000-4000-8000-{number:012d}",
            {
                "properties": {
                    "roleDefinitionId": ROLES + role,
                    "principalId": principal,
                    "principalType": "ServicePrincipal",
                }
            },
            api_version="2022-04-01",
        )
    client.send(
        "PUT",
        f"https://{VAULT_NAME}.vault.azure.net{SECRET_TARGET}",
        {"Authorization": f"Bearer {client.token(RESOURCE)}", "Content-Type": "application/json"},
        json.dumps({"value": "hello from a managed identity"}).encode(),
    )
    return vault


def ask(url: str, headers: Sequence[str] = (), body: str | None = None) -> bytes:
    """One request, as wrk will send it. Anything but 200 ends the benchmark: it would measure refusals."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        context = ssl._create_unverified_context()  # as wrk, which verifies nothing
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(parts.netloc, context=context, timeout=30)
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        given = dict(header.split(": ", 1) for header in headers)
        connection.request("GET" if body is None else "POST", parts.path + f"?{parts.query}", body, given)
        reply = connection.getresponse()
        data = reply.read()
        if reply.status != 200:
            raise SystemExit(f"{url} answered {reply.status}: {data[:300]!r}")
        return data
    finally:
        connection.close()


# --- the subjects ---


@dataclass
class Bench:
    """What is compared: a title each, the row that ratios are of, and the subjects."""

    folder: Path
    server: Server
    endpoint: str
    sets: dict[str, tuple[str, list[Subject]]] = field(default_factory=dict)

    @property
    def front_door(self) -> str:
        return f"https://127.0.0.1:{self.server.client.server['port']}"


def prepare(stack: contextlib.ExitStack, folder: Path) -> Bench:
    """Starts everything there is on this machine."""
    data = folder / "server" / "data"
    data.mkdir(parents=True, mode=0o700)
    with keyfob(data):
        pass  # writes the bytecode: what is compiled in this process would stay in its memory
    server = stack.enter_context(keyfob(data, core=0))
    client = server.client
    machine = make_machine(client)
    vault = make_vault(client, machine["identity"]["principalId"])
    endpoint = client.open_endpoint(machine["id"])["endpoint"]
    bench = Bench(folder, server, endpoint)
    host_token = ask(endpoint + TARGET, ["Metadata: true"])
    (folder / "body.json").write_bytes(host_token)
    token = json.loads(host_token)["access_token"]
    login = f"Host: {urlsplit(client.operator['login']).hostname}"
    keys = ask(bench.front_door + KEYS_TARGET, [login])
    reading = [f"Host: {VAULT_NAME}.vault.azure.net", f"Authorization: Bearer {token}"]
    secret = json.loads(ask(bench.front_door + SECRET_TARGET, reading))
    claims = json.loads(_unbase64(token.split(".")[1]))
    operator = client.operator
    form = urlencode(
        {
            "grant_type": "client_credentials",
            "client_id": operator["client_id"],
            "client_secret": operator["client_secret"],
            "scope": f"{RESOURCE}/.default",
        }
    )
    world = {
        "keys": json.loads(keys),
        "tenant": operator["tenant_id"],
        "issuer": claims["iss"],
        "client_id": operator["client_id"],
        "client_secret": operator["client_secret"],
        "client_oid": operator["object_id"],
        "caller": claims["oid"],
        "audience": RESOURCE,
        "vault_host": f"{VAULT_NAME}.vault.azure.net",
        "vault_id": vault,
        "region": "westeurope",
        "secret": _secret(secret),
    }
    peers = start_peers(stack, folder, world)
    post = f"/{operator['tenant_id']}/oauth2/v2.0/token"
    script = folder / "post.lua"
    script.write_text(_post(form, login.partition(": ")[2]))
    shapes: dict[str, tuple[str, str, list[str], str | None]] = {
        "keys document, TLS": ("tls", KEYS_TARGET, [login], None),
        "token service, TLS, a new signature each": ("tls", post, [], form),
        "secret read with its full check, TLS": ("tls", SECRET_TARGET, reading, None),
    }
    token_set = [Subject("Keyfob", server.pid, endpoint + TARGET, ("Metadata: true",))]
    token_set += [
        Subject(name, pid, plain + target, ("Metadata: true",))
        for name, pid, plain, _, target in peers
        if ask(plain + target, ["Metadata: true"]) == host_token
    ]
    unlike = folder / "unlike.lua"
    unlike.write_text(UNLIKE)
    token_set.insert(1, Subject(DIFFERENT, server.pid, endpoint + TARGET, ("Metadata: true",), str(unlike)))
    bench.sets["host token, plain HTTP"] = ("Go net/http", token_set)
    for title, (_, target, headers, body) in shapes.items():
        subjects = [Subject("Keyfob", server.pid, bench.front_door + target, tuple(headers))]
        subjects += [
            Subject(name, pid, tls + target, tuple(headers)) for name, pid, _, tls, _ in peers if name == "Go net/http"
        ]
        if body is not None:
            subjects = [Subject(s.name, s.pid, s.url, s.headers, str(script)) for s in subjects]
        for subject in subjects:
            extra = [login, "Content-Type: application/x-www-form-urlencoded"] if body is not None else []
            ask(subject.url, [*headers, *extra], body)
        bench.sets[title] = ("Go net/http", subjects)
    return bench


def start_peers(
    stack: contextlib.ExitStack, folder: Path, world: dict[str, Any]
) -> list[tuple[str, int, str, str, str]]:
    """Name, process, plain URL, TLS URL and the target of its host token, of each peer that is on this machine."""
    found = []
    certificates = folder / "peers"
    certificates.mkdir(mode=0o755)
    pem = certificate(certificates)
    if shutil.which("nginx"):
        plain, tls = free_port(), free_port()
        conf = nginx_conf(folder, plain, tls, pem, (folder / "body.json").read_text())
        pem.chmod(0o644)  # its workers run as another user; this key is thrown away with the folder
        pid = stack.enter_context(running(["nginx", "-p", str(folder), "-c", str(conf)], plain))
        urls = (f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{tls}")
        found += [("nginx, return 200", pid, *urls, TARGET), ("nginx, static file", pid, *urls, "/static?x=1")]
    if shutil.which("go"):
        plain, tls = free_port(), free_port()
        written = folder / "world.json"
        written.write_text(json.dumps(world, separators=(",", ":")))
        arguments = [f"127.0.0.1:{plain}", f"127.0.0.1:{tls}", str(pem), str(folder / "body.json"), RESOURCE]
        command = [str(build_go(folder)), *arguments, str(written)]
        pid = stack.enter_context(running(command, tls, {"GOMAXPROCS": "1"}))
        found.append(("Go net/http", pid, f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{tls}", TARGET))
    return found


def _secret(read: dict[str, Any]) -> dict[str, Any]:
    name, version = urlsplit(read["id"]).path.split("/")[2:]
    return {
        "name": name,
        "version": version,
        "value": read["value"],
        "id": read["id"],
        "created": read["attributes"]["created"],
        "recovery_level": read["attributes"]["recoveryLevel"],
        "recoverable_days": read["attributes"]["recoverableDays"],
    }


def _post(form: str, host: str) -> str:
    return f"""wrk.method = "POST"
wrk.body = "{form}"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
wrk.headers["Host"] = "{host}"
"""


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# --- start ---


@dataclass(frozen=True)
class Start:
    """Seconds from spawning `keyfob up`; `cpu` is the server's own until its first token was answered."""

    ready: float
    token: float
    cpu: float
    megabytes: float


def first_start(data: Path) -> Start:
    """An empty folder: keys and certificates are made, and before the first token somebody makes the machine."""
    with keyfob(data) as server:
        return _first_token(server, make_machine(server.client)["id"])


def next_start(data: Path, machine: str) -> Start:
    with keyfob(data) as server:
        return _first_token(server, machine)


def _first_token(server: Server, machine: str) -> Start:
    endpoint = server.client.open_endpoint(machine)["endpoint"]
    ask(endpoint + TARGET, ["Metadata: true"])
    token = time.monotonic() - server.began
    return Start(server.ready, token, cpu_seconds(server.pid), server.megabytes())


def starts(folder: Path, times: int) -> tuple[list[Start], list[Start]]:
    """First starts, each in a folder of its own, and next starts in the last of these."""
    first = []
    for number in range(-1, times):  # the first of all writes the bytecode, and is not counted
        data = folder / f"start-{number}" / "data"
        data.mkdir(parents=True, mode=0o700)
        first.append(first_start(data))
    del first[0]
    with keyfob(data) as server:
        machine = server.client.find_host("web")
    return first, [next_start(data, machine) for _ in range(times)]


# --- decisions ---


def decisions() -> dict[str, float]:
    """What bench_access.py prints: decisions a second by name."""
    command = [*pinned(0), sys.executable, str(HERE / "bench_access.py")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {
        found[1]: float(found[2].replace(",", ""))
        for found in re.finditer(r"^(.+): ([\d,]+) decisions/s", printed, re.M)
    }


# --- telling ---


def quieter(samples: dict[str, list[Sample]]) -> dict[str, list[Sample]]:
    """Of each subject the half of its rounds in which other programs did least."""
    return {name: sorted(found, key=lambda s: s.others)[: (len(found) + 1) // 2] for name, found in samples.items()}


def median_cpu(samples: dict[str, list[Sample]], name: str) -> float | None:
    return statistics.median(each.cpu_us for each in samples[name]) if name in samples else None


def judge(sentence: str, good: bool, tie: bool = False) -> None:
    print(f"  {'✓' if good else '≈' if tie else '✗'} {sentence}")


def judge_set(title: str, samples: dict[str, list[Sample]]) -> None:
    ours, go = median_cpu(samples, "Keyfob"), median_cpu(samples, "Go net/http")
    if ours is None:
        return
    if title.startswith("host token"):
        for name in ("nginx, return 200", "nginx, static file"):
            peer = median_cpu(samples, name)
            if peer:
                judge(f"at or under {name}: {ours / peer:.2f} of its CPU", ours <= peer, ours <= peer * TIE)
        if go:
            judge(f"ahead of Go: {ours / go:.2f} of its CPU", ours < go, ours < go * TIE)
    elif go:
        judge(f"no worse than {TLS_RATIO} × Go's CPU: {ours / go:.2f}", ours <= go * TLS_RATIO)


def tell_starts(first: list[Start], after: list[Start]) -> None:
    print("start, seconds from spawning `keyfob up` (medians; fastest in brackets)")
    for name, found in (("empty folder, machine made by REST", first), ("folder that has a machine", after)):
        ready, token = [s.ready for s in found], [s.token for s in found]
        print(
            f"  {name:36} listens {statistics.median(ready):.2f} ({min(ready):.2f})"
            f"   first host token {statistics.median(token):.2f} ({min(token):.2f})"
            f"   its CPU {statistics.median(s.cpu for s in found):.2f}"
        )
    for name, found in (("after `up`", after), ("after the first `up` of all", first)):
        median = statistics.median(s.token for s in found)
        judge(f"first token under {FIRST_TOKEN} s {name}: {median:.2f} s", median < FIRST_TOKEN)


def others(samples: dict[str, list[Sample]]) -> str:
    busy = [each.others for found in samples.values() for each in found]
    return f"  (other programs kept {min(busy):.2f} to {max(busy):.2f} of {os.cpu_count()} cores busy meanwhile)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="about 45 seconds; the full run takes about 3 minutes")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is not on this machine (https://github.com/wg/wrk): requests are not measured", file=sys.stderr)
    for tool in ("nginx", "go"):
        if shutil.which(tool) is None:
            print(f"{tool} is not on this machine: its rows are left out", file=sys.stderr)
    rounds, times = (2, 2) if options.quick else (9, 7)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keyfob-bench-")))
        folder.chmod(0o755)
        bench = prepare(stack, folder)
        before = bench.server.megabytes()
        if shutil.which("wrk"):
            for title, (against, subjects) in bench.sets.items():
                samples = quieter(compare(subjects, rounds=rounds, seconds=1))
                print(table(title, samples, against))
                judge_set(title, samples)
                print(others(samples) + "\n", flush=True)
        after = bench.server.megabytes()
    with tempfile.TemporaryDirectory(prefix="keyfob-bench-") as name:
        tell_starts(*starts(Path(name), times))
    print(f"\nresident memory: {before:.0f} MB when everything was made, {after:.0f} MB after the load")
    judge(f"under {MEMORY:.0f} MB: {max(before, after):.0f}", max(before, after) < MEMORY)
    print("\ndecisions a second, one core, 100,000 role assignments", flush=True)
    found = decisions()
    for name, rate in found.items():
        print(f"  {name:36} {rate:11,.0f}")
    first = next(iter(found.values()), 0.0)
    judge(f"above {DECISIONS:,} uncached: {first:,.0f}", first > DECISIONS)


if __name__ == "__main__":
    main()
