"""`keyfob deploy`: a template, deployed as the operator, with its progress."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from keyfob.cli.client import RESOURCES_API, Client, Failure
from keyfob.cli.output import data_option, output_option, say, show_json, table, tenant_option

_MOST_LINKED = 100
_MOST_REASONS = 10
_DOCUMENT = re.compile("deployment(?:template|parameters)", re.IGNORECASE)
_OF_A_GROUP = "it belongs to a resource group"
_ACTIVE = ("Accepted", "Running")


@click.command()
@click.argument("template", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--group", "-g", metavar="NAME", help="Resource group; made if it is not there. Without: the subscription."
)
@click.option(
    "--parameters", "-p", multiple=True, metavar="FILE|NAME=VALUE", help="A parameter file, or one value; repeatable."
)
@click.option("--location", "-l", default="westeurope", show_default=True, help="Of a new group, or of the deployment.")
@click.option("--name", "-n", metavar="NAME", help="Name of the deployment; else that of the file.")
@click.option(
    "--mode",
    type=click.Choice(["Incremental", "Complete"], case_sensitive=False),
    default="Incremental",
    help="Complete deletes what is in the group and not in the template.",
)
@output_option
@tenant_option
@data_option
def deploy(
    template: Path,
    group: str | None,
    parameters: tuple[str, ...],
    location: str,
    name: str | None,
    mode: str,
    output: str,
    tenant: str | None,
    data: Path,
) -> None:
    """Deploy an ARM template as the operator.

    TEMPLATE is a file; templates beside and below it may be linked to by relative path. A VALUE that is no
    string is given as JSON.

    \b
    Examples:
      keyfob deploy azuredeploy.json --group demo --parameters azuredeploy.parameters.json
      keyfob deploy main.json -g demo -p name=web1 -p count=3 --output json
    """
    client = Client(data, tenant)
    text = template.read_text("utf-8-sig")
    given = _parameters(parameters)
    name = name or template.stem[:64]
    scope = f"/subscriptions/{client.operator['subscription_id']}"
    if group:
        scope += f"/resourceGroups/{group}"
        if client.arm("HEAD", scope, api_version=RESOURCES_API).status == 404:
            client.arm_json("PUT", scope, {"location": location}, api_version=RESOURCES_API)
    properties = {
        "mode": mode.capitalize(),
        "parameters": given,
        "templateLink": {"relativePath": template.name},
        "linkedTemplates": _linked(template),
    }
    envelope = json.dumps({"properties": properties} | ({} if group else {"location": location}))
    # the file's own text goes along, as az does it, so that errors name its lines
    body = envelope.replace('{"properties": {', '{"properties": {template:' + text + ",", 1)
    path = f"{scope}/providers/Microsoft.Resources/deployments/{name}"
    checked = client.arm_json("POST", f"{path}/validate", body.encode(), api_version=RESOURCES_API)
    total = len(checked["properties"]["validatedResources"])
    client.arm_json("PUT", path, body.encode(), api_version=RESOURCES_API)
    shown = _followed(client, path, total, quiet=output == "json")
    if output == "json":
        show_json(shown)
    else:
        _told(client, path, shown)
    if shown["properties"]["provisioningState"] != "Succeeded":
        why = _why(shown["properties"])
        if not group and _OF_A_GROUP in why:
            why += "\nWithout --group a template is deployed to the subscription; --group NAME names a group."
        raise Failure(why)


def _parameters(given: tuple[str, ...]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if equals and not Path(one).exists():
            try:
                parsed = json.loads(value)
            except ValueError:
                parsed = value
            made[name] = {"value": parsed}
            continue
        if not equals and not Path(one.removeprefix("@")).is_file():
            raise Failure(f"'{one}' is neither a parameter file that is there nor NAME=VALUE.")
        try:
            read = json.loads(Path(one.removeprefix("@")).read_text("utf-8-sig"))
        except ValueError as error:
            raise Failure(f"{one} is not JSON: {error}.") from error
        made |= read["parameters"] if "$schema" in read and "parameters" in read else read
    return made


def _linked(template: Path) -> dict[str, Any]:
    """Templates and parameter files below the template's folder, by relative path."""
    made: dict[str, Any] = {}
    for folder in ("*.json", "*/*.json", "*/*/*.json"):
        for path in sorted(template.parent.glob(folder)):
            if path == template or len(made) >= _MOST_LINKED or path.stat().st_size > 1_000_000:
                continue
            try:
                value = json.loads(path.read_text("utf-8-sig"))
            except (ValueError, OSError):
                continue
            if isinstance(value, dict) and _DOCUMENT.search(str(value.get("$schema", ""))):
                made[path.relative_to(template.parent).as_posix()] = value
    return made


