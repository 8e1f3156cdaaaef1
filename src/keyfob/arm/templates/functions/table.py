"""What one function of the language is, and how its arguments are checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from keyfob.arm.templates.evaluate import Frame
from keyfob.arm.templates.expressions import Call, ExpressionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One of `pure` (values in, value out), `placed` (knows where it stands) and `lazy` (evaluates for itself)."""

    name: str
    least: int
    most: int | None
    """None: any number."""
    pure: Callable[..., Any] | None = None
    placed: Callable[[Frame, Call, list[Any]], Any] | None = None
    lazy: Callable[[Frame, Call], Any] | None = None

    def check(self, node: Call) -> None:
        given = len(node.arguments)
        if self.least <= given and (self.most is None or given <= self.most):
            return
        if self.most == self.least:
            wanted = f"exactly '{self.least}' argument(s)"
        elif self.most is None:
            wanted = f"at least '{self.least}' argument(s)"
        else:
            wanted = f"'{self.least}' to '{self.most}' arguments"
        raise ExpressionError(
            f"Unable to evaluate template language function '{self.name}': function requires {wanted} while '{given}' "
            f"were provided. Please see https://aka.ms/arm-functions#{self.name.lower()} for usage details."
        )


Rows = Mapping[str, tuple[int, int | None, Callable[..., Any]]]
"""Name → least and most arguments, and what it does."""


def pure(rows: Rows) -> dict[str, Function]:
    return {k.lower(): Function(name=k, least=a, most=b, pure=f) for k, (a, b, f) in rows.items()}


def placed(rows: Rows) -> dict[str, Function]:
    return {k.lower(): Function(name=k, least=a, most=b, placed=f) for k, (a, b, f) in rows.items()}


def lazy(rows: Rows) -> dict[str, Function]:
    return {k.lower(): Function(name=k, least=a, most=b, lazy=f) for k, (a, b, f) in rows.items()}


_TYPES: Mapping[type, str] = {
    str: "String",
    bool: "Boolean",
    int: "Integer",
    float: "Float",
    list: "Array",
    dict: "Object",
    type(None): "Null",
}


def type_name(value: Any) -> str:
    return _TYPES.get(type(value), "Object")


def wrong(function: str, value: Any, *expected: str) -> ExpressionError:
    wanted = "' or '".join(expected)
    return ExpressionError(
        f"The template language function '{function}' expects its parameter to be of type '{wanted}'. The provided "
        f"value is of type '{type_name(value)}'. Please see https://aka.ms/arm-functions#{function.lower()} for usage "
        "details."
    )


def text(function: str, value: Any) -> str:
    if not isinstance(value, str):
        raise wrong(function, value, "String")
    return value


def integer(function: str, value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong(function, value, "Integer")
    return value


def array(function: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise wrong(function, value, "Array")
    return value


def obj(function: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise wrong(function, value, "Object")
    return value


def boolean(function: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong(function, value, "Boolean")
    return value


def same(a: Any, b: Any) -> bool:
    """Deep equality that keeps true apart from 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)
