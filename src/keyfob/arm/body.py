"""A request's body, read and checked into an envelope. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from keyfob.arm.model import Resource, without
from keyfob.declare import ResourceType
from keyfob.errors import InvalidInput

_DEEPEST = 100
_LARGEST = 4 * 2**20
"""Bytes of a request, as Resource Manager's limits have it."""
_MOST_TAGS = 50
_LONGEST_TAG_NAME, _LONGEST_TAG_VALUE = 512, 256
_NOT_IN_TAG_NAMES = frozenset("<>%&\\?/")
_ENVELOPE = ("location", "tags", "sku", "kind", "plan", "zones", "identity", "properties")
_IGNORED = ("id", "name", "type", "apiVersion", "etag", "systemData")
"""Members that a reply has and clients send back, or that only templates know."""
_FURTHER = frozenset({"managedby", "managedbyextended", "extendedlocation", "scale", "placement"})
"""What a tracked resource may have at its top level besides: Resource Manager knows no other member."""
_SKU: Mapping[str, type] = {"name": str, "tier": str, "size": str, "family": str, "model": str, "capacity": int}
_GROUP_NAME = re.compile(r"[-\w.()]{0,89}[-\w()]")


class TooLarge(InvalidInput):
    status = 413


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """The members that every type shares; None where the body has none."""

    location: str | None = None
    tags: dict[str, str | None] | None = None
    sku: dict[str, Any] | None = None
    kind: str | None = None
    plan: dict[str, Any] | None = None
    zones: tuple[str, ...] | None = None
    identity: Any = None
    properties: dict[str, Any] | None = None
    more: dict[str, Any] = {}


def parse_object(body: bytes, *, empty: bool = False) -> dict[str, Any]:
    """The JSON object in a body; `empty` lets nothing pass for `{}`. Raises `InvalidInput`."""
    if len(body) > _LARGEST:
        raise TooLarge(
            f"The request content size exceeds the maximum size of {_LARGEST // 2**20} MB.",
            code="RequestContentTooLarge",
        )
    if empty and not body.strip():
        return {}
    try:
        value = msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise unreadable(str(error)) from None
    if not isinstance(value, dict):
        raise unreadable("a JSON object is expected")
    if not _shallow(value):
        raise unreadable(f"it is nested more than {_DEEPEST} levels deep")
    return value


def parse_envelope(body: Mapping[str, Any], kind: ResourceType | None = None) -> Envelope:
    """Top-level names compare without regard to case. Raises `InvalidInput` (`InvalidRequestContent`)."""
    ignored = kind.ignored if kind is not None else frozenset()
    known = {name.lower(): name for name in _ENVELOPE if name not in ignored}
    members = {known[name.lower()]: value for name, value in body.items() if name.lower() in known}
    more = without(body, *_ENVELOPE, *_IGNORED)
    unknown = next((name for name in more if name.lower() not in _FURTHER), None)
    if unknown is not None and kind is not None and kind.tracked:
        name = unknown[:100]  # in Azure's words, as users of its SDKs report them
        raise unreadable(f"Could not find member '{name}' on object of type 'ResourceDefinition'. Path '{name}'.")
    _check_sku(members.get("sku"))
    try:
        return msgspec.convert({**members, "more": more}, Envelope)
    except (msgspec.ValidationError, RecursionError) as error:
        raise unreadable(str(error)) from None


def _check_sku(sku: Any) -> None:
    for name, value in sku.items() if isinstance(sku, Mapping) else ():
        wanted = _SKU.get(name)
        if wanted is None or value is None:
            continue
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise unreadable(f"the value of 'sku.{name}' is no {'integer' if wanted is int else 'string'}")


