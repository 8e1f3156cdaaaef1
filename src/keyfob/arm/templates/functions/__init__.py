"""The functions of the template language, each in the table of its family."""

from __future__ import annotations

from collections.abc import Mapping

from keyfob.arm.templates.functions import arrays, dates, networks, numbers, places, strings
from keyfob.arm.templates.functions.table import Function

TABLE: Mapping[str, Function] = {
    **arrays.FUNCTIONS,
    **strings.FUNCTIONS,
    **numbers.FUNCTIONS,
    **dates.FUNCTIONS,
    **networks.FUNCTIONS,
    **places.FUNCTIONS,
}
"""By name in lower case."""


def find(key: str) -> Function | None:
    """By name in lower case. Whatever begins with `list` calls that action of a resource."""
    found = TABLE.get(key)
    if found is None and key.startswith("list") and len(key) < 80:
        return places.lister(key)
    return found
