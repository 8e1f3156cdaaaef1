"""The process that is the sandbox's process 1: it makes the namespaces, starts the program and reaps what is left.

It runs forked from the client and talks to it over a socket pair, one JSON object to a message:
`{"sockets": n}` with the descriptors, `{"prepared": notes}`, or `{"failed": sentence}`; back comes
`{"go": environment}`. The program itself then sends `{}`, whose credentials give the client its process id outside.

There is a process namespace because without one a program of the same user could send signals to the server and
read of its neighbours in /proc; and a process 1 of our own because the kernel ignores every signal a process 1 has
no handler for, which would make most programs immortal (pid_namespaces(7)). It costs one fork, about 1 ms.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple, NoReturn, TypeVar

from keyfob.hosts.sandbox import kernel as k
from keyfob.hosts.sandbox import network, refusal
from keyfob.hosts.sandbox.environment import sandbox_environment
from keyfob.hosts.sandbox.files import Layout, lay_out
from keyfob.hosts.sandbox.grafts import graft
from keyfob.hosts.sandbox.kernel import Kernel
from keyfob.hosts.sandbox.trust import find_program

HOST_POWERS = (
    k.CAP_SYS_ADMIN,
    k.CAP_SYS_PTRACE,
    k.CAP_NET_ADMIN,
    k.CAP_DAC_READ_SEARCH,
    k.CAP_SYS_MODULE,
    k.CAP_SYS_RAWIO,
    k.CAP_SYS_BOOT,
    k.CAP_PERFMON,
    k.CAP_BPF,
)
"""What root loses: with these it could lift the covers or step into another namespace."""

ALL_POWERS = tuple(range(64))

CONTAINER_POWERS = frozenset(
    {
        k.CAP_CHOWN,
        k.CAP_DAC_OVERRIDE,
        k.CAP_FOWNER,
        k.CAP_FSETID,
        k.CAP_KILL,
        k.CAP_SETGID,
        k.CAP_SETUID,
        k.CAP_SETPCAP,
        k.CAP_NET_BIND_SERVICE,
        k.CAP_NET_RAW,
        k.CAP_SYS_CHROOT,
        k.CAP_AUDIT_WRITE,
        k.CAP_SETFCAP,
    }
)
"""What root keeps on a root of its own: as much as engines leave it, less CAP_MKNOD."""

T = TypeVar("T")


class Program(NamedTuple):
    """What to start, and what to show and to hide from it."""

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: str
    pid: int
    """A process id that nothing outside has while the program runs: the client's."""

    home: str
    """The folder that becomes the sandbox's own."""

    cover: Sequence[str]
    sockets: Sequence[str]
    ca_pem: bytes
    grafts: Sequence[tuple[str, str]] = ()
    """(source, target): folders and files to show elsewhere."""


class Limits(NamedTuple):
    """What the program gets of the client's own standing."""

    mask: set[signal.Signals]
    powers: Sequence[int]
    """Capabilities it can never have."""


def enter_user_namespace(kernel: Kernel) -> bool:
    """Go into a user namespace that knows one user, oneself, unless we are root enough. True when we did."""
    needed = 1 << k.CAP_SYS_ADMIN | 1 << k.CAP_NET_ADMIN
    if k.effective_capabilities() & needed == needed:
        return False
    user, group = os.geteuid(), os.getegid()
    _step(refusal.USER_NAMESPACE, lambda: kernel.unshare(k.CLONE_NEWUSER))
    _step("map its user", lambda: _write_maps(user, group))
    return True


def new_process_namespace(kernel: Kernel) -> None:
    """The next fork is process 1 of a new namespace."""
    _step("create a process namespace", lambda: kernel.unshare(k.CLONE_NEWPID))


def new_network(kernel: Kernel) -> list[socket.socket]:
    """A network and a mount namespace of our own; the bound sockets of the network."""
    _step("create a network namespace", lambda: kernel.unshare(k.CLONE_NEWNET | k.CLONE_NEWNS))
    _step("bring up its loopback", network.bring_up)
    return _step("bind its addresses", network.bind_endpoints)


def keep_mounts_private(kernel: Kernel) -> None:
    _step("make its mounts private", lambda: kernel.mount(None, "/", None, k.MS_REC | k.MS_PRIVATE))


def be_process_one(channel: socket.socket, kernel: Kernel, program: Program, limits: Limits) -> NoReturn:
    """Never returns: the process ends with the program's exit code, 128 + n after signal n.

    The sockets go out first, so that the server gets ready while we are at the mounts.
    """
    code = 70
    try:
        kernel.prctl(k.PR_SET_PDEATHSIG, signal.SIGKILL)
        sockets = new_network(kernel)
        socket.send_fds(channel, [json.dumps({"sockets": len(sockets)}).encode()], [s.fileno() for s in sockets])
        for sock in sockets:
            sock.close()
        environment, notes = furnish(kernel, program)
        channel.send(json.dumps({"prepared": notes}).encode())
        order = json.loads(channel.recv(1 << 20) or b"{}")
        if "go" in order:
            code = _run(channel, kernel, program._replace(environment={**environment, **order["go"]}), limits)
    except refusal.SandboxUnavailable as problem:
        channel.send(json.dumps({"failed": problem.message}).encode())
    except OSError as error:
        channel.send(json.dumps({"failed": refusal.explain("be set up", error)}).encode())
    except Exception as error:
        channel.send(json.dumps({"failed": f"The sandbox could not be set up: {error!r}."}).encode())
    finally:
        os._exit(code)


