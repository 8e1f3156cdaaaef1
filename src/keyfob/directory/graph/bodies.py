"""Members of request bodies: read with their types, merged as PATCH means it. Refusals in Graph's words. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from keyfob.directory.graph.dialect import bad

_LONGEST = 256


def known(body: Mapping[str, Any], properties: Collection[str], *, relations: Collection[str] = ()) -> None:
    """Raises `InvalidInput` for a member that the type does not have."""
    for name in body:
        bare = name.split("@", 1)[0]
        if bare and bare not in properties and bare not in relations and not bare.startswith("extension_"):
            raise bad(f"Invalid property '{bare[:100]}'.", target=bare[:100])


def text(body: Mapping[str, Any], name: str, default: str = "", *, required: bool = False, of: str = "") -> str:
    value = body.get(name)
    if value is None or value == "":
        if required:
            raise missing_property(name, of)
        return default if value is None else ""
    if not isinstance(value, str):
        raise wrong(name)
    if len(value) > _LONGEST:
        raise bad(f"Invalid value specified for property '{name}' of resource '{of}'.", target=name)
    return value


def flag(body: Mapping[str, Any], name: str, default: bool) -> bool:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise wrong(name)
    return value


def objects(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise wrong(name)
    return value


def texts(body: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = body.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise wrong(name)
    return tuple(dict.fromkeys(value))


def object_of(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(name)
    return value


def time_of(body: Mapping[str, Any], name: str) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    try:
        if not isinstance(value, str) or len(value) > 40:
            raise ValueError
        found = datetime.fromisoformat(value)
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        return found.timestamp()
    except (ValueError, OverflowError):
        raise wrong(name) from None


def merged(old: Any, new: Any) -> Any:
    """Complex properties keep what a PATCH does not name."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {**old, **{name: merged(old.get(name), value) for name, value in new.items()}}


def rest(body: Mapping[str, Any], handled: Collection[str], before: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept as it came: everything the operation did not handle itself, over what was there."""
    made = dict(before)
    for name, value in body.items():
        if "@" not in name and name not in handled:
            made[name] = merged(made.get(name), value)
    return made


def wrong(name: str) -> Exception:
    return bad(
        f"Cannot convert a primitive value to the expected type of property '{name}'. See the inner exception for "
        "more details.",
        target=name,
        code="BadRequest",
    )


def missing_property(name: str, of: str) -> Exception:
    return bad(f"A value is required for property '{name}' of resource '{of}'.", target=name)
