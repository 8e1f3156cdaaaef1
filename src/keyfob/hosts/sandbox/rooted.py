"""A root of its own for one program of a sandbox: a container's file system in place of the machine's.

The folder it comes from is never changed: the program writes to a layer in memory above it, which ends with the
program. Beside the image it sees the sandbox's processes, the harmless devices, the volumes it was given, and the
sandbox's names and authorities; of the machine's files it sees nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from keyfob.hosts.sandbox import kernel as k
from keyfob.hosts.sandbox.environment import AUTHORITY_VARIABLES, BUNDLE_VARIABLES
from keyfob.hosts.sandbox.kernel import Kernel

BUNDLE = "/run/keyfob/ca-bundle.pem"
AUTHORITY = "/run/keyfob/ca.pem"
TRUST = {**dict.fromkeys(BUNDLE_VARIABLES, BUNDLE), **dict.fromkeys(AUTHORITY_VARIABLES, AUTHORITY)}
"""The variables that lead programs of a root to the authorities in it."""

SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
"""Where images of Debian and Alpine keep their authorities; replaced where it exists."""

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_KERNEL = ("bus", "fs", "irq", "sys", "sysrq-trigger")
"""Parts of /proc that are the machine's: root, whom their modes let, may not write them."""
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}


class Mount(NamedTuple):
    """A folder or file shown at `target` inside; `source` as the sandbox sees it."""

    source: str
    target: str
    read_only: bool


def enter_root(
    kernel: Kernel, *, image: str, stage: str, mounts: Sequence[Mount], environment: Mapping[str, str]
) -> None:
    """Make `image` the root of this process, in a mount namespace of its own. `stage` is any folder of the sandbox's
    to build at; `environment` is the sandbox's, which names its authorities. Raises OSError."""
    files = _files(environment)
    kernel.give_up(k.CAP_SYS_PTRACE)  # with which /proc/1/root leads to the machine's files
    kernel.unshare(k.CLONE_NEWNS)
    kernel.mount(None, "/", None, k.MS_REC | k.MS_PRIVATE)
    root = _layered(kernel, image, stage)
    opened = [(os.open(mount.source, os.O_PATH), mount) for mount in mounts]
    devices = [(os.open(f"/dev/{name}", os.O_PATH), name) for name in _DEVICES]
    proc = os.path.join(root, "proc")
    if os.path.islink(proc):
        os.unlink(proc)
    os.makedirs(proc, exist_ok=True)
    kernel.mount("/proc", proc, None, k.MS_BIND | k.MS_REC)
    os.chdir(root)
    kernel.mount(".", "/", None, k.MS_MOVE)
    os.chroot(".")  # from here on links in the image lead to places in the image
    os.chdir("/")
    _protect_kernel(kernel)
    _make_devices(kernel, devices)
    for source, mount in opened:
        _show(kernel, source, mount)
    for path, content in files.items():
        _write(path, content)


def enter_beside(kernel: Kernel, process: int) -> None:
    """Go where another program of the sandbox is: its file system becomes ours. Raises OSError."""
    kernel.give_up(k.CAP_SYS_PTRACE)
    descriptor = os.open(f"/proc/{process}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    kernel.setns(descriptor, k.CLONE_NEWNS)
    os.close(descriptor)


def plain(path: str) -> str:
    """What a path of an image or of a group means inside. Its links are read, not followed: those of /proc lead to
    places and not to names (proc_pid_root(5)), and from there `..` leads out of the root."""
    return os.path.realpath(path)


def _files(environment: Mapping[str, str]) -> dict[str, bytes]:
    """What takes the place of the image's own: read before the machine's files are out of sight."""
    wanted = {
        "/etc/resolv.conf": "/etc/resolv.conf",
        "/etc/hosts": "/etc/hosts",
        BUNDLE: environment[BUNDLE_VARIABLES[0]],
        AUTHORITY: environment[AUTHORITY_VARIABLES[0]],
    }
    found = {}
    for path, source in wanted.items():
        with open(source, "rb") as file:
            found[path] = file.read()
    return found


def _layered(kernel: Kernel, image: str, stage: str) -> str:
    kernel.mount("keyfob", stage, "tmpfs", k.MS_NOSUID | k.MS_NODEV, "mode=0755")
    upper, work, root = (os.path.join(stage, name) for name in ("upper", "work", "root"))
    for folder in (upper, work, root):
        os.mkdir(folder, 0o755)
    options = f"lowerdir={image},upperdir={upper},workdir={work}"
    try:
        kernel.mount("keyfob", root, "overlay", k.MS_NODEV, options)
    except OSError:
        kernel.mount("keyfob", root, "overlay", k.MS_NODEV, options + ",userxattr")  # in a user namespace
    return root


def _protect_kernel(kernel: Kernel) -> None:
    fixed = k.MS_BIND | k.MS_REMOUNT | k.MS_RDONLY | k.MS_NOSUID | k.MS_NODEV | k.MS_NOEXEC
    for path in (f"/proc/{name}" for name in _KERNEL):
        if os.path.exists(path):
            kernel.mount(path, path, None, k.MS_BIND)
            kernel.mount(None, path, None, fixed)


def _make_devices(kernel: Kernel, devices: Sequence[tuple[int, str]]) -> None:
    if os.path.islink("/dev"):
        os.unlink("/dev")
    os.makedirs("/dev", exist_ok=True)
    kernel.mount("keyfob", "/dev", "tmpfs", k.MS_NOSUID, "mode=0755,size=1m")
    for source, name in devices:
        _touch(f"/dev/{name}")
        kernel.mount(f"/proc/self/fd/{source}", f"/dev/{name}", None, k.MS_BIND)
        os.close(source)
    for name, target in _LINKS.items():
        os.symlink(target, f"/dev/{name}")
    os.mkdir("/dev/shm", 0o1777)  # noqa: S108 - in a file system of our own
    kernel.mount("keyfob", "/dev/shm", "tmpfs", k.MS_NOSUID | k.MS_NODEV, "mode=1777,size=64m")  # noqa: S108


def _show(kernel: Kernel, source: int, mount: Mount) -> None:
    target = plain(mount.target)
    if stat.S_ISDIR(os.fstat(source).st_mode):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _touch(target)
    kernel.mount(f"/proc/self/fd/{source}", target, None, k.MS_BIND)
    if mount.read_only:
        kernel.mount(None, target, None, k.MS_BIND | k.MS_REMOUNT | k.MS_RDONLY | k.MS_NOSUID | k.MS_NODEV)
    os.close(source)


def _write(path: str, content: bytes) -> None:
    folder = plain(os.path.dirname(path))
    place = os.path.join(folder, os.path.basename(path))
    os.makedirs(folder, exist_ok=True)
    with suppress(FileNotFoundError):
        os.unlink(place)
    with open(place, "xb") as file:
        file.write(content)
    if path == BUNDLE and os.path.exists(SYSTEM_BUNDLE):
        _write(SYSTEM_BUNDLE, content)


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
