"""`keyfob tenant`: more tenants, each in a cloud of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from keyfob.cli.client import LOCAL_API, Client, operator_file
from keyfob.cli.output import data_option, output_option, say, show_json, table


@click.group()
def tenant() -> None:
    """Tenants: list them, make another."""


@tenant.command("list")
@output_option
@data_option
def list_(output: str, data: Path) -> None:
    """List the tenants.

    Example: keyfob tenant list
    """
    found = Client(data).arm_json("GET", "/providers/Keyfob.Directory/tenants", api_version=LOCAL_API)["value"]
    if output == "json":
        show_json(found)
        return
    table(
        ["tenant", "domain", "cloud", "subscription"],
        [[t["tenantId"], t["domain"], t["cloud"], t["subscriptionId"]] for t in found],
    )


@tenant.command()
@click.argument("domain")
@click.option("--cloud", default="AzureCloud", metavar="NAME", help="AzureCloud, AzureChinaCloud, …")
@output_option
@data_option
def create(domain: str, cloud: str, output: str, data: Path) -> None:
    """Make a tenant with a subscription, in any cloud. The operator is its first owner.

    Example: keyfob tenant create contoso.cn --cloud AzureChinaCloud
    """
    made = Client(data).arm_json(
        "PUT", f"/providers/Keyfob.Directory/tenants/{domain}", {"cloud": cloud}, api_version=LOCAL_API
    )
    file = operator_file(data, domain)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump(made.pop("operator"), out, indent=2)
    if output == "json":
        show_json(made)
        return
    say(f"tenant {made['tenantId']} ({made['domain']}) in {made['cloud']}", fg="green")
    say(f"  subscription {made['subscriptionId']}; other commands take --tenant {made['domain']}")
