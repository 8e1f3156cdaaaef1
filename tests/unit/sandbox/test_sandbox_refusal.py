from __future__ import annotations

import errno
import os
import socket
import sys

import pytest

from keyfob.errors import InvalidInput
from keyfob.hosts.sandbox import inside
from keyfob.hosts.sandbox.kernel import CLONE_NEWNET, CLONE_NEWUSER, Kernel
from keyfob.hosts.sandbox.refusal import USER_NAMESPACE, SandboxUnavailable, explain
from keyfob.hosts.sandbox.run import run_in_sandbox, unavailable

linux = pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")


class Refusing(Kernel):
    """A kernel that forbids these namespaces and knows of the others."""

    def __init__(self, flags: int, code: int = errno.EPERM) -> None:
        super().__init__()
        self._flags = flags
        self._code = code
        self.asked: list[int] = []

    def unshare(self, flags: int) -> None:
        self.asked.append(flags)
        if flags & self._flags:
            raise OSError(self._code, os.strerror(self._code))


def told(step: str, code: int, files: dict[str, str] | None = None) -> str:
    return explain(step, OSError(code, "…"), (files or {}).get)


DEBIAN = {"/proc/sys/kernel/unprivileged_userns_clone": "0"}
UBUNTU = {"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1"}
SECCOMP = {"/proc/self/status": "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1"}


@pytest.mark.parametrize(
    ("step", "code", "files", "words"),
    [
        (USER_NAMESPACE, errno.EPERM, DEBIAN, "kernel.unprivileged_userns_clone to 1"),
        (USER_NAMESPACE, errno.EPERM, SECCOMP, "A seccomp filter forbids"),
        (USER_NAMESPACE, errno.EPERM, UBUNTU, "apparmor_restrict_unprivileged_userns to 0"),
        ("map its user", errno.EACCES, UBUNTU, "apparmor_restrict_unprivileged_userns to 0"),
        ("bring up its loopback", errno.EPERM, UBUNTU, "apparmor_restrict_unprivileged_userns to 0"),
        (USER_NAMESPACE, errno.ENOSPC, {}, "(ENOSPC): raise the sysctls user.max_*_namespaces"),
        (USER_NAMESPACE, errno.EINVAL, {}, "built without these namespaces"),
        (USER_NAMESPACE, errno.EPERM, {}, "could not create a user namespace: Operation not permitted (EPERM)"),
        ("mount over /etc/hosts", errno.ENOENT, UBUNTU, "could not mount over /etc/hosts: No such file"),
        ("mount over /etc/hosts", errno.EPERM, DEBIAN, "could not mount over /etc/hosts: Operation not permitted"),
    ],
)
def test_the_sentence_names_the_cause(step, code, files, words):
    sentence = told(step, code, files)
    assert words in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_a_switched_off_rule_is_not_blamed():
    files = {"/proc/sys/kernel/unprivileged_userns_clone": "1", "/proc/self/status": "Seccomp:\t0"}
    assert told(USER_NAMESPACE, errno.EPERM, files) == told(USER_NAMESPACE, errno.EPERM)


@linux
def test_the_probe_tells_why():
    sentence = unavailable(Refusing(CLONE_NEWUSER | CLONE_NEWNET))
    assert sentence is not None
    assert "EPERM" in sentence or "to 0" in sentence or "to 1" in sentence or "seccomp" in sentence


@linux
def test_an_ordinary_user_who_may_not_is_told_so():
    if os.geteuid() == 0:
        pytest.skip("root needs no user namespace")
    with pytest.raises(SandboxUnavailable) as refused:
        inside.enter_user_namespace(Refusing(CLONE_NEWUSER))
    assert refused.value.code == "SandboxUnavailable"


@linux
def test_a_forbidden_namespace_ends_the_run_before_the_program(tmp_path):
    control = tmp_path / "control.sock"
    kernel = Refusing(~0)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(control))
        listener.listen()
        with pytest.raises(SandboxUnavailable):
            run_in_sandbox(
                control=control,
                resource_id="/vm",
                token="operator",
                command=["touch", str(tmp_path / "started")],
                ca_pem=b"",
                cover=[tmp_path],
                kernel=kernel,
            )
    assert len(kernel.asked) == 1
    assert not (tmp_path / "started").exists()


def test_no_command_is_no_request(tmp_path):
    with pytest.raises(InvalidInput):
        run_in_sandbox(
            control=tmp_path / "s", resource_id="/vm", token="operator", command=[], ca_pem=b"", cover=[tmp_path]
        )
