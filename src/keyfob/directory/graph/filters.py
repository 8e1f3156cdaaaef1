"""OData `$filter`, as far as directory objects need it: text → expression → yes or no about an object. Pure.

Comparisons `eq ne gt ge lt le in`, `startswith endswith contains`, `and or not`, parentheses, and
`collection/any(x: …)`. Text compares without regard to case, as in the directory. Anything else is refused in the
words of Microsoft Graph.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from keyfob.errors import InvalidInput

LONGEST = 8_000
DEEPEST = 32
"""Parentheses, `not` and lambdas inside one another."""

Test = Callable[[Mapping[str, Any], Mapping[str, Any]], bool]
"""Of an object and the lambda variables that stand for something."""

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>'(?:[^']|'')*')
    | (?P<time>\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d)?)
    | (?P<guid>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})
    | (?P<number>-?\d+(?:\.\d+)?)
    | (?P<name>[A-Za-z_@$][\w.$@]*(?:/[A-Za-z_$][\w.$]*)*)
    | (?P<mark>[(),:])
    )""",
    re.VERBOSE,
)
_WORDS: Mapping[str, Any] = {"true": True, "false": False, "null": None}
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
}
_FUNCTIONS: Mapping[str, Callable[[str, str], bool]] = {
    "startswith": str.startswith,
    "endswith": str.endswith,
    "contains": str.__contains__,
}


@dataclass(frozen=True, slots=True)
class Filter:
    """`equal`: what every match has: a property (or the collection of an `any`) and its value, to find it by index."""

    fits: Callable[[Mapping[str, Any]], bool]
    equal: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def parse_filter(text: str, properties: Collection[str], type_name: str) -> Filter:
    """`type_name` without namespace, for messages. Raises `InvalidInput` (`BadRequest`)."""
    if len(text) > LONGEST:
        raise InvalidInput("Invalid filter clause: The filter is too long.", code="BadRequest")
    parser = _Parser(text, frozenset(properties), type_name)
    test = parser.whole()
    return Filter(lambda value: test(value, {}), tuple(parser.equal))


