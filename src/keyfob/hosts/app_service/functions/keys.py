"""The access keys of a function app, and their digests, which are all that its process gets.

The master key and the default host key follow from the app. A function's own key does, too, but a host cannot know
its digest before it knows the function's name: so each name whose key was handed out is written down, and told to the
host when it starts and, while it runs, before the key is handed out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from keyfob.arm.keys import DerivedKeys
from keyfob.arm.model import Resource
from keyfob.hosts.app_service.functions.embedded.keys import digest


class FunctionKeys:
    def __init__(self, derived: DerivedKeys) -> None:
        self._derived = derived

    def __repr__(self) -> str:
        return "FunctionKeys()"

    def master(self, app: Resource) -> str:
        return self._key(app, "master")

    def default(self, app: Resource) -> str:
        """The host key `default`, which opens every function."""
        return self._key(app, "default")

    def own(self, app: Resource, function: str) -> str:
        return self._key(app, f"function/{function}/default")

    def digests(self, app: Resource, functions: list[str]) -> dict[str, Any]:
        """What `embedded.keys.Keys.read` takes."""
        return {
            "master": digest(self.master(app)),
            "host": [digest(self.default(app))],
            "functions": {name.lower(): [digest(self.own(app, name))] for name in functions},
        }

    def _key(self, app: Resource, name: str) -> str:
        """In base64url, as Azure's are: they are sent in queries."""
        return self._derived.key(app, name).translate(_URL)


class HandedOut:
    """The functions of one app whose own key somebody has got."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "function-keys.json"

    def names(self) -> list[str]:
        try:
            return [str(name) for name in json.loads(self._file.read_text("utf-8"))]
        except (OSError, ValueError, TypeError):
            return []

    def add(self, name: str) -> None:
        known = self.names()
        if name.lower() not in known:
            temporary = self._file.with_suffix(".new")
            temporary.write_text(json.dumps([*known, name.lower()]), "utf-8")
            temporary.replace(self._file)


_URL = str.maketrans("+/", "-_")
