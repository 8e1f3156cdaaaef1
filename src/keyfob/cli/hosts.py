"""`keyfob run`, `env`, `token`: being a host."""

from __future__ import annotations

import base64
import json
import shlex
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

import click

from keyfob.cli.client import Client, Failure
from keyfob.cli.output import data_option, output_option, say, show_json, tenant_option


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--as", "host", required=True, metavar="RESOURCE", help="The host: its name, or its resource id.")
@click.option("--verbose", "-v", is_flag=True, help="Say what is set up for the program, on stderr.")
@tenant_option
@data_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(host: str, verbose: bool, tenant: str | None, data: Path, command: tuple[str, ...]) -> None:
    """Run a program on a host, unmodified.

    The program sees 169.254.169.254 and every Azure name on its real port, all answered here; it reaches nothing
    else. Linux; needs root or user namespaces.

    \b
    Examples:
      keyfob run --as web -- python examples/read_secret.py https://shop.vault.azure.net greeting
      keyfob run --as web -- curl -H Metadata:true \\
          'http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net'
    """
    from keyfob.hosts.sandbox.refusal import SandboxUnavailable
    from keyfob.hosts.sandbox.run import run_in_sandbox

    client = Client(data, tenant)
    try:
        code = run_in_sandbox(
            control=data / "control.sock",
            resource_id=client.find_host(host),
            token=client.token(client.operator["audience"]),
            command=command,
            ca_pem=(data / "ca" / "ca.crt").read_bytes(),
            cover=[data],
            verbose=verbose,
        )
    except SandboxUnavailable as refused:
        if refused.code == "SandboxRefused":
            raise
        raise Failure(
            f'{refused.message} Or use the environment: eval "$(keyfob env --as {shlex.quote(host)})".'
        ) from refused
    sys.exit(code)


@click.command()
@click.option("--as", "host", required=True, metavar="RESOURCE", help="The host: its name, or its resource id.")
@output_option
@tenant_option
@data_option
def env(host: str, output: str, tenant: str | None, data: Path) -> None:
    """Print the variables with which a program on this machine becomes the host, without a sandbox.

    Whoever can reach the printed loopback port is the host; `keyfob run` keeps hosts apart, this does not.

    \b
    Examples:
      eval "$(keyfob env --as web)" && python examples/read_secret.py https://shop.vault.azure.net greeting
      keyfob env --as web --output json
    """
    client = Client(data, tenant)
    variables = client.open_endpoint(client.find_host(host))["variables"]
    if output == "json":
        show_json(variables)
        return
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")


@click.command()
@click.option("--as", "host", required=True, metavar="RESOURCE", help="The host: its name, or its resource id.")
@click.option("--resource", required=True, metavar="URI", help="Audience: https://vault.azure.net, a GUID, …")
@click.option("--client-id", metavar="GUID", help="Which user-assigned identity.")
@click.option("--decode", is_flag=True, help="Print what the token says instead of the token.")
@tenant_option
@data_option
def token(host: str, resource: str, client_id: str | None, decode: bool, tenant: str | None, data: Path) -> None:
    """Ask a host's token endpoint, as a program on that host does.

    \b
    Examples:
      keyfob token --as web --resource https://vault.azure.net --decode
      curl -H "Authorization: Bearer $(keyfob token --as web --resource https://management.azure.com/)" …
    """
    client = Client(data, tenant)
    endpoint = client.open_endpoint(client.find_host(host))["endpoint"]
    query = {"api-version": "2018-02-01", "resource": resource} | ({"client_id": client_id} if client_id else {})
    request = urllib.request.Request(  # noqa: S310  (the server's own loopback URL)
        f"{endpoint}/metadata/identity/oauth2/token?{urlencode(query)}", headers={"Metadata": "true"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as reply:
            access_token = json.load(reply)["access_token"]
    except urllib.error.HTTPError as refused:
        with refused:
            body = json.loads(refused.read() or b"{}")
        raise Failure(
            f"The host's token endpoint answered {refused.code} {body.get('error')}: {body.get('error_description')}."
        ) from refused
    if not decode:
        click.echo(access_token)
        return
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in access_token.split(".")[:2])
    say("header", bold=True)
    show_json(header)
    say("claims", bold=True)
    show_json(claims)
