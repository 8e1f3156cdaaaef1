"""`keyfob hosts`, `logs`, `top`: what there is, what it prints, what happens."""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

import click

from keyfob.cli.client import LOCAL_API, Answer, Client, Failure, sentence
from keyfob.cli.output import data_option, output_option, say, show_json, table, tenant_option
from keyfob.resource_id import ResourceId

if TYPE_CHECKING:
    from rich.console import RenderableType

SET = "scale set"
"""No host: what decides about tokens of a set cannot be told apart by instances, so `top` shows it."""

_GROUP = "microsoft.containerinstance/containergroups"
_GROUP_API = "2023-05-01"

BARS = " ▁▂▃▄▅▆▇█"
HISTORY = 16
"""Samples that a row's bars show."""

_STATES = {"running": "green", "stopped": "yellow", "deallocated": "yellow", "deleting": "red", "waiting": "yellow"}


# --- hosts


@click.command()
@output_option
@tenant_option
@data_option
def hosts(output: str, tenant: str | None, data: Path) -> None:
    """The hosts: what kind each is, whether it runs, its identities, its last token.

    \b
    Examples:
      keyfob hosts
      keyfob hosts --output json
    """
    seen = look(Client(data, tenant))
    rows = [row for row in seen["value"] if row["kind"] != SET]
    if output == "json":
        show_json(rows)
        return
    if not rows:
        say("There are no hosts yet; make one with `keyfob rest PUT …`, az, or a template.")
        return
    groups = twins(rows)
    table(
        ["name", *(["group"] if groups else []), "kind", "state", "identities", "open", "last token"],
        [
            [
                plain(row["name"]),
                *([plain(groups.get(row["id"], ""))] if groups else []),
                row["kind"],
                painted(row["state"]),
                plain(", ".join(one["name"] or "system" for one in row["identities"]) or "–"),
                opened(row),
                plain(last_token(row, seen["now"])),
            ]
            for row in rows
        ],
    )


def look(client: Client) -> Any:
    """What the server knows of the hosts in the operator's subscription."""
    path = f"/subscriptions/{client.operator['subscription_id']}/providers/Keyfob.Hosts/hosts"
    return client.arm_json("GET", path, api_version=LOCAL_API)


