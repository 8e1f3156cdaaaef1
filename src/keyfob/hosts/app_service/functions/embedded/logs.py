"""What is logged, and how a line looks: `[Information]   Executing 'Functions.hello' (…)`.

Categories are Azure's: `Function.NAME` for the host's lines about an invocation, `Function.NAME.User` for what its code
logs, `Host.Startup` for the rest. `logging.logLevel` of host.json says the least level of each by the beginning of its
name, and an app setting `AzureFunctionsJobHost__logging__logLevel__CATEGORY` says it over host.json
(learn.microsoft.com, configure-monitoring).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TextIO

HOST = "host"
"""The logger of this host's own modules. A record's `function` says which function it is about."""

DEFAULT = "default"
_OVER = "azurefunctionsjobhost__logging__loglevel__"
_LEAST = {
    "trace": logging.NOTSET,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 1,
}
_NAMES = (
    (logging.CRITICAL, "Critical"),
    (logging.ERROR, "Error"),
    (logging.WARNING, "Warning"),
    (logging.INFO, "Information"),
    (logging.DEBUG, "Debug"),
)

running: ContextVar[str] = ContextVar("running", default="")
"""The function whose code runs here."""


class Levels:
    """Beginning of a category, in lower case → least level. What is no level counts for nothing."""

    def __init__(self, said: Mapping[str, str], settings: Mapping[str, str]) -> None:
        over = {name.lower()[len(_OVER) :].replace("__", "."): level for name, level in settings.items()
                if name.lower().startswith(_OVER)}  # fmt: skip
        merged = {**{name.lower(): level for name, level in said.items()}, **over}
        self._least = {name: _LEAST[level.lower()] for name, level in merged.items() if level.lower() in _LEAST}

    def shows(self, category: str, level: int) -> bool:
        category = category.lower()
        fitting = [name for name in self._least if category.startswith(name)]
        return level >= self._least.get(max(fitting, key=len, default=DEFAULT), logging.INFO)


class _Named(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        level = next((name for least, name in _NAMES if record.levelno >= least), "Trace")
        return f"[{level}]   {super().format(record)}"


class Lines(logging.StreamHandler[TextIO]):
    def __init__(self, stream: TextIO, levels: Levels) -> None:
        super().__init__(stream)
        self.setFormatter(_Named())
        self._levels = levels

    def filter(self, record: logging.LogRecord) -> bool:
        return self._levels.shows(category(record), record.levelno)


def category(record: logging.LogRecord) -> str:
    if record.name == HOST:
        about = getattr(record, "function", "")
        return f"Function.{about}" if about else "Host.Startup"
    inside = running.get()
    return f"Function.{inside}.User" if inside else "Host.Function.Console"


def configure(stream: TextIO, levels: Levels, *, debug: bool) -> None:
    """`debug`: PYTHON_ENABLE_DEBUG_LOGGING, without which Python's own loggers give nothing below INFO, as on Azure."""
    logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, handlers=[Lines(stream, levels)], force=True)
