"""`keyfob rest`: any call to any service, as the operator."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from keyfob.cli.client import Client, Failure, sentence
from keyfob.cli.output import data_option, tenant_option


@click.command()
@click.argument("method", type=click.Choice(["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"], case_sensitive=False))
@click.argument("path")
@click.option("--body", metavar="JSON", help="The body: JSON, @FILE, or - for standard input.")
@click.option("--resource", metavar="URI", help="Audience of the token, for services other than Resource Manager.")
@click.option("--headers", "-i", is_flag=True, help="Print the status and headers too.")
@tenant_option
@data_option
def rest(
    method: str,
    path: str,
    body: str | None,
    resource: str | None,
    headers: bool,
    tenant: str | None,
    data: Path,
) -> None:
    """Call a service as the operator, whose rights are Owner of everything.

    PATH is a Resource Manager path or a whole URL; `{subscription}` stands for the default subscription. Owner opens
    no data, as on Azure: a vault's secrets need a role for them, which `keyfob explain` names.

    \b
    Examples:
      keyfob rest GET '/subscriptions?api-version=2022-12-01'
      keyfob rest PUT '/subscriptions/{subscription}/resourceGroups/demo?api-version=2024-11-01' \\
          --body '{"location": "westeurope"}'
      keyfob rest GET 'https://shop.vault.azure.net/secrets?api-version=7.4' --resource https://vault.azure.net
    """
    client = Client(data, tenant)
    path = path.replace("{subscription}", client.operator["subscription_id"])
    encoded = _body(body, client)
    if resource:
        answer = client.send(
            method.upper(),
            path,
            {
                "Authorization": f"Bearer {client.token(resource)}",
                **({"Content-Type": "application/json"} if encoded is not None else {}),
            },
            encoded,
        )
    else:
        answer = client.arm(method.upper(), path, encoded)
    if headers:
        click.echo(f"HTTP/1.1 {answer.status}", err=True)
        for name, value in answer.headers.items():
            click.echo(f"{name}: {value}", err=True)
    if answer.body:
        try:
            click.echo(json.dumps(answer.json(), indent=2, ensure_ascii=False))
        except ValueError:
            sys.stdout.buffer.write(answer.body)
    if answer.status >= 400:
        why = "\n`keyfob explain` says why, and what would allow it." if answer.status == 403 else ""
        raise Failure(sentence(answer).rstrip() + why)


def _body(given: str | None, client: Client) -> bytes | None:
    if given is None:
        return None
    if given == "-":
        text = sys.stdin.read()
    elif given.startswith("@"):
        text = Path(given[1:]).read_text()
    else:
        text = given
    text = text.replace("{subscription}", client.operator["subscription_id"])
    try:
        json.loads(text)
    except ValueError as error:
        raise Failure(f"The body is not JSON: {error}.") from error
    return text.encode()
