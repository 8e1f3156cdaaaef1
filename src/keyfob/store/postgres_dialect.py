"""The SQL that both databases share, written the way PostgreSQL reads it."""

from __future__ import annotations

import re
from itertools import count

_QUOTED = r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/"
_PLACEHOLDER = re.compile(rf"{_QUOTED}|\?", re.DOTALL)
_TYPE = re.compile(rf"{_QUOTED}|\bBLOB\b|(?<!\bAS )\bTEXT\b(?!\s+COLLATE)", re.DOTALL | re.IGNORECASE)
_TYPES = {"BLOB": "BYTEA", "TEXT": 'TEXT COLLATE "C"'}


def query(sql: str) -> str:
    """`?` becomes `$1`, `$2`…, except inside literals, quoted names and comments."""
    numbers = count(1)
    return _PLACEHOLDER.sub(lambda match: f"${next(numbers)}" if match[0] == "?" else match[0], sql)


def schema(sql: str) -> str:
    """The column types of a schema step. Text is ordered by its bytes, as in SQLite, whatever the locale."""
    return _TYPE.sub(lambda match: _TYPES.get(match[0].upper(), match[0]), sql)