def _followed(client: Client, path: str, total: int, *, quiet: bool) -> Any:
    """The deployment when it has ended; meanwhile a bar, where a person looks."""
    try:
        if quiet or not sys.stderr.isatty():
            return _waited(client, path, lambda rows: None)
        return _watched(client, path, total)
    except KeyboardInterrupt:
        raise Failure(f"The deployment goes on; `keyfob rest GET {path}` shows how far it is.") from None


def _watched(client: Client, path: str, total: int) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    doing = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    columns = (
        TextColumn("Deploying"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[doing]}", table_column=doing, markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, expand=True) as progress:
        bar = progress.add_task("deploy", total=total, doing="")

        def tell(rows: list[Any]) -> None:
            done = sum(row["provisioningState"] not in _ACTIVE for row in rows)
            progress.update(bar, completed=done, doing=_doing(rows))

        return _waited(client, path, tell)


def _doing(rows: list[Any]) -> str:
    """What has failed, and the names of what is worked on: those that wait longest first."""
    failed = sum(row["provisioningState"] == "Failed" for row in rows)
    names = [row["targetResource"]["resourceName"] for row in reversed(rows) if row["provisioningState"] in _ACTIVE]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (f"{failed} failed  " if failed else "") + ", ".join(names[:3]) + more


def _waited(client: Client, path: str, tell: Callable[[list[Any]], None]) -> Any:
    pause = 0.05
    while True:
        shown = client.arm_json("GET", path, api_version=RESOURCES_API)
        tell(_operations(client, path))
        if shown["properties"]["provisioningState"] not in _ACTIVE:
            return shown
        time.sleep(pause)
        pause = min(1.0, pause * 1.5)


def _operations(client: Client, path: str) -> list[Any]:
    listed = client.arm_json("GET", f"{path}/operations", api_version=RESOURCES_API)["value"]
    return [row["properties"] for row in listed if "targetResource" in row["properties"]]


def _told(client: Client, path: str, shown: Any) -> None:
    rows = [
        (
            row["targetResource"]["resourceName"],
            row["targetResource"]["resourceType"],
            row["provisioningState"],
            row.get("statusCode", ""),
        )
        for row in reversed(_operations(client, path))
    ]
    table(("Resource", "Type", "State", "Status"), rows)
    properties = shown["properties"]
    if outputs := properties.get("outputs"):
        table(("Output", "Value"), [(name, _short(one.get("value", "(secure)"))) for name, one in outputs.items()])
    if properties["provisioningState"] == "Succeeded":
        took = _took(properties["duration"])
        say(f"{len(rows)} {'resource' if len(rows) == 1 else 'resources'} in {took}", fg="green")


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _took(duration: str) -> str:
    """`PT1M3.5012S` → `1 m 3.5 s`."""
    found = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?", duration)
    if found is None:
        return duration
    hours, minutes, seconds = found.groups("0")
    return (
        (f"{hours} h " if hours != "0" else "")
        + (f"{minutes} m " if minutes != "0" else "")
        + f"{float(seconds):.1f} s"
    )


def _why(properties: Any) -> str:
    reasons = list(dict.fromkeys(_reasons(properties.get("error") or {})))
    if len(reasons) == 1:
        return f"The deployment failed. {reasons[0]}"
    left = len(reasons) - _MOST_REASONS
    lines = [*reasons[:_MOST_REASONS], *([f"and {left} more"] if left > 0 else [])]
    return "The deployment failed:" + "".join(f"\n  {line}" for line in lines)


def _reasons(error: Any, target: str = "") -> list[str]:
    """What stands deepest, with the resource it is about: the outer errors only say that there are inner ones."""
    target = error.get("target") or target
    inner = error.get("details") or []
    if inner:
        return [reason for one in inner for reason in _reasons(one, target)]
    name = target.rpartition("/providers/")[2]
    return [(f"{name}: " if name else "") + f"{error.get('code', '')}: {error.get('message', '')}"]
