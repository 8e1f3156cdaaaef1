"""How commands speak: tables and colour where a person reads, JSON where a program does."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from keyfob.settings import read_settings

F = TypeVar("F", bound=Callable[..., Any])


def data_option(function: F) -> F:
    """`--data DIR`: which server (each data folder is one)."""
    return click.option(
        "--data",
        envvar="KEYFOB_DATA",
        metavar="DIR",
        callback=lambda _ctx, _parameter, value: read_settings(data=value).data,
        help="Data folder of the server.",
    )(function)


def output_option(function: F) -> F:
    return click.option(
        "--output", "-o", type=click.Choice(["table", "json"]), default="table", help="For people, or for programs."
    )(function)


def tenant_option(function: F) -> F:
    """`--tenant DOMAIN`: one made with `keyfob tenant create`."""
    return click.option("--tenant", metavar="DOMAIN", help="A tenant made with `keyfob tenant create`.")(function)


def show_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


_NAME_WIDTH = 20
"""What the first column, a name, keeps on a narrow terminal."""


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """A plain table that reads well on a terminal and in a pasted log."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    drawn = Table(box=SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    longest = max((len(row[0]) for row in rows), default=0)
    for at, column in enumerate(columns):
        drawn.add_column(column, overflow="fold", min_width=None if at else min(longest, _NAME_WIDTH))
    for row in rows:
        drawn.add_row(*row)
    console = Console()
    Console(width=None if console.is_terminal else 160, highlight=False).print(drawn)


def say(text: str, **style: Any) -> None:
    click.echo(click.style(text, **style))


__all__ = ["Path", "data_option", "output_option", "say", "show_json", "table", "tenant_option"]
