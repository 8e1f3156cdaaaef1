"""`main`, with `--app FOLDER --port N --state FOLDER`; the keys' digests come in the variable `functions.keys`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from .discovery import HTTP, TIMER, AppError, Function, discover, read_host_file
from .invocation import Invoker
from .keys import Keys
from .logs import HOST, Levels, configure
from .timers import Timers
from .web import Site, serve

KEYS = "functions.keys"
"""No app setting can have this name: their periods are rewritten."""

log = logging.getLogger(HOST)


def main() -> int:
    parser = argparse.ArgumentParser(prog="functions host")
    parser.add_argument("--app", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    given = parser.parse_args()
    debug = os.environ.get("PYTHON_ENABLE_DEBUG_LOGGING", "").strip().lower() in {"1", "true"}
    configure(sys.stdout, Levels({}, os.environ), debug=debug)
    keys = Keys.read(json.loads(os.environ.pop(KEYS, "{}")))
    try:
        host = read_host_file(given.app, os.environ)
        configure(sys.stdout, Levels(host.levels, os.environ), debug=debug)
        functions = discover(given.app, os.environ)
        invoker = Invoker(timeout=host.timeout, overrun=_end)
        site = Site(functions=functions, host=host, keys=keys, invoker=invoker, settings=os.environ)
        timers = Timers(functions=functions, settings=os.environ, state=given.state, invoker=invoker)
    except AppError as error:
        log.error("%s", error)
        return 1
    for function in functions:
        _tell(function)
    site.fire = timers.by_hand
    server = serve(site, given.port)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: timers.stop())
    log.info("Host started: %s", ", ".join(f"{one.name} [{one.kind}]" for one in functions))
    threading.Thread(target=timers.run, name="timers", daemon=True).start()
    while not timers.stopped(0.5):
        pass
    server.shutdown()
    return 0


def _tell(function: Function) -> None:
    if function.disabled:
        log.info("Function '%s' is disabled", function.name)
    elif function.kind not in (HTTP, TIMER):
        log.error("The '%s' of function '%s' is not served by this host: it does not run", function.kind, function.name)
    elif function.unserved:
        kinds = ", ".join(function.unserved)
        log.error("The '%s' of function '%s' is not served by this host: its calls fail", kinds, function.name)


def _end() -> None:
    """At once: code that cannot be stopped is still at work. The platform starts the host again."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
