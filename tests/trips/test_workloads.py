"""Programs that the server runs for its hosts: each has its own host's identity and nothing of anybody else's."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from keyfob.hosts.sandbox.run import unavailable
from keyfob.hosts.workloads.sandboxed import Sandbox
from keyfob.hosts.workloads.workshop import run_in
from keyfob.resource_id import ResourceId

from .conftest import Trip

PROBE = str(Path(__file__).with_name("inside_host.py"))
KINDS = {
    "site": ("Microsoft.Web/sites", "2022-03-01", {}),
    "machine": ("Microsoft.Compute/virtualMachines", "2024-07-01", {}),
    "group": (
        "Microsoft.ContainerInstance/containerGroups",
        "2023-05-01",
        {
            "osType": "Linux",
            "containers": [
                {"name": "a", "properties": {"image": "none", "resources": {"requests": {"cpu": 1, "memoryInGB": 1}}}}
            ],
        },
    ),
}


@pytest.fixture(scope="module", autouse=True)
def namespaces() -> None:
    reason = unavailable()
    if reason:
        pytest.skip(reason)


async def host(trip: Trip, kind: str, name: str) -> tuple[ResourceId, str]:
    """A host with an identity of its own, and that identity's principal."""
    type_name, version, properties = KINDS[kind]
    body = {"location": "westeurope", "identity": {"type": "SystemAssigned"}, "properties": properties}
    made = await trip.made(f"{trip.group}/providers/{type_name}/{name}", body, version)
    return ResourceId.parse(made["id"]), made["identity"]["principalId"]


def oid(token: str) -> str:
    part = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["oid"])


async def probe(trip: Trip, sandbox: Sandbox, secret: str, ports: list[int], **environment: str) -> Any:
    known = {
        "data": str(trip.app.settings.data),
        "server": os.getpid(),
        "ports": ports,
        "secret": secret,
        "words": ["of-the-neighbour"],
    }
    result = await run_in(sandbox, [sys.executable, PROBE, json.dumps(known)], environment=environment, patience=300)
    assert result.code == 0, result.errors
    return json.loads(result.output)


@pytest.mark.parametrize("kind", list(KINDS))
async def test_a_program_has_its_own_hosts_identity_and_nothing_of_others(trip: Trip, kind: str) -> None:
    mine, principal = await host(trip, kind, "mine")
    theirs, _ = await host(trip, "site", "theirs")
    workshop = trip.app.workshop
    neighbour = await workshop.open(theirs, environment={"SETTING": "of-the-neighbour"})
    nothing = os.open(os.devnull, os.O_WRONLY)
    listener = "import socket, time; s = socket.socket(); s.bind(('0.0.0.0', 8123)); s.listen(); time.sleep(1000)"
    await neighbour.start([sys.executable, "-c", listener], output=nothing, errors=nothing)
    os.close(nothing)
    (trip.app.settings.data / "hosts").mkdir(exist_ok=True)
    outside = int((await trip.endpoint(str(theirs))).rpartition(":")[2])
    sandbox = await workshop.open(mine, environment={"PATH": os.environ["PATH"], "OWN": "mine"})
    found = await probe(
        trip, sandbox, neighbour.environment["IDENTITY_HEADER"], [outside, trip.app.port, 8123], OWN="mine"
    )
    assert oid(found["own"]) == principal
    assert found["wrong"] == []
    assert found["environment"] == []


async def test_two_hosts_use_the_same_port_at_once(trip: Trip) -> None:
    script = (
        "import http.server, os\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers(); self.wfile.write(os.environ['NAME'].encode())\n"
        "    def log_message(self, *a): pass\n"
        "http.server.HTTPServer(('127.0.0.1', 8000), H).serve_forever()\n"
    )
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        for name in ("one", "two"):
            made, _ = await host(trip, "site", name)
            sandbox = await trip.app.workshop.open(made)
            await sandbox.start(
                [sys.executable, "-c", script], environment={"NAME": name}, output=nothing, errors=nothing
            )
            assert await said(sandbox) == name.encode()
    finally:
        os.close(nothing)


async def said(sandbox: Sandbox) -> bytes:
    loop = asyncio.get_running_loop()
    while True:
        try:
            sock = await sandbox.dial(8000)
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
            continue
        with sock:
            await loop.sock_sendall(sock, b"GET / HTTP/1.0\r\n\r\n")
            answer = b""
            while data := await loop.sock_recv(sock, 1000):
                answer += data
            return answer.rpartition(b"\r\n")[2]


async def test_a_host_that_is_not_there_has_no_sandbox(trip: Trip) -> None:
    from keyfob.errors import NotFound

    with pytest.raises(NotFound, match="There is no host"):
        await trip.app.workshop.open(ResourceId.parse(f"{trip.group}/providers/Microsoft.Web/sites/none"))


async def test_two_hundred_hosts_at_once(trip: Trip) -> None:
    """Each opens, runs a program that gets its host's own token, and closes; nothing is left."""
    hosts = [await host(trip, "machine", f"vm-{number}") for number in range(200)]
    curl = ["sh", "-c", ASKING]

    async def one(host_id: ResourceId, principal: str) -> None:
        result = await trip.app.workshop.run(host_id, curl, patience=600)
        assert result.code == 0, result.errors
        assert oid(json.loads(result.output)["access_token"]) == principal

    before = len(os.listdir("/proc/self/fd"))
    await asyncio.gather(*(one(*each) for each in hosts))
    assert len(os.listdir("/proc/self/fd")) <= before + 5


ASKING = (
    "curl -s -H Metadata:true "
    "'http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net'"
)
