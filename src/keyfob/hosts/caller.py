"""Which host is asking? The listener a connection was accepted on tells, or a secret; never what the request says.

A host has listeners of its own (one inside each sandbox, one loopback port for `keyfob env`), named when they are
opened. Dialects that share one listener give each host a secret instead, of which only the digest is kept.
"""

from __future__ import annotations

from hashlib import sha256

from keyfob.errors import Conflict, NotFound, Unauthenticated
from keyfob.errors import Fault as Why
from keyfob.resource_id import ResourceId


class Callers:
    """Listener names and secrets → the host resource they stand for."""

    def __init__(self) -> None:
        self._listeners: dict[str, ResourceId] = {}
        self._secrets: dict[bytes, ResourceId] = {}

    def listens(self, listener: str, host_id: ResourceId) -> None:
        """From now on what arrives on `listener` is `host_id`. A listener never changes hands while it is open."""
        if not listener:
            raise ValueError("the front door is no host's listener")
        held = self._listeners.get(listener)
        if held is not None and held != host_id:
            raise Conflict(f"The listener '{listener}' belongs to '{held}'.")
        self._listeners[listener] = host_id

    def closed(self, listener: str) -> None:
        self._listeners.pop(listener, None)

    def by_listener(self, listener: str) -> ResourceId:
        """Raises `NotFound` for a listener that is nobody's: the front door is never a host."""
        host_id = self._listeners.get(listener)
        if host_id is None:
            raise NotFound("No host listens here.", code="UnknownSource")
        return host_id

    def knows(self, secret: str, host_id: ResourceId) -> None:
        """Whoever shows `secret` is `host_id`."""
        self._secrets[sha256(secret.encode()).digest()] = host_id

    def forgets(self, host_id: ResourceId) -> None:
        """The host is gone, or its secrets are replaced."""
        for digest in [digest for digest, held in self._secrets.items() if held == host_id]:
            del self._secrets[digest]

    def by_secret(self, secret: str | None) -> ResourceId:
        """Raises `Unauthenticated`. Looking a digest up tells nothing about the secrets near it."""
        if not secret:
            raise Unauthenticated(Why.MISSING, "The request carries no host secret.")
        host_id = self._secrets.get(sha256(secret.encode("utf-8", "surrogateescape")).digest())
        if host_id is None:
            raise Unauthenticated(Why.SIGNATURE, "The host secret is not known.")
        return host_id
