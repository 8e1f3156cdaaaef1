"""Runs the azure-cli of this interpreter once per line of stdin, each time in a fresh process that starts warm.

Started inside `keyfob run` with the interpreter of the az installation. A line is a JSON array of az's arguments; the
answer is a line `{"code", "out", "err"}`. What runs is `python -m azure.cli`, whole and unmodified: a fork that has its
modules imported already, which is what takes most of the two seconds of an `az` command.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
import threading
import time
from typing import IO, Any

LONGEST = 240.0
"""Seconds that a command may take."""


def warm() -> None:
    """Imports what commands import; leaves no state and, since processes are forked later, no threads."""
    import azure.cli.core.telemetry
    import msal
    import requests  # noqa: F401
    from azure.cli.core import get_default_cli

    cli: Any = get_default_cli()
    cli.invocation = cli.invocation_cls(
        cli_ctx=cli,
        parser_cls=cli.parser_cls,
        commands_loader_cls=cli.commands_loader_cls,
        help_cls=cli.help_cls,
    )
    loader = cli.invocation.commands_loader
    loader.load_command_table(None)
    azure.cli.core.telemetry._session.__init__()
    del msal


def child(arguments: list[str], out: IO[bytes], err: IO[bytes]) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for new, old in ((nothing, 0), (out.fileno(), 1), (err.fileno(), 2)):
        os.dup2(new, old)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    sys.argv = ["az", *arguments]
    code: Any = 1
    try:
        runpy.run_module("azure.cli", run_name="__main__")
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


def run(arguments: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = os.fork()
        if not process:
            child(arguments, out, err)
        ends = time.monotonic() + LONGEST
        while not (ended := os.waitpid(process, os.WNOHANG))[0]:
            if time.monotonic() > ends:
                os.kill(process, 9)
                ended = os.waitpid(process, 0)
                break
            time.sleep(0.01)
        out.seek(0)
        err.seek(0)
        return {
            "code": os.waitstatus_to_exitcode(ended[1]),
            "out": out.read().decode(errors="replace"),
            "err": err.read().decode(errors="replace"),
        }


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nothing that prints while it is imported may get between the answers
    warm()
    assert threading.active_count() == 1, threading.enumerate()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
