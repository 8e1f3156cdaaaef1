"""A virtual machine cannot get another machine's identity: by no selector, no header, no other target, no other door.
Attempts are made on real connections, and twice: the second time from memory, if there is anything to remember."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from keyfob.hosts.sandbox.run import unavailable

PROBE = Path(__file__).with_name("inside_probe.py")
BASE = "api-version=2018-02-01&resource=https%3A%2F%2Fmanagement.azure.com%2F"
NOT_FOUND = {"error": "invalid_request", "error_description": "Identity not found"}


@dataclass
class World:
    """`mine` is the machine that asks, `theirs` the one whose identities it wants; `bare` has none. `facts` are the
    other's: its ids, its user-assigned identity's, its endpoint's address."""

    node: Any
    host: Any
    mine: str
    theirs: str
    bare: str
    own: frozenset[str]
    facts: dict[str, str] = field(default_factory=dict)
    endpoints: dict[str, str] = field(default_factory=dict)

    @property
    def foreign(self) -> dict[str, str]:
        """Every id that is the other machine's, by what it is."""
        return {name: self.facts[name] for name in ("client", "object", "user client", "user object", "user", "host")}

    def refused(self, answer: Any) -> None:
        """No token of anybody; on the wire there is nothing that looks like one."""
        assert self.host.oid(answer) is None
        assert answer.status >= 400

    def own_or_nothing(self, answer: Any) -> None:
        oid = self.host.oid(answer)
        assert oid in self.own if answer.status == 200 else oid is None, answer.body


@pytest.fixture(scope="module")
def world(node: Any, host: Any) -> World:
    server = node()
    arm = server.arm()
    arm.must("PUT", server.group("apart"), {"location": "westeurope"})
    users = {
        name: arm.must("PUT", server.identity("apart", name), {"location": "westeurope"})
        for name in ("my-user", "their-user")
    }
    made = {}
    for name, user in (("mine", "my-user"), ("theirs", "their-user"), ("bare", "")):
        identity = (
            {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {users[user]["id"]: {}}}
            if user
            else None
        )
        made[name] = arm.must(
            "PUT",
            server.machine("apart", name),
            {"location": "westeurope", **({"identity": identity} if identity else {})},
        )
    endpoints = {name: arm.endpoint(machine["id"]) for name, machine in made.items()}
    principal = made["theirs"]["identity"]["principalId"]
    return World(
        server,
        host,
        *(made[name]["id"] for name in ("mine", "theirs", "bare")),
        own=frozenset({made["mine"]["identity"]["principalId"], users["my-user"]["properties"]["principalId"]}),
        facts={
            "client": arm.principal(principal).json()["appId"],
            "object": principal,
            "user client": users["their-user"]["properties"]["clientId"],
            "user object": users["their-user"]["properties"]["principalId"],
            "user": users["their-user"]["id"],
            "host": made["theirs"]["id"],
            "my user client": users["my-user"]["properties"]["clientId"],
            "my user object": users["my-user"]["properties"]["principalId"],
            "my user": users["my-user"]["id"],
            "address": urlsplit(endpoints["theirs"]).netloc,
        },
        endpoints=endpoints,
    )


@pytest.fixture
def line(world: World, host: Any) -> Any:
    """A connection of a program on `mine`, whose own identity it has already used."""
    opened = world.node.host(world.endpoints["mine"])
    for _ in range(2):
        assert host.oid(opened.ask("GET", host.target(), headers=host.metadata)) in world.own
    yield opened
    world.node.hang_up()


def spellings(text: str) -> list[str]:
    """Ways to write an id that some parser somewhere takes for the same."""
    ways = [text, text.upper(), text.title(), f" {text}", f"{text} ", f"{text}\0", f"{text}\n", f"{text}/", f"/{text}"]
    if text.startswith("/"):
        return [*ways, text.replace("/", "//"), text[1:], f"{text}/..", f"https://management.azure.com{text}"]
    return [*ways, f"{{{text}}}", f"urn:uuid:{text}", text.replace("-", ""), f"{text},{text}", f"*{text[1:]}"]


