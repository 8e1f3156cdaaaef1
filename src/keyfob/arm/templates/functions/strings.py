"""Text: concatenating, encoding, formatting, hashing. Rules of case are .NET's: Resource Manager is written in it."""

from __future__ import annotations

import base64
import binascii
import json
import re
import uuid
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import msgspec

from keyfob.arm.templates.evaluate import LARGEST_TEXT
from keyfob.arm.templates.expressions import ExpressionError
from keyfob.arm.templates.functions.table import array, integer, pure, text, wrong

NAMESPACE = uuid.UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830")
"""Of `guid()`: what Resource Manager hashes names under (RFC 4122, version 5)."""
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_WHOLE = 0xFFFFFFFF
_HOLE = re.compile(r"\{\{|\}\}|\{(\d{1,4})(?:,(-?\d{1,4}))?(?::((?:[^{}]|\{\{|\}\})*))?\}|[{}]")


def to_text(value: Any) -> str:
    """What `string()` says of any value."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "True" if value else "False"
    if value is None:
        return ""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def format_text(pattern: Any, *values: Any) -> str:
    """.NET's composite formatting, as far as templates use it: `{0}`, `{0,10}`, `{0:D3}`, `{{`."""
    made: list[str] = []
    size = 0

    def fill(found: re.Match[str]) -> str:
        nonlocal size
        if found[0] in ("{{", "}}"):
            return found[0][0]
        if found[1] is None:
            raise ExpressionError("The template language function 'format' expects a valid format string.")
        if int(found[1]) >= len(values):
            raise ExpressionError(
                "Unable to evaluate the template language function 'format'. Index (zero based) must be greater than "
                "or equal to zero and less than the size of the argument list."
            )
        shown = _formatted(values[int(found[1])], found[3] or "")
        width = int(found[2] or 0)
        shown = shown.ljust(-width) if width < 0 else shown.rjust(width)
        size += len(shown)
        if size > LARGEST_TEXT:
            raise ExpressionError(f"The template language function 'format' result is too long: '{LARGEST_TEXT}'.")
        return shown

    made.append(_HOLE.sub(fill, text("format", pattern)))
    return made[0]


def _formatted(value: Any, how: str) -> str:
    if not how or not isinstance(value, int | float) or isinstance(value, bool):
        return to_text(value)
    kind, digits = how[0].upper(), how[1:]
    places = int(digits) if digits.isdigit() and len(digits) < 3 else None
    if kind == "D" and isinstance(value, int):
        return f"{value:0{(places or 0) + (value < 0)}d}"
    if kind == "X" and isinstance(value, int):
        shown = f"{value & 0xFFFFFFFFFFFFFFFF:0{places or 0}x}"
        return shown.upper() if how[0] == "X" else shown
    if kind == "N":
        return f"{value:,.{2 if places is None else places}f}"
    if kind == "F":
        return f"{value:.{2 if places is None else places}f}"
    if set(how) == {"0"} and isinstance(value, int):
        return f"{value:0{len(how)}d}"
    return to_text(value)


def _rotated(value: int, by: int) -> int:
    return ((value << by) | (value >> (32 - by))) & _WHOLE


def _mixed(value: int) -> int:
    value ^= value >> 16
    value = value * 0x85EBCA6B & _WHOLE
    value ^= value >> 13
    value = value * 0xC2B2AE35 & _WHOLE
    return value ^ value >> 16


def murmur(data: bytes) -> int:
    """64 bits by Resource Manager's own variant of MurmurHash3: two lanes of 32 bits, constants of its x86 form."""
    one, two = 0x239B961B, 0xAB0E9789
    low = high = 0
    whole = len(data) - len(data) % 8
    for at in range(0, whole, 8):
        part = int.from_bytes(data[at : at + 4], "little")
        low ^= _rotated(part * one & _WHOLE, 15) * two & _WHOLE
        low = ((_rotated(low, 19) + high) * 5 + 0x561CCD1B) & _WHOLE
        part = int.from_bytes(data[at + 4 : at + 8], "little")
        high ^= _rotated(part * two & _WHOLE, 17) * one & _WHOLE
        high = ((_rotated(high, 13) + low) * 5 + 0x0BCAA747) & _WHOLE
    rest = data[whole:]
    if rest:
        low ^= _rotated(int.from_bytes(rest[:4], "little") * one & _WHOLE, 15) * two & _WHOLE
    if len(rest) > 4:
        high ^= _rotated(int.from_bytes(rest[4:], "little") * two & _WHOLE, 17) * one & _WHOLE
    low ^= len(data)
    high ^= len(data)
    low = (low + high) & _WHOLE
    high = (high + low) & _WHOLE
    low, high = _mixed(low), _mixed(high)
    low = (low + high) & _WHOLE
    high = (high + low) & _WHOLE
    return high << 32 | low


def base32(value: int) -> str:
    """13 letters of 64 bits, the highest five first."""
    return "".join(_ALPHABET[(value << 5 * at & 0xFFFFFFFFFFFFFFFF) >> 59] for at in range(13))


def unique_string(*parts: Any) -> str:
    return base32(murmur("-".join(text("uniqueString", part) for part in parts).encode("utf-8", "replace")))


def _guid(*parts: Any) -> str:
    return str(uuid.uuid5(NAMESPACE, "-".join(text("guid", part) for part in parts)))


def _encoded(value: str) -> str:
    return base64.b64encode(value.encode("utf-8", "replace")).decode()