class _Parser:
    def __init__(self, text: str, properties: frozenset[str], type_name: str) -> None:
        self._text = text
        self._properties = properties
        self._type = type_name
        self._tokens = list(self._split())
        self._place = 0
        self._depth = 0
        self._collection = ""
        self._variables: list[str] = []
        self.equal: list[tuple[str, Any]] = []

    # --- reading

    def _split(self) -> list[_Token]:
        found, at, end = [], 0, len(self._text.rstrip())
        while at < end:
            match = _TOKEN.match(self._text, at)
            if match is None or match.lastgroup is None:
                raise self._syntax(at)
            found.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            at = match.end()
        return found

    def _peek(self) -> _Token:
        if self._place < len(self._tokens):
            return self._tokens[self._place]
        return _Token("end", "", len(self._text))

    def _next(self) -> _Token:
        token = self._peek()
        self._place += 1
        return token

    def _is(self, word: str) -> bool:
        token = self._peek()
        return token.kind in ("name", "mark") and token.text.lower() == word

    def _take(self, word: str) -> None:
        if not self._is(word):
            raise self._syntax(self._peek().at)
        self._place += 1

    def _syntax(self, at: int) -> InvalidInput:
        return InvalidInput(
            f"Invalid filter clause: Syntax error at position {at} in '{self._text}'.", code="BadRequest"
        )

    # --- the grammar

    def whole(self) -> Test:
        test = self._either()
        if self._peek().kind != "end":
            raise self._syntax(self._peek().at)
        return test

    def _either(self) -> Test:
        before = len(self.equal)
        tests = [self._both()]
        while self._is("or"):
            self._place += 1
            tests.append(self._both())
        if len(tests) == 1:
            return tests[0]
        del self.equal[before:]  # of alternatives none is certain
        return lambda value, bound: any(test(value, bound) for test in tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._is("and"):
            self._place += 1
            tests.append(self._one())
        if len(tests) == 1:
            return tests[0]
        return lambda value, bound: all(test(value, bound) for test in tests)

    def _one(self) -> Test:
        self._depth += 1
        if self._depth > DEEPEST:
            raise InvalidInput("Invalid filter clause: The node count limit has been exceeded.", code="BadRequest")
        try:
            if self._is("not"):
                self._place += 1
                before = len(self.equal)
                inner = self._one()
                del self.equal[before:]
                return lambda value, bound: not inner(value, bound)
            if self._is("("):
                self._place += 1
                inner = self._either()
                self._take(")")
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Test:
        token = self._next()
        if token.kind != "name":
            raise self._syntax(token.at)
        low = token.text.lower()
        if self._is("("):
            if low in _FUNCTIONS:
                return self._function(_FUNCTIONS[low])
            if low.endswith("/any"):
                return self._any(token)
            raise InvalidInput(
                f"Invalid filter clause: An unknown function with name '{token.text}' was found. This may also be a "
                "function import or a key lookup on a navigation property, which is not allowed.",
                code="BadRequest",
            )
        read = self._property(token)
        operator = self._next()
        word = operator.text.lower() if operator.kind == "name" else ""
        if word == "in":
            return self._member_of(read)
        if word not in ("eq", "ne", *_ORDER):
            raise self._syntax(operator.at)
        wanted = self._literal()
        if word == "eq":
            self.equal.append((self._collection or token.text, wanted))
            return lambda value, bound: _same(read(value, bound), wanted)
        if word == "ne":
            return lambda value, bound: not _same(read(value, bound), wanted)
        compare = _ORDER[word]
        return lambda value, bound: _ordered(read(value, bound), wanted, compare)

    def _function(self, function: Callable[[str, str], bool]) -> Test:
        self._take("(")
        read = self._property(self._next())
        self._take(",")
        wanted = self._literal()
        self._take(")")
        if not isinstance(wanted, str):
            raise self._syntax(self._peek().at)
        folded = wanted.lower()

        def test(value: Mapping[str, Any], bound: Mapping[str, Any]) -> bool:
            found = read(value, bound)
            return isinstance(found, str) and function(found.lower(), folded)

        return test

    def _member_of(self, read: Callable[[Mapping[str, Any], Mapping[str, Any]], Any]) -> Test:
        self._take("(")
        wanted = [self._literal()]
        while self._is(","):
            self._place += 1
            wanted.append(self._literal())
        self._take(")")
        return lambda value, bound: any(_same(read(value, bound), one) for one in wanted)

    def _any(self, token: _Token) -> Test:
        path = token.text[: -len("/any")]
        read = self._property(_Token("name", path, token.at))
        self._take("(")
        if self._is(")"):
            self._place += 1
            return lambda value, bound: bool(read(value, bound))
        name = self._next()
        if name.kind != "name" or "/" in name.text or self._variables:
            raise self._syntax(name.at)
        self._take(":")
        self._variables.append(name.text)
        self._collection = path
        before = len(self.equal)
        inner = self._either()
        if len(self.equal) > before + 1:
            del self.equal[before:]
        self._collection = ""
        self._variables.pop()
        self._take(")")

        def test(value: Mapping[str, Any], bound: Mapping[str, Any]) -> bool:
            found = read(value, bound)
            return isinstance(found, list | tuple) and any(inner(value, {name.text: one}) for one in found)

        return test

    def _property(self, token: _Token) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
        if token.kind != "name":
            raise self._syntax(token.at)
        first, *rest = token.text.split("/")
        if first in self._variables:
            return lambda value, bound: _walk(bound.get(first), rest)
        if first not in self._properties:
            raise InvalidInput(
                f"Invalid filter clause: Could not find a property named '{first}' on type "
                f"'microsoft.graph.{self._type}'.",
                code="BadRequest",
            )
        return lambda value, bound: _walk(value.get(first), rest)

    def _literal(self) -> Any:
        token = self._next()
        if token.kind == "text":
            return token.text[1:-1].replace("''", "'")
        if token.kind in ("guid", "time"):
            return token.text
        if token.kind == "number":
            return float(token.text) if "." in token.text else int(token.text)
        if token.kind == "name" and token.text.lower() in _WORDS:
            return _WORDS[token.text.lower()]
        raise self._syntax(token.at)


def _walk(value: Any, path: list[str]) -> Any:
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(found, str) and isinstance(wanted, str):
        return found.lower() == wanted.lower()
    if isinstance(found, list | tuple):  # `tags eq 'x'` is no comparison the directory knows
        return False
    return type(found) is type(wanted) and bool(found == wanted)


def _ordered(found: Any, wanted: Any, compare: Callable[[Any, Any], bool]) -> bool:
    if isinstance(found, str) and isinstance(wanted, str):
        return compare(found.lower(), wanted.lower())
    if isinstance(found, bool) or isinstance(wanted, bool):
        return False
    if isinstance(found, int | float) and isinstance(wanted, int | float):
        return compare(found, wanted)
    return False
