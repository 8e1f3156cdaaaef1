"""Writes `docs/coverage.md` from the declarations themselves: what is served, with which access, what is absent.

python tools/coverage_page.py           writes the page
python tools/coverage_page.py --check   fails when it is not current
python tools/coverage_page.py --listed  first takes the operations anew from the official documents
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from conformance_documents import ABSENT, KEPT, REAL, Documents, folder, listed, write_listed

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
        if service != "resource_manager" and hasattr(plane, "routes"):
            yield f"## {service.replace('_', ' ').capitalize()}"
            yield ""
            yield from _routes(plane.routes.routes)
    yield from _documents(app)
    yield "## Absent"
    yield ""
    for readme in sorted((PROJECT / "src" / "keyfob").glob("**/README.md")):
        for paragraph in re.split(r"\n\s*\n", readme.read_text()):
            if paragraph.startswith(("Absent", "**Absent")):
                yield f"**{readme.parent.relative_to(PROJECT / 'src' / 'keyfob')}.** {paragraph.strip()}"
                yield ""


def _documents(app: App) -> Iterator[str]:
    """Operation by operation, as the official documents name them."""
    found = list(listed(app))
    yield "## Operation by operation"
    yield ""
    yield "The operations of Azure's own OpenAPI documents. *Real*: it does what the document says. *Kept*: what is"
    yield "sent is stored whole and shown again, and does nothing. *Absent*: refused. `tools/conformance.py` replays"
    yield "the documents' examples for what is real or kept."
    yield ""
    yield "| document | real | kept | absent |"
    yield "|---|---|---|---|"
    for document, _, by in found:
        yield f"| {_short(document)} | {len(by[REAL])} | {len(by[KEPT])} | {len(by[ABSENT])} |"
    total = [sum(len(by[word]) for _, _, by in found) for word in (REAL, KEPT, ABSENT)]
    yield f"| **all** | {total[0]} | {total[1]} | {total[2]} |"
    yield ""
    for document, _, by in found:
        if not by[REAL] and not by[KEPT]:
            continue
        yield f"### {_short(document)}"
        yield ""
        for word in (REAL, KEPT, ABSENT):
            if by[word]:
                yield f"- **{word}:** {', '.join(by[word])}"
        yield ""


def _short(document: str) -> str:
    """`…/Microsoft.Storage/stable/2023-05-01/blob.json` → `Microsoft.Storage 2023-05-01 blob`."""
    *_, namespace, _, version, file = document.split("/")
    return f"{namespace} {version} {file.removesuffix('.json')}"


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
    if "--listed" in sys.argv[1:]:
        root = folder()
        if root is None:
            print("The official documents are not here; KEYFOB_OPENAPI names their folder.", file=sys.stderr)
            return 2
        write_listed(Documents(root))
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