def furnish(kernel: Kernel, program: Program) -> tuple[dict[str, str], list[str]]:
    """Mount what the program is to see; its environment, and sentences about what was changed or left."""
    keep_mounts_private(kernel)
    _step("show its folders", lambda: graft(kernel, program.grafts))
    layout = lay_out(
        home=program.home,
        cover=program.cover,
        sockets=program.sockets,
        ca_pem=program.ca_pem,
        environ=program.environment,
        program=program.command[0],
    )
    environment, removed = sandbox_environment(program.environment, layout.trust)
    notes = [f"removed from the environment: {', '.join(removed)}"] if removed else []
    notes += mount_files(kernel, layout)
    _step("return to the working folder", lambda: os.chdir(program.folder))
    _count_on_from(program.pid)
    return environment, notes


def mount_files(kernel: Kernel, layout: Layout) -> list[str]:
    """Hide and replace what `layout` says; what could not be done and does no harm comes back as sentences."""
    notes = []
    plain = k.MS_NOSUID | k.MS_NODEV | k.MS_NOEXEC

    def hide_home() -> None:
        kernel.mount("keyfob", layout.home, "tmpfs", plain, "mode=0755,size=64m")
        os.mkdir(os.path.join(layout.home, ".nothing"), 0o555)
        for name, content in {**layout.contents, ".empty": b""}.items():
            with open(os.path.join(layout.home, name), "wb") as file:
                file.write(content)

    _step(f"cover {layout.home}", hide_home)
    pairs = [(".nothing", path) for path in layout.hidden_folders] + [(".empty", path) for path in layout.hidden_files]
    for name, path in (*pairs, *layout.replaced):
        source = os.path.join(layout.home, name)
        _step(f"mount over {path}", partial(kernel.mount, source, path, None, k.MS_BIND))
    _step(f"protect {layout.home}", lambda: kernel.mount(None, layout.home, None, k.MS_REMOUNT | k.MS_RDONLY | plain))
    try:
        kernel.mount("proc", "/proc", "proc", plain)
    except OSError as error:
        # Refused in a container that masks parts of its own /proc (mount_too_revealing in fs/namespace.c).
        notes.append(f"/proc shows the processes outside the sandbox too ({error.strerror}).")
    return notes


def _count_on_from(pid: int) -> None:
    """Let the program's process id be no other's on this machine.

    Programs make names in /tmp of it, which sandboxes share: two JVMs that are both process 2 print "Cannot use file
    /tmp/hsperfdata_root/2 because it is locked by another process". Without
    CONFIG_CHECKPOINT_RESTORE a kernel has no such file, and the program is process 2.
    """
    with suppress(OSError), open("/proc/sys/kernel/ns_last_pid", "w", encoding="ascii") as last:
        last.write(str(pid - 1))


def _run(channel: socket.socket, kernel: Kernel, program: Program, limits: Limits) -> int:
    kernel.prctl(k.PR_SET_DUMPABLE, 0)  # our memory knows the operator's token; exec makes the program dumpable again
    child = os.fork()
    if child == 0:
        _become(channel, kernel, program, limits)
    channel.close()
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return exit_code(status)


def _become(channel: socket.socket, kernel: Kernel, program: Program, limits: Limits) -> NoReturn:
    execute(kernel, program, limits, lambda: channel.send(b"{}"))


def execute(kernel: Kernel, program: Program, limits: Limits, announce: Callable[[], object]) -> NoReturn:
    """Become the program, with `announce` called last. Never returns: 127 and 126 are a shell's codes for a command
    that is not there and one that cannot be run."""
    name = program.command[0]
    code = 126
    try:
        for power in limits.powers:
            try:
                kernel.prctl(k.PR_CAPBSET_DROP, power)
            except OSError:
                if power <= k.CAP_BPF and power not in (k.CAP_PERFMON, k.CAP_BPF):  # those two came with Linux 5.8
                    raise
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores both, and exec would pass that on
        announce()
        if not os.path.dirname(name) and find_program(name, program.environment.get("PATH", os.defpath)) is None:
            raise FileNotFoundError(name)  # execvpe would report a folder of PATH that is closed to us
        signal.pthread_sigmask(signal.SIG_SETMASK, limits.mask)
        os.execvpe(name, list(program.command), dict(program.environment))  # noqa: S606 - the user's own command
    except FileNotFoundError:
        code = 127
        print(f"keyfob: {name}: command not found", file=sys.stderr)
    except OSError as error:
        print(f"keyfob: {name}: {error.strerror}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(code)


def exit_code(status: int) -> int:
    """As a shell counts it."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _write_maps(user: int, group: int) -> None:
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _step(name: str, act: Callable[[], T]) -> T:
    try:
        return act()
    except OSError as error:
        raise refusal.SandboxUnavailable(refusal.explain(name, error)) from error
