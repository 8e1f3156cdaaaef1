"""Secret versions kept in memory, still sealed, until the store says that they changed."""

from __future__ import annotations

from keyfob.services.key_vault.model import SecretVersion
from keyfob.services.key_vault.records import SECRETS, VERSIONS
from keyfob.store.port import EVERYTHING, Store

_MOST_SECRETS, _MOST_VERSIONS = 10_000, 32


class Remembered:
    """Sealed versions by secret; `changes` tells a reader whether what it read may be kept."""

    def __init__(self, store: Store) -> None:
        self.changes = 0
        self._known: dict[str, dict[str, SecretVersion]] = {}
        store.watch(SECRETS.topic, self._secret_changed)
        store.watch(VERSIONS.topic, self._version_changed)

    def get(self, secret: str, version: str) -> SecretVersion | None:
        """`version` "" is the current one."""
        versions = self._known.get(secret)
        return versions.get(version) if versions else None

    def keep(self, secret: str, version: str, found: SecretVersion, changes: int) -> None:
        """Keeps what was read when nothing had changed since `changes` was taken."""
        if changes != self.changes:
            return
        while len(self._known) >= _MOST_SECRETS:
            del self._known[next(iter(self._known))]
        versions = self._known.setdefault(secret, {})
        if len(versions) < _MOST_VERSIONS:
            versions[version] = found

    def _secret_changed(self, key: str) -> None:
        self.changes += 1
        if key == EVERYTHING:
            self._known.clear()
        else:
            self._known.pop(key, None)

    def _version_changed(self, key: str) -> None:
        self._secret_changed(key if key == EVERYTHING else key.rpartition("/")[0])
