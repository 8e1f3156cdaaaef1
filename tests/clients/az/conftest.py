"""The real azure-cli, unmodified, from PyPI in an environment of its own, on hosts of a running server.

`az("group list")` runs one command and gives what it printed, as JSON. Each `Az` is one sandbox with one configuration
folder; its commands are processes of their own.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keyfob.hosts.sandbox.run import unavailable

PROJECT = Path(__file__).parents[3]
VENV = PROJECT / ".cache" / "clients" / "az"
STAMP = VENV / "stamp"
VERSION = "azure-cli==2.91.0"
DRIVER = Path(__file__).parent / "driver.py"

SETTINGS = {
    "AZURE_CORE_COLLECT_TELEMETRY": "no",
    "AZURE_CORE_SURVEY_MESSAGE": "no",
    "AZURE_CORE_NO_COLOR": "yes",
    "AZURE_CORE_LOGIN_EXPERIENCE_V2": "off",
    "AZURE_CORE_DISPLAY_REGION_IDENTIFIED": "no",
    "AZURE_EXTENSION_USE_DYNAMIC_INSTALL": "no",
}


class Refused(AssertionError):
    """A command that failed; `text` is what az said."""

    def __init__(self, command: str, code: int, text: str) -> None:
        super().__init__(f"az {command} → {code}: {text[-3000:]}")
        self.text = text


class Az:
    """az on one host: `az(command)`, and `az.fails(command)` for what must be refused."""

    def __init__(self, server: Any, host: str, config: Path, *, tenant: str | None = None) -> None:
        self.server, self.host, self.config, self.tenant = server, host, config, tenant
        config.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **{n: v for n, v in os.environ.items() if not n.startswith("AZURE_")},
            **SETTINGS,
            "HOME": str(config),  # az puts keys and certificates there
            "AZURE_CONFIG_DIR": str(config),
            "AZURE_EXTENSION_DIR": str(config / "extensions"),
            "KEYFOB_DATA": str(server.data),
        }
        self._driver: subprocess.Popen[str] | None = None

    def command(self, *program: str) -> list[str]:
        tenant = ["--tenant", self.tenant] if self.tenant else []
        return [sys.executable, "-m", "keyfob", "run", "--as", self.host, *tenant, "--", *program]

    def run(self, command: str) -> dict[str, Any]:
        driver = self._started()
        assert driver.stdin is not None
        driver.stdin.write(json.dumps(shlex.split(command)) + "\n")
        driver.stdin.flush()
        return self._answer()

    def text(self, command: str) -> str:
        done = self.run(command)
        if done["code"]:
            raise Refused(command, done["code"], done["err"])
        return str(done["out"])

    def __call__(self, command: str) -> Any:
        printed = self.text(f"{command} -o json")
        return json.loads(printed) if printed.strip() else None

    def table(self, command: str) -> tuple[list[str], list[str]]:
        """The titles and the rows that `-o table` prints."""
        lines = self.text(f"{command} -o table").splitlines()
        edges = [i for i, c in enumerate(lines[1]) if c == "-" and (i == 0 or lines[1][i - 1] == " ")]
        titles = [lines[0][a:b].strip() for a, b in zip(edges, [*edges[1:], len(lines[0]) + 1], strict=True)]
        return titles, lines[2:]

    def fails(self, command: str) -> str:
        """What az says when it fails, which it must."""
        done = self.run(command)
        assert done["code"], f"az {command} succeeded: {done['out']}"
        assert "Traceback" not in done["err"], done["err"]
        return str(done["err"])

    def process(self, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        """A real `az` process, started as a person starts it."""
        return subprocess.Popen(
            self.command(str(VENV / "bin" / "az"), *arguments),
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **more,
        )

    def no_more(self) -> None:
        """Lets the driver end; `close` waits for that."""
        if self._driver and self._driver.stdin:
            self._driver.stdin.close()

    def close(self) -> None:
        if self._driver and self._driver.stdout:
            self._driver.stdout.read()
            self._driver.wait(60)
            self._driver.stdout.close()

    def _started(self) -> subprocess.Popen[str]:
        if self._driver is None:
            self._driver = subprocess.Popen(
                self.command(str(VENV / "bin" / "python"), str(DRIVER)),
                env=self.environment,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert self._answer() == {"ready": True}
        return self._driver

    def _answer(self) -> dict[str, Any]:
        assert self._driver is not None
        assert self._driver.stdout is not None
        line = self._driver.stdout.readline()
        assert line, f"the driver ended with {self._driver.wait(30)}"
        answer: dict[str, Any] = json.loads(line)
        return answer


@pytest.fixture(scope="session")
def az_installed() -> Path:
    """Installs azure-cli once; several test runs at a time wait for one another."""
    if sentence := unavailable():
        pytest.skip(sentence)
    VENV.mkdir(parents=True, exist_ok=True)
    with (VENV.parent / "az.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not STAMP.exists() or STAMP.read_text() != VERSION:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
            pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            done = subprocess.run([*pip, VERSION], capture_output=True, text=True, timeout=1200, check=False)
            if done.returncode:
                pytest.skip(f"azure-cli cannot be installed here: {done.stderr[-500:]}")
            STAMP.write_text(VERSION)
    return VENV


HOST_GROUP = "/subscriptions/{subscription}/resourceGroups/az-hosts"


@pytest.fixture(scope="session")
def az_server(server: Any, az_installed: Path) -> Any:
    """The server with the machine `console`, whose identity owns the subscription, that az runs on."""
    operator = server.operator()
    server.rest("PUT", f"{HOST_GROUP}?api-version=2024-11-01", {"location": "westeurope"})
    server.console = server.rest(
        "PUT",
        f"{HOST_GROUP}/providers/Microsoft.Compute/virtualMachines/console?api-version=2024-11-01",
        {"location": "westeurope", "identity": {"type": "SystemAssigned"}},
    )
    server.rest(
        "PUT",
        f"/subscriptions/{operator['subscription_id']}/providers/Microsoft.Authorization/roleAssignments"
        "/00000000-0000-4000-8000-00000000a200?api-version=2022-04-01",
        {
            "properties": {
                "roleDefinitionId": "/providers/Microsoft.Authorization/roleDefinitions"
                "/8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
                "principalId": server.console["identity"]["principalId"],
                "principalType": "ServicePrincipal",
            }
        },
    )
    return server


@pytest.fixture(scope="session")
def az_on(az_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Az]]:
    """Makes an az that nobody has signed in to yet."""
    made: list[Az] = []

    def make(host: str = "console", *, tenant: str | None = None) -> Az:
        made.append(Az(az_server, host, tmp_path_factory.mktemp("az") / "config", tenant=tenant))
        return made[-1]

    yield make
    for one in made:
        one.no_more()
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def az(az_on: Callable[..., Az], az_server: Any) -> Az:
    """az with the operator's service principal signed in."""
    one, operator = az_on(), az_server.operator()
    one(
        f"login --service-principal -u {operator['client_id']} -p {operator['client_secret']}"
        f" --tenant {operator['tenant_id']}"
    )
    return one