@pytest.mark.parametrize("name", ["client_id", "object_id", "msi_res_id", "mi_res_id"])
def test_no_selector_reaches_another_machines_identity(world: World, line: Any, host: Any, name: str) -> None:
    """Each id in each parameter, whether it is of that kind or not, in every spelling."""
    for value in world.foreign.values():
        for spelled in spellings(value):
            target = f"{host.path}?{BASE}&{name}={quote(spelled, safe='')}"
            for _ in range(2):
                answer = line.ask("GET", target, headers=host.metadata)
                assert (answer.status, answer.json()) == (400, NOT_FOUND), spelled


@pytest.mark.parametrize("name", ["client_id", "object_id", "msi_res_id"])
def test_the_same_selector_gets_the_machines_own_identity(world: World, line: Any, host: Any, name: str) -> None:
    """So that the refusals above are about whose it is."""
    value = world.facts[{"client_id": "my user client", "object_id": "my user object", "msi_res_id": "my user"}[name]]
    answer = line.ask("GET", host.target(**{name: value}), headers=host.metadata)
    assert host.oid(answer) == world.facts["my user object"]


def test_no_second_selector_or_strange_name_does(world: World, line: Any, host: Any) -> None:
    mine, theirs = world.facts["my user client"], world.facts["user client"]
    mine_object, theirs_object = world.facts["my user object"], world.facts["object"]
    conflicting = [
        f"client_id={mine}&client_id={theirs}",
        f"client_id={theirs}&client_id={mine}",
        f"client_id={mine}&CLIENT_ID={theirs}",
        f"client_id={mine}&client%5Fid={theirs}",
        f"client_id={mine}&object_id={theirs_object}",
        f"object_id={mine_object}&msi_res_id={world.facts['user']}",
        f"msi_res_id={world.facts['my user']}&mi_res_id={world.facts['user']}",
        f"client_id=&client_id={theirs}",
    ]
    for query in conflicting:
        for _ in range(2):
            world.refused(line.ask("GET", f"{host.path}?{BASE}&{query}", headers=host.metadata))
    for name in ("CLIENT_ID", "Client_Id", "OBJECT_ID", "MSI_RES_ID", "client%5fid"):
        for value in world.foreign.values():
            world.refused(line.ask("GET", f"{host.path}?{BASE}&{name}={quote(value, safe='')}", headers=host.metadata))
    strange = [
        "clientid",
        "principal_id",
        "principalId",
        "mi_client_id",
        "resource_id",
        "res_id",
        "client_id[]",
        "vmId",
    ]
    strange += ["identity", "host", "vm", "client_id;x", "+client_id", "msi%00_res_id", "xms_mirid", "tenant", "sub"]
    for name in strange:
        for value in world.foreign.values():
            for _ in range(2):
                target = f"{host.path}?{BASE}&{name}={quote(value, safe='')}"
                world.own_or_nothing(line.ask("GET", target, headers=host.metadata))


def test_no_header_changes_who_asks(world: World, line: Any, host: Any) -> None:
    address, machine = world.facts["address"], world.theirs
    headers = [
        ("Forwarded", f"for={address};host={address};by={address}"),
        ("X-Real-IP", "127.0.0.1"),
        ("X-Client-IP", address),
        ("X-Forwarded-Host", address),
        ("X-Forwarded-Server", address),
        ("X-Forwarded-Port", address.rpartition(":")[2]),
        ("X-Forwarded-Proto", "https"),
        ("X-Original-For", address),
        ("X-Original-Host", address),
        ("X-Original-URL", f"http://{address}{host.target()}"),
        ("X-Rewrite-URL", f"http://{address}{host.target()}"),
        ("X-Ms-Resource-Id", machine),
        ("X-Ms-Client-Id", world.facts["client"]),
        ("X-Ms-Client-Principal-Id", world.facts["object"]),
        ("X-Ms-Client-Principal", world.facts["object"]),
        ("X-Ms-Instance", machine),
        ("X-Ms-Vm-Id", machine),
        ("X-Ms-Forward-Internal-Correlation-Id", machine),
        ("X-Ms-Arr-Ssl", "true"),
        ("X-Identity-Header", world.facts["object"]),
        ("Secret", world.facts["object"]),
        ("Authorization", f"Bearer {world.node.client.token(world.node.operator['audience'])}"),
        ("Cookie", f"host={machine}"),
        ("Via", f"1.1 {address}"),
        ("Client_id", world.facts["client"]),
        ("Resource", machine),
        ("Metadata-Host", address),
        ("Referer", f"http://{address}/"),
        ("Origin", f"http://{address}"),
        ("Proxy-Authorization", f"Basic {world.facts['client']}"),
    ]
    for header in headers:
        for target in (host.target(), host.target(bypass_cache="true"), host.target()):
            answer = line.ask("GET", target, headers=[*host.metadata, header])
            assert answer.status == 200, header[0]
            assert host.oid(answer) in world.own, header[0]
    for given in [address, machine, "169.254.169.254", "localhost", "management.azure.com", "theirs", ""]:
        for target in (host.target(), host.target(bypass_cache="true")):
            own = world.node.host(world.endpoints["mine"])
            world.own_or_nothing(own.ask("GET", target, headers=host.metadata, host=given))


