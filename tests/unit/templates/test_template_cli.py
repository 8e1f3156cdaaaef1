"""`keyfob deploy`, in this process's server."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading

import pytest
from click.testing import CliRunner

from keyfob.cli.deploy import _took, deploy

from .conftest import template

IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"


@pytest.fixture
def run(arm, tmp_path):
    async def call(*arguments: str):
        return await asyncio.to_thread(
            CliRunner().invoke, deploy, [*arguments, "--data", str(arm.client.data)], catch_exceptions=True
        )

    return call


async def test_a_file_is_deployed_with_parameters_and_linked_templates(arm, run, tmp_path):
    inner = template({"type": IDENTITY, "apiVersion": "2018-11-30", "name": "inner", "location": "westeurope"})
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "inner.json").write_text(json.dumps(inner))
    linked = {
        "type": "Microsoft.Resources/deployments",
        "apiVersion": "2022-09-01",
        "name": "linked",
        "properties": {
            "mode": "Incremental",
            "templateLink": {"uri": "[uri(deployment().properties.templateLink.uri, 'parts/inner.json')]"},
        },
    }
    wanted = template(
        linked,
        parameters={"n": {"type": "int"}, "s": {"type": "string"}},
        outputs={"said": {"type": "string", "value": "[concat(parameters('s'), parameters('n'))]"}},
    )
    file = tmp_path / "main.json"
    file.write_text("// a comment first\n" + json.dumps(wanted))
    values = tmp_path / "values.json"
    values.write_text(json.dumps({"$schema": "x", "parameters": {"s": {"value": "no"}, "n": {"value": 1}}}))
    result = await run(str(file), "-g", "cli", "-p", str(values), "-p", "s=yes")
    assert result.exit_code == 0, result.output
    assert "linked" in result.output
    assert "yes1" in result.output
    assert await arm.names(f"{arm.subscription}/resourceGroups/cli") == {"inner"}
    result = await run(str(file), "-g", "cli", "-p", str(values), "--output", "json")
    assert json.loads(result.output)["properties"]["outputs"]["said"]["value"] == "no1"


async def test_what_goes_wrong_is_one_sentence(arm, run, tmp_path):
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(template({"type": "A.B/c", "apiVersion": "2020-01-01", "name": "x/y"})))
    result = await run(str(file), "-g", "cli")
    assert result.exit_code != 0
    assert "incorrect segment lengths" in str(result.exception)
    file.write_text(json.dumps(template({"type": "A.B/c", "apiVersion": "2020-01-01", "name": "x"})))
    result = await run(str(file), "-g", "cli")
    assert "InvalidResourceNamespace" in str(result.exception)
    result = await run(str(file), "-g", "cli", "-p", "count")
    assert "'count' is neither a parameter file that is there nor NAME=VALUE." in str(result.exception)
    file.write_text(
        json.dumps(template({"type": "Microsoft.Compute/virtualMachines", "apiVersion": "2024-07-01", "name": "x"}))
    )
    result = await run(str(file))
    assert "--group NAME names a group" in str(result.exception)


def on_terminal(*command: str) -> tuple[int, str, str]:
    """A program whose stdout is a pipe and whose stderr is a terminal: status, what it wrote, what it drew."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    drawn = bytearray()

    def watch() -> None:
        with contextlib.suppress(OSError):  # EIO: the last one who had it open has closed it
            while part := os.read(master, 4096):
                drawn.extend(part)

    watcher = threading.Thread(target=watch)
    environment = {**os.environ, "TERM": "xterm-256color"}
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        environment.pop(name, None)
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave, env=environment) as process:
            os.close(slave)
            watcher.start()
            assert process.stdout is not None
            told = process.stdout.read()
            status = process.wait(120)
        watcher.join(60)
    finally:
        os.close(master)
    return status, told.decode(), drawn.decode()


@pytest.fixture
def deploying(arm, tmp_path):
    arm.app.resource_manager.engine.operations._seconds = 0.3
    machine = {
        "type": "Microsoft.Compute/virtualMachines",
        "apiVersion": "2023-07-01",
        "name": "[concat('machine-', copyIndex())]",
        "location": "westeurope",
        "copy": {"name": "machines", "count": 6, "mode": "Serial"},
        "properties": {},
    }
    file = tmp_path / "main.json"
    file.write_text(json.dumps(template(machine)))
    return (sys.executable, "-m", "keyfob", "deploy", str(file), "-g", "drawn", "--data", str(arm.client.data))


async def test_a_terminal_shows_how_far_it_is(deploying):
    status, told, drawn = await asyncio.to_thread(on_terminal, *deploying)
    assert status == 0, drawn
    assert "Deploying" in drawn
    assert "/6" in drawn
    assert "machine-" in drawn
    assert "6 resources in" in told
    assert "Deploying" not in told


async def test_a_program_hears_nothing_but_json(deploying):
    status, told, drawn = await asyncio.to_thread(on_terminal, *deploying, "--output", "json")
    assert status == 0, drawn
    assert json.loads(told)["properties"]["provisioningState"] == "Succeeded"
    assert drawn == ""


async def test_a_pipe_gets_no_bar(deploying):
    done = await asyncio.to_thread(subprocess.run, deploying, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 resources in" in done.stdout
    assert "\x1b" not in done.stdout
    assert "Deploying" not in done.stdout


async def test_what_failed_is_named(arm, run, tmp_path):
    rows = [{"type": "A.B/c", "apiVersion": "2020-01-01", "name": name, "location": "x"} for name in ("one", "two")]
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(template(*rows)))
    result = await run(str(file), "-g", "cli")
    lines = str(result.exception).splitlines()
    assert lines[0] == "The deployment failed:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["A.B/c/one", "A.B/c/two"]


@pytest.mark.parametrize(
    ("duration", "said"), [("PT0S", "0.0 s"), ("PT3.5012S", "3.5 s"), ("PT2M3S", "2 m 3.0 s"), ("PT1H1S", "1 h 1.0 s")]
)
def test_durations_are_said_as_people_do(duration, said):
    assert _took(duration) == said
