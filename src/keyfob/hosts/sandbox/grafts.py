"""Folders and files shown where the machine has nothing: `/home/site/wwwroot`, `/aci/secrets`.

A mount needs a place to stand on. Where there is none, the nearest folder above is replaced by a small file system of
the sandbox's own that shows everything the folder had, and the missing part is made in there. The machine's own files
are never changed, also not by root, who could.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from keyfob.hosts.sandbox import kernel as k
from keyfob.hosts.sandbox.kernel import Kernel

_STAGES = ("/mnt", "/media", "/srv", "/opt", "/tmp")  # noqa: S108 - mounted over, in a namespace of our own
_SMALL = "mode=0755,size=1m"


def graft(kernel: Kernel, grafts: Sequence[tuple[str, str]]) -> None:
    """Show each source at its target, as a bind mount. Both are absolute paths; sources may lie anywhere, also in what
    is hidden later. In a mount namespace of our own, with private mounts. Raises OSError."""
    opened = [(os.open(source, os.O_PATH), os.path.normpath(target)) for source, target in grafts]
    try:
        ours: set[int] = set()
        for source, target in sorted(opened, key=lambda pair: pair[1]):
            _make_place(kernel, target, stat.S_ISDIR(os.fstat(source).st_mode), ours)
            kernel.mount(f"/proc/self/fd/{source}", target, None, k.MS_BIND | k.MS_REC)
    finally:
        for source, _ in opened:
            os.close(source)


def _make_place(kernel: Kernel, target: str, folder: bool, ours: set[int]) -> None:
    if os.path.lexists(target):
        return
    above = os.path.dirname(target)
    while not os.path.isdir(above):
        above = os.path.dirname(above)
    if os.stat(above).st_dev not in ours:
        if above == "/":
            _replace_root(kernel)
        else:
            _replace(kernel, above, above)
        ours.add(os.stat(above).st_dev)
    if folder:
        os.makedirs(target)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _touch(target)


def _replace(kernel: Kernel, folder: str, stage: str) -> None:
    """A new file system at `stage` with the entries of `folder`."""
    original = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    staged = os.open(stage, os.O_PATH | os.O_DIRECTORY)
    try:
        with os.scandir(folder) as found:
            entries = list(found)
        kernel.mount("keyfob", stage, "tmpfs", k.MS_NOSUID | k.MS_NODEV, _SMALL)
        for entry in entries:
            place = os.path.join(stage, entry.name)
            source = f"/proc/self/fd/{original}/{entry.name}"
            if entry.path == stage:
                source = f"/proc/self/fd/{staged}"  # the folder under the new mount, not the mount
            if entry.is_symlink():
                os.symlink(os.readlink(source), place)
                continue
            if entry.is_dir():
                os.mkdir(place)
            else:
                _touch(place)
            kernel.mount(source, place, None, k.MS_BIND | k.MS_REC)
    finally:
        os.close(original)
        os.close(staged)


def _replace_root(kernel: Kernel) -> None:
    """As switch_root does: the new file system is built aside and moved over `/`."""
    stage = next(path for path in _STAGES if os.path.isdir(path) and not os.path.islink(path))
    folder = os.getcwd()
    _replace(kernel, "/", stage)
    os.chdir(stage)
    kernel.mount(".", "/", None, k.MS_MOVE)
    os.chroot(".")
    os.chdir(folder if os.path.isdir(folder) else "/")


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
