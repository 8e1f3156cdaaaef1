"""Logs: JSON lines for machines, one readable line for a terminal, and no secrets in either.

Code never logs a token or a secret; the pattern check here is the last line of defence, for what slips into an
exception text of some library. It looks at the finished text, tracebacks included.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import IO, Any

HIDDEN = "***"

_SECRET_NAMES = (
    "access_token|refresh_token|id_token|client_secret|client_assertion|assertion|secret_text|secretText|"
    "password|passwd|pwd|code_verifier|device_code|sharedaccesskey|accountkey|x-identity-header|identity_header|secret|sig"
)
_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?")
_BEARER = re.compile(r"(?i)\b(bearer|basic|sharedaccesssignature)\s+[A-Za-z0-9._~+/=%&-]{8,}")
_PAIR = re.compile(rf"(?i)(?<![A-Za-z])({_SECRET_NAMES})(=|%3D)[^&\s\"';,]+")
_MEMBER = re.compile(rf"(?i)([\"']({_SECRET_NAMES})[\"']\s*:\s*)(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')")
_NAME = re.compile(_SECRET_NAMES, re.IGNORECASE)
_PRIVATE_KEY = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has: the rest is what `extra` brought."""


def redact(text: str) -> str:
    """`text` without anything that looks like a credential."""
    text = _PRIVATE_KEY.sub(HIDDEN, text)
    text = _JWT.sub(HIDDEN, text)
    text = _BEARER.sub(rf"\1 {HIDDEN}", text)
    text = _MEMBER.sub(rf'\1"{HIDDEN}"', text)
    return _PAIR.sub(rf"\1\2{HIDDEN}", text)


class JsonLines(logging.Formatter):
    """`{"time", "level", "logger", "message", …extra, "error"}`, one line each."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        entry.update({name: value for name, value in _extras(record).items() if name not in entry})
        if record.exc_info:
            entry["error"] = redact(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


class Readable(logging.Formatter):
    """`10:15:02 warning keyfob.http: message | request_id=…`, the traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")  # local time: someone is looking
        extras = " ".join(f"{name}={value}" for name, value in _extras(record).items())
        line = f"{moment} {record.levelname.lower()} {record.name}: {record.getMessage()}"
        if extras:
            line += f" | {extras}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return redact(line)


def configure(level: str = "info", *, stream: IO[str] | None = None, form: str = "auto") -> None:
    """Sends the logs of this package and of the libraries to `stream` (stderr). `form` is `json`, `text`, or `auto`:
    text where a terminal reads, JSON lines elsewhere."""
    target = stream if stream is not None else sys.stderr
    if form not in ("auto", "json", "text"):
        raise ValueError(f"log form {form!r} is none of auto, json, text")
    readable = form == "text" or (form == "auto" and target.isatty())
    handler = logging.StreamHandler(target)
    handler.setFormatter(Readable() if readable else JsonLines())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("keyfob").setLevel(level.upper())


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {name: _plain(name, value) for name, value in vars(record).items() if name not in _STANDARD}


def _plain(name: str, value: Any) -> Any:
    if _NAME.fullmatch(name):
        return HIDDEN
    return value if value is None or isinstance(value, bool | int | float) else redact(str(value))
