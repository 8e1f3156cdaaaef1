"""Functions that know where they stand: the deployment and its scope, ids, what other resources are like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from keyfob.arm.templates.evaluate import Frame, Pending
from keyfob.arm.templates.expressions import Call, ExpressionError
from keyfob.arm.templates.facts import GROUP, MANAGEMENT_GROUP, SUBSCRIPTION, TENANT, Facts
from keyfob.arm.templates.functions.dates import shown
from keyfob.arm.templates.functions.strings import NAMESPACE
from keyfob.arm.templates.functions.table import Function, integer, obj, placed, text
from keyfob.errors import Problem
from keyfob.resource_id import ResourceId

_WHERE = {
    GROUP: "resource group",
    SUBSCRIPTION: "subscription",
    MANAGEMENT_GROUP: "management group",
    TENANT: "tenant",
}


def _facts(frame: Frame, node: Call) -> Facts:
    if frame.only == "function" or frame.facts is None:
        raise _misplaced(node.name)
    facts: Facts = frame.facts
    return facts


def _misplaced(name: str) -> ExpressionError:
    return ExpressionError(
        f"The template function '{name}' is not expected at this location. Please see https://aka.ms/arm-functions for "
        "usage details."
    )


def _not_at(name: str, kind: str) -> ExpressionError:
    return ExpressionError(
        f"The template function '{name}' is not expected at this location: it is not available in a {_WHERE[kind]} "
        "deployment. Please see https://aka.ms/arm-functions for usage details."
    )


def _fact(name: str) -> Callable[[Frame, Call, list[Any]], Any]:
    members = {
        "resourceGroup": "group",
        "subscription": "subscription",
        "managementGroup": "management_group",
    }

    def give(frame: Frame, node: Call, arguments: list[Any]) -> Any:
        facts = _facts(frame, node)
        value = getattr(facts, members.get(name, name))
        if value is None:
            raise _not_at(name, facts.kind)
        return dict(value)

    return give


def _parameter(frame: Frame, node: Call, arguments: list[Any]) -> Any:
    return frame.parameters.get(frame, text("parameters", arguments[0]))


def _variable(frame: Frame, node: Call, arguments: list[Any]) -> Any:
    if frame.only:
        raise _misplaced(node.name)
    return frame.variables.get(frame, text("variables", arguments[0]))


def _copy_index(frame: Frame, node: Call, arguments: list[Any]) -> int:
    name = next((one for one in arguments if isinstance(one, str)), "").lower()
    offset = next((integer("copyIndex", one) for one in arguments if not isinstance(one, str)), 0)
    if not name and frame.loops:  # the innermost is meant
        return frame.loops[-1].index + offset
    for loop in reversed(frame.loops):
        if loop.name == name:
            return loop.index + offset
    raise ExpressionError(
        "The template function 'copyIndex' is not expected at this location. The function can only be used in a "
        "resource with copy specified. Please see https://aka.ms/arm-copy for usage details."
    )


def _utc_now(frame: Frame, node: Call, arguments: list[Any]) -> str:
    if frame.only != "default":
        raise _misplaced(node.name)
    when = datetime.fromtimestamp(_facts(frame, node).now, UTC)
    return shown(when, text("utcNow", arguments[0]) if arguments else "yyyyMMddTHHmmssZ")


def _new_guid(frame: Frame, node: Call, arguments: list[Any]) -> str:
    if frame.only != "default":
        raise _misplaced(node.name)
    return _facts(frame, node).guid()


# --- ids


def _id_parts(name: str, arguments: list[Any], most: int) -> tuple[list[str], str, list[str]]:
    """What stands before the type, the type, the names."""
    given = [text(name, one) for one in arguments]
    for at in range(min(most, len(given) - 1) + 1):
        names = given[at + 1 :]
        if "/" in given[at] and not given[at].startswith("/") and given[at].count("/") == len(names):
            return given[:at], given[at], names
    kind = next((one for one in given if "/" in one and not one.startswith("/")), given[0])
    raise ExpressionError(
        f"Unable to evaluate template language function '{name}': the type '{kind[:200]}' requires "
        f"'{kind.count('/')}' resource name argument(s). Please see https://aka.ms/arm-functions-resource#"
        f"{name.lower()} for usage details."
    )


def _below(scope: str, kind: str, names: list[str]) -> str:
    namespace, *types = kind.split("/")
    pairs = "/".join(f"{one}/{name}" for one, name in zip(types, names, strict=True))
    return f"{scope.rstrip('/')}/providers/{namespace}/{pairs}"


def _is_guid(value: str) -> bool:
    parts = value.split("-")
    return [len(part) for part in parts] == [8, 4, 4, 4, 12] and all(c in "0123456789abcdefABCDEF-" for c in value)


def _resource_id(frame: Frame, node: Call, arguments: list[Any]) -> str:
    before, kind, names = _id_parts("resourceId", arguments, 2)
    facts = _facts(frame, node)
    subscription, group = facts.scope.subscription_id, facts.scope.resource_group
    if len(before) == 2:
        subscription, group = before
        if not _is_guid(before[0]):
            raise ExpressionError(
                f"The provided value '{before[0][:100]}' is not valid subscription identifier. Please see "
                "https://aka.ms/arm-function-resourceid for usage details."
            )
    elif before:
        if _is_guid(before[0]) and group is None:
            subscription = before[0]
        else:
            group = before[0]
    if subscription is None:
        return _below("", kind, names)
    if group is None:
        return _in_subscription(subscription, kind, names)
    return _below(f"/subscriptions/{subscription}/resourceGroups/{group}", kind, names)


def _in_subscription(subscription: str, kind: str, names: list[str]) -> str:
    if kind.lower() in ("microsoft.resources/resourcegroups", "microsoft.resources/subscriptions/resourcegroups"):
        return f"/subscriptions/{subscription}/resourceGroups/{names[-1]}"
    return _below(f"/subscriptions/{subscription}", kind, names)


def _subscription_resource_id(frame: Frame, node: Call, arguments: list[Any]) -> str:
    before, kind, names = _id_parts("subscriptionResourceId", arguments, 1)
    facts = _facts(frame, node)
    subscription = before[0] if before else facts.scope.subscription_id
    if subscription is None:
        raise _not_at("subscriptionResourceId", facts.kind)
    return _in_subscription(subscription, kind, names)


def _tenant_resource_id(frame: Frame, node: Call, arguments: list[Any]) -> str:
    _, kind, names = _id_parts("tenantResourceId", arguments, 0)
    return _below("", kind, names)


def _extension_resource_id(frame: Frame, node: Call, arguments: list[Any]) -> str:
    scope, (_, kind, names) = (
        text("extensionResourceId", arguments[0]),
        _id_parts("extensionResourceId", arguments[1:], 0),
    )
    return _below(scope, kind, names)


def _management_group_resource_id(frame: Frame, node: Call, arguments: list[Any]) -> str:
    before, kind, names = _id_parts("managementGroupResourceId", arguments, 1)
    facts = _facts(frame, node)
    group = before[0] if before else str((facts.management_group or {}).get("name", ""))
    if not group:
        raise _not_at("managementGroupResourceId", facts.kind)
    return _below(f"/providers/Microsoft.Management/managementGroups/{group}", kind, names)


# --- what is read from outside


def _read(frame: Frame, node: Call, key: tuple[str, ...]) -> Any:
    if frame.runtime is None:
        raise _misplaced(node.name)
    if key not in frame.runtime:
        raise Pending(key)
    value = frame.runtime[key]
    if isinstance(value, Problem):
        raise value
    return value


def _resource(frame: Frame, node: Call, given: Any) -> tuple[str, str]:
    """The id that a name, symbolic name or id means, and the api-version the template has for it."""
    name = text(node.name, given)
    if frame.runtime is None:
        raise _misplaced(node.name)
    found = frame.known.named(name) if frame.known is not None else None
    if found is not None:
        return str(found[0]), str(found[1])
    try:
        if not name.startswith("/"):
            raise ValueError
        return str(ResourceId.parse(name)), ""
    except (Problem, ValueError):
        raise ExpressionError(
            f"The template reference '{name[:200]}' is not valid: could not find template resource or resource copy "
            "with this name. Please see https://aka.ms/arm-function-reference for usage details."
        ) from None


def _reference(frame: Frame, node: Call, arguments: list[Any]) -> Any:
    id, version = _resource(frame, node, arguments[0])
    given = text("reference", arguments[1]) if len(arguments) > 1 and arguments[1] is not None else ""
    full = text("reference", arguments[2]).lower() if len(arguments) > 2 else ""
    if given.lower() == "full" and len(arguments) == 2:
        given, full = "", "full"
    if full not in ("", "full", "properties"):
        raise ExpressionError(
            f"The template function 'reference' option '{full[:50]}' is not valid: 'Full' is expected. Please see "
            "https://aka.ms/arm-function-reference for usage details."
        )
    if not (given or version):
        raise ExpressionError(
            f"The template resource reference '{arguments[0]}' is not valid: an api-version must be given for a "
            "resource that is not in the template. Please see https://aka.ms/arm-function-reference for usage details."
        )
    return _read(
        frame, node, ("reference", str(ResourceId.parse(id)), given or version, full if full == "full" else "")
    )


def _references(frame: Frame, node: Call, arguments: list[Any]) -> Any:
    name = text("references", arguments[0])
    rows = frame.known.loop(name) if frame.known is not None else None
    if rows is None:
        raise ExpressionError(
            f"The template function 'references' expects the symbolic name of a copy: '{name[:100]}'."
        )
    full = "full" if len(arguments) > 1 and str(arguments[1]).lower() == "full" else ""
    return [_read(frame, node, ("reference", str(ResourceId.parse(id)), version, full)) for id, version in rows]


def _list(frame: Frame, node: Call, arguments: list[Any]) -> Any:
    if not 1 <= len(arguments) <= 3:
        raise ExpressionError(
            f"Unable to evaluate template language function '{node.name}': function requires '1' to '3' arguments "
            f"while '{len(arguments)}' were provided."
        )
    id, version = _resource(frame, node, arguments[0])
    given = text(node.name, arguments[1]) if len(arguments) > 1 and arguments[1] is not None else version
    if not given:
        raise ExpressionError(f"The template function '{node.name}' expects an api-version as its second parameter.")
    body = obj(node.name, arguments[2]) if len(arguments) > 2 and arguments[2] is not None else None
    encoded = msgspec.json.encode(body).decode() if body is not None else ""
    return _read(frame, node, (node.name, str(ResourceId.parse(id)), given, encoded))


def _providers(frame: Frame, node: Call, arguments: list[Any]) -> Any:
    namespace = text("providers", arguments[0])
    kind = text("providers", arguments[1]) if len(arguments) > 1 else None
    found = _facts(frame, node).providers(namespace, kind)
    if found is None:
        raise ExpressionError(
            f"The resource provider '{namespace[:100]}' or its type '{(kind or '')[:100]}' is not found. Please see "
            "https://aka.ms/arm-functions#providers for usage details."
        )
    return found


def _pick_zones(frame: Frame, node: Call, arguments: list[Any]) -> list[str]:
    many = integer("pickZones", arguments[3]) if len(arguments) > 3 else 1
    offset = integer("pickZones", arguments[4]) if len(arguments) > 4 else 0
    if not 1 <= many <= 3 or not 0 <= offset <= 2:
        raise ExpressionError("The template language function 'pickZones' expects one to three zones.")
    if text("pickZones", arguments[1]).lower() not in _ZONED:
        return []
    return sorted(str((offset + at) % 3 + 1) for at in range(many))


_ZONED = frozenset({"virtualmachines", "virtualmachinescalesets", "disks", "publicipaddresses", "networkinterfaces"})


def _logical_zone(frame: Frame, node: Call, arguments: list[Any]) -> str:
    return text(node.name, arguments[2]).rpartition("-az")[2]


def _physical_zone(frame: Frame, node: Call, arguments: list[Any]) -> str:
    return f"{text(node.name, arguments[1]).replace(' ', '').lower()}-az{text(node.name, arguments[2])}"


FUNCTIONS: Mapping[str, Function] = placed(
    {
        **{name: (0, 0, _fact(name)) for name in ("deployment", "resourceGroup", "subscription", "managementGroup")},
        **{name: (0, 0, _fact(name)) for name in ("tenant", "environment", "deployer")},
        "parameters": (1, 1, _parameter),
        "variables": (1, 1, _variable),
        "copyIndex": (0, 2, _copy_index),
        "utcNow": (0, 1, _utc_now),
        "newGuid": (0, 0, _new_guid),
        "resourceId": (2, None, _resource_id),
        "subscriptionResourceId": (2, None, _subscription_resource_id),
        "tenantResourceId": (2, None, _tenant_resource_id),
        "extensionResourceId": (3, None, _extension_resource_id),
        "managementGroupResourceId": (2, None, _management_group_resource_id),
        "reference": (1, 3, _reference),
        "references": (1, 2, _references),
        "providers": (1, 2, _providers),
        "pickZones": (3, 5, _pick_zones),
        "toLogicalZone": (3, 3, _logical_zone),
        "toPhysicalZone": (3, 3, _physical_zone),
    }
)


def lister(name: str) -> Function:
    """`listKeys`, `listAccountSas`, … : every function whose name begins so."""
    return Function(name=name, least=1, most=3, placed=_list)


__all__ = ["FUNCTIONS", "NAMESPACE", "lister"]
