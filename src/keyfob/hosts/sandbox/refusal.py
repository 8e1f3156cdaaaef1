"""Why a sandbox cannot be had here: one sentence that names the cause and what to do about it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from keyfob.errors import Problem

Reader = Callable[[str], str | None]
"""Gives the text of a file under /proc, None when there is none."""

USER_NAMESPACE = "create a user namespace"
"""The step that fails where ordinary users may have no namespaces; the other steps are named where they happen."""

_BUILT_WITHOUT = {errno.EINVAL, errno.ENOSYS}
_FORBIDDEN = {errno.EPERM, errno.EACCES}
_TOO_MANY = {errno.ENOSPC, errno.EUSERS}


class SandboxUnavailable(Problem):
    """No sandbox on this machine, or none for this program. The message is a full sentence for a person."""

    status = 501
    code = "SandboxUnavailable"


def read_text(path: str) -> str | None:
    """The stripped text of a small file, None when it is absent or closed to us."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return None


def explain(step: str, error: OSError, read: Reader = read_text) -> str:
    """The sentence for `error` at `step` (a verb phrase such as "mount /proc").

    The causes, in the order in which they can be told apart: `user_namespaces(7)` for the limits and EPERM,
    Debian's and Arch's kernel.unprivileged_userns_clone, the seccomp filter of container runtimes, and Ubuntu's
    AppArmor rule since 23.10, under which the namespace comes into being but gives no capability.
    """
    code = error.errno
    if code in _TOO_MANY:
        return f"This machine permits no further namespaces ({_name(error)}): raise the sysctls user.max_*_namespaces."
    if code in _BUILT_WITHOUT:
        return f"This kernel cannot {step} ({_name(error)}): it is built without these namespaces."
    if code in _FORBIDDEN:
        cause = _forbidden_by(step, read)
        if cause:
            return cause
    return f"The sandbox could not {step}: {os.strerror(code or 0)} ({_name(error)})."


def _forbidden_by(step: str, read: Reader) -> str | None:
    if step == USER_NAMESPACE and read("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return (
            "Ordinary users may not create user namespaces on this machine: "
            "set the sysctl kernel.unprivileged_userns_clone to 1, or run as root."
        )
    if "Seccomp:\t2" in (read("/proc/self/status") or "") and step == USER_NAMESPACE:
        return (
            "A seccomp filter forbids new namespaces, as container runtimes do by default: start the container "
            "with --security-opt seccomp=unconfined --security-opt systempaths=unconfined, or with --privileged."
        )
    if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor leaves the namespaces of ordinary users without power on this machine: "
            "set the sysctl kernel.apparmor_restrict_unprivileged_userns to 0, or run as root."
        )
    return None


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "unknown error")