def _decoded(function: str, value: str) -> str:
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise ExpressionError(
            f"Unable to evaluate template language function '{function}': the value is not a valid base64 text."
        ) from None


def _json(value: Any) -> Any:
    if isinstance(value, list | dict):
        return value
    try:
        return msgspec.json.decode(text("json", value))
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        pass
    from keyfob.arm.templates.source import read_source
    from keyfob.errors import Problem

    try:  # Newtonsoft's reader takes single quotes and more
        return read_source(value.encode("utf-8", "replace")).value
    except Problem:
        raise ExpressionError(
            "The template language function 'json' parameter is not valid. The provided value "
            f"'{value[:200]}' cannot be parsed as JSON. Please see https://aka.ms/arm-functions#json for usage details."
        ) from None


def _data_uri_text(value: Any) -> str:
    head, comma, data = text("dataUriToString", value).partition(",")
    if not head.lower().startswith("data:") or not comma:
        raise ExpressionError("The template language function 'dataUriToString' expects a data URI.")
    return _decoded("dataUriToString", data) if head.lower().endswith(";base64") else unquote(data)


def _join(values: Any, delimiter: Any) -> str:
    mark = text("join", delimiter)
    parts = [to_text(one) for one in array("join", values)]
    if sum(map(len, parts)) + len(mark) * len(parts) > LARGEST_TEXT:
        raise ExpressionError(f"The template language function 'join' result is too long. Limit: '{LARGEST_TEXT}'.")
    return mark.join(parts)


def _pad_left(value: Any, width: Any, mark: Any = " ") -> str:
    if isinstance(value, list | dict | bool) or value is None:
        raise wrong("padLeft", value, "String", "Integer")
    size, fill = integer("padLeft", width), text("padLeft", mark)
    if len(fill) != 1 or not 0 <= size <= 2000:
        raise ExpressionError(
            "The template language function 'padLeft' expects one character and a length up to '2000'."
        )
    return to_text(value).rjust(size, fill)


def _replace(value: Any, old: Any, new: Any) -> str:
    where, what, by = text("replace", value), text("replace", old), text("replace", new)
    if not what:
        raise ExpressionError("The template language function 'replace' expects a text to replace that is not empty.")
    if len(where) + where.count(what) * max(0, len(by) - len(what)) > LARGEST_TEXT:
        raise ExpressionError(f"The template language function 'replace' result is too long. Limit: '{LARGEST_TEXT}'.")
    return where.replace(what, by)


def _split(value: Any, marks: Any) -> list[str]:
    given = [text("split", mark) for mark in (marks if isinstance(marks, list) else [marks])]
    wanted = sorted((re.escape(mark) for mark in given if mark), key=len, reverse=True)
    return re.split("|".join(wanted), text("split", value)) if wanted else [text("split", value)]


def _substring(value: Any, start: Any, length: Any = None) -> str:
    whole, at = text("substring", value), integer("substring", start)
    many = len(whole) - at if length is None else integer("substring", length)
    if at < 0 or many < 0 or at + many > len(whole):
        raise ExpressionError(
            "Unable to evaluate template language function 'substring': the index and length parameters must refer to "
            f"a location within the string. The string length: '{len(whole)}', the startIndex parameter: '{at}', the "
            f"length parameter: '{many}'. Please see https://aka.ms/arm-functions#substring for usage details."
        )
    return whole[at : at + many]


def _uri(base: Any, relative: Any) -> str:
    whole = text("uri", base)
    try:
        if not urlsplit(whole).scheme:
            raise ValueError
        return urljoin(whole, text("uri", relative))
    except ValueError:
        raise ExpressionError(
            f"The template language function 'uri' expects its first parameter to be an absolute URI: '{whole[:200]}'. "
            "Please see https://aka.ms/arm-functions#uri for usage details."
        ) from None


FUNCTIONS = pure(
    {
        "base64": (1, 1, lambda v: _encoded(text("base64", v))),
        "base64ToString": (1, 1, lambda v: _decoded("base64ToString", text("base64ToString", v))),
        "base64ToJson": (1, 1, lambda v: _json(_decoded("base64ToJson", text("base64ToJson", v)))),
        "dataUri": (1, 1, lambda v: f"data:text/plain;charset=utf8;base64,{_encoded(to_text(v))}"),
        "dataUriToString": (1, 1, _data_uri_text),
        "endsWith": (2, 2, lambda v, w: text("endsWith", v).lower().endswith(text("endsWith", w).lower())),
        "startsWith": (2, 2, lambda v, w: text("startsWith", v).lower().startswith(text("startsWith", w).lower())),
        "format": (1, None, format_text),
        "guid": (1, None, _guid),
        "join": (2, 2, _join),
        "json": (1, 1, _json),
        "padLeft": (2, 3, _pad_left),
        "replace": (3, 3, _replace),
        "split": (2, 2, _split),
        "string": (1, 1, to_text),
        "substring": (2, 3, _substring),
        "toLower": (1, 1, lambda v: text("toLower", v).lower()),
        "toUpper": (1, 1, lambda v: text("toUpper", v).upper()),
        "trim": (1, 1, lambda v: text("trim", v).strip()),
        "uniqueString": (1, None, unique_string),
        "uri": (2, 2, _uri),
        "uriComponent": (1, 1, lambda v: quote(text("uriComponent", v), safe="-_.~")),
        "uriComponentToString": (1, 1, lambda v: unquote(text("uriComponentToString", v))),
    }
)
