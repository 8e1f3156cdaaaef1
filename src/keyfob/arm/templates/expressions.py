"""The language inside `[…]`: its words and its tree. Pure; `evaluate.py` gives it meaning.

    expression = (string | integer | call) {"." name | "[" expression "]"}
    call       = name ["." name] "(" [expression {"," expression}] ")"

`[[` begins an ordinary text that starts with one bracket. Strings stand in single quotes, `''` is a quote in them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

LONGEST = 24_576
"""Characters of one expression, as Resource Manager's own limit."""
DEEPEST = 100

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][\w$]*)|(?P<mark>[()\[\].,?])|(?P<end>\Z))"
)
_MARKS = {
    "(": "LeftParenthesis",
    ")": "RightParenthesis",
    "[": "LeftSquareBracket",
    "]": "RightSquareBracket",
    ".": "Dot",
    ",": "Comma",
    "?": "QuestionMark",
}


class ExpressionError(Exception):
    """An expression that cannot be read or evaluated; the message is Resource Manager's sentence."""


@dataclass(frozen=True, slots=True)
class Literal:
    value: Any


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    """As written."""
    key: str
    """In lower case."""
    arguments: tuple[Node, ...]
    namespace: str = ""
    """Of a user function."""


@dataclass(frozen=True, slots=True)
class Access:
    value: Node
    property: Node
    safe: bool = False


Node = Literal | Call | Access


def is_expression(text: str) -> bool:
    return len(text) > 1 and text[0] == "[" and text[-1] == "]" and not text.startswith("[[")


def plain(text: str) -> str:
    """What a text that is no expression says."""
    return text[1:] if text.startswith("[[") and text.endswith("]") else text


def parse(text: str) -> Node:
    """The tree of `[…]`. Raises `ExpressionError`."""
    if len(text) > LONGEST:
        raise ExpressionError(
            f"The language expression length limit exceeded. Limit: '{LONGEST}' and actual: '{len(text)}'."
        )
    return _Parser(text[1:-1]).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while True:
            found = _TOKEN.match(text, at)
            if not found:
                at += len(text[at:]) - len(text[at:].lstrip())
                raise ExpressionError(
                    f"The language expression '{_short(text)}' is not valid: the string character '{text[at]}' at "
                    f"position '{at}' is not expected."
                )
            kind = str(found.lastgroup)
            self._tokens.append((kind, found[kind]))
            at = found.end()
            if kind == "end":
                break
        self._next = 0

    def parse(self) -> Node:
        node = self._expression(0)
        if self._peek()[0] != "end":
            raise self._expected("EndOfData")
        return node

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._next]

    def _take(self, mark: str) -> bool:
        if self._peek() == ("mark", mark):
            self._next += 1
            return True
        return False

    def _need(self, mark: str) -> None:
        if not self._take(mark):
            raise self._expected(_MARKS[mark])

    def _expected(self, what: str) -> ExpressionError:
        kind, text = self._peek()
        actual = {"end": "EndOfData", "string": "StringLiteral", "number": "Integer", "name": "Identifier"}.get(kind)
        return ExpressionError(
            f"Unable to parse language expression '{_short(self._text)}': expected token '{what}' and actual "
            f"'{actual or _MARKS[text]}'."
        )

    def _expression(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise ExpressionError(f"The language expression is nested more than '{DEEPEST}' levels deep.")
        kind, text = self._peek()
        node: Node
        if kind == "string":
            self._next += 1
            node = Literal(text[1:-1].replace("''", "'"))
        elif kind == "number":
            self._next += 1
            node = Literal(float(text) if "." in text else _integer(text))
        elif kind == "name":
            node = self._call(depth)
        else:
            raise self._expected("Identifier")
        return self._accesses(node, depth)

    def _accesses(self, node: Node, depth: int) -> Node:
        for _ in range(DEEPEST):
            if self._take("."):
                safe = self._take("?")
                kind, text = self._peek()
                if kind != "name":
                    raise self._expected("Identifier")
                self._next += 1
                node = Access(node, Literal(text), safe)
            elif self._take("["):
                safe = self._take("?")
                node = Access(node, self._expression(depth + 1), safe)
                self._need("]")
            else:
                return node
        raise ExpressionError(f"The language expression has more than '{DEEPEST}' properties in a row.")

    def _call(self, depth: int) -> Node:
        name, namespace = self._peek()[1], ""
        self._next += 1
        if self._take("."):
            kind, member = self._peek()
            if kind != "name":
                raise self._expected("Identifier")
            self._next += 1
            namespace, name = name, member
        self._need("(")
        arguments: list[Node] = []
        if not self._take(")"):
            arguments.append(self._expression(depth + 1))
            while self._take(","):
                arguments.append(self._expression(depth + 1))
            self._need(")")
        return Call(name, name.lower(), tuple(arguments), namespace)


def _integer(text: str) -> int:
    if len(text) > 20:
        raise ExpressionError(f"The language expression integer '{text[:30]}' is too large.")
    return int(text)


def _short(text: str) -> str:
    return text if len(text) <= 500 else text[:500] + "…"
