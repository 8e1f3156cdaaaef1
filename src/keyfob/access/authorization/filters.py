"""`$filter` of the Authorization lists, parsed: pure. What is not understood is refused, never ignored."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from keyfob.errors import InvalidInput

_FUNCTION = re.compile(r"(\w+)\(\s*(?:'((?:[^']|'')*)')?\s*\)")
_EQUALS = re.compile(r"(\w+)\s+eq\s+(?:'((?:[^']|'')*)'|([0-9A-Za-z-]+))", re.IGNORECASE)
_AND = re.compile(r"\s+and\s+", re.IGNORECASE)

ASSIGNMENTS = frozenset({"atscope", "assignedto", "principalid", "roledefinitionid"})
DEFINITIONS = frozenset({"rolename", "type", "atscope", "atscopeandbelow"})
DENIALS = frozenset({"atscope", "assignedto", "principalid", "denyassignmentname", "gdprexportprincipalid"})
_FUNCTIONS = frozenset({"atscope", "atscopeandbelow", "assignedto"})
_WITHOUT_ARGUMENT = frozenset({"atscope", "atscopeandbelow"})


@dataclass(frozen=True, slots=True)
class Filter:
    """The terms by lower-case name; functions without argument have the value ""."""

    terms: dict[str, str]

    def __contains__(self, name: str) -> bool:
        return name in self.terms

    def get(self, name: str) -> str | None:
        return self.terms.get(name)


def parse_filter(text: str | None, known: Collection[str]) -> Filter:
    """`atScope() and assignedTo('…')`, `principalId eq '…'`: terms joined by `and`.

    Raises `InvalidInput` for anything else, for a term given twice, and for `principalId eq` together with
    `atScope()`, which the service rejects (azure-cli 2.91 works around it).
    """
    terms: dict[str, str] = {}
    for part in _AND.split(text.strip()) if text and text.strip() else ():
        name, value = _term(part.strip())
        if name not in known or name in terms:
            raise _unsupported(part)
        terms[name] = value
    if "atscope" in terms and "principalid" in terms:
        raise _unsupported(text or "")
    return Filter(terms)


def _term(text: str) -> tuple[str, str]:
    if found := _FUNCTION.fullmatch(text):
        name, argument = found[1].lower(), found[2]
        if name in _FUNCTIONS and (argument is None) is (name in _WITHOUT_ARGUMENT):
            return name, (argument or "").replace("''", "'")
    elif found := _EQUALS.fullmatch(text):
        name = found[1].lower()
        if name not in _FUNCTIONS:
            return name, (found[2] if found[2] is not None else found[3]).replace("''", "'")
    raise _unsupported(text)


def _unsupported(text: str) -> InvalidInput:
    return InvalidInput(f"The filter '{text[:200]}' is not supported.", code="UnsupportedFilter", target="$filter")
