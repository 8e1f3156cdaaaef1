"""Routes of HTTP triggers: `items/{id:int?}` (learn.microsoft.com, functions-bindings-http-webhook-trigger)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

CONSTRAINTS: Mapping[str, str] = {
    "": r"[^/]+",
    "int": r"-?\d{1,10}",
    "long": r"-?\d{1,19}",
    "bool": r"true|false",
    "alpha": r"[A-Za-z]+",
    "guid": r"[0-9A-Fa-f]{8}-?(?:[0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}",
    "decimal": r"-?\d+(?:\.\d+)?",
    "double": r"-?\d+(?:\.\d+)?",
    "float": r"-?\d+(?:\.\d+)?",
}
_PARAMETER = re.compile(r"\{(\*{0,2})([A-Za-z_]\w*)(?::([^}?=]*))?(\?)?\}")


class Route(NamedTuple):
    template: str
    pattern: re.Pattern[str]
    rank: tuple[int, ...]
    """Sorted by it, the more specific come first: a literal segment, a constrained one, any, all that follows."""

    def match(self, path: str) -> dict[str, str] | None:
        """The parameters, unescaped, when the path below the prefix is this route's."""
        found = self.pattern.fullmatch(path.strip("/"))
        if found is None:
            return None
        return {name: unquote(value) for name, value in found.groupdict().items() if value is not None}


def parse_route(template: str) -> Route:
    """Raises ValueError with a sentence for a constraint or a form that is not known here."""
    pattern, ranks = "", []
    for segment in template.strip("/").split("/"):
        parameter = _PARAMETER.fullmatch(segment)
        if parameter is None:
            made, rank = _mixed(segment, template)
        else:
            stars, name, constraint, optional = parameter.groups()
            inner = r".*" if stars else _constraint(constraint, template)
            made, rank = f"(?P<{name}>{inner})", 3 if stars else 2 if not constraint else 1
            if optional or stars:
                pattern += f"(?:{'/' if pattern else ''}{made})?"
                ranks.append(rank)
                continue
        pattern += ("/" if pattern else "") + made
        ranks.append(rank)
    return Route(template, re.compile(pattern, re.ASCII | re.IGNORECASE), tuple(ranks))


def _mixed(segment: str, template: str) -> tuple[str, int]:
    """A segment that is literal, or literal with parameters in it: `v{version}`."""
    pattern, at, rank = "", 0, 0
    for found in _PARAMETER.finditer(segment):
        if found[1] or found[4]:
            raise ValueError(f"the route '{template}' has a parameter that is not a segment of its own")
        pattern += re.escape(segment[at : found.start()]) + f"(?P<{found[2]}>{_constraint(found[3], template)})"
        at, rank = found.end(), 1
    rest = segment[at:]
    if "{" in rest or "}" in rest:
        raise ValueError(f"the route '{template}' is not well-formed")
    return pattern + re.escape(rest), rank


def _constraint(name: str | None, template: str) -> str:
    found = CONSTRAINTS.get((name or "").lower())
    if found is None:
        raise ValueError(f"the route '{template}' has the constraint '{name}', which this host does not know")
    return found
