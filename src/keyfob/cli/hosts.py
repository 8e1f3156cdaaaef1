"""`keyfob run`, `env`, `token`: being a host."""

from __future__ import annotations

import base64
import json
import shlex
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from keyfob.cli.client import Client, Failure, sentence
from keyfob.cli.output import data_option, output_option, say, show_json, tenant_option
from keyfob.hosts.kinds import DIALECTS, FOLDERS, kind_of
from keyfob.hosts.sandbox.environment import leads_elsewhere
from keyfob.resource_id import ResourceId

host_option = click.option(
    "--as", "host", required=True, metavar="RESOURCE", help="The host: its name (site/slot, set/0), or its resource id."
)
service_account_option = click.option(
    "--service-account", metavar="NAMESPACE/NAME", help="On a Kubernetes cluster: whom the program runs as."
)
client_id_option = click.option(
    "--client-id", metavar="GUID", help="Which user-assigned identity; programs find it as AZURE_CLIENT_ID."
)
dialect_option = click.option(
    "--dialect",
    type=click.Choice(DIALECTS, case_sensitive=False),
    metavar="NAME",
    help=f"Speak another token endpoint's dialect than the host's own: {', '.join(DIALECTS)}.",
)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@host_option
@dialect_option
@service_account_option
@client_id_option
@click.option("--verbose", "-v", is_flag=True, help="Say what is set up for the program, on stderr.")
@tenant_option
@data_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    host: str,
    dialect: str | None,
    service_account: str | None,
    client_id: str | None,
    verbose: bool,
    tenant: str | None,
    data: Path,
    command: tuple[str, ...],
) -> None:
    """Run a program on a host, unmodified.

    The program sees the host's token endpoint and every Azure name on its real port, all answered here; it reaches
    nothing else. Linux; needs root or user namespaces.

    \b
    Examples:
      keyfob run --as web -- python examples/read_secret.py https://shop.vault.azure.net greeting
      keyfob run --as web -- curl -H Metadata:true \\
          'http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net'
      keyfob run --as shop/staging -- env
      keyfob run --as web --dialect service-fabric -- ./my-sdk-tests
      keyfob run --as aks --service-account shop/cart -- python cart.py
    """
    client = Client(data, tenant)
    wish = {"dialect": dialect or "", "service_account": service_account or "", "client_id": client_id or ""}
    sys.exit(run_as(client, client.find_host(host), command, wish=wish, verbose=verbose))


def run_as(
    client: Client,
    host_id: str,
    command: Sequence[str],
    *,
    wish: Mapping[str, str] | None = None,
    verbose: bool = False,
    environ: Mapping[str, str] | None = None,
) -> int:
    """A program in a sandbox of the host, on this terminal; its exit code. The last act of this process."""
    from keyfob.hosts.sandbox.refusal import SandboxUnavailable
    from keyfob.hosts.sandbox.run import run_in_sandbox

    data = client.data
    try:
        return run_in_sandbox(
            control=data / "control.sock",
            resource_id=host_id,
            token=client.token(client.operator["audience"]),
            command=command,
            ca_pem=(data / "ca" / "ca.crt").read_bytes(),
            cover=[data],
            verbose=verbose,
            wish=wish,
            folder=FOLDERS.get((wish or {}).get("dialect") or _spoken(host_id), ""),
            environ=environ,
        )
    except SandboxUnavailable as refused:
        if refused.code == "SandboxRefused":
            raise
        raise Failure(
            f'{refused.message} Or use the environment: eval "$(keyfob env --as {shlex.quote(host_id)})".'
        ) from refused


@click.command()
@host_option
@dialect_option
@service_account_option
@client_id_option
@output_option
@tenant_option
@data_option
def env(
    host: str,
    dialect: str | None,
    service_account: str | None,
    client_id: str | None,
    output: str,
    tenant: str | None,
    data: Path,
) -> None:
    """Print the variables with which a program on this machine becomes the host, without a sandbox.

    Whoever can reach the printed loopback port is the host (and shows the printed secret, where the kind of host has
    one); `keyfob run` keeps hosts apart, this does not. Variables of another host are unset.

    \b
    Examples:
      eval "$(keyfob env --as web)" && python examples/read_secret.py https://shop.vault.azure.net greeting
      keyfob env --as web --output json
      keyfob env --as web --dialect app-service-2019
    """
    client = Client(data, tenant)
    variables = client.open_endpoint(client.find_host(host), _wish(dialect, service_account, client_id))["variables"]
    if output == "json":
        show_json(variables)
        return
    for name in sorted(leads_elsewhere() - set(variables)):
        click.echo(f"unset {name}")
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")


