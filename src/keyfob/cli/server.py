"""`keyfob up`, `down`, `status`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

from keyfob.cli.failure import Failure
from keyfob.cli.output import data_option, output_option, say, show_json
from keyfob.settings import Settings, read_settings
from keyfob.store.file_lock import is_held


@click.command()
@click.option("--detach", "-d", is_flag=True, help="Return when it is ready, and leave it running.")
@click.option("--data", envvar="KEYFOB_DATA", metavar="DIR", help="Folder of the database, keys and certificates.")
@click.option("--database", metavar="URL", help="postgresql://… to share one database among several nodes.")
@click.option("--port", type=int, metavar="PORT", help="Loopback port of the front door; 0 takes a free one.")
@click.option("--cloud", metavar="NAME", help="Cloud of the tenant made at first start; AzureCloud unless given.")
@click.option(
    "--availability",
    metavar="EDITION",
    help="What each cloud offers: current, 2019-06-19 or 2018-11-28; `keyfob services` shows them.",
)
@click.option(
    "--load",
    "seed",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Make what this template or seed says, as `keyfob load` does.",
)
def up(
    detach: bool,
    data: str | None,
    database: str | None,
    port: int | None,
    cloud: str | None,
    availability: str | None,
    seed: Path | None,
) -> None:
    """Start the server.

    \b
    Examples:
      keyfob up --detach
      keyfob up --data ./sandbox --port 0
      keyfob up --detach --load world.json
      keyfob up --database postgresql://keyfob@127.0.0.1/keyfob
    """
    settings = read_settings(data=data, database=database, port=port, cloud=cloud, availability=availability)
    if running := _running(settings.data):
        raise Failure(
            f"A server with this data folder runs already (process {running['pid']}, port {running['port']})."
        )
    if detach:
        _detach(settings)
        _welcome(settings)
        _load(settings, seed)
        return
    from keyfob.app import serve

    ready = os.environ.pop("KEYFOB_READY_FD", None)

    def greet() -> None:
        _welcome(settings)
        _load(settings, seed)

    serve(settings, ready_fd=int(ready) if ready else None, on_ready=None if ready else greet)


def _load(settings: Settings, seed: Path | None) -> None:
    if seed is not None:
        from keyfob.cli.client import Client
        from keyfob.cli.load import load_file

        load_file(seed, Client(settings.data))


def _detach(settings: Settings) -> None:
    """A child in a session of its own; it writes one line to a pipe when it listens, or says why it cannot."""
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "keyfob", "up", "--data", str(settings.data), "--port", str(settings.port)]
    command += ["--cloud", settings.cloud, "--availability", settings.availability]
    command += ["--database", settings.database] if settings.database else []
    with settings.log_file.open("ab") as log:
        log_start = log.tell()
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[writing],
            env={**os.environ, "KEYFOB_READY_FD": str(writing)},
        )
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        if pipe.readline():
            return
    child.wait()
    with settings.log_file.open("rb") as log:
        log.seek(log_start)
        last = log.read().decode(errors="replace").strip().splitlines()
    raise Failure(f"The server did not start: {last[-1].removeprefix('keyfob: ') if last else 'it said nothing'}")


def _welcome(settings: Settings) -> None:
    from keyfob.cli.client import Client  # brings http.client; a server that was started for others never greets

    if settings.database and not settings.operator_file.exists():  # another node made the operator
        say(f"Keyfob is up, data in {settings.data}", fg="green")
        say(f"  copy operator.json from the node that started first to {settings.data}, and commands work here too")
        return
    client = Client(settings.data)
    door = f"https://{client.server['address']}:{client.server['port']}"
    say(f"Keyfob is up: {door} (process {client.server['pid']}), data in {settings.data}", fg="green")
    say(f"  cloud {client.operator['cloud']}  tenant {client.operator['tenant_id']}")
    say(f"  subscription {client.operator['subscription_id']}")


@click.command()
@data_option
def down(data: Path) -> None:
    """Stop the server; what it acknowledged is on disk.

    Example: keyfob down
    """
    running = _running(data)
    if not running:
        say(f"No server is running for {data}.")
        return
    os.kill(running["pid"], signal.SIGTERM)
    for _ in range(300):
        if not is_held(data / "server.lock"):
            say("stopped", fg="green")
            return
        time.sleep(0.05)
    raise Failure(f"Process {running['pid']} does not stop; its log is {data / 'keyfob.log'}.")


@click.command()
@output_option
@data_option
def status(output: str, data: Path) -> None:
    """Say whether a server runs here, and where.

    Example: keyfob status --output json
    """
    from keyfob.cli.client import Client

    running = _running(data)
    if output == "json":
        show_json({"running": bool(running), "data": str(data), **(running or {})})
    elif running:
        _welcome(read_settings(data=data))
        health = Client(data).send("GET", f"{Client(data).operator['resource_manager']}/healthz")
        say(f"  health {health.body.decode().strip()}")
    else:
        say(f"No server is running for {data}. Start one with `keyfob up --detach`.")
    if not running:
        sys.exit(3)


def _running(data: Path) -> dict[str, Any] | None:
    """What the server of this folder said of itself. Only the lock tells that it runs: after a crash the file stays,
    and its process id may be anybody's by then."""
    if not is_held(data / "server.lock"):
        return None
    try:
        known: dict[str, Any] = json.loads((data / "server.json").read_text())
    except (OSError, ValueError):
        return None
    return known
