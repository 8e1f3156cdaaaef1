"""Arrays and objects: concat, contains, union, items, … and the functions that take lambdas."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

from keyfob.arm.templates.evaluate import LARGEST_ARRAY, LARGEST_TEXT, Frame, access, member, run
from keyfob.arm.templates.expressions import Call, ExpressionError
from keyfob.arm.templates.functions.strings import to_text
from keyfob.arm.templates.functions.table import Function, array, boolean, integer, lazy, obj, pure, same, text, wrong


def _concat(*values: Any) -> Any:
    if isinstance(values[0], list):
        return [one for value in values for one in array("concat", value)]
    if any(isinstance(value, list | dict) or value is None for value in values):
        bad = next(value for value in values if isinstance(value, list | dict) or value is None)
        raise wrong("concat", bad, "String", "Integer")
    parts = [to_text(value) for value in values]
    if sum(map(len, parts)) > LARGEST_TEXT:
        raise ExpressionError(f"The template language function 'concat' result is too long. Limit: '{LARGEST_TEXT}'.")
    return "".join(parts)


def _contains(container: Any, item: Any) -> bool:
    if isinstance(container, list):
        return any(same(one, item) for one in container)
    if isinstance(container, dict):
        return member(container, text("contains", item))[0]
    if isinstance(container, str):
        if isinstance(item, list | dict | bool) or item is None:
            raise wrong("contains", item, "String")
        return to_text(item) in container
    raise wrong("contains", container, "Array", "Object", "String")


def _empty(value: Any) -> bool:
    if value is None or isinstance(value, str | list | dict):
        return not value
    raise wrong("empty", value, "Array", "Object", "String")


def _first(value: Any) -> Any:
    if isinstance(value, str):
        return value[:1]
    return next(iter(array("first", value)), None)


def _last(value: Any) -> Any:
    if isinstance(value, str):
        return value[-1:]
    return array("last", value)[-1] if value else None


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-16-le", "surrogatepass")) // 2  # as .NET counts
    if isinstance(value, list | dict):
        return len(value)
    raise wrong("length", value, "Array", "Object", "String")


def _numbers(function: str, values: tuple[Any, ...]) -> list[int]:
    given = values[0] if len(values) == 1 and isinstance(values[0], list) else values
    if not given:
        raise ExpressionError(f"The template language function '{function}' expects at least one integer.")
    return [integer(function, one) for one in given]


def _range(start: Any, count: Any) -> list[int]:
    first, many = integer("range", start), integer("range", count)
    if many < 0 or many > 10_000 or first + many > 2_147_483_647:
        raise ExpressionError(
            "The template language function 'range' expects a count from 0 to '10000', and a sum of start and count of "
            "at most '2147483647'. Please see https://aka.ms/arm-functions#range for usage details."
        )
    return list(range(first, first + many))


def _skip(value: Any, count: Any) -> Any:
    many = max(0, integer("skip", count))
    return value[many:] if isinstance(value, str) else array("skip", value)[many:]


def _take(value: Any, count: Any) -> Any:
    many = max(0, integer("take", count))
    return value[:many] if isinstance(value, str) else array("take", value)[:many]


def _unique(rows: list[Any]) -> list[Any]:
    seen: dict[str, Any] = {}
    for row in rows:
        seen.setdefault(_key(row), row)
    return list(seen.values())


def _key(row: Any) -> str:
    return json.dumps(row, sort_keys=True)


def _union(*values: Any) -> Any:
    if isinstance(values[0], dict):
        return functools.reduce(_merge, (obj("union", value) for value in values))
    return _unique([one for value in values for one in array("union", value)])


def _merge(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    made = dict(a)
    for name, value in b.items():
        there = made.get(name)
        made[name] = _merge(there, value) if isinstance(there, dict) and isinstance(value, dict) else value
    return made


def _intersection(*values: Any) -> Any:
    if isinstance(values[0], dict):
        rest = [obj("intersection", value) for value in values[1:]]
        return {k: v for k, v in values[0].items() if all(k in one and same(one[k], v) for one in rest)}
    keys = [{_key(one) for one in array("intersection", value)} for value in values[1:]]
    return _unique([one for one in array("intersection", values[0]) if all(_key(one) in known for known in keys)])


def _flatten(value: Any) -> list[Any]:
    made: list[Any] = []
    for one in array("flatten", value):
        made += one if isinstance(one, list) else [one]
    return made


def _index_of(function: str, last: bool) -> Callable[[Any, Any], int]:
    def find(where: Any, what: Any) -> int:
        if isinstance(where, str):
            low, part = where.lower(), text(function, what).lower()
            return low.rfind(part) if last else low.find(part)
        rows = [at for at, one in enumerate(array(function, where)) if same(one, what)]
        return (rows[-1] if last else rows[0]) if rows else -1

    return find


def _from_end(value: Any, index: Any) -> Any:
    rows, at = array("indexFromEnd", value), integer("indexFromEnd", index)
    if not 1 <= at <= len(rows):
        raise ExpressionError(f"The language expression property array index '{at}' from the end is out of bounds.")
    return rows[-at]


def _try_from_end(value: Any, index: Any, *more: Any) -> Any:
    rows, at = value, integer("tryIndexFromEnd", index)
    if not isinstance(rows, list) or not 1 <= at <= len(rows):
        return None
    return _try_get(rows[-at], *more) if more else rows[-at]


def _try_get(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict) and isinstance(key, str):
            value = member(value, key)[1]
        elif isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            return None
    return value


def _create_object(*values: Any) -> dict[str, Any]:
    if len(values) % 2:
        raise ExpressionError(
            "The template language function 'createObject' expects an even number of parameters: names and values. "
            "Please see https://aka.ms/arm-functions#createobject for usage details."
        )
    return {text("createObject", values[at]): values[at + 1] for at in range(0, len(values), 2)}


def _items(value: Any) -> list[dict[str, Any]]:
    return [{"key": name, "value": inside} for name, inside in sorted(obj("items", value).items(), key=_by_name)]


def _by_name(pair: tuple[str, Any]) -> str:
    return pair[0].lower()


def _shallow_merge(value: Any) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for one in array("shallowMerge", value):
        made |= obj("shallowMerge", one)
    return made


def _zip_range(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


PURE = pure(
    {
        "array": (1, 1, _zip_range),
        "concat": (1, None, _concat),
        "contains": (2, 2, _contains),
        "createArray": (0, None, lambda *values: list(values)),
        "empty": (1, 1, _empty),
        "first": (1, 1, _first),
        "last": (1, 1, _last),
        "length": (1, 1, _length),
        "min": (1, None, lambda *values: min(_numbers("min", values))),
        "max": (1, None, lambda *values: max(_numbers("max", values))),
        "range": (2, 2, _range),
        "skip": (2, 2, _skip),
        "take": (2, 2, _take),
        "union": (1, None, _union),
        "intersection": (1, None, _intersection),
        "flatten": (1, 1, _flatten),
        "indexOf": (2, 2, _index_of("indexOf", False)),
        "lastIndexOf": (2, 2, _index_of("lastIndexOf", True)),
        "indexFromEnd": (2, 2, _from_end),
        "tryIndexFromEnd": (2, None, _try_from_end),
        "tryGet": (2, None, _try_get),
        "createObject": (0, None, _create_object),
        "items": (1, 1, _items),
        "objectKeys": (1, 1, lambda value: sorted(obj("objectKeys", value), key=str.lower)),
        "shallowMerge": (1, 1, _shallow_merge),
        "null": (0, 0, lambda: None),
    }
)


# --- lambdas: `lambda('x', 'i', lambdaVariables('x'))`


def _lambda(frame: Frame, node: Call, at: int, least: int, most: int) -> Callable[..., Any]:
    made = node.arguments[at]
    if not isinstance(made, Call) or made.key != "lambda" or made.namespace or not made.arguments:
        raise ExpressionError(
            f"The template language function '{node.name}' expects a lambda as its argument '{at + 1}'."
        )
    names = [str(run(argument, frame)).lower() for argument in made.arguments[:-1]]
    if not least <= len(names) <= most:
        raise ExpressionError(
            f"The template language function '{node.name}' expects a lambda of '{least}' to '{most}' variables while "
            f"'{len(names)}' were provided."
        )
    body = made.arguments[-1]

    def call(*values: Any) -> Any:
        return run(body, frame.within(locals={**frame.locals, **dict(zip(names, values, strict=False))}))

    return call


def _rows(frame: Frame, node: Call) -> list[Any]:
    return array(node.name, run(node.arguments[0], frame))


def _map(frame: Frame, node: Call) -> list[Any]:
    rows, call = _rows(frame, node), _lambda(frame, node, 1, 1, 2)
    return [call(row, at) for at, row in enumerate(rows)]


def _filter(frame: Frame, node: Call) -> list[Any]:
    rows, call = _rows(frame, node), _lambda(frame, node, 1, 1, 2)
    return [row for at, row in enumerate(rows) if boolean("filter", call(row, at))]


def _reduce(frame: Frame, node: Call) -> Any:
    rows, call = _rows(frame, node), _lambda(frame, node, 2, 2, 3)
    value = run(node.arguments[1], frame)
    for at, row in enumerate(rows):
        value = frame.budget.keep(call(value, row, at))
    return value


def _sort(frame: Frame, node: Call) -> list[Any]:
    rows, call = _rows(frame, node), _lambda(frame, node, 1, 2, 2)

    def order(a: Any, b: Any) -> int:
        if boolean("sort", call(a, b)):
            return -1
        return 1 if boolean("sort", call(b, a)) else 0

    return sorted(rows, key=functools.cmp_to_key(order))


def _group_by(frame: Frame, node: Call) -> dict[str, Any]:
    made: dict[str, Any] = {}
    rows, call = _rows(frame, node), _lambda(frame, node, 1, 1, 2)
    for at, row in enumerate(rows):
        made.setdefault(text("groupBy", call(row, at)), []).append(row)
    return made


def _to_object(frame: Frame, node: Call) -> dict[str, Any]:
    rows, name = _rows(frame, node), _lambda(frame, node, 1, 1, 2)
    value = _lambda(frame, node, 2, 1, 2) if len(node.arguments) > 2 else _itself
    return {text("toObject", name(row, at)): value(row, at) for at, row in enumerate(rows)}


def _itself(row: Any, _at: int) -> Any:
    return row


def _map_values(frame: Frame, node: Call) -> dict[str, Any]:
    given = obj("mapValues", run(node.arguments[0], frame))
    call = _lambda(frame, node, 1, 1, 1)
    return {name: call(value) for name, value in given.items()}


def _variable(frame: Frame, node: Call) -> Any:
    name = text("lambdaVariables", run(node.arguments[0], frame))
    if name.lower() not in frame.locals:
        raise ExpressionError(f"The lambda variable '{name}' is not found.")
    return frame.locals[name.lower()]


def _stray(frame: Frame, node: Call) -> Any:
    raise ExpressionError("The template function 'lambda' is not expected at this location.")


LAZY = lazy(
    {
        "map": (2, 2, _map),
        "filter": (2, 2, _filter),
        "reduce": (3, 3, _reduce),
        "sort": (2, 2, _sort),
        "groupBy": (2, 2, _group_by),
        "toObject": (2, 3, _to_object),
        "mapValues": (2, 2, _map_values),
        "lambda": (1, None, _stray),
        "lambdaVariables": (1, 1, _variable),
    }
)

FUNCTIONS: dict[str, Function] = {**PURE, **LAZY}
__all__ = ["FUNCTIONS", "LARGEST_ARRAY", "access"]
