"""Pages of lists: `$top`, `$skipToken` and `nextLink`. What a page costs does not grow with what there is."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from keyfob.errors import InvalidInput
from keyfob.store.records import Stored
from keyfob.wire.http import Fields, Request

T = TypeVar("T")
PAGE = 1000
"""Rows to a page when the client does not say."""
SCANNED = 5000
"""Rows that are looked at for one page. A filter that lets few through gives short pages, even empty ones, with a
`nextLink`, as on Azure."""

Rows = Callable[[str, int], Awaitable[Sequence[Stored[T]]]]
"""(after, limit) → the next rows in the order of their keys."""


def page_size(query: Fields | Mapping[str, str]) -> int:
    text = query.get("$top")
    if not text:
        return PAGE
    if not text.isascii() or not text.isdigit() or not int(text[:9]) >= 1:
        raise InvalidInput(
            f"The value '{text[:40]}' of the query parameter '$top' is not a positive whole number.",
            code="InvalidTopInQueryString",
        )
    return min(int(text[:9]), PAGE)


def page_after(query: Fields | Mapping[str, str]) -> str:
    """The key after which the page begins; "" for the first."""
    token = query.get("$skiptoken")
    if not token:
        return ""
    try:
        padded = token + "=" * (-len(token) % 4)
        return base64.b64decode(padded.encode("ascii"), b"-_", validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise InvalidInput("The $skipToken in the query string is not valid.", code="InvalidSkipToken") from None


def next_link(request: Request, last_key: str) -> str:
    """The same request, going on after `last_key`. Absolute, on the host that was asked."""
    token = base64.urlsafe_b64encode(last_key.encode()).decode().rstrip("=")
    kept = [(name, value) for name, value in request.query.pairs if name.lower() != "$skiptoken"]
    query = urlencode([*kept, ("$skiptoken", token)], safe="$:/", quote_via=quote)
    return f"{request.url}?{query}"


async def page_of(
    request: Request,
    rows: Rows[T],
    *,
    keep: Callable[[T], Awaitable[bool]],
    show: Callable[[T], Awaitable[dict[str, Any]]],
) -> dict[str, Any]:
    """As `page`, of rows that are fetched a few at a time."""
    size, after = page_size(request.query), page_after(request.query)
    value: list[dict[str, Any]] = []
    last, looked, step = after, 0, size + 1
    while True:
        found = await rows(last, step)
        for row in found:
            if len(value) == size:
                return {"value": value, "nextLink": next_link(request, last)}
            if await keep(row.value):
                value.append(await show(row.value))
            last = row.key
        looked += len(found)
        if len(found) < step:
            return {"value": value}
        if looked >= SCANNED:
            return {"value": value, "nextLink": next_link(request, last)}
        step = min(2 * step, PAGE)


async def page(
    request: Request,
    rows: Iterable[tuple[str, T]],
    *,
    keep: Callable[[T], Awaitable[bool]],
    show: Callable[[T], Awaitable[dict[str, Any]]],
) -> dict[str, Any]:
    """`rows` are keys and values in the order of their keys; `keep` filters before rows are counted."""
    size, after = page_size(request.query), page_after(request.query)
    value: list[dict[str, Any]] = []
    last = ""
    for key, row in rows:
        if key <= after or not await keep(row):
            continue
        if len(value) == size:
            return {"value": value, "nextLink": next_link(request, last)}
        value.append(await show(row))
        last = key
    return {"value": value}
