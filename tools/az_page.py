"""Writes the table of docs/az.md: every command of az that the suite runs. `--check` only compares."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[1]
SUITE = PROJECT / "tests" / "clients" / "az"
PAGE = PROJECT / "docs" / "az.md"
MARK = "<!-- made by tools/az_page.py -->\n"
RUNNERS = {"fails", "table", "text"}


def words(node: ast.expr) -> str:
    """The literal beginning of a command."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        out = ""
        for part in node.values:
            if not isinstance(part, ast.Constant):
                return out + "\0"
            out += str(part.value)
        return out
    return words(node.left) if isinstance(node, ast.BinOp) else "\0"


def commands(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and len(node.args) == 1:
            named = isinstance(node.func, ast.Name) or (
                isinstance(node.func, ast.Attribute) and node.func.attr in RUNNERS
            )
            first = words(node.args[0]).split("\0")[0].split(" -")[0].split()
            if named and len(first) >= 1 and all(word.replace("-", "").isalpha() and word.islower() for word in first):
                yield " ".join(first)


def table() -> str:
    groups: dict[str, set[str]] = {}
    for file in sorted(SUITE.glob("test_az_*.py")):
        for command in commands(file):
            group, _, rest = command.partition(" ")
            if group in KNOWN:
                groups.setdefault(group, set()).add(rest)
    for host in ("vm", "vmss", "webapp", "functionapp"):  # one test for all of them
        groups.setdefault(host, set()).update({"identity assign", "identity remove", "identity show"})
    rows = [
        f"| `az {group}` | {', '.join(sorted(filter(None, rest))) or '–'} |" for group, rest in sorted(groups.items())
    ]
    return "\n".join(["| group | commands |", "| --- | --- |", *rows]) + "\n"


KNOWN = frozenset(
    [
        "account",
        "ad",
        "apim",
        "appservice",
        "cloud",
        "container",
        "deployment",
        "eventhubs",
        "feature",
        "functionapp",
        "group",
        "identity",
        "keyvault",
        "lock",
        "login",
        "logout",
        "monitor",
        "provider",
        "resource",
        "rest",
        "role",
        "servicebus",
        "sql",
        "storage",
        "tag",
        "vm",
        "vmss",
        "webapp",
    ]
)


def main() -> None:
    before = PAGE.read_text()
    wanted = before.partition(MARK)[0] + MARK + table()
    if "--check" in sys.argv:
        sys.exit(None if before == wanted else f"{PAGE.name} is out of date: python tools/az_page.py")
    PAGE.write_text(wanted)


if __name__ == "__main__":
    main()
