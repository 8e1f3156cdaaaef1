"""Templates as people write them: JSON with comments, trailing commas, strings over several lines, bare names.

azure-cli 2.x does not send JSON when it deploys a file: it splices the file's text into the body, as
`{"properties": {"mode": "Incremental", "parameters": {…}, template:<text of the file>}}`
(`JsonCTemplatePolicy` in azure-cli-core), so that errors can name the line and column of the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from keyfob.errors import InvalidInput, TooLarge

LARGEST = 4 * 1024 * 1024
"""Bytes of a template, as Resource Manager's own limit."""
DEEPEST = 100
_NOTED = 5
"""How deep places are remembered: deep enough for a nested template's resources to be named by their parent."""

_SPACE = re.compile(r"(?:[\s\ufeff]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SINGLE = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?")
_NAME = re.compile(r"[A-Za-z_$][\w$.-]*")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_WORDS: Mapping[str, Any] = {"true": True, "false": False, "null": None}

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: both count from 1."""

    line: int
    column: int


class Unreadable(InvalidInput):
    """Text that is no JSON however tolerantly it is read."""

    code = "InvalidRequestContent"

    def __init__(self, reason: str, place: Place) -> None:
        super().__init__(
            "The request content was invalid and could not be deserialized: "
            f"'{reason}, line {place.line}, position {place.column}.'."
        )
        self.reason, self.place = reason, place


class Source:
    """A text and what it says. Places are found only when somebody asks for one."""

    def __init__(self, text: str, value: Any, places: dict[Path, int] | None = None) -> None:
        self.text = text
        self.value = value
        self._places = places

    def place(self, path: Path, *, within: Path = ()) -> Place:
        """Of the value at `path`, counted from the start of the one at `within`; the nearest that is known."""
        if self._places is None:
            try:
                self._places = _Reader(self.text).read()._places or {}
            except InvalidInput:
                self._places = {}
        start = self._places.get(within, 0)
        while path not in self._places and path:
            path = path[:-1]
        return _place(self.text, max(start, self._places.get(path, 0)), start)


def read_source(body: bytes, *, largest: int = LARGEST) -> Source:
    """Raises `Unreadable`, or `TooLarge`."""
    if len(body) > largest:
        raise TooLarge(
            f"The request content size exceeds the maximum size of '{largest // (1024 * 1024)} MB'.",
            code="RequestContentTooLarge",
        )
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable("it is not UTF-8", _place("", 0)) from error
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return _Reader(text).read()
    if _depth(value) > DEEPEST:
        raise Unreadable(f"it is nested more than {DEEPEST} levels deep", Place(1, 1))
    return Source(text, value)


def _depth(value: Any) -> int:
    deepest, rest = 0, [(value, 1)]
    while rest:
        one, depth = rest.pop()
        deepest = max(deepest, depth)
        if depth > DEEPEST:
            return depth
        inside = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        rest += [(child, depth + 1) for child in inside if isinstance(child, dict | list)]
    return deepest


def _place(text: str, at: int, start: int = 0) -> Place:
    before = text[start:at]
    return Place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._places: dict[Path, int] = {}

    def read(self) -> Source:
        value = self._value((), 1)
        self._skip()
        if self._at < len(self._text):
            raise self._no(f"unexpected character '{self._text[self._at]}' after the end")
        return Source(self._text, value, self._places)

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        if self._text.startswith("/*", self._at):
            raise self._no("a comment does not end")

    def _peek(self) -> str:
        self._skip()
        return self._text[self._at : self._at + 1]

    def _no(self, reason: str) -> Unreadable:
        return Unreadable(reason, _place(self._text, self._at))

    def _value(self, path: Path, depth: int) -> Any:
        if depth > DEEPEST:
            raise self._no(f"it is nested more than {DEEPEST} levels deep")
        first = self._peek()
        if len(path) <= _NOTED:
            self._places[path] = self._at
        if first == "{":
            return self._object(path, depth)
        if first == "[":
            return self._array(path, depth)
        if first in ('"', "'"):
            return self._string()
        if number := _NUMBER.match(self._text, self._at):
            if len(number[0]) > 400:
                raise self._no("a number is too long")
            self._at = number.end()
            return float(number[0]) if number[1] or number[2] else int(number[0])
        name = _NAME.match(self._text, self._at)
        if name and name[0] in _WORDS:
            self._at = name.end()
            return _WORDS[name[0]]
        raise self._no(f"unexpected character '{first}'" if first else "unexpected end")

    def _string(self) -> str:
        pattern = _STRING if self._text[self._at] == '"' else _SINGLE
        found = pattern.match(self._text, self._at)
        if not found:
            raise self._no("a string does not end")
        self._at = found.end()
        if "\\" not in found[1]:
            return found[1]
        # halves of a surrogate pair come as two escapes
        text = _ESCAPE.sub(_unescape, found[1])
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _key(self) -> str:
        if self._peek() in ('"', "'"):
            return self._string()
        found = _NAME.match(self._text, self._at)
        if not found:
            raise self._no("a property name is expected")
        self._at = found.end()
        return found[0]

    def _object(self, path: Path, depth: int) -> dict[str, Any]:
        self._at += 1
        value: dict[str, Any] = {}
        while self._peek() != "}":
            key = self._key()
            if self._peek() != ":":
                raise self._no(f"a colon is expected after '{key[:100]}'")
            self._at += 1
            value[key] = self._value((*path, key) if len(path) < _NOTED else (*path, ""), depth + 1)
            if self._peek() == ",":
                self._at += 1
            elif self._peek() != "}":
                raise self._no("a comma or the end of the object is expected")
        self._at += 1
        return value

    def _array(self, path: Path, depth: int) -> list[Any]:
        self._at += 1
        value: list[Any] = []
        while self._peek() != "]":
            value.append(self._value((*path, len(value)) if len(path) < _NOTED else (*path, ""), depth + 1))
            if self._peek() == ",":
                self._at += 1
            elif self._peek() != "]":
                raise self._no("a comma or the end of the array is expected")
        self._at += 1
        return value


def _unescape(found: re.Match[str]) -> str:
    code = found[1]
    return chr(int(code[1:], 16)) if code[0] == "u" and len(code) == 5 else _ESCAPES.get(code, code)