@pytest.mark.parametrize("name", ["X-Forwarded-For", "x-forwarded-for", "X-FORWARDED-FOR"])
@pytest.mark.parametrize("value", ["10.0.0.4", "127.0.0.1", "169.254.169.254", ""])
def test_what_was_forwarded_is_refused(world: World, line: Any, host: Any, name: str, value: str) -> None:
    for metadata in (host.metadata, (("X-A", "b"), *host.metadata)):
        answer = line.ask("GET", host.target(), headers=[*metadata, (name, value)])
        assert answer.status == 400
        world.refused(answer)


def test_two_hosts_in_one_request_are_refused(world: World, line: Any, host: Any) -> None:
    mine, theirs = urlsplit(world.endpoints["mine"]).netloc, world.facts["address"]
    for first, second in ((mine, theirs), (theirs, mine)):
        own = world.node.host(world.endpoints["mine"])
        answer = own.ask(
            "GET", host.target(bypass_cache="true"), headers=[*host.metadata, ("Host", second)], host=first
        )
        world.own_or_nothing(answer)


def test_no_form_of_target_reaches_another_machine(world: World, line: Any, host: Any) -> None:
    path, address = host.target(), world.facts["address"]
    targets = [
        f"http://{address}{path}",
        f"http://169.254.169.254{path}",
        f"http://theirs{path}",
        f"http://theirs@127.0.0.1{path}",
        f"https://{address}{path}",
        f"//{address}{path}",
        f"/http://{address}{path}",
        f"{world.theirs}{path}",
        f"{path}#{world.theirs}",
        path.replace("/metadata", "/./metadata"),
        path.replace("/metadata", "/theirs/../metadata"),
        path.replace("/oauth2", ";host=theirs/oauth2"),
        f"/metadata/identity/{world.facts['object']}/oauth2/token?{BASE}",
        f"/metadata/identity{world.theirs}/oauth2/token?{BASE}",
        f"{world.facts['host']}/providers/Keyfob.Hosts/openEndpoint?api-version=2026-11-01",
    ]
    for target in targets:
        own = world.node.host(world.endpoints["mine"])  # what is malformed ends its connection
        world.own_or_nothing(own.ask("GET", target, headers=host.metadata))
        world.own_or_nothing(line.ask("GET", path, headers=host.metadata))
    for method in ("POST", "PUT", "CONNECT", "OPTIONS", "TRACE", "DELETE"):
        own = world.node.host(world.endpoints["mine"])
        target = address if method == "CONNECT" else path
        world.refused(own.ask(method, target, b"", headers=host.metadata))


def test_a_machine_without_identity_gets_nobodys(world: World, host: Any) -> None:
    bare = world.node.host(world.endpoints["bare"])
    selectors = [
        "",
        *(
            f"&{name}={quote(value, safe='')}"
            for name in ("client_id", "object_id", "msi_res_id")
            for value in world.facts.values()
        ),
    ]
    for selector in selectors:
        answer = bare.ask("GET", f"{host.path}?{BASE}{selector}", headers=host.metadata)
        assert (answer.status, answer.json()) == (400, NOT_FOUND)


# --- other doors


