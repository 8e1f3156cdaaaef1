"""Scripts that a running server runs on machines: in a sandbox, as the machine, to an end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from keyfob.hosts.sandbox.run import unavailable

TOKEN = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net"
WITHIN = 120.0


@pytest.fixture(scope="module")
def server(node: Callable[..., Any]) -> Any:
    if reason := unavailable():
        pytest.skip(reason)
    running = node()
    running.arm().must("PUT", running.group("scripts"), {"location": "westeurope"})
    return running


@pytest.fixture
def arm(server: Any) -> Iterator[Any]:
    yield server.arm()
    server.hang_up()


@pytest.fixture
def machine(server: Any, arm: Any) -> tuple[str, str]:
    """A machine, and the object id of its identity."""
    path = server.machine("scripts", f"m{time.monotonic_ns()}")
    made = arm.must("PUT", path, {"location": "westeurope", "identity": {"type": "SystemAssigned"}})
    return path, made["identity"]["principalId"]


def begun(arm: Any, path: str, *lines: str, **more: Any) -> Any:
    body = {"commandId": "RunShellScript", "script": list(lines), **more}
    answer = arm.call("POST", f"{path}/runCommand", body)
    assert answer.status == 202, answer.body
    return answer


def ended(arm: Any, started: Any) -> dict[str, Any]:
    where = urlsplit(started.headers["azure-asyncoperation"])
    deadline = time.monotonic() + WITHIN
    while True:
        status: dict[str, Any] = arm.must("GET", f"{where.path}?{where.query}")
        if status["status"] != "InProgress":
            return status
        assert time.monotonic() < deadline


def printed(arm: Any, path: str, *lines: str, **more: Any) -> str:
    """What a script printed on both its streams."""
    status = ended(arm, begun(arm, path, *lines, **more))
    assert status["status"] == "Succeeded", status
    return str(status["properties"]["output"]["value"][0]["message"])


def test_a_script_is_the_machine(arm: Any, host: Any, machine: tuple[str, str]) -> None:
    path, principal = machine
    message = printed(arm, path, f"curl -s -H Metadata:true '{TOKEN}'", "echo warned >&2")
    out, _, err = message.removeprefix("Enable succeeded: \n[stdout]\n").partition("\n[stderr]\n")
    assert host.claims(json.loads(out)["access_token"])["oid"] == principal
    assert err == "warned\n"


def test_arguments_names_and_where_it_lies(arm: Any, machine: tuple[str, str]) -> None:
    given = [{"name": "arg1", "value": "one"}, {"name": "colour", "value": "red and blue"}]
    message = printed(arm, machine[0], 'echo "$0|$1|$2|$colour|$arg1"', "pwd", "ls", parameters=given)
    place = "/var/lib/waagent/run-command/download/0"
    assert f"[stdout]\n{place}/script.sh|one|red and blue|red and blue|one\n{place}\nscript.sh\n" in message


def test_nothing_of_the_server_is_there(server: Any, arm: Any, machine: tuple[str, str]) -> None:
    message = printed(
        arm,
        machine[0],
        f"cat {server.data}/operator.json {server.data}/master.key",
        f"ls -d {server.data}/hosts/* {server.data}/keyfob.db*",
        "env | grep -i ^keyfob",
    )
    assert server.operator["client_secret"] not in message
    assert "[stdout]\n\n[stderr]" in message, message


def test_a_daemon_that_it_leaves_does_not_hold_the_answer_up(arm: Any, machine: tuple[str, str]) -> None:
    message = printed(arm, machine[0], "setsid sleep 100000 &", "echo done")
    assert "[stdout]\ndone\n" in message


def test_a_machine_that_is_stopped_takes_its_script_with_it(arm: Any, machine: tuple[str, str]) -> None:
    path = machine[0]
    kept = f"{path}/runCommands/long"
    body = {"location": "westeurope", "properties": {"source": {"script": "echo begun; sleep 100000"}}}
    started = arm.call("PUT", kept, body)
    assert started.status == 201, started.body
    deadline = time.monotonic() + WITHIN
    while True:
        view = arm.must("GET", f"{kept}?$expand=instanceView&api-version=2024-07-01")["properties"]["instanceView"]
        if view.get("executionState") == "Running":
            break
        assert time.monotonic() < deadline, view
    arm.must("POST", f"{path}/deallocate")
    status = ended(arm, started)
    assert status["status"] == "Failed", status
    assert status["error"]["code"] in ("OperationPreempted", "OperationNotAllowed"), status
    again = arm.call("POST", f"{path}/runCommand", {"commandId": "RunShellScript", "script": ["true"]})
    assert (again.status, again.json()["error"]["code"]) == (409, "OperationNotAllowed")


def test_a_kept_script_on_an_instance_of_a_scale_set(server: Any, arm: Any, host: Any) -> None:
    path = f"{server.group('scripts')}/providers/Microsoft.Compute/virtualMachineScaleSets/fleet"
    body = {
        "location": "westeurope",
        "sku": {"name": "Standard_B1s", "capacity": 2},
        "identity": {"type": "SystemAssigned"},
    }
    principal = arm.must("PUT", path, body)["identity"]["principalId"]
    script = f"curl -s -H Metadata:true '{TOKEN}'; curl -s -H Metadata:true "
    script += "'http://169.254.169.254/metadata/instance/compute/name?api-version=2021-02-01&format=text' >&2"
    kept = f"{path}/virtualMachines/1/runCommands/who"
    started = arm.call("PUT", kept, {"location": "westeurope", "properties": {"source": {"script": script}}})
    assert ended(arm, started)["status"] == "Succeeded"
    view = arm.must("GET", f"{kept}?$expand=instanceView&api-version=2024-07-01")["properties"]["instanceView"]
    assert view["exitCode"] == 0, view
    assert host.claims(json.loads(view["output"])["access_token"])["oid"] == principal
    assert view["error"] == "fleet_1"


def test_a_server_that_ends_says_so_of_what_ran(node: Callable[..., Any]) -> None:
    """Killed or asked to: the next one knows that nobody is at it any more."""
    if reason := unavailable():
        pytest.skip(reason)
    running = node()
    arm = running.arm()
    arm.must("PUT", running.group("g"), {"location": "westeurope"})
    path = running.machine("g", "m")
    arm.must("PUT", path, {"location": "westeurope"})
    for end in (running.kill, running.down):
        started = begun(running.arm(), path, "sleep 100000")
        running.hang_up()
        end()
        running.up()
        status = ended(running.arm(), started)
        assert (status["status"], status["error"]["code"]) == ("Failed", "OperationInterrupted"), status
