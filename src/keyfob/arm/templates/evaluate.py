"""What expressions mean. Evaluation is pure and synchronous: what must be read from outside is asked for by raising
`Pending`; who drives the evaluation reads it, puts it into the frame's `runtime`, and evaluates again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from keyfob.arm.templates.expressions import Access, Call, ExpressionError, Literal, Node, is_expression, parse, plain

MOST_STEPS = 1_000_000
"""Calls and accesses in one evaluation of a deployment's part: what bombs meet."""
LARGEST_TEXT = 1_048_576
"""Characters of a string that an expression makes."""
LARGEST_ARRAY = 100_000


class Pending(Exception):
    """A value that must be read first: `("reference", id, api-version, full)` or `("list…", id, api-version, body)`."""

    def __init__(self, key: tuple[str, ...]) -> None:
        super().__init__(key[0])
        self.key = key


class Budget:
    """Counts the steps of one deployment's expressions."""

    __slots__ = ("left", "size")

    def __init__(self, steps: int = MOST_STEPS, size: int = 64 * LARGEST_TEXT) -> None:
        self.left = steps
        self.size = size

    def spend(self, steps: int = 1) -> None:
        self.left -= steps
        if self.left < 0:
            raise ExpressionError("The template language expressions need more evaluation steps than are allowed.")

    def keep(self, value: Any) -> Any:
        """The value, if it is not too large; and together with all before it."""
        if isinstance(value, str):
            if len(value) > LARGEST_TEXT:
                raise ExpressionError(
                    f"The template language function result is too long. Limit: '{LARGEST_TEXT}' characters."
                )
            self.size -= len(value)
        elif isinstance(value, list | dict):
            if len(value) > LARGEST_ARRAY:
                raise ExpressionError(
                    f"The template language function result is too large. Limit: '{LARGEST_ARRAY}' items."
                )
            self.size -= 32 * len(value)
        if self.size < 0:
            raise ExpressionError("The template language expressions produce more data than is allowed.")
        return value


@dataclass(frozen=True, slots=True)
class UserFunction:
    name: str
    parameters: tuple[str, ...]
    output: Any


class Names:
    """What `parameters()` and `variables()` give: worked out when first asked for, remembered, cycles found."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.values: dict[str, Any] = {}
        self.waiting: dict[str, Callable[[Frame], Any]] = {}
        self._busy: set[str] = set()

    def get(self, frame: Frame, name: str) -> Any:
        key = name.lower()
        if key in self.values:
            return self.values[key]
        make = self.waiting.get(key)
        if make is None:
            raise ExpressionError(
                f"The template {self.kind} '{name}' is not found. Please see "
                f"https://aka.ms/arm-template/#{self.kind}s for usage details."
            )
        if key in self._busy:
            raise ExpressionError(
                f"The template {self.kind} '{name}' is not valid: it refers to itself. Please see "
                f"https://aka.ms/arm-syntax-{self.kind}s for usage details."
            )
        self._busy.add(key)
        try:
            value = self.values[key] = make(frame)
        finally:
            self._busy.discard(key)
        return value


@dataclass(slots=True)
class Loop:
    """One `copy` that is going round."""

    name: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where an expression stands: its names, its loops, what it may read."""

    parameters: Names
    variables: Names
    functions: Mapping[str, UserFunction] = field(default_factory=dict)
    facts: Any = None
    """`facts.Facts`: the deployment, its scope, the cloud."""
    runtime: Mapping[tuple[str, ...], Any] | None = None
    """What has been read; None where `reference` and `list…` may not stand."""
    known: Any = None
    """`template.Known`: the template's own resources, by name, symbolic name and id."""
    loops: tuple[Loop, ...] = ()
    locals: Mapping[str, Any] = field(default_factory=dict)
    """Variables of lambdas, in lower case."""
    only: str = ""
    """`function` inside user functions (nothing from outside), `default` in parameter defaults."""
    budget: Budget = field(default_factory=Budget)
    trees: dict[str, Node] = field(default_factory=dict)
    """Parsed expressions, shared by all frames of a deployment."""

    def within(self, **more: Any) -> Frame:
        return replace(self, **more)


def evaluate(value: Any, frame: Frame) -> Any:
    """Any JSON value with every expression in it replaced by what it says. Raises `ExpressionError`, `Pending`."""
    if isinstance(value, str):
        return evaluate_text(value, frame)
    if isinstance(value, dict):
        return evaluate_object(value, frame)
    if isinstance(value, list):
        return [evaluate(one, frame) for one in value]
    return value


def evaluate_text(text: str, frame: Frame) -> Any:
    if not is_expression(text):
        return plain(text)
    tree = frame.trees.get(text)
    if tree is None:
        tree = frame.trees[text] = parse(text)
    try:
        return run(tree, frame)
    except RecursionError:
        raise ExpressionError("The template language expression is nested too deep.") from None


