"""What a path of Resource Manager names: a resource, or a word after one (a list, or an action). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from keyfob.errors import InvalidInput, NotFound
from keyfob.resource_id import ResourceId


@dataclass(frozen=True, slots=True)
class Word:
    """A path with one segment too many for a resource: `…/virtualMachines` lists, `…/vm1/start` acts."""

    parent: ResourceId
    """The resource, group, subscription or root before it."""
    type: str
    """The type it lists, if it is a list: `Microsoft.Compute/virtualMachines`."""
    word: str


def parse_path(path: str) -> ResourceId | Word:
    """Raises `NotFound` for what can be neither."""
    segments = path.split("/")
    try:
        id = ResourceId.parse(path)
    except InvalidInput:
        pass
    else:
        if id.namespace is not None:
            return id
        raise _nothing(path)
    parent = _parent(segments[:-1])
    if parent is not None and parent.namespace is not None:
        return Word(parent, f"{parent.type}/{segments[-1]}", segments[-1])
    if len(segments) >= 3 and segments[-3].lower() == "providers":
        scope = _parent(segments[:-3])
        if scope is not None and _parent([*segments, "x"]) is not None:
            return Word(scope, f"{segments[-2]}/{segments[-1]}", segments[-1])
    raise _nothing(path)


def _parent(segments: list[str]) -> ResourceId | None:
    try:
        return ResourceId.parse("/".join(segments) or "/")
    except InvalidInput:
        return None


def _nothing(path: str) -> NotFound:
    if not path.lower().startswith("/subscriptions/"):
        return NotFound(
            "The request did not have a subscription or a valid tenant level resource provider.",
            code="MissingSubscription",
        )
    return NotFound(f"No HTTP resource was found that matches the request URI '{path[:200]}'.", code="NotFound")


def obvious_scope(path: str, scope: str | None) -> ResourceId:
    """What a route is authorised on when it does not say: its `{+scope}` parameter, else the longest id its path
    begins with."""
    if scope is not None:
        return ResourceId.parse(scope or "/")
    segments = [part for part in path.split("/") if part]
    while segments:
        try:
            return ResourceId.parse("/" + "/".join(segments))
        except InvalidInput:
            segments.pop()
    return ResourceId(())
