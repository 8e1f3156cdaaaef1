"""The small OData `$filter` that lists take: comparisons joined by `and`, parsed into a predicate. Pure.

`name eq 'x'`, `name ne 'x'`, `contains(name, 'x')`, `startswith(name, 'x')`, `endswith(name, 'x')` and the older
`substringof('x', name)`. Quotes inside a literal are doubled. Names and values compare without regard to case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from keyfob.errors import InvalidInput

Predicate = Callable[[Mapping[str, str]], bool]

_TEXT = r"'(?P<{}>(?:[^']|'')*)'"
_COMPARE = re.compile(rf"\s*(?P<name>[A-Za-z/]+)\s+(?P<op>eq|ne)\s+{_TEXT.format('value')}\s*", re.IGNORECASE)
_CALL = re.compile(
    rf"\s*(?P<op>contains|startswith|endswith)\(\s*(?P<name>[A-Za-z/]+)\s*,\s*{_TEXT.format('value')}\s*\)\s*",
    re.IGNORECASE,
)
_SUBSTRING = re.compile(
    rf"\s*(?P<op>substringof)\(\s*{_TEXT.format('value')}\s*,\s*(?P<name>[A-Za-z/]+)\s*\)\s*", re.IGNORECASE
)
_AND = re.compile(r"and\b", re.IGNORECASE)

_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "eq": lambda have, value: have == value,
    "ne": lambda have, value: have != value,
    "contains": lambda have, value: value in have,
    "substringof": lambda have, value: value in have,
    "startswith": lambda have, value: have.startswith(value),
    "endswith": lambda have, value: have.endswith(value),
}


def parse_filter(text: str | None, names: Collection[str]) -> list[tuple[str, str, str]]:
    """→ (name as in `names`, operator, value). Raises `InvalidInput` (`InvalidFilterInQueryString`)."""
    spelled = {name.lower(): name for name in names}
    parts: list[tuple[str, str, str]] = []
    rest = (text or "").strip()
    while rest:
        found = _COMPARE.match(rest) or _CALL.match(rest) or _SUBSTRING.match(rest)
        if found is None or found["name"].lower() not in spelled:
            raise _invalid(text or "")
        parts.append((spelled[found["name"].lower()], found["op"].lower(), found["value"].replace("''", "'")))
        rest = rest[found.end() :]
        if not rest:
            break
        joined = _AND.match(rest)
        if joined is None or not rest[joined.end() :].strip():
            raise _invalid(text or "")
        rest = rest[joined.end() :]
    return parts


def holds(part: tuple[str, str, str], row: Mapping[str, str]) -> bool:
    """Whether one comparison is true of a row."""
    name, op, value = part
    return _TESTS[op](row.get(name, "").lower(), value.lower())


def predicate(text: str | None, names: Collection[str]) -> Predicate:
    """Whether a row of strings matches. Raises `InvalidInput` as `parse_filter` does."""
    parts = parse_filter(text, names)
    return lambda row: all(holds(part, row) for part in parts)


def _invalid(text: str) -> InvalidInput:
    return InvalidInput(
        f"Invalid $filter '{text[:200]}' specified in the query string.", code="InvalidFilterInQueryString"
    )
