"""`keyfob demo`: the main job, end to end, with real output."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from keyfob.cli.client import Failure
from keyfob.cli.output import say

GROUP = "/subscriptions/{subscription}/resourceGroups/demo"
MACHINES = GROUP + "/providers/Microsoft.Compute/virtualMachines"
VAULT = GROUP + "/providers/Microsoft.KeyVault/vaults/keyfob-demo"
SECRETS_USER = "/providers/Microsoft.Authorization/roleDefinitions/4633458b-17de-408a-b874-0445c86b69e6"
SECRETS_OFFICER = "/providers/Microsoft.Authorization/roleDefinitions/b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
PROGRAM = """\
import sys
from azure.core.exceptions import AzureError
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient

try:
    client = SecretClient(sys.argv[1], DefaultAzureCredential(logging_enable=False))
    print(client.get_secret(sys.argv[2]).value)
except AzureError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@click.command()
@click.option("--keep", metavar="DIR", help="Keep the data in this folder instead of a temporary one.")
def demo(keep: str | None) -> None:
    """Show the main job: an unmodified program, its identity, a refusal and its reason.

    Example: keyfob demo
    """
    if not importlib.util.find_spec("azure.keyvault"):
        raise Failure("The demo runs Microsoft's own client library: pip install 'keyfob[demo]'.")
    with tempfile.TemporaryDirectory(prefix="keyfob-demo-") as temporary:
        story = Story(Path(keep) if keep else Path(temporary) / "data", Path(temporary))
        try:
            story.tell()
        finally:
            story.run("down", quiet=True)


def show(printed: str) -> None:
    """What a command printed, set off from the story."""
    click.echo("\n".join("  " + line for line in printed.rstrip().splitlines()))


class Story:
    """Types commands and shows what they print; what must fail fails, or the demo does."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.data = data
        self.program = folder / "read_secret.py"
        self.program.write_text(PROGRAM)
        self.program.chmod(0o644)
        self.sandbox = True

    def tell(self) -> None:
        from keyfob.hosts.sandbox.run import unavailable

        self.chapter("A server, a resource group, two virtual machines with identities, and a vault")
        self.run("up", "--detach", "--port", "0")
        if sentence := unavailable():
            self.sandbox = False
            say(f"  {sentence}", fg="yellow")
            say("  The demo therefore uses the environment way (`keyfob env`).", fg="yellow")
        self.build()
        self.chapter("An unmodified program on the machine `web` reads the secret by the vault's real name")
        say(self.program.read_text().rstrip(), dim=True)
        self.as_host("web", expect=0)
        self.chapter("The token it used is signed, and belongs to that machine")
        self.run("token", "--as", "web", "--resource", "https://vault.azure.net", "--decode")
        self.chapter("The same program on the machine `batch`, which has no role: Azure's own 403")
        self.as_host("batch", expect=1)
        self.chapter("One command says why")
        self.run("explain")
        self.chapter("Deleting `web` takes its identity away")
        self.run("rest", "DELETE", f"{MACHINES}/web?api-version=2024-11-01")
        principal = self.machine["identity"]["principalId"]
        gone = self.run(
            "rest", "GET", f"/providers/Keyfob.Directory/principals/{principal}?api-version=2026-11-01", expect=1
        )
        if "does not exist" not in gone:
            raise Failure("The identity outlived its machine; that is a bug.")
        say("\nThat is Keyfob. Yours starts with `keyfob up --detach`.", fg="green", bold=True)

    def build(self) -> None:
        """The little world: `web` may read secrets of the vault, `batch` may not."""
        self.put(GROUP, "2024-11-01", {"location": "westeurope"})
        for name in ("web", "batch"):
            made = self.put(
                f"{MACHINES}/{name}", "2024-11-01", {"location": "westeurope", "identity": {"type": "SystemAssigned"}}
            )
            if name == "web":
                self.machine = made
        self.put(
            VAULT,
            "2023-07-01",
            {
                "location": "westeurope",
                "properties": {
                    "tenantId": self.operator["tenant_id"],
                    "sku": {"family": "A", "name": "standard"},
                    "enableRbacAuthorization": True,
                },
            },
        )
        self.assign("00000000-0000-4000-8000-000000000001", SECRETS_USER, self.machine["identity"]["principalId"])
        self.assign("00000000-0000-4000-8000-000000000002", SECRETS_OFFICER, self.operator["object_id"])
        self.run(
            "rest",
            "PUT",
            "https://keyfob-demo.vault.azure.net/secrets/greeting?api-version=7.4",
            "--resource",
            "https://vault.azure.net",
            "--body",
            json.dumps({"value": "hello from a managed identity"}),
            quiet=True,
        )

    def assign(self, name: str, role: str, principal: str) -> None:
        self.put(
            f"{VAULT}/providers/Microsoft.Authorization/roleAssignments/{name}",
            "2022-04-01",
            {
                "properties": {
                    "roleDefinitionId": role,
                    "principalId": principal,
                    "principalType": "ServicePrincipal",
                }
            },
        )

    @property
    def operator(self) -> Any:
        return json.loads((self.data / "operator.json").read_text())

    def put(self, path: str, api_version: str, body: Any) -> Any:
        printed = self.run("rest", "PUT", f"{path}?api-version={api_version}", "--body", json.dumps(body), quiet=True)
        say(f"  made {path.rpartition('/providers/')[2].removeprefix(GROUP.rpartition('/')[0] + '/')}", dim=True)
        return json.loads(printed)

    def as_host(self, host: str, *, expect: int) -> None:
        command = [sys.executable, str(self.program), "https://keyfob-demo.vault.azure.net", "greeting"]
        if self.sandbox:
            self.run("run", "--as", host, "--", *command, expect=expect)
            return
        variables = json.loads(self.run("env", "--as", host, "--output", "json", quiet=True))
        say(f'$ eval "$(keyfob env --as {host})"; python {self.program.name} …', bold=True)
        done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
        show(done.stdout + done.stderr)
        self.check(done.returncode, expect)

    def run(self, *arguments: str, expect: int = 0, quiet: bool = False) -> str:
        """Runs one keyfob command as typed, shows and returns what it printed."""
        if not quiet:
            shown = (
                shlex.join(arguments).replace(sys.executable, "python").replace(str(self.program), self.program.name)
            )
            say(f"$ keyfob {shown}", bold=True)
        done = subprocess.run(
            [sys.executable, "-m", "keyfob", *arguments],
            env={**os.environ, "KEYFOB_DATA": str(self.data), "PYTHONWARNINGS": "ignore"},
            capture_output=True,
            text=True,
            check=False,
        )
        printed = done.stdout + done.stderr
        if not quiet:
            show(printed)
        if arguments[0] != "down":
            self.check(done.returncode, expect, printed if quiet else "")
        return done.stdout if expect == 0 else printed

    @staticmethod
    def check(code: int, expect: int, printed: str = "") -> None:
        if code != expect:
            raise Failure(f"That should have ended with {expect} and ended with {code}. {printed.strip()}")

    @staticmethod
    def chapter(title: str) -> None:
        say(f"\n{title}", fg="green", bold=True)
