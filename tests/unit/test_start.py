"""What a server does not import to start: each of these costs more than most of its own modules together."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, cast

from keyfob.app.front_door import Later

if TYPE_CHECKING:
    from keyfob.declare import Address
    from keyfob.wire.http import Request

LATER = {
    "asyncpg": "only where the database is PostgreSQL",
    "azure": "only the demo's program",
    "cryptography.hazmat.primitives.serialization.pkcs7": "only for attested documents; it brings email",
    "http.client": "only for foreign issuers, and the command line's client",
    "joserfc": "only for assertions that others signed",
    "rich": "only for tables of the command line",
    "urllib.request": "only for foreign issuers",
    "xml.sax": "urllib.request comes with it",
}
PLANES = (
    "keyfob.directory.graph.plane",
    "keyfob.directory.graph.routes",
    "keyfob.arm.templates.evaluate",
    "keyfob.arm.templates.service",
)
"""Built at their first request."""
PROGRAM = """
import json, sys
import keyfob.cli.server, keyfob.app.parts
print(json.dumps(sorted(sys.modules)))
"""


def test_a_start_imports_only_what_the_first_token_needs() -> None:
    printed = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    loaded = set(json.loads(printed))
    assert "keyfob.app.parts" in loaded
    assert loaded.isdisjoint(LATER)
    assert not [name for name in loaded if name.startswith(PLANES)]


def test_a_plane_is_built_once_when_it_is_first_asked_for() -> None:
    built = []

    async def answers(request: Any, address: Any) -> Any:
        return request

    def build() -> Any:
        built.append("built")
        return answers

    plane = Later(build)
    assert not built
    assert [asyncio.run(plane(cast("Request", one), cast("Address", "somewhere"))) for one in "ab"] == ["a", "b"]
    assert built == ["built"]
