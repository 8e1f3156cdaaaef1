"""The tables of docs/clouds.md, between markers; the prose around them is written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sources import availability, clouds

PAGE = "docs/clouds.md"
PROJECT = Path(__file__).resolve().parent.parent.parent

SHORT = {
    "AzureCloud": "global",
    "AzureUSGovernment": "US Gov",
    "AzureChinaCloud": "China",
    "AzureGermanCloud": "Germany",
}
HOSTED = (
    ("Key Vault", "*.{key_vault}"),
    ("Storage", "*.blob.{storage}"),
    ("SQL", "*.{sql}"),
    ("Event Hubs, Service Bus", "*.{service_bus}"),
    ("Data Lake", "*.{data_lake}"),
    ("App Service", "*.{web}"),
)
RESOURCES = ("resource_manager", "key_vault", "storage", "sql", "event_hubs", "service_bus", "data_lake", "graph")


def files(reference: Path) -> dict[str, Any]:
    editions = availability.files(reference)["src/keyfob/clouds/data/availability.json"]
    return {PAGE: page((PROJECT / PAGE).read_text("utf-8"), clouds.clouds(reference), editions)}


def page(text: str, table: list[dict[str, Any]], editions: dict[str, Any]) -> str:
    """`text` with its generated parts made anew from the contents of clouds.json and availability.json."""
    parts = {"names": names(table), "audiences": audiences(table)}
    parts |= {f"availability {name}": matrix(edition) for name, edition in editions.items()}
    for title, part in parts.items():
        begin, end = f"<!-- generated: {title} -->\n", "<!-- end -->"
        before, found, rest = text.partition(begin)
        if not found:
            raise ValueError(f"{PAGE} has no place for '{title}'")
        text = before + begin + part + end + rest.partition(end)[2]
    return text


def names(table: list[dict[str, Any]]) -> str:
    """Which names each cloud answers to."""
    rows = [
        ["sign-in", *("<br>".join(f"`{host}`" for host in cloud["login_hosts"]) for cloud in table)],
        *(
            [title, *(f"`{clouds.host_of(cloud[field])}`" for cloud in table)]
            for title, field in (
                ("Resource Manager", "resource_manager"),
                ("Microsoft Graph", "graph"),
                ("portal", "portal"),
            )
        ),
    ]
    for title, form in HOSTED:
        key = form[form.index("{") + 1 : -1]
        known = [cloud["suffixes"] for cloud in table]
        rows.append([title, *(f"`{form.format(**suffixes)}`" if key in suffixes else "–" for suffixes in known)])
    rows.append(["`azEnvironment`", *(f"`{cloud['imds_name']}`" for cloud in table)])
    rows.append(["federated audience", *(f"`{cloud['token_exchange_audience']}`" for cloud in table)])
    return _table(["", *(f"`{cloud['name']}`" for cloud in table)], rows)


def audiences(table: list[dict[str, Any]]) -> str:
    """The preferred spelling of each resource; every one is accepted with and without its slash, and as a GUID."""
    rows = []
    for service in RESOURCES:
        cells = []
        for cloud in table:
            urls = [url for url in cloud["audiences"][service] if "://" in url]
            preferred = [url for url in urls if url.rstrip("/") not in {u.rstrip("/") for u in urls[: urls.index(url)]}]
            cells.append("<br>".join(f"`{url}`" for url in preferred) or "–")
        rows.append([service.replace("_", " "), *cells])
    return _table(["", *(SHORT[cloud["name"]] for cloud in table)], rows)


def matrix(edition: dict[str, Any]) -> str:
    rows = []
    for host in edition["hosts"].values():
        for kind, cells in host["identities"].items():
            rows.append([host["name"], "system" if kind == "SystemAssigned" else "user"])
            rows[-1] += [_status(cells.get(cloud, "Unknown")) for cloud in SHORT]
    return _table(["host", "identity", *SHORT.values()], rows)


def _status(cell: Any) -> str:
    if isinstance(cell, str):
        return "–" if cell == "Not available" else cell
    return ", ".join(f"{system}: {_status(status)}" for system, status in cell.items())


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def current() -> str:
    """The page as package data would have it."""
    data = PROJECT / "src/keyfob/clouds/data"
    table, editions = (json.loads((data / f"{name}.json").read_text("utf-8")) for name in ("clouds", "availability"))
    return page((PROJECT / PAGE).read_text("utf-8"), table, editions)
