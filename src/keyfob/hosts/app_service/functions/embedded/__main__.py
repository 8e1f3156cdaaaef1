"""`python -m … --app FOLDER --port N --state FOLDER`; the keys' digests come in the variable FUNCTIONS_KEYS."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from .discovery import AppError, discover, read_host_file
from .invocation import Invoker
from .keys import Keys
from .timers import TIMER, Timers
from .web import HTTP, Site, serve

KEYS = "FUNCTIONS_KEYS"
SERVED = frozenset({HTTP, TIMER})

log = logging.getLogger("host")


def main() -> int:
    parser = argparse.ArgumentParser(prog="functions host")
    parser.add_argument("--app", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(name)s: %(message)s")
    keys = Keys.read(json.loads(os.environ.pop(KEYS, "{}")))
    try:
        host = read_host_file(given.app)
        functions = discover(given.app, os.environ)
        invoker = Invoker()
        site = Site(functions=functions, host=host, keys=keys, invoker=invoker)
        timers = Timers(functions=functions, settings=os.environ, state=given.state, invoker=invoker)
    except AppError as error:
        log.error("%s", error)
        return 1
    for function in functions:
        if function.disabled:
            log.info("Function '%s' is disabled", function.name)
        elif function.kind not in SERVED:
            log.error(
                "The '%s' of function '%s' is not served by this host: it does not run", function.kind, function.name
            )
    site.fire = timers.by_hand
    server = serve(site, given.port)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: timers.stop())
    log.info("Host started: %s", ", ".join(f"{one.name} [{one.kind}]" for one in functions))
    waiting = threading.Thread(target=timers.run, name="timers", daemon=True)
    waiting.start()
    while not timers.stopped(0.5):
        pass
    server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
