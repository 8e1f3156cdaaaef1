"""One server to a data directory: a lock that the kernel drops when its process dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from keyfob.errors import Conflict, Unavailable

if sys.platform == "win32":
    import msvcrt

    def _seize(descriptor: int) -> None:
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # a byte past the text: a locked byte cannot be read by others
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    _try = _seize
else:
    import fcntl

    def _seize(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _try(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)


class FileLock:
    """Holds `path` for this process. The file stays behind when released: only the lock on it counts."""

    def __init__(self, path: Path) -> None:
        """Raises Conflict when another server holds it, Unavailable when the file cannot be written."""
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Unavailable(f"cannot write in the data directory {path.parent}: {error.strerror}") from error
        try:
            _seize(self._descriptor)
        except OSError as error:
            owner = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip() if os.name == "posix" else ""
            os.close(self._descriptor)
            who = f" (process {owner})" if owner else ""
            raise Conflict(
                f"another Keyfob server{who} is using {path.parent}: stop it, or give this one another data directory",
                code="DataDirectoryInUse",
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        os.close(self._descriptor)


def is_held(path: Path) -> bool:
    """Whether some process holds the lock now: the only thing that tells a running server from a file it left."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        _try(descriptor)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
