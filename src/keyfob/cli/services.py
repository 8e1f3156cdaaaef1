"""`keyfob services`: which service has managed identities where, and which takes their tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from keyfob.cli.output import say, show_json, table
from keyfob.errors import InvalidInput

if TYPE_CHECKING:
    from keyfob.clouds.availability import Availability, Status

CLOUDS = ("AzureCloud", "AzureUSGovernment", "AzureChinaCloud", "AzureGermanCloud")
KINDS = {"SystemAssigned": "system", "UserAssigned": "user"}
_COLOURS = {"Available": "green", "Preview": "yellow", "Not available": "red", "Listed": "green"}
_SHOWN = {"Not available": "–", "Unknown": "not said"}
INTRODUCTION = """\
# Services and their managed identities

Printed by `keyfob services --as-of all --output markdown`. `keyfob up --availability EDITION` chooses which of these
tables counts; `current` does when nothing is said.

- Available: taken. Preview: taken, and the answer says so in the headers `Warning` and `x-ms-keyfob-availability`.
- –: an identity of that kind is refused (400 `IdentityTypeNotSupported`), a token for that service too
  (`invalid_resource`, AADSTS500011).
- Listed: the table of the edition says no, but a later list of Microsoft's names the service without saying where;
  taken where the cloud has that service at all.
- not said: the edition does not speak of it; taken where the cloud has that service at all.

Children follow their host (deployment slots, instances of scale sets). A request that names no identity is never
refused by these tables, and one that a host has already keeps working when the edition changes.
"""


@click.command()
@click.option("--cloud", metavar="NAME", help="One cloud only.")
@click.option(
    "--as-of", metavar="EDITION", default="current", help="An edition, a date (the edition of that day), or all."
)
@click.option(
    "--output",
    "-o",
    type=click.Choice(["table", "json", "markdown"]),
    default="table",
    help="For people, programs, or pages.",
)
def services(cloud: str | None, as_of: str, output: str) -> None:
    """Which services have managed identities, and which take their tokens, cloud by cloud.

    \b
    Examples:
      keyfob services
      keyfob services --cloud AzureChinaCloud --as-of 2018-11-28
      keyfob services --as-of all --output json
    """
    from keyfob.clouds.availability import load_availability

    known = load_availability()
    clouds = CLOUDS if cloud is None else (_cloud(cloud),)
    names = list(known.editions)[::-1] if as_of == "all" else [edition_at(known, as_of)]
    if output == "json":
        found = [_edition(known, name, clouds) for name in names]
        show_json(found if as_of == "all" else found[0])
    elif output == "markdown":
        click.echo(markdown(known, names, clouds), nl=False)
    else:
        for name in names:
            _print(known, name, clouds)


def edition_at(known: Availability, text: str) -> str:
    """An edition's name, or the newest edition that is not younger than a date. Raises `InvalidInput`."""
    if text in known.editions:
        return text
    older = sorted((edition.date, name) for name, edition in known.editions.items() if edition.date <= text)
    if not _is_date(text) or not older:
        raise InvalidInput(
            f"There is no edition '{text}': give {', '.join(known.editions)}, all, or a date from "
            f"{min(edition.date for edition in known.editions.values())} on."
        )
    return older[-1][1]


def _is_date(text: str) -> bool:
    from datetime import date

    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _cloud(text: str) -> str:
    for name in CLOUDS:
        if name.lower() == text.lower():
            return name
    raise InvalidInput(f"There is no cloud '{text}'; there are {', '.join(CLOUDS)}.")


# --- what is known


def _edition(known: Availability, name: str, clouds: Sequence[str]) -> dict[str, Any]:
    edition = known.edition(name)
    return {
        "edition": name,
        "date": edition.date,
        "listed": edition.newer_list.date if edition.newer_list else None,
        "hosts": [
            {
                "service": host.name,
                "key": key,
                "types": list(host.types),
                "identity": kind,
                "clouds": {cloud: _host_cell(known, name, key, kind, cloud) for cloud in clouds},
            }
            for key, host in edition.hosts.items()
            for kind in KINDS
        ],
        "targets": [
            {
                "service": target.name,
                "key": key,
                "clouds": {
                    cloud: {
                        "status": _target_cell(known, name, key, cloud),
                        "resourceIds": list(target.clouds[cloud].resource_ids) if cloud in target.clouds else [],
                    }
                    for cloud in clouds
                },
            }
            for key, target in edition.targets.items()
        ],
    }


def _host_cell(known: Availability, name: str, key: str, kind: Any, cloud: str) -> str | dict[str, str]:
    """The status, or one for each operating system where the page tells them apart."""
    cell = known.edition(name).hosts[key].identities.get(kind, {}).get(cloud)
    if isinstance(cell, Mapping):
        return {
            system: _listed(status, known.refuses(name, key, kind, cloud, system)) for system, status in cell.items()
        }
    return _listed(known.status(name, key, kind, cloud), known.refuses(name, key, kind, cloud))


def _target_cell(known: Availability, name: str, key: str, cloud: str) -> str:
    return _listed(known.target_status(name, key, cloud), known.target_refuses(name, key, cloud))


def _listed(status: Status, refused: bool) -> str:
    return "Listed" if status == "Not available" and not refused else str(status)


# --- how it is shown


def _words(cell: str | Mapping[str, str], paint: bool = False) -> str:
    if isinstance(cell, Mapping):
        return ", ".join(f"{system}: {_words(status, paint)}" for system, status in cell.items())
    shown = _SHOWN.get(cell, cell)
    return f"[{_COLOURS[cell]}]{shown}[/]" if paint and cell in _COLOURS else shown


def _rows(edition: Mapping[str, Any], clouds: Sequence[str], paint: bool, tick: str) -> tuple[Any, Any]:
    hosts = [
        [row["service"], KINDS[row["identity"]], *(_words(row["clouds"][cloud], paint) for cloud in clouds)]
        for row in edition["hosts"]
    ]
    targets = []
    for row in edition["targets"]:
        cells = []
        for cloud in clouds:
            ids = [f"{tick}{id}{tick}" for id in row["clouds"][cloud]["resourceIds"]]
            cells.append((" " if tick else "\n").join([_words(row["clouds"][cloud]["status"], paint), *ids]))
        targets.append([row["service"], *cells])
    return hosts, targets


def _heading(edition: Mapping[str, Any]) -> str:
    title = f"{edition['edition']}: the page of {edition['date']}" if edition["edition"] == "current" else ""
    listed = f", and the list of {edition['listed']} that names no clouds" if edition["listed"] else ""
    return (title or str(edition["edition"])) + listed


def _print(known: Availability, name: str, clouds: Sequence[str]) -> None:
    edition = _edition(known, name, clouds)
    hosts, targets = _rows(edition, clouds, True, "")
    say(_heading(edition), bold=True)
    table(["services that have identities", "identity", *clouds], hosts)
    table(["services that take their tokens", *clouds], targets)


def markdown(known: Availability, names: Sequence[str], clouds: Sequence[str]) -> str:
    lines = [INTRODUCTION]
    for name in names:
        edition = _edition(known, name, clouds)
        hosts, targets = _rows(edition, clouds, False, "`")
        lines += [f"## {_heading(edition)}", "", *_table(["has identities", "identity", *_coded(clouds)], hosts), ""]
        lines += [*_table(["takes tokens", *_coded(clouds)], targets), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _coded(names: Sequence[str]) -> list[str]:
    return [f"`{name}`" for name in names]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *rows)]


__all__ = ["edition_at", "markdown", "services"]
