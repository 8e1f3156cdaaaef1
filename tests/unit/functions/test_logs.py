"""How lines look, and which are shown."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import pytest

from keyfob.hosts.app_service.functions.embedded.logs import HOST, Levels, Lines, running


def lines(said: dict[str, str], settings: dict[str, str] | None = None) -> str:
    """What is shown of an Information and a Warning from the host, about a function, and from its code."""
    stream = io.StringIO()
    handler = Lines(stream, Levels(said, settings or {}))
    for level in (logging.INFO, logging.WARNING):
        for name, about, inside in ((HOST, "", ""), (HOST, "hello", ""), ("my.code", "", "hello"), ("thread", "", "")):
            before = running.set(inside)
            record = logging.LogRecord(name, level, "", 1, f"{name} {about or inside or 'nothing'}", (), None)
            record.function = about
            handler.handle(record)
            running.reset(before)
    return stream.getvalue()


ALL = """[Information]   host nothing
[Information]   host hello
[Information]   my.code hello
[Information]   thread nothing
[Warning]   host nothing
[Warning]   host hello
[Warning]   my.code hello
[Warning]   thread nothing
"""


@pytest.mark.parametrize(
    ("said", "settings", "shown"),
    [
        ({}, {}, ALL.splitlines()),
        ({"default": "Nonsense"}, {}, ALL.splitlines()),
        ({"default": "warning"}, {}, ALL.splitlines()[4:]),
        ({"Function": "None"}, {}, [line for line in ALL.splitlines() if "hello" not in line]),
        ({"default": "None", "Function.hello.User": "Information"}, {}, ALL.splitlines()[2:7:4]),
        ({"Function.hello": "Error", "Host": "Error"}, {}, []),
        ({"default": "None"}, {"AzureFunctionsJobHost__logging__logLevel__default": "Warning"}, ALL.splitlines()[4:]),
        (
            {"default": "None"},
            {"AzureFunctionsJobHost__logging__logLevel__Function__hello__User": "Warning"},
            ["[Warning]   my.code hello"],
        ),
    ],
)
def test_levels(said: dict[str, str], settings: dict[str, str], shown: list[str]) -> None:
    assert lines(said, settings).splitlines() == shown


def test_code_of_a_function_is_known_by_where_it_runs(folder: Path, caplog: Any) -> None:
    pytest.importorskip("azure.functions", reason="azure-functions is not installed")
    from keyfob.hosts.app_service.functions.embedded.discovery import discover
    from keyfob.hosts.app_service.functions.embedded.invocation import Invoker

    code = "import logging\nimport azure.functions as func\napp = func.FunctionApp()\n"
    for kind, name in (("def", "one"), ("async def", "two")):
        code += f"@app.route(route='{name}')\n{kind} {name}(req):\n    logging.info('within')\n    return 'x'\n"
    (folder / "function_app.py").write_text(code)
    caplog.set_level("INFO")
    seen = []

    class Seeing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "within":
                seen.append(running.get())

    handler = Seeing()
    logging.getLogger().addHandler(handler)
    try:
        invoker = Invoker()
        for function in discover(folder, {}):
            invoker.run(function, "a test", object())
    finally:
        logging.getLogger().removeHandler(handler)
    assert seen == ["one", "two"]
    assert running.get() == ""
