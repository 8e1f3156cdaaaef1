"""Access keys that resources hand out (`listKeys`): derived, never stored.

A key follows from the server's master key, the resource, when it was made, the key's name and how often it was
regenerated, so that it is stable, differs between resources and is gone with them.
"""

from __future__ import annotations

import base64
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyfob.resource_id import ResourceId

GENERATIONS = "keyfob.generations"
"""Where a resource keeps how often each key was regenerated: among its properties, never shown."""


class DerivedKeys:
    def __init__(self, master_key: bytes) -> None:
        self._master = master_key

    def key(self, resource: Any, name: str, *, size: int = 32) -> str:
        """Base64 of `size` bytes, of a stored `arm.model.Resource`. `name` compares without regard to case."""
        name = name.lower()
        generations = resource.properties.get(GENERATIONS) or {}
        at = f"{ResourceId.parse(resource.id).key}\n{resource.created}\n{name}\n{generations.get(name, 0)}"
        raw = HKDF(SHA256(), size, None, b"keyfob access key\n" + at.encode()).derive(self._master)
        return base64.b64encode(raw).decode("ascii")

    def __repr__(self) -> str:
        return "DerivedKeys()"


def regenerated(resource: Any, name: str) -> dict[str, Any]:
    """The properties of a resource whose key of that name is to be another from now on."""
    generations = dict(resource.properties.get(GENERATIONS) or {})
    generations[name.lower()] = generations.get(name.lower(), 0) + 1
    return {**resource.properties, GENERATIONS: generations}
