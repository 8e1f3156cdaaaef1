"""The lock on a data directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from keyfob.errors import Conflict, Unavailable
from keyfob.store.file_lock import FileLock

HOLD = "import sys, pathlib; from keyfob.store.file_lock import FileLock; l = FileLock(pathlib.Path(sys.argv[1])); "


def test_held_by_another_process_until_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD + "print('held', flush=True); sys.stdin.read()", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Conflict, match=f"process {holder.pid}"):
            FileLock(path)
        holder.kill()
        holder.wait()
    FileLock(path).release()


def test_held_by_this_process_until_released(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("99999999999999\n")
    lock = FileLock(path)
    assert path.read_text() == f"{os.getpid()}\n"
    with pytest.raises(Conflict, match=f"process {os.getpid()}\\)"):
        FileLock(path)
    lock.release()
    FileLock(path).release()


def test_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot write in the data directory"):
        FileLock(tmp_path / "nowhere" / "lock")
