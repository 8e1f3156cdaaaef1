"""The OData options of a request, and a list of objects made a page. Pure.

A page's `$skiptoken` says after which object it begins, so that lists that change between two pages skip nothing
that stays.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from keyfob.directory.graph.filters import Filter, parse_filter
from keyfob.errors import InvalidInput
from keyfob.wire.http import Fields

PAGE = 100
MOST = 999
_KNOWN = frozenset({"$filter", "$select", "$top", "$skiptoken", "$count", "$orderby", "$expand", "$format", "$search"})


@dataclass(frozen=True, slots=True)
class Options:
    filter: Filter | None = None
    select: tuple[str, ...] = ()
    top: int = PAGE
    after: tuple[str, str] | None = None
    """The order's value and the id of the last object of the page before."""
    count: bool = False
    order: tuple[str, bool] | None = None
    """Property, and whether the greatest comes first."""
    expand: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    items: list[dict[str, Any]]
    count: int
    next: str = ""
    """The `$skiptoken` of the next page."""


def parse_options(
    query: Fields, properties: Collection[str], type_name: str, *, expands: Collection[str] = ()
) -> Options:
    """Raises `InvalidInput`."""
    given = {name if name.startswith("$") else f"${name}": value for name, value in _options(query)}
    unknown = sorted(set(given) - _KNOWN)
    if unknown:
        raise InvalidInput(f"The query parameter '{unknown[0]}' is not supported.", code="Request_UnsupportedQuery")
    if "$search" in given:
        raise InvalidInput("$search is not served here: use $filter.", code="Request_UnsupportedQuery")
    text = given.get("$filter", "").strip()
    return Options(
        filter=parse_filter(text, properties, type_name) if text else None,
        select=_names(given.get("$select", ""), properties, type_name),
        top=_top(given["$top"]) if "$top" in given else PAGE,
        after=_after(given["$skiptoken"]) if "$skiptoken" in given else None,
        count=given.get("$count", "").lower() == "true",
        order=_order(given["$orderby"]) if "$orderby" in given else None,
        expand=_expand(given.get("$expand", ""), expands, type_name),
    )


def page_of(items: Iterable[dict[str, Any]], options: Options) -> Page:
    """Filtered, ordered, cut. Items are whole objects; `shown` selects afterwards."""
    name, descending = options.order or ("", False)

    def place(item: Mapping[str, Any]) -> tuple[str, str]:
        return str(item.get(name) or "").lower() if name else "", str(item.get("id", ""))

    fits = options.filter.fits if options.filter else None
    found = sorted((item for item in items if fits is None or fits(item)), key=place, reverse=descending)
    left = found
    if options.after is not None:
        last = options.after
        left = [item for item in found if (place(item) < last if descending else place(item) > last)]
    shown = left[: options.top]
    token = ""
    if len(left) > len(shown):
        token = base64.urlsafe_b64encode(msgspec.json.encode(place(shown[-1]))).decode().rstrip("=")
    return Page(shown, len(found), token)


def shown(item: Mapping[str, Any], options: Options, default: Collection[str] = ()) -> dict[str, Any]:
    """What was selected (`id` comes anyway only when asked, as on Graph), else the type's default."""
    if options.select:
        wanted: Collection[str] = options.select
    elif default:
        wanted = default
    else:
        return dict(item)
    return {
        key: value for key, value in item.items() if key in wanted or key.startswith("@") or key in options.expand
    } | {key: None for key in options.select if key not in item}


def next_link(url: str, query: Fields, token: str) -> str:
    pairs = [(name, value) for name, value in query.pairs if name.lower() not in ("$skiptoken", "skiptoken")]
    pairs.append(("$skiptoken", token))
    return f"{url}?" + "&".join(f"{quote(name, safe='$')}={quote(value, safe='')}" for name, value in pairs)


def _options(query: Fields) -> list[tuple[str, str]]:
    """OData's own parameters; `api-version` and whatever else a client hangs on is not ours."""
    bare = {name.removeprefix("$") for name in _KNOWN}
    return [(name.lower(), value) for name, value in query.pairs if name.startswith("$") or name.lower() in bare]


def _names(text: str, properties: Collection[str], type_name: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name != "*" and name.split("/")[0] not in properties:
            raise InvalidInput(
                f"Parsing OData Select and Expand failed: Could not find a property named '{name}' on type "
                f"'microsoft.graph.{type_name}'.",
                code="BadRequest",
            )
    return () if "*" in names else tuple(name.split("/")[0] for name in names)


def _top(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= MOST:
        raise InvalidInput(
            f"Invalid page size specified: '{text}'. Must be between 1 and {MOST} inclusive.",
            code="Request_UnsupportedQuery" if text.isdigit() else "BadRequest",
        )
    return int(text)


def _after(text: str) -> tuple[str, str]:
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return msgspec.json.decode(data, type=tuple[str, str])
    except (ValueError, binascii.Error, msgspec.DecodeError, RecursionError):
        raise InvalidInput(
            "The specified page token value has expired and can no longer be included in your request.",
            code="Directory_ExpiredPageToken",
        ) from None


def _order(text: str) -> tuple[str, bool]:
    name, _, direction = text.strip().partition(" ")
    if name not in ("displayName", "userPrincipalName", "createdDateTime") or direction.strip() not in (
        "",
        "asc",
        "desc",
    ):
        raise InvalidInput("Sorting is not supported for the requested property.", code="Request_UnsupportedQuery")
    return name, direction.strip() == "desc"


def _expand(text: str, expands: Collection[str], type_name: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.split("(")[0].strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in expands:
            raise InvalidInput(
                f"Parsing OData Select and Expand failed: Could not find a property named '{name}' on type "
                f"'microsoft.graph.{type_name}'.",
                code="BadRequest",
            )
    return names