def merged(before: Resource, change: Envelope) -> Envelope:
    """What PATCH makes of a resource: RFC 7396 for objects, replacement for the rest."""
    tags: dict[str, tuple[str, str | None]] = {name.lower(): (name, value) for name, value in before.tags.items()}
    for name, value in (change.tags or {}).items():
        # a tag's name compares without case: its new spelling replaces the old
        tags.pop(name.lower(), None)
        if value is not None:
            tags[name.lower()] = (name, value)
    return Envelope(
        location=before.location if change.location is None else change.location,
        tags=dict(tags.values()),
        sku=merge_patch(before.sku or {}, change.sku) if change.sku is not None else before.sku,
        kind=before.kind if change.kind is None else change.kind,
        plan=merge_patch(before.plan or {}, change.plan) if change.plan is not None else before.plan,
        zones=before.zones if change.zones is None else change.zones,
        identity=change.identity,
        properties=merge_patch(before.properties, change.properties or {}),
        more=merge_patch(before.more, change.more),
    )


def merge_patch(before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7396: null removes, objects merge, anything else replaces."""
    result = dict(before)
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            there = result.get(name)
            result[name] = merge_patch(there if isinstance(there, Mapping) else {}, value)
        else:
            result[name] = value
    return result


def checked_tags(tags: Mapping[str, str | None] | None) -> dict[str, str]:
    """Raises `InvalidInput` for the limits that Resource Manager documents for tags."""
    found = {name: value or "" for name, value in (tags or {}).items()}
    if len(found) > _MOST_TAGS:
        raise InvalidInput(
            f"The resource has '{len(found)}' tags. A resource can have at most '{_MOST_TAGS}' tags.",
            code="TooManyTags",
            target="tags",
        )
    if len({name.lower() for name in found}) < len(found):
        raise InvalidInput(
            "Tag names are case-insensitive, and one of them is given twice.", code="DuplicateTagNames", target="tags"
        )
    for name, value in found.items():
        # `hidden-related:/subscriptions/…` is how the portal and Azure's own templates link resources
        free = name.lower().startswith("hidden-")
        if not name or not (free or _NOT_IN_TAG_NAMES.isdisjoint(name)) or any(ord(c) < 32 for c in name):
            raise InvalidInput(
                f"The tag names '{name[:100]}' have reserved characters '<,>,%,&,\\,?,/' or control characters.",
                code="InvalidTagNameCharacters",
                target="tags",
            )
        if len(name) > _LONGEST_TAG_NAME or len(value) > _LONGEST_TAG_VALUE:
            raise InvalidInput(
                f"The tag '{name[:50]}' is too long: a name has at most {_LONGEST_TAG_NAME} characters, a value "
                f"{_LONGEST_TAG_VALUE}.",
                code="TagTooLong",
                target="tags",
            )
    return found


def checked_location(text: str | None, locations: Sequence[str], type_name: str, *, also: Sequence[str] = ()) -> str:
    """`West Europe` → `westeurope`. Raises `LocationRequired`, `LocationNotAvailableForResourceType`."""
    if not text or not text.strip():
        raise InvalidInput("The location property is required for this definition.", code="LocationRequired")
    location = text.replace(" ", "").lower()
    if location not in locations and location not in also:
        raise InvalidInput(
            f"The provided location '{text[:100]}' is not available for resource type '{type_name}'. List of "
            f"available regions for the resource type is '{','.join(locations)}'.",
            code="LocationNotAvailableForResourceType",
        )
    return location


def checked_name(kind: ResourceType, name: str) -> str:
    if not re.fullmatch(kind.name_pattern, name):
        raise InvalidInput(
            f"Resource name '{name[:260]}' is invalid. The name must match the pattern '{kind.name_pattern}'.",
            code="InvalidResourceName",
            target="name",
        )
    return name


def checked_group_name(name: str) -> str:
    if not _GROUP_NAME.fullmatch(name):
        raise InvalidInput(
            f"The provided resource group name '{name[:100]}' is invalid. The name can only be a letter, digit, '-', "
            "'.', '(', ')' or '_', up to 90 of them, and cannot end with '.'.",
            code="InvalidResourceGroup",
            target="name",
        )
    return name


def unreadable(why: str) -> InvalidInput:
    return InvalidInput(
        f"The request content was invalid and could not be deserialized: '{why[:300]}'.", code="InvalidRequestContent"
    )


def _shallow(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return True
    return False
