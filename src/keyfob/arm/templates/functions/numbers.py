"""Numbers, comparisons and logic. `if`, `and`, `or` and `coalesce` evaluate no more than they need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keyfob.arm.templates.evaluate import Frame, run
from keyfob.arm.templates.expressions import Call, ExpressionError
from keyfob.arm.templates.functions.table import boolean, integer, lazy, pure, same, text, type_name, wrong

_SMALLEST, _LARGEST = -(2**63), 2**63 - 1


def _sized(value: int) -> int:
    if not _SMALLEST <= value <= _LARGEST:
        raise ExpressionError("The template language function result is too large or too small for an Int64.")
    return value


def _arithmetic(name: str, do: Callable[[int, int], int]) -> Callable[[Any, Any], int]:
    return lambda a, b: _sized(do(integer(name, a), integer(name, b)))


def _divided(a: int, b: int) -> int:
    if b == 0:
        raise ExpressionError("Unable to evaluate template language function 'div': attempted to divide by zero.")
    whole = abs(a) // abs(b)
    return whole if (a < 0) == (b < 0) else -whole


def _rest(a: int, b: int) -> int:
    if b == 0:
        raise ExpressionError("Unable to evaluate template language function 'mod': attempted to divide by zero.")
    return a - b * _divided(a, b)


def _int(value: Any) -> int:
    try:
        if isinstance(value, str) and len(value) < 30:
            return _sized(int(value.strip()))
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _sized(int(value))
    except (ValueError, OverflowError):
        pass
    if isinstance(value, str):
        raise ExpressionError(
            f"The template language function 'int' cannot convert the value '{value[:100]}' to an integer. Please see "
            "https://aka.ms/arm-functions#int for usage details."
        )
    raise wrong("int", value, "String", "Integer")


def _float(value: Any) -> float:
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise wrong("float", value, "String", "Integer")


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value != 0
    if isinstance(value, str) and value.strip().lower() in ("true", "1", "false", "0"):
        return value.strip().lower() in ("true", "1")
    raise wrong("bool", value, "Boolean", "Integer")


def _comparison(name: str, holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(a: Any, b: Any) -> bool:
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (a, b))
        if not numbers and not (isinstance(a, str) and isinstance(b, str)):
            raise ExpressionError(
                f"The template language function '{name}' expects two parameters of matching types. The function was "
                f"invoked with values of type '{type_name(a)}' and '{type_name(b)}'. Please see "
                f"https://aka.ms/arm-functions#{name.lower()} for usage details."
            )
        return holds(a, b)

    return compare


PURE = pure(
    {
        "add": (2, 2, _arithmetic("add", lambda a, b: a + b)),
        "sub": (2, 2, _arithmetic("sub", lambda a, b: a - b)),
        "mul": (2, 2, _arithmetic("mul", lambda a, b: a * b)),
        "div": (2, 2, _arithmetic("div", _divided)),
        "mod": (2, 2, _arithmetic("mod", _rest)),
        "int": (1, 1, _int),
        "float": (1, 1, _float),
        "bool": (1, 1, _bool),
        "true": (0, 0, lambda: True),
        "false": (0, 0, lambda: False),
        "not": (1, 1, lambda a: not boolean("not", a)),
        "xor": (2, 2, lambda a, b: boolean("xor", a) is not boolean("xor", b)),
        "equals": (2, 2, same),
        "greater": (2, 2, _comparison("greater", lambda a, b: bool(a > b))),
        "greaterOrEquals": (2, 2, _comparison("greaterOrEquals", lambda a, b: bool(a >= b))),
        "less": (2, 2, _comparison("less", lambda a, b: bool(a < b))),
        "lessOrEquals": (2, 2, _comparison("lessOrEquals", lambda a, b: bool(a <= b))),
    }
)


def _if(frame: Frame, node: Call) -> Any:
    chosen = 1 if boolean("if", run(node.arguments[0], frame)) else 2
    return run(node.arguments[chosen], frame)


def _and(frame: Frame, node: Call) -> bool:
    return all(boolean("and", run(argument, frame)) for argument in node.arguments)


def _or(frame: Frame, node: Call) -> bool:
    return any(boolean("or", run(argument, frame)) for argument in node.arguments)


def _coalesce(frame: Frame, node: Call) -> Any:
    for argument in node.arguments:
        value = run(argument, frame)
        if value is not None:
            return value
    return None


def _fail(frame: Frame, node: Call) -> Any:
    raise ExpressionError(text("fail", run(node.arguments[0], frame)))


LAZY = lazy(
    {
        "if": (3, 3, _if),
        "and": (2, None, _and),
        "or": (2, None, _or),
        "coalesce": (1, None, _coalesce),
        "fail": (1, 1, _fail),
    }
)
FUNCTIONS = {**PURE, **LAZY}
