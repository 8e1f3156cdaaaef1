"""Writes `docs/coverage.md` from the declarations themselves: what is served, with which access, what is absent.

python tools/coverage_page.py           writes the page
python tools/coverage_page.py --check   fails when it is not current
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from keyfob.app.parts import App, build
from keyfob.clock import SystemClock, SystemIds
from keyfob.declare import Access, Action, Public, ResourceType, Route, SignedIn
from keyfob.settings import read_settings

PROJECT = Path(__file__).parents[1]
PAGE = PROJECT / "docs" / "coverage.md"
INTRODUCTION = """\
Generated from the declarations by `tools/coverage_page.py`; a test holds it current. *Access* is the action that a role
must grant; **public** asks nobody; **signed in** wants a valid token and shows what the caller may see.
"""


def page() -> str:
    """The whole page, from a server that is built and never started."""
    with tempfile.TemporaryDirectory(prefix="keyfob-coverage-") as folder:
        return asyncio.run(_page(Path(folder)))


async def _page(folder: Path) -> str:
    app = await build(read_settings({}, data=str(folder / "data")), clock=SystemClock(), ids=SystemIds())
    try:
        return "\n".join(_lines(app)) + "\n"
    finally:
        await app.stop()


def _lines(app: App) -> Iterator[str]:
    manager = app.resource_manager
    yield "# Coverage"
    yield ""
    yield from INTRODUCTION.splitlines()
    yield ""
    yield "## Resource Manager: resource types"
    yield ""
    yield "| type | methods | identity | api-versions | long-running | note |"
    yield "|---|---|---|---|---|---|"
    for namespace in manager.registry.namespaces:
        for kind in namespace.types.values():
            yield _type_row(kind)
    yield ""
    yield "## Resource Manager: routes of providers"
    yield ""
    yield from _routes(manager.registry.routes.routes)
    yield "## Resource Manager: the engine's own routes"
    yield ""
    yield from _routes(manager.own.routes)
    for service, plane in sorted(app.front_door.planes.items()):
        if service != "resource_manager":
            yield f"## {service.replace('_', ' ').capitalize()}"
            yield ""
            yield from _routes(plane.routes.routes)
    yield "## Absent"
    yield ""
    for readme in sorted((PROJECT / "src" / "keyfob").glob("**/README.md")):
        for paragraph in re.split(r"\n\s*\n", readme.read_text()):
            if paragraph.startswith(("Absent", "**Absent")):
                yield f"**{readme.parent.relative_to(PROJECT / 'src' / 'keyfob')}.** {paragraph.strip()}"
                yield ""


def _type_row(kind: ResourceType) -> str:
    identity = [name for name, on in (("system", kind.identity.system), ("user", kind.identity.user)) if on]
    methods = ["PUT", "PATCH", "GET", "HEAD", "DELETE", "list", *(f"POST {name}" for name in kind.actions)]
    newest, oldest = max(kind.api_versions), min(kind.api_versions)
    cells = [
        f"`{kind.name}`",
        ", ".join(methods),
        ", ".join(identity) or "none",
        f"{len(kind.api_versions)}: {oldest} … {newest}",
        ", ".join(sorted(kind.long_running)) or "none",
        kind.note,
    ]
    return f"| {' | '.join(cells)} |"


def _routes(routes: Iterable[Route]) -> Iterator[str]:
    yield "| method | path | access |"
    yield "|---|---|---|"
    for route in sorted(routes, key=lambda r: (r.path.lower(), r.method)):
        yield f"| {route.method} | `{route.path}` | {_access(route.access)} |"
    yield ""


def _access(access: Access) -> str:
    match access:
        case Action(name, data):
            return f"`{name}`" + (" (data)" if data else "")
        case Public(reason):
            return f"**public**: {reason}"
        case SignedIn(reason):
            return f"**signed in**: {reason}"


def main() -> int:
    wanted = page()
    if "--check" in sys.argv[1:]:
        if PAGE.read_text() != wanted:
            print("docs/coverage.md is not current: python tools/coverage_page.py", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