def evaluate_object(value: dict[str, Any], frame: Frame) -> dict[str, Any]:
    """Names may be expressions too; a member `copy` that lists loops becomes the members those make."""
    made: dict[str, Any] = {}
    for name, one in value.items():
        if name.lower() == "copy" and is_property_copy(one):
            for loop in one:
                made[str(evaluate(loop["name"], frame))] = property_copy(loop, frame)
            continue
        key = evaluate_text(name, frame) if name.startswith("[") else name
        if not isinstance(key, str):
            raise ExpressionError(f"The property name '{name[:200]}' must evaluate to a string.")
        made[key] = evaluate(one, frame)
    return made


def is_property_copy(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) and "name" in one and "count" in one and "input" in one for one in value)
    )


def property_copy(loop: Mapping[str, Any], frame: Frame) -> list[Any]:
    name = str(evaluate(loop["name"], frame))
    count = copy_count(evaluate(loop["count"], frame), name)
    frame.budget.spend(count)
    return [
        evaluate(loop["input"], frame.within(loops=(*frame.loops, Loop(name.lower(), index)))) for index in range(count)
    ]


MOST_COPIES = 800


def copy_count(count: Any, name: str, *, most: int = MOST_COPIES) -> int:
    if not isinstance(count, int) or isinstance(count, bool):
        raise ExpressionError(
            f"The template copy '{name}' is not valid: the copy count must be an integer. Please see "
            "https://aka.ms/arm-copy for usage details."
        )
    if not 0 <= count <= most:
        raise ExpressionError(
            f"The template copy definition '{name}' has a count value '{count}' that is outside the allowed range of "
            f"0 to '{most}'. Please see https://aka.ms/arm-copy for usage details."
        )
    return count


def run(node: Node, frame: Frame) -> Any:
    frame.budget.spend()
    if isinstance(node, Literal):
        return node.value
    if isinstance(node, Access):
        value = run(node.value, frame)
        if node.safe and value is None:
            return None
        return access(value, run(node.property, frame), safe=node.safe)
    if node.namespace:
        return _user_function(node, frame)
    from keyfob.arm.templates.functions import find

    function = find(node.key)
    if function is None:
        raise ExpressionError(
            f"The template function '{node.name}' is not valid. Please see https://aka.ms/arm-functions for usage "
            "details."
        )
    function.check(node)
    if function.lazy is not None:
        return frame.budget.keep(function.lazy(frame, node))
    arguments = [run(argument, frame) for argument in node.arguments]
    # what goes through a large value costs more than one step
    size = sum(len(one) for one in arguments if isinstance(one, str | list | dict))
    if size > 64:
        frame.budget.spend(size >> 4)
    if function.placed is not None:
        return frame.budget.keep(function.placed(frame, node, arguments))
    assert function.pure is not None
    return frame.budget.keep(function.pure(*arguments))


def access(value: Any, key: Any, *, safe: bool = False) -> Any:
    """`value.key`, `value[key]`: names compare without regard to case."""
    if isinstance(value, dict):
        if not isinstance(key, str):
            raise ExpressionError(
                f"The language expression property '{key}' can't be evaluated, property name must be a string."
            )
        found, inside = member(value, key)
        if found or safe:
            return inside
        raise ExpressionError(
            f"The language expression property '{key}' doesn't exist, available properties are "
            f"'{', '.join(list(value)[:50])}'."
        )
    if isinstance(value, list):
        if not isinstance(key, int) or isinstance(key, bool):
            raise ExpressionError(
                f"The language expression property '{key}' can't be evaluated, property index must be an integer."
            )
        if 0 <= key < len(value):
            return value[key]
        if safe:
            return None
        raise ExpressionError(f"The language expression property array index '{key}' is out of bounds.")
    raise ExpressionError(f"The language expression property '{key}' can't be evaluated.")


def member(value: Mapping[str, Any], key: str) -> tuple[bool, Any]:
    if key in value:
        return True, value[key]
    low = key.lower()
    for name, inside in value.items():
        if name.lower() == low:
            return True, inside
    return False, None


def _user_function(node: Call, frame: Frame) -> Any:
    function = frame.functions.get(f"{node.namespace}.{node.name}".lower())
    if function is None:
        raise ExpressionError(
            f"The template function '{node.namespace}.{node.name}' is not found. Please see "
            "https://aka.ms/arm-syntax-functions for usage details."
        )
    if len(node.arguments) != len(function.parameters):
        raise ExpressionError(
            f"The template function '{node.namespace}.{node.name}' expects '{len(function.parameters)}' argument(s) "
            f"while '{len(node.arguments)}' were provided."
        )
    names = Names("parameter")
    for name, argument in zip(function.parameters, node.arguments, strict=True):
        names.values[name.lower()] = run(argument, frame)
    inside = frame.within(
        parameters=names, variables=Names("variable"), runtime=None, known=None, loops=(), locals={}, only="function"
    )
    return frame.budget.keep(evaluate(function.output, inside))