@click.command()
@host_option
@dialect_option
@service_account_option
@client_id_option
@click.option("--resource", required=True, metavar="URI", help="Audience: https://vault.azure.net, a GUID, …")
@click.option("--decode", is_flag=True, help="Print what the token says instead of the token.")
@tenant_option
@data_option
def token(
    host: str,
    dialect: str | None,
    service_account: str | None,
    client_id: str | None,
    resource: str,
    decode: bool,
    tenant: str | None,
    data: Path,
) -> None:
    """Ask a host's token endpoint, as a program on that host does.

    \b
    Examples:
      keyfob token --as web --resource https://vault.azure.net --decode
      curl -H "Authorization: Bearer $(keyfob token --as web --resource https://management.azure.com/)" …
    """
    client = Client(data, tenant)
    wish = _wish(dialect, service_account, client_id if service_account else None)  # else the request names it
    id = client.find_host(host)
    opened = client.open_endpoint(id, wish)
    try:
        access_token = _ask(client, opened, resource, client_id or "")
    except Failure as failure:
        raise Failure(f"{failure.message}{_without_identity(client, id)}") from failure
    if not decode:
        click.echo(access_token)
        return
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in access_token.split(".")[:2])
    say("header", bold=True)
    show_json(header)
    say("claims", bold=True)
    show_json(claims)


def _without_identity(client: Client, id: str) -> str:
    """What a refusal leaves out: that there is no identity which could be found."""
    from keyfob.cli.seeing import look

    row = next((row for row in look(client)["value"] if row["id"].lower() == id.lower()), None)
    if row is None or row["identities"]:
        return ""
    return f"\n{row['name']} has no identity: a PUT with `identity`, or `… identity assign` of az, gives it one."


def _wish(dialect: str | None, service_account: str | None, client_id: str | None) -> Mapping[str, str]:
    given = {"dialect": dialect, "serviceAccount": service_account, "clientId": client_id}
    return {name: value for name, value in given.items() if value}


def _spoken(host_id: str) -> str:
    """The host's own main dialect; "" for what is no host, which the server refuses."""
    kind = kind_of(ResourceId.parse(host_id).type)
    return kind.dialects[0] if kind else ""


def _ask(client: Client, opened: Mapping[str, Any], resource: str, client_id: str, key: str = "") -> str:
    """A token from an opened endpoint, asked for in its dialect. `key` is what a challenge told us to read."""
    from keyfob.hosts.dialects.table import DIALECTS as SPOKEN

    if not opened["endpoint"]:
        raise Failure("The host has no token endpoint: its settings disable it.")
    dialect, variables = SPOKEN[opened["dialect"]], opened["variables"]
    secret = key or variables.get("IDENTITY_HEADER") or variables.get("MSI_SECRET") or ""
    if dialect.name == "workload-identity":
        secret = Path(variables["AZURE_FEDERATED_TOKEN_FILE"]).read_text()
        client_id = variables["AZURE_CLIENT_ID"]
    asked = dialect.ask(opened["endpoint"], secret, resource, client_id)
    if not dialect.socket:  # asked at the token service
        answer = client.send("POST", asked.url, asked.headers, asked.body)
        if answer.status != 200:
            raise Failure(f"The token service answered {sentence(answer)}")
        return str(answer.json()["access_token"])
    request = urllib.request.Request(asked.url, asked.body, dict(asked.headers))  # noqa: S310  (the server's own URL)
    trusted = ssl.create_default_context(cafile=str(client.data / "ca" / "ca.crt"))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted))
    try:
        with opener.open(request, timeout=30) as reply:
            return str(json.load(reply)["access_token"])
    except urllib.error.HTTPError as refused:
        with refused:
            said = refused.read()
        challenge = (refused.headers.get("Www-Authenticate") or "").removeprefix("Basic realm=")
        if refused.code == 401 and challenge and not key:
            return _ask(client, opened, resource, client_id, Path(challenge).read_text())
        raise Failure(f"The host's token endpoint answered {refused.code}: {_sentence(said)}") from refused


def _sentence(body: bytes) -> str:
    """What a refusal says, in whichever dialect."""
    try:
        said = json.loads(body)
    except ValueError:
        return "it does not say why."
    inner = said.get("error", said) if isinstance(said, dict) else {}
    if isinstance(inner, str):
        return f"{inner}: {said.get('error_description', '')}"
    code = inner.get("code", "")
    message = inner.get("message") or inner.get("Message") or ""
    return f"{code}: {message}" if code else str(message)
