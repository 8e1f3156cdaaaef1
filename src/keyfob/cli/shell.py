"""`keyfob shell`: an interactive shell on a host."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import click

from keyfob.cli.client import Client
from keyfob.cli.hosts import client_id_option, host_option, run_as, service_account_option
from keyfob.cli.output import data_option, tenant_option
from keyfob.resource_id import ResourceId


class Shell(NamedTuple):
    command: list[str]
    environ: Mapping[str, str]


@click.command()
@host_option
@service_account_option
@client_id_option
@tenant_option
@data_option
def shell(host: str, service_account: str | None, client_id: str | None, tenant: str | None, data: Path) -> None:
    """A shell on a host: $SHELL, with a prompt that names the host.

    What is typed there runs as `keyfob run` runs it: the host's token endpoint and every Azure name are there, nothing
    else is. The shell's exit code is the command's.

    \b
    Examples:
      keyfob shell --as web
      keyfob shell --as fleet_0
      echo 'curl -s https://shop.vault.azure.net/' | keyfob shell --as web
    """
    client = Client(data, tenant)
    host_id = client.find_host(host)
    wish = {"service_account": service_account or "", "client_id": client_id or ""}
    with prepared(os.environ, "/".join(ResourceId.parse(host_id).names)) as made:
        code = run_as(client, host_id, made.command, wish=wish, environ=made.environ)
    sys.exit(code)


@contextmanager
def prepared(environ: Mapping[str, str], name: str) -> Iterator[Shell]:
    """The shell to start, for as long as its files are there. `name` is what its prompt says of the host.

    Start files of bash and zsh set the prompt anew, so those two read theirs first and then ours.
    """
    label = f"({re.sub(r'[^A-Za-z0-9._/-]', '_', name)}) "
    wanted = environ.get("SHELL") or ""
    program = wanted if shutil.which(wanted) else "/bin/sh"
    kind = os.path.basename(program)
    if kind not in ("bash", "zsh"):
        yield Shell([program], {**environ, "PS1": f"{label}$ "})
        return
    with tempfile.TemporaryDirectory(prefix="keyfob-shell-") as folder:
        home = environ.get("ZDOTDIR") or environ.get("HOME") or "/"
        if kind == "bash":
            file = Path(folder) / "bashrc"
            file.write_text(f'[ -r ~/.bashrc ] && . ~/.bashrc\nPS1="{label}${{PS1-\\\\w \\\\$ }}"\n')
            yield Shell([program, "--rcfile", str(file)], environ)
            return
        quoted = "'" + home.replace("'", "'\\''") + "'"
        (Path(folder) / ".zshrc").write_text(
            f'ZDOTDIR={quoted}\n[[ -r "$ZDOTDIR/.zshrc" ]] && . "$ZDOTDIR/.zshrc"\nPROMPT="{label}$PROMPT"\n'
        )
        yield Shell([program], {**environ, "ZDOTDIR": folder})
