"""`keyfob explain`: why a call was refused, and what would allow it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from keyfob.cli.client import LOCAL_API, Client
from keyfob.cli.output import data_option, output_option, say, show_json, table


@click.command()
@click.argument("request_id", required=False)
@click.option("--last", "count", default=1, show_default=True, metavar="N", help="How many of the last denials.")
@click.option("--principal", metavar="GUID", help="Only this principal's.")
@output_option
@data_option
def explain(request_id: str | None, count: int, principal: str | None, output: str, data: Path) -> None:
    """Say why access was refused: the last denials, or one request by its id.

    Shows who asked for what, which assignments were looked at, and which built-in roles would allow it, the
    narrowest first.

    \b
    Examples:
      keyfob explain
      keyfob explain --last 5
      keyfob explain 7b5d7a0e-5a44-4b6d-8d42-1f7f6b8f2a11
    """
    asked = {"requestId": request_id} if request_id else {"verdict": "denied", "top": str(count)}
    if principal:
        asked["principalId"] = principal
    client = Client(data)
    found = client.arm_json("GET", f"/providers/Keyfob.Access/decisions?{urlencode(asked)}", api_version=LOCAL_API)[
        "value"
    ]
    if output == "json":
        show_json(found)
        return
    if not found and request_id:
        say("No decision is logged under that request id; `keyfob explain` shows the last denials and their ids.")
    elif not found:
        say(f"Nothing was refused to {principal} yet." if principal else "Nothing was refused yet.")
    for entry in found:
        _show(entry, _name(client, entry["principalId"]))


def _name(client: Client, principal: str) -> str:
    """What the directory calls a principal: `web, managed identity`; "" when it is gone."""
    answer = client.arm("GET", f"/providers/Keyfob.Directory/principals/{principal}", api_version=LOCAL_API)
    if answer.status != 200:
        return ""
    known = answer.json()
    kind = {"ManagedIdentity": "managed identity", "Application": "application"}.get(
        known["servicePrincipalType"] or ""
    )
    return f"{known['displayName']}, {kind or known['type'].lower()}"


def _show(entry: dict[str, Any], name: str) -> None:
    denied = entry["verdict"] == "denied"
    when = datetime.fromtimestamp(entry["time"]).astimezone().strftime("%H:%M:%S")
    say(f"{entry['verdict'].upper()} at {when}", fg="red" if denied else "green", bold=True)
    for label, value in (
        ("who", f"{name or entry['principalName'] or 'somebody'} ({entry['principalId']})"),
        ("what", entry["action"] + (" (data action)" if entry["dataAction"] else "")),
        ("where", entry["scope"]),
        ("why" if denied else "by", entry["reason"]),
        ("request", entry["requestId"]),
    ):
        say(f"  {label:8}{value}")
    for line in entry.get("lookedAt", ()):
        say(f"          - {line}")
    if denied and entry.get("roles"):
        table(
            ["built-in roles that allow it, narrowest first", "what they are for"],
            [[role["name"], role["description"]] for role in entry["roles"][:5]],
        )
    if denied and entry.get("remedy"):
        say("  to allow it:")
        say(f"    keyfob {entry['remedy']}", fg="cyan")