def twins(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    """The groups of hosts whose name another host has too, by id: the name alone tells nobody which is meant."""
    names = Counter(row["name"].lower() for row in rows)
    return {
        row["id"]: ResourceId.parse(row["id"]).resource_group or "" for row in rows if names[row["name"].lower()] > 1
    }


def opened(row: Mapping[str, Any]) -> str:
    parts = [
        f"{row[name]} {word if row[name] == 1 else word + ending}"
        for name, word, ending in (("endpoints", "endpoint", "s"), ("sandboxes", "sandbox", "es"))
        if row[name]
    ]
    return ", ".join(parts) or "–"


def last_token(row: Mapping[str, Any], now: float) -> str:
    last = row["tokens"]["last"]
    if last is None:
        return "–"
    whose = next((one["name"] or "system" for one in row["identities"] if one["clientId"] == last["clientId"]), "gone")
    resource = last["resource"].removeprefix("https://").rstrip("/")
    return f"{ago(now - last['at'])} ago, {resource} ({whose})"


def ago(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def painted(state: str) -> str:
    colour = _STATES.get(state)
    return f"[{colour}]{state}[/]" if colour else plain(state) or "–"


def plain(text: str) -> str:
    """Names are no markup."""
    return text.replace("[", "\\[")


# --- logs


@click.command()
@click.argument("host")
@click.option("--follow", "-f", is_flag=True, help="Go on with what is printed from now on, until Ctrl-C.")
@click.option("--lines", "-n", type=click.IntRange(0, 100_000), default=100, metavar="N", help="How many; 100.")
@click.option("--source", metavar="NAME", help="One of the host's logs: a container, a program. All without it.")
@tenant_option
@data_option
def logs(host: str, follow: bool, lines: int, source: str | None, tenant: str | None, data: Path) -> None:
    """What the programs print that the server runs on a host.

    HOST is a name or a resource id. What `keyfob run` starts prints on your terminal, not here.

    \b
    Examples:
      keyfob logs shop
      keyfob logs web --source run-command --lines 20
      keyfob logs shop --follow
    """
    client = Client(data, tenant)
    host_id = client.find_host(host)
    path = f"{host_id}/providers/Keyfob.Hosts/logs/{quote(source or 'all', safe='')}"
    query = f"?api-version={LOCAL_API}&lines={lines}{'&follow=true' if follow else ''}"
    some = False
    try:
        for line in stream(client, path + query):
            some = True
            click.echo(shown(json.loads(line), named=source is None))
    except KeyboardInterrupt:
        return
    if not some and not follow:
        click.echo(click.style("Nothing has been printed yet.", fg="bright_black"), err=True)
        if ResourceId.parse(host_id).type.lower() == _GROUP:
            for reason in hindered(client.arm_json("GET", host_id, api_version=_GROUP_API)["properties"]):
                click.echo(reason, err=True)


def hindered(group: Mapping[str, Any]) -> Iterator[str]:
    """Why containers of a group do not run: what their last failure says."""
    for container in group.get("containers", ()):
        view = container["properties"].get("instanceView") or {}
        failed = [one for one in view.get("events", ()) if one["name"] == "Failed"]
        if failed and view.get("currentState", {}).get("state") != "Running":
            yield f"{container['name']}: {max(failed, key=lambda one: one['lastTimestamp'])['message']}"


def shown(line: Mapping[str, str], *, named: bool) -> str:
    colour = {"err": "yellow", "host": "cyan"}.get(line["stream"])
    source = f"{line['source']:<12} " if named else ""
    text = click.style(line["text"], fg=colour) if colour else line["text"]
    return f"{click.style(line['at'], fg='bright_black')} {click.style(source, fg='blue') if source else ''}{text}"


def stream(client: Client, path: str) -> Iterator[bytes]:
    """Lines of an answer as they come. Raises `Failure`."""
    url = client.operator["resource_manager"] + path
    parts = urlsplit(quote(url, safe="/:?&=%"))
    connection = client.door(str(parts.hostname))
    try:
        headers = {
            "Host": str(parts.hostname),
            "Authorization": f"Bearer {client.token(client.operator['audience'])}",
        }
        connection.request("GET", f"{parts.path}?{parts.query}", None, headers)
        reply = connection.getresponse()
        if reply.status != 200:
            raise Failure(sentence(Answer(reply.status, {}, reply.read())))
        if connection.sock is not None:
            connection.sock.settimeout(None)  # a program may be quiet for hours
        while line := reply.readline():
            yield line
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"The server hung up: {error}.") from error
    finally:
        connection.close()


# --- top


@dataclass(frozen=True, slots=True)
class Row:
    """What happened on one host: in all, and each second since the look before."""

    name: str
    kind: str
    state: str
    tokens: int
    refused: int
    allowed: int
    denied: int
    token_rate: float
    refused_rate: float
    allowed_rate: float
    denied_rate: float
    last: str
    bars: str = ""

    @property
    def activity(self) -> float:
        return self.token_rate + self.refused_rate + self.allowed_rate + self.denied_rate


@dataclass
class Screen:
    """Looks that follow each other. `see` takes one and gives the rows, the busiest first."""

    before: Any = None
    history: dict[str, list[float]] = field(default_factory=dict)

    def see(self, seen: Any) -> list[Row]:
        before = {row["id"]: row for row in self.before["value"]} if self.before else {}
        seconds = seen["now"] - self.before["now"] if self.before else 0.0
        rows = [
            self._row(row, before.get(row["id"]), seconds, seen["now"])
            for row in seen["value"]
            if row["kind"] != SET or any(row["decisions"].values())
        ]
        self.before = seen
        there = {row["id"] for row in seen["value"]}
        self.history = {id: past for id, past in self.history.items() if id in there}
        return sorted(rows, key=lambda row: (-row.activity, row.name.lower()))

    def _row(self, row: Any, before: Any, seconds: float, now: float) -> Row:
        def rate(part: str, name: str) -> float:
            if before is None or seconds <= 0:
                return 0.0
            more: int = row[part][name] - before[part][name]
            return (more if more >= 0 else row[part][name]) / seconds  # less than before: the server began anew

        past = self.history.setdefault(row["id"], [])
        past.append(rate("tokens", "given") + rate("tokens", "refused"))
        del past[:-HISTORY]
        return Row(
            name=row["name"],
            kind=row["kind"],
            state=row["state"],
            tokens=row["tokens"]["given"],
            refused=row["tokens"]["refused"],
            allowed=row["decisions"]["allowed"],
            denied=row["decisions"]["denied"],
            token_rate=rate("tokens", "given"),
            refused_rate=rate("tokens", "refused"),
            allowed_rate=rate("decisions", "allowed"),
            denied_rate=rate("decisions", "denied"),
            last=last_token(row, now),
            bars=bars(past),
        )


def bars(past: Sequence[float]) -> str:
    most = max(past, default=0.0)
    if most <= 0:
        return ""
    return "".join(BARS[0 if value <= 0 else 1 + round(value / most * (len(BARS) - 2))] for value in past)


@click.command()
@click.option("--once", is_flag=True, help="One look, of one interval, and no screen.")
@click.option("--interval", type=click.FloatRange(0.1, 60), default=1.0, metavar="SECONDS", help="Between looks; 1.")
@output_option
@tenant_option
@data_option
def top(once: bool, interval: float, output: str, tenant: str | None, data: Path) -> None:
    """What happens on the hosts: tokens, refusals, decisions about their programs, each second and in all.

    Counted since the server started. ALLOWED and DENIED are decisions about tokens that a host was given; those of a
    scale set's identities count for the set. Ctrl-C ends it.

    \b
    Examples:
      keyfob top
      keyfob top --once
      keyfob top --once --output json
    """
    client, screen = Client(data, tenant), Screen()
    if output == "json" and not once:
        raise Failure("For programs, say `keyfob top --once --output json`.")
    seen = look(client)
    rows = screen.see(seen)
    if not once:
        _live(client, screen, rows, interval)
        return
    time.sleep(interval)
    seen = look(client)
    rows = screen.see(seen)
    if output == "json":
        show_json({"hosts": [as_json(row) for row in rows], "others": seen["others"], "missed": seen["missed"]})
        return
    from rich.console import Console

    width = Console().width if Console().is_terminal else 140
    Console(width=width, highlight=False).print(drawn(rows, seen, len(rows), width))


def as_json(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "state": row.state,
        "tokens": {"given": row.tokens, "refused": row.refused},
        "decisions": {"allowed": row.allowed, "denied": row.denied},
        "perSecond": {
            "given": round(row.token_rate, 2),
            "refused": round(row.refused_rate, 2),
            "allowed": round(row.allowed_rate, 2),
            "denied": round(row.denied_rate, 2),
        },
    }


def _live(client: Client, screen: Screen, rows: Sequence[Row], interval: float) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    if not console.is_terminal:
        raise Failure("This is no terminal: say `keyfob top --once`.")
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(drawn(rows, screen.before, console.height - 7, console.width), refresh=True)
                time.sleep(interval)
                rows = screen.see(look(client))
    except KeyboardInterrupt:
        return


def drawn(rows: Sequence[Row], seen: Any, most: int, width: int) -> RenderableType:
    """The screen, of `most` rows at most; the columns that `width` has room for."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    wanted = [column for column in COLUMNS if width >= column.room]
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, expand=True)
    for column in wanted:
        if column.right:
            shown.add_column(column.name, justify="right", no_wrap=True)
        else:
            shown.add_column(column.name, no_wrap=True, min_width=column.width, ratio=column.ratio or None)
    for row in rows[: max(1, most)]:
        shown.add_row(*(Text(*column.cell(row), overflow="ellipsis") for column in wanted))
    parts: list[RenderableType] = [_head(rows, seen), shown]
    if len(rows) > most > 0:
        parts.append(Text(f"and {len(rows) - most} more", "dim"))
    if seen["missed"]:
        parts.append(Text(f"{figure(seen['missed'])} decisions came too fast to be told apart", "dim"))
    return Group(*parts)


def _head(rows: Sequence[Row], seen: Any) -> RenderableType:
    from rich.text import Text

    count = sum(1 for row in rows if row.kind != SET)
    clock = datetime.fromtimestamp(seen["now"], UTC).strftime("%H:%M:%S")
    up = ago(seen["now"] - seen["since"])
    return Text.assemble(
        ("keyfob top", "bold"),
        f"   {count} host{'s' if count != 1 else ''}, server up {up}, {clock} UTC\n",
        ("tokens ", "dim"),
        _rate(sum(row.token_rate for row in rows), "green"),
        ("   refused ", "dim"),
        _rate(sum(row.refused_rate for row in rows), "yellow"),
        ("   allowed ", "dim"),
        _rate(sum(row.allowed_rate for row in rows), "green"),
        ("   denied ", "dim"),
        _rate(sum(row.denied_rate for row in rows), "red"),
    )


class Column(NamedTuple):
    name: str
    cell: Callable[[Row], tuple[str, str]]
    """Text and style."""
    room: int = 0
    """Columns of the terminal from which on it is shown."""
    right: bool = True
    width: int = 0
    ratio: int = 0


def _each_second(name: str, colour: str) -> Callable[[Row], tuple[str, str]]:
    def cell(row: Row) -> tuple[str, str]:
        value = getattr(row, name)
        return figure(value), f"bold {colour}" if value else "dim"

    return cell


def _in_all(name: str, colour: str = "") -> Callable[[Row], tuple[str, str]]:
    def cell(row: Row) -> tuple[str, str]:
        value = getattr(row, name)
        return figure(value), colour if value else "dim"

    return cell


COLUMNS = (
    Column("host", lambda row: (row.name, ""), right=False, width=12, ratio=2),
    Column("kind", lambda row: (row.kind, "dim"), room=140, right=False, width=18),
    Column("state", lambda row: (row.state or "–", _STATES.get(row.state, "dim")), right=False, width=11),
    Column("token/s", _each_second("token_rate", "green")),
    Column("tokens", _in_all("tokens"), room=100),
    Column("refused", _in_all("refused", "yellow")),
    Column("allow/s", _each_second("allowed_rate", "green")),
    Column("allowed", _in_all("allowed"), room=110),
    Column("deny/s", _each_second("denied_rate", "red")),
    Column("denied", _in_all("denied", "red")),
    Column("", lambda row: (row.bars, "green"), room=120, right=False, width=HISTORY),
    Column("last token", lambda row: (row.last, "dim"), room=170, right=False, width=20, ratio=2),
)


def _rate(value: float, colour: str) -> tuple[str, str]:
    return f"{figure(value)}/s", f"bold {colour}" if value else "dim"


def figure(value: float) -> str:
    """`0`, `0.5`, `12`, `3,400`, `1.2 M`."""
    if value >= 1_000_000:
        return f"{value / 1_000_000:.1f} M"
    if value >= 10 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}"
