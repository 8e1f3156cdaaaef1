"""`keyfob az`: the machine's az, signed in here."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from keyfob.cli.client import Client, Failure
from keyfob.cli.output import data_option, tenant_option

MISSING = (
    "az is not on the PATH. Install it as https://learn.microsoft.com/cli/azure/install-azure-cli says, "
    "or with `pipx install azure-cli`."
)
SIGNS_IN_ITSELF = frozenset({"login", "logout", "version", "--version", "-v", "cloud", "config", "configure"})
KNOWN_CLOUDS = frozenset({"AzureCloud", "AzureUSGovernment", "AzureChinaCloud"})
"""Those that az has in its own table; AzureGermanCloud left it in 2021."""


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@tenant_option
@data_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def az(tenant: str | None, data: Path, arguments: tuple[str, ...]) -> None:
    """Run the machine's az against this server, signed in as the operator.

    Its configuration is below the data folder; your own, with your login and clouds, is not read or changed. Nothing
    leaves the machine. Options of keyfob stand before az's command.

    \b
    Examples:
      keyfob az group create -n shop -l westeurope
      keyfob az vm identity show -g shop -n web
      keyfob az --tenant contoso.cn account show
    """
    program = shutil.which("az")
    if program is None:
        raise Failure(MISSING)
    client = Client(data, tenant)
    _answers(client)
    configuration = data / "az" / (tenant.lower() if tenant else "default")
    environment = surroundings(os.environ, client, configuration)
    if arguments and arguments[0] not in SIGNS_IN_ITSELF:
        prepare(program, client, configuration, environment)
    if os.name == "nt":
        sys.exit(subprocess.run([program, *arguments], env=environment, check=False).returncode)
    os.execve(program, [program, *arguments], environment)  # noqa: S606  (no shell is wanted)


def _answers(client: Client) -> None:
    """Raises `Failure` when the server was killed: az would only say that a proxy is not there."""
    try:
        socket.create_connection((client.server["address"], client.server["port"]), timeout=10).close()
    except OSError as error:
        raise Failure("The server does not answer. `keyfob status` tells more; `keyfob up` starts it.") from error


def surroundings(own: Mapping[str, str], client: Client, configuration: Path) -> dict[str, str]:
    """The caller's environment, with Azure's names leading to the server and settings that send nothing elsewhere."""
    extensions = Path(own.get("AZURE_CONFIG_DIR") or Path.home() / ".azure") / "cliextensions"
    bundle = str(client.data / "ca" / "bundle.pem")
    proxy = client.server["proxy"]
    around = "127.0.0.1,localhost"
    return {
        **{name: value for name, value in own.items() if name.upper() not in {"ALL_PROXY", "HTTP_PROXY"}},
        **({"AZURE_EXTENSION_DIR": str(extensions)} if extensions.is_dir() else {}),
        "AZURE_CONFIG_DIR": str(configuration),
        "AZURE_CORE_COLLECT_TELEMETRY": "no",
        "AZURE_CORE_SURVEY_MESSAGE": "no",
        "REQUESTS_CA_BUNDLE": bundle,
        "SSL_CERT_FILE": bundle,
        "HTTPS_PROXY": proxy,
        "https_proxy": proxy,
        "NO_PROXY": around,
        "no_proxy": around,
    }


def prepare(program: str, client: Client, configuration: Path, environment: Mapping[str, str]) -> None:
    """Chooses the cloud and signs the operator in, the first time and when the operator is another one."""
    known = client.operator
    mark = hashlib.sha256(json.dumps(dict(known), sort_keys=True).encode()).hexdigest()
    marker = configuration / "keyfob.json"
    if marker.exists() and json.loads(marker.read_text()) == {"operator": mark}:
        return
    configuration.mkdir(parents=True, exist_ok=True, mode=0o700)
    click.echo("keyfob: signing az in as the operator …", err=True)
    cloud = known["cloud"]
    if cloud not in KNOWN_CLOUDS:
        listed = json.loads(_az(program, environment, "cloud", "list", "-o", "json"))
        if cloud not in {one["name"] for one in listed}:
            _az(
                program, environment, "cloud", "register", "-n", cloud,
                "--endpoint-resource-manager", known["resource_manager"],
            )  # fmt: skip
    _az(program, environment, "cloud", "set", "-n", cloud)
    _az(
        program,
        environment,
        *("login", "--service-principal", "-u", known["client_id"], "-p", "@-", "--tenant", known["tenant_id"]),
        stdin=known["client_secret"],  # not among the arguments, which other users of the machine can see
    )
    marker.write_text(json.dumps({"operator": mark}))


def _az(program: str, environment: Mapping[str, str], *arguments: str, stdin: str = "") -> str:
    words: Sequence[str] = (program, *arguments)
    done = subprocess.run(words, env=environment, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"`az {arguments[0]}` failed: {done.stderr.strip()[-2000:]}")
    return done.stdout