@pytest.mark.parametrize(
    "name", ["management.azure.com", "login.microsoftonline.com", "x.vault.azure.net", "localhost"]
)
def test_the_front_door_is_nobodys_token_endpoint(world: World, host: Any, name: str) -> None:
    bearer = ("Authorization", f"Bearer {world.node.client.token(world.node.operator['audience'])}")
    for given in ("169.254.169.254", "169.254.169.254:80", world.facts["address"], "metadata", "127.0.0.1", name):
        for more in ((), (bearer,), (("X-Forwarded-Host", "169.254.169.254"),)):
            for target in (
                host.target(),
                f"http://169.254.169.254{host.target()}",
                f"//169.254.169.254{host.target()}",
            ):
                door = world.node.line(name)
                world.refused(door.ask("GET", target, headers=[*host.metadata, *more], host=given))
    world.node.hang_up()


def test_the_proxy_leads_to_no_token_endpoint(world: World, host: Any) -> None:
    variables = world.node.arm().must("POST", f"{world.mine}/providers/Keyfob.Hosts/openEndpoint")["variables"]
    proxy = urlsplit(variables["HTTPS_PROXY"])
    address = world.facts["address"]
    for target in (f"http://169.254.169.254{host.target()}", f"http://{address}{host.target()}", host.target()):
        for given in (None, address, "management.azure.com"):
            asked = world.node.host(variables["HTTPS_PROXY"])
            world.refused(asked.ask("GET", target, headers=host.metadata, host=given))
    port = address.rpartition(":")[2]
    for tunnel in (address, "169.254.169.254:80", f"management.azure.com:{port}", f"localhost:{port}", "127.0.0.1:80"):
        with socket.create_connection((str(proxy.hostname), proxy.port or 0), timeout=30) as plain:
            plain.sendall(f"CONNECT {tunnel} HTTP/1.1\r\nHost: {tunnel}\r\n\r\n".encode())
            reply = http.client.HTTPResponse(plain)
            reply.begin()
            assert reply.status >= 400, tunnel
            reply.close()


def test_a_machine_may_not_become_another(world: World, line: Any, host: Any) -> None:
    """Its own token opens nobody's endpoint, not even its own: that is a right like others."""
    token = line.ask("GET", host.target(), headers=host.metadata).json()["access_token"]
    arm = world.node.arm(token)
    for machine in (world.theirs, world.mine):
        assert arm.call("POST", f"{machine}/providers/Keyfob.Hosts/openEndpoint").status == 403
    anonymous = world.node.line("management.azure.com")
    target = f"{world.theirs}/providers/Keyfob.Hosts/openEndpoint?api-version=2026-11-01"
    answer = anonymous.ask("POST", target, b"")
    assert answer.status == 401
    assert b"endpoint" not in answer.body


# --- the sandbox


@pytest.mark.sandbox
def test_in_a_sandbox_there_is_one_machine_only(world: World) -> None:
    if sentence := unavailable():
        pytest.skip(sentence)
    known = {**world.facts, "own": sorted(world.own), "data": str(world.node.data)}
    known["door"] = str(world.node.client.server["port"])
    known["proxy"] = world.node.arm().must("POST", f"{world.mine}/providers/Keyfob.Hosts/openEndpoint")["variables"][
        "HTTPS_PROXY"
    ]
    done = world.node.keyfob("run", "--as", "mine", "--", sys.executable, str(PROBE), json.dumps(known), check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("own")
    assert found.pop("front door")
    assert found == {}, "what a program in the sandbox got hold of"


@pytest.mark.sandbox
def test_a_machines_own_token_opens_no_sandbox_as_another(world: World, line: Any, host: Any) -> None:
    if sentence := unavailable():
        pytest.skip(sentence)
    token = line.ask("GET", host.target(), headers=host.metadata).json()["access_token"]
    program = """
import sys, pathlib
from keyfob.hosts.sandbox.run import run_in_sandbox
from keyfob.errors import Problem
data, machine, token = sys.argv[1:]
data = pathlib.Path(data)
try:
    run_in_sandbox(control=data / "control.sock", resource_id=machine, token=token, command=["true"],
                   ca_pem=(data / "ca" / "ca.crt").read_bytes(), cover=[data])
except Problem as problem:
    print(problem.code, problem.message)
else:
    print("it ran")
"""
    for machine in (world.theirs, world.mine):
        done = subprocess.run(
            [sys.executable, "-c", program, str(world.node.data), machine, token],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout.startswith("SandboxRefused"), done.stdout + done.stderr
        assert "it ran" not in done.stdout
