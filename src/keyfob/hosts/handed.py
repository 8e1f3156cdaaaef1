"""Files that a host's programs are handed: the one-time keys of Azure Arc, the projected token of a service account.

They lie in a folder of the server's that the sandbox shows where clients look for them, or, for `keyfob env`, in the
machine's own. Whoever can read the folder is a program of the host.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from keyfob.clock import Ids
from keyfob.errors import InvalidInput

_PLAIN = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
"""Windows has other flags than the rest."""

MOST = 256
"""Keys that may wait to be shown; the oldest goes first. A client shows its key within milliseconds."""


class KeyFolder:
    """`dialects.dialect.KeyFiles` in a folder."""

    def __init__(self, folder: Path, shown: str, ids: Ids) -> None:
        """`shown` is what the host's programs call the folder."""
        self._folder = folder
        self._shown = shown
        self._ids = ids
        self._waiting: dict[bytes, Path] = {}
        """Digest of a key → its file."""

    def new(self) -> str:
        while len(self._waiting) >= MOST:
            self._drop(next(iter(self._waiting)))
        key, name = self._ids.token(48), f"{self._ids.guid()}.key"
        hand(self._folder / name, key.encode())
        self._waiting[_digest(key)] = self._folder / name
        return f"{self._shown}/{name}"

    def spend(self, key: str) -> bool:
        """Looking a digest up tells nothing about the keys near it."""
        digest = _digest(key)
        known = digest in self._waiting
        self._drop(digest)
        return known

    def close(self) -> None:
        for digest in list(self._waiting):
            self._drop(digest)

    def _drop(self, digest: bytes) -> None:
        path = self._waiting.pop(digest, None)
        if path is not None:
            with suppress(OSError):  # a program of the host removed it
                path.unlink()


def hand(path: Path, content: bytes) -> None:
    """Writes a file that its owner alone may read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _PLAIN, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    os.replace(temporary, path)


def machine_folder(path: str) -> Path:
    """The machine's own folder, made when it is not there. Raises `InvalidInput` when it cannot be written."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise InvalidInput(
            f"Clients take keys from {path} alone, and this server may not write there: use `keyfob run`, run the "
            "server as root, or choose another --dialect."
        )
    return folder


def shown_folder(text: str, within: Path) -> Path:
    """A folder that a client made for its sandbox. Raises `InvalidInput` when it is not one of those below `within`."""
    folder = Path(text)
    if os.path.normpath(text) != text or folder.parent != within or folder.is_symlink() or not folder.is_dir():
        raise InvalidInput("The folder for the sandbox's files is not one that the client made.")
    return folder


def empty(folder: Path) -> None:
    """Takes away what an earlier server and its clients left."""
    if folder.is_dir() and not folder.is_symlink():
        for left in folder.iterdir():
            shutil.rmtree(left, ignore_errors=True)


def _digest(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogatepass")).digest()
