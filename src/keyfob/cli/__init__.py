"""The command line: a client of Keyfob's own public API, with no back door."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from keyfob import __version__
from keyfob.errors import Problem

COMMANDS = {
    "up": "keyfob.cli.server:up",
    "down": "keyfob.cli.server:down",
    "status": "keyfob.cli.server:status",
    "run": "keyfob.cli.hosts:run",
    "shell": "keyfob.cli.shell:shell",
    "hosts": "keyfob.cli.seeing:hosts",
    "logs": "keyfob.cli.seeing:logs",
    "top": "keyfob.cli.seeing:top",
    "env": "keyfob.cli.hosts:env",
    "token": "keyfob.cli.hosts:token",
    "exec": "keyfob.cli.containers:exec_",
    "image": "keyfob.cli.containers:image",
    "explain": "keyfob.cli.explain:explain",
    "rest": "keyfob.cli.rest:rest",
    "deploy": "keyfob.cli.deploy:deploy",
    "deploy-app": "keyfob.cli.deploy_app:deploy_app",
    "az": "keyfob.cli.az:az",
    "tenant": "keyfob.cli.tenants:tenant",
    "clouds": "keyfob.cli.clouds:clouds",
    "services": "keyfob.cli.services:services",
    "ca": "keyfob.cli.clouds:ca",
    "demo": "keyfob.cli.demo:demo",
    "export": "keyfob.cli.export:export",
    "load": "keyfob.cli.load:load",
}


class Lazy(click.Group):
    """Imports a command when it is asked for, so that `keyfob run` starts in milliseconds."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, "version"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def keyfob() -> None:
    """Managed identities for Azure resources, on your own machine.

    Start with `keyfob demo`, or with `keyfob up --detach` and then
    `keyfob run --as VM -- python app.py`.
    """


@keyfob.command()
def version() -> None:
    """Print the version.

    Example: keyfob version
    """
    click.echo(f"keyfob {__version__}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: every failure a user can cause is one sentence on stderr and exit code 1."""
    try:
        sys.exit(keyfob.main(args=list(arguments) if arguments is not None else None, standalone_mode=False) or 0)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Problem as problem:
        _fail(problem.message)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        _fail(f"{error.filename or 'The system'}: {error.strerror or error}.")


def _fail(sentence: str) -> Any:
    click.echo(click.style("keyfob: ", fg="red") + sentence, err=True)
    sys.exit(1)
