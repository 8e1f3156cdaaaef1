"""Scripts that Resource Manager is asked to run on machines: what is run, what is answered, what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keyfob.errors import InvalidInput
from keyfob.hosts.sandbox.refusal import SandboxUnavailable
from keyfob.hosts.workloads.run_command import COMMANDS, LONGEST, PLACE, asked_script, kept_script
from keyfob.hosts.workloads.workshop import Result
from keyfob.resource_id import ResourceId

S = "/subscriptions/bbbbbbbb-0000-4000-8000-000000000001"
GROUP = f"{S}/resourceGroups/g"
MACHINE = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/web"
SET = f"{GROUP}/providers/Microsoft.Compute/virtualMachineScaleSets/set"
KEPT = f"{MACHINE}/runCommands/hello"
ECHO = {"commandId": "RunShellScript", "script": ["echo one", "echo two"]}


def refused(status: dict[str, Any]) -> tuple[str, str]:
    return status["status"], status["error"]["code"]


# --- the action


async def test_the_answer_is_azures(stage: Any) -> None:
    body = {**ECHO, "parameters": [{"name": "arg1", "value": "x y"}, {"name": "not a name", "value": "z"}]}
    started = await stage.send("POST", f"{MACHINE}/runCommand", body)
    assert started.status == 202
    done = await stage.ended(started)
    assert done["status"] == "Succeeded"
    (value,) = done["properties"]["output"]["value"]
    assert value == {
        "code": "ProvisioningState/succeeded",
        "level": "Info",
        "displayStatus": "Provisioning succeeded",
        "message": "Enable succeeded: \n[stdout]\nout\n\n[stderr]\nerr\n",
    }
    assert await stage.ok("GET", started.headers["location"]) == {"value": [value]}
    ((host, command, environment, text, patience),) = stage.bench.ran
    assert str(host) == MACHINE
    assert command == ["/bin/sh", f"{PLACE}/script.sh", "x y", "z"]
    assert environment == {"arg1": "x y"}
    assert text == "echo one\necho two\n"
    assert patience == LONGEST


async def test_while_it_runs(stage: Any) -> None:
    stage.bench.until = asyncio.Event()
    started = await stage.send("POST", f"{MACHINE}/runCommand", ECHO)
    status = await stage.ok("GET", started.headers["azure-asyncoperation"])
    assert (status["status"], "properties" in status) == ("InProgress", False)
    waiting = await stage.send("GET", started.headers["location"])
    assert waiting.status == 202
    stage.clock.advance(LONGEST)
    assert (await stage.ok("GET", started.headers["azure-asyncoperation"]))["status"] == "InProgress"
    stage.bench.until.set()
    assert (await stage.ended(started))["status"] == "Succeeded"


async def test_a_script_that_fails_is_no_failure_of_the_action(stage: Any) -> None:
    stage.bench.result = Result(3, "", "it is broken\n")
    done = await stage.ended(await stage.send("POST", f"{MACHINE}/runCommand", ECHO))
    assert done["status"] == "Succeeded"
    (value,) = done["properties"]["output"]["value"]
    assert value["code"] == "ProvisioningState/succeeded"
    assert value["message"] == "Enable succeeded: \n[stdout]\n\n[stderr]\nit is broken\n"


async def test_the_last_part_of_long_output_is_told(stage: Any) -> None:
    stage.bench.result = Result(0, "x" * 9000 + "end", "ü" * 4000)
    done = await stage.ended(await stage.send("POST", f"{MACHINE}/runCommand", ECHO))
    message = done["properties"]["output"]["value"][0]["message"]
    assert "x" * 4093 + "end\n[stderr]" in message
    assert "x" * 4094 not in message
    assert message.endswith("\n" + "ü" * 2048)


async def test_no_more_of_long_output_is_logged_than_can_be_read(stage: Any) -> None:
    """Line by line, a script that prints empty ones held the server for minutes."""
    stage.bench.result = Result(0, "\n" * 30_000 + "the last\n", "")
    await stage.ended(await stage.send("POST", f"{MACHINE}/runCommand", ECHO))
    logged = [line.text for line in stage.bench.log_of(ResourceId.parse("/"), "run-command").tail()]
    assert len(logged) < 21_000
    assert logged[-2] == "the last"


async def test_too_long_or_without_a_sandbox(stage: Any) -> None:
    stage.bench.result = Result(137, "", "", timed_out=True)
    done = await stage.ended(await stage.send("POST", f"{MACHINE}/runCommand", ECHO))
    assert refused(done) == ("Failed", "VMExtensionTimeout")
    stage.bench.result = SandboxUnavailable("Sandboxes need Linux.")
    done = await stage.ended(await stage.send("POST", f"{MACHINE}/runCommand", ECHO))
    assert refused(done) == ("Failed", "SandboxUnavailable")
    assert done["error"]["message"] == "Sandboxes need Linux."


async def test_it_ends_failed_when_nobody_is_at_it_any_more(stage: Any) -> None:
    """By its time, by the end of the server, or by the next start of one."""
    operations = stage.manager.engine.operations
    stage.bench.until = asyncio.Event()
    first = await stage.send("POST", f"{MACHINE}/runCommand", ECHO)
    stage.clock.advance(LONGEST + 61)
    assert refused(await stage.ended(first)) == ("Failed", "OperationTimedOut")
    second = await stage.send("POST", f"{MACHINE}/runCommand", ECHO)
    await operations.start()
    assert refused(await stage.ended(second)) == ("Failed", "OperationInterrupted")
    third = await stage.send("POST", f"{MACHINE}/runCommand", ECHO)
    await asyncio.sleep(0)
    await operations.stop()
    assert refused(await stage.ended(third)) == ("Failed", "OperationInterrupted")
    stage.bench.until.set()


@pytest.mark.parametrize("action", ["powerOff", "deallocate"])
async def test_a_machine_that_does_not_run(stage: Any, action: str) -> None:
    await stage.send("POST", f"{MACHINE}/{action}")
    answer = await stage.send("POST", f"{MACHINE}/runCommand", ECHO)
    assert (answer.status, answer.code) == (409, "OperationNotAllowed")
    assert answer.json["error"]["message"] == "Cannot modify extensions in the VM when the VM is not running."
    body = {"location": "westeurope", "properties": {"source": {"script": "true"}}}
    assert (await stage.send("PUT", KEPT, body)).status == 409
    assert stage.bench.ran == []


async def test_who_may(stage: Any) -> None:
    answer = await stage.send("POST", f"{MACHINE}/runCommand", ECHO, who="reader")
    assert (answer.status, answer.code) == (403, "AuthorizationFailed")
    assert "Microsoft.Compute/virtualMachines/runCommand/action" in answer.json["error"]["message"]
    body = {"location": "westeurope", "properties": {"source": {"script": "true"}}}
    assert (await stage.send("PUT", KEPT, body, who="reader")).status == 403
    assert stage.bench.ran == []


async def test_the_documented_commands(stage: Any) -> None:
    place = f"{S}/providers/Microsoft.Compute/locations/westeurope/runCommands"
    listed = (await stage.ok("GET", place))["value"]
    assert {one["id"] for one in listed} == {command.id for command in COMMANDS}
    assert set(listed[0]) == {"$schema", "id", "osType", "label", "description"}
    one = await stage.ok("GET", f"{place}/runshellscript")
    assert (one["id"], one["osType"]) == ("RunShellScript", "Linux")
    assert one["script"][0].startswith("echo")
    assert (await stage.send("GET", f"{place}/nothing")).status == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"commandId": 5},
        {"commandId": "Nothing"},
        {"commandId": "RunPowerShellScript", "script": ["Get-Date"]},
        {"commandId": "RunShellScript", "script": "echo"},
        {"commandId": "RunShellScript", "script": ["a\0b"]},
        {"commandId": "RunShellScript", "script": ["\ud800"]},
        {"commandId": "RunShellScript", "parameters": {"a": "b"}},
        {"commandId": "RunShellScript", "parameters": [{"name": "a"}]},
        {"commandId": "RunShellScript", "parameters": [{"name": "a=b", "value": "c"}]},
        {"commandId": "RunShellScript", "parameters": ["a"]},
    ],
)
def test_what_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        asked_script(body)


def test_commands_have_scripts_of_their_own() -> None:
    assert "ifconfig" in asked_script({"commandId": "ifconfig"}).text
    assert "sample" in asked_script({"commandId": "RUNSHELLSCRIPT"}).text


# --- the resource


async def test_a_kept_script_tells_what_became_of_it(stage: Any) -> None:
    properties = {
        "source": {"script": "#!/usr/bin/env python3\nprint(1)"},
        "parameters": [{"name": "A", "value": "1"}],
        "protectedParameters": [{"name": "PASSWORD", "value": "hunter2"}],
        "runAsPassword": "hunter2",
        "timeoutInSeconds": 60,
    }
    started = await stage.send("PUT", KEPT, {"location": "westeurope", "properties": properties})
    assert (started.status, started.json["properties"]["provisioningState"]) == (201, "Creating")
    assert (await stage.ended(started))["status"] == "Succeeded"
    ((_, command, environment, _, patience),) = stage.bench.ran
    assert command == [f"{PLACE}/script.sh", "1"]
    assert environment == {"A": "1", "PASSWORD": "hunter2"}
    assert patience == 60
    assert "hunter2" not in str(await stage.ok("GET", f"{KEPT}?$expand=instanceView"))
    shown = await stage.ok("GET", KEPT)
    assert "instanceView" not in shown["properties"]
    view = (await stage.ok("GET", f"{KEPT}?$expand=instanceView"))["properties"]["instanceView"]
    assert {name: view[name] for name in ("executionState", "exitCode", "output", "error")} == {
        "executionState": "Succeeded",
        "exitCode": 0,
        "output": "out\n",
        "error": "err\n",
    }
    assert {one["name"] for one in (await stage.ok("GET", f"{MACHINE}/runCommands"))["value"]} == {"hello"}
    await stage.ended(await stage.send("DELETE", KEPT))
    assert (await stage.send("GET", KEPT)).status == 404


async def test_a_kept_script_that_fails(stage: Any) -> None:
    stage.bench.result = Result(7, "", "no\n")
    body = {"location": "westeurope", "properties": {"source": {"script": "exit 7"}}}
    assert (await stage.ended(await stage.send("PUT", KEPT, body)))["status"] == "Succeeded"
    view = (await stage.ok("GET", f"{KEPT}?$expand=instanceView"))["properties"]["instanceView"]
    assert (view["executionState"], view["exitCode"]) == ("Failed", 7)
    body["properties"]["treatFailureAsDeploymentFailure"] = True
    done = await stage.ended(await stage.send("PUT", KEPT, body))
    assert refused(done) == ("Failed", "VMExtensionProvisioningError")
    assert (await stage.ok("GET", KEPT))["properties"]["provisioningState"] == "Failed"


async def test_a_kept_script_that_nobody_waits_for(stage: Any) -> None:
    stage.bench.until = asyncio.Event()
    body = {"location": "westeurope", "properties": {"asyncExecution": True, "source": {"script": "sleep 1"}}}
    assert (await stage.ended(await stage.send("PUT", KEPT, body)))["status"] == "Succeeded"
    while not stage.bench.ran:
        await asyncio.sleep(0)
    view = (await stage.ok("GET", f"{KEPT}?$expand=instanceView"))["properties"]["instanceView"]
    assert (view["executionState"], "exitCode" in view) == ("Running", False)
    stage.bench.until.set()
    await stage.bench.left[0]
    view = (await stage.ok("GET", f"{KEPT}?$expand=instanceView"))["properties"]["instanceView"]
    assert (view["executionState"], view["exitCode"]) == ("Succeeded", 0)


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"source": {}},
        {"source": {"scriptUri": "https://x/y.sh"}},
        {"source": {"commandId": "IPConfig"}},
        {"source": {"script": "x"}, "timeoutInSeconds": -1},
        {"source": {"script": "x"}, "timeoutInSeconds": True},
        {"source": {"script": "x"}, "parameters": [1]},
    ],
)
def test_kept_scripts_that_are_refused(properties: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        kept_script(properties, {})


async def test_instances_of_a_scale_set_have_both_forms(stage: Any) -> None:
    await stage.ok("PUT", SET, {"location": "westeurope", "sku": {"name": "Standard_B1s", "capacity": 1}})
    done = await stage.ended(await stage.send("POST", f"{SET}/virtualmachines/0/runCommand", ECHO))
    assert done["status"] == "Succeeded"
    body = {"location": "westeurope", "properties": {"source": {"script": "true"}}}
    assert (await stage.ended(await stage.send("PUT", f"{SET}/virtualMachines/0/runCommands/a", body)))["status"] == (
        "Succeeded"
    )
    assert [str(one[0]) for one in stage.bench.ran] == [f"{SET}/virtualMachines/0"] * 2
    await stage.ok("POST", f"{SET}/virtualMachines/0/deallocate")
    assert (await stage.send("POST", f"{SET}/virtualMachines/0/runCommand", ECHO)).status == 409
