"""A sandbox that the server itself starts: no program yet, but somebody inside who starts, signals and dials on demand.

`python -m keyfob.hosts.sandbox.agent N` gets one end of a socket pair (SOCK_SEQPACKET) as descriptor N. Each message is
one JSON object:

- first comes `{"cover", "home", "sockets", "ca", "environment", "grafts"}`, what the sandbox shows and hides;
- back go `{"sockets": n}` with the bound sockets of `protocol.ENDPOINTS`, then `{"prepared": notes}`, or
  `{"failed": sentence}` and the end;
- `{"start": id, "command", "environment", "folder"}` with three descriptors (stdin, stdout, stderr) →
  `{"started": id}` or `{"failed_start": id, "sentence"}`, and later `{"exited": id, "code": n}`;
  `"root": {"image", "stage", "mounts"}` beside it gives the program another root (`rooted.enter_root`), and then
  `environment` is all that it gets; `"within": id` puts it beside a running program, in that one's root;
- `{"signal": id, "number": n}` goes to the program's whole process group;
- `{"dial": id, "port": p}` → `{"dialled": id}` with a socket that is connected to 127.0.0.1:p inside, or
  `{"failed_dial": id, "sentence"}`.

The end of the socket pair is the end of the sandbox, and so is the server's death, whatever the cause: process 1 dies
with the process outside, that one with the server (PR_SET_PDEATHSIG), and the kernel ends the rest.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from keyfob.hosts.sandbox import inside, refusal, rooted
from keyfob.hosts.sandbox.kernel import PR_SET_DUMPABLE, PR_SET_PDEATHSIG, Kernel

MESSAGE_LIMIT = 192 * 1024
"""Below the kernel's default for one datagram of a unix socket (net.core.wmem_default, 208 kB)."""

PATIENCE = 2.0
"""Seconds a program's full queue may keep a dialled connection waiting."""


def main(arguments: Sequence[str]) -> int:
    """The process outside: makes process 1 and ends with it."""
    control = socket.socket(fileno=int(arguments[0]))
    control.set_inheritable(False)
    kernel = Kernel()
    kernel.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        order = json.loads(control.recv(MESSAGE_LIMIT) or b"{}")
        if not order:
            return 0  # the server was gone before it had said anything
        powers = inside.ALL_POWERS if inside.enter_user_namespace(kernel) else inside.HOST_POWERS
        inside.new_process_namespace(kernel)
    except refusal.SandboxUnavailable as problem:
        _say(control, {"failed": problem.message})
        return 1
    child = os.fork()
    if child == 0:
        _be_process_one(control, kernel, order, inside.Limits(mask=set(), powers=powers))
    control.close()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a Ctrl-C in the server's terminal is the server's to act on
    _, status = os.waitpid(child, 0)
    return inside.exit_code(status)


def _be_process_one(
    control: socket.socket, kernel: Kernel, order: Mapping[str, Any], limits: inside.Limits
) -> NoReturn:
    try:
        kernel.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        kernel.prctl(PR_SET_DUMPABLE, 0)  # programs of the same user must not read settings of others in our memory
        sockets = inside.new_network(kernel)
        socket.send_fds(control, [json.dumps({"sockets": len(sockets)}).encode()], [s.fileno() for s in sockets])
        for sock in sockets:
            sock.close()
        program = inside.Program(
            command=["sh"],
            environment=order["environment"],
            folder="/",
            pid=os.getppid(),
            home=order["home"],
            cover=order["cover"],
            sockets=order["sockets"],
            ca_pem=order["ca"].encode(),
            grafts=[(source, target) for source, target in order["grafts"]],
        )
        environment, notes = inside.furnish(kernel, program)
        _say(control, {"prepared": notes})
        _Agent(control, kernel, program._replace(environment=environment), limits).serve()
    except refusal.SandboxUnavailable as problem:
        _say(control, {"failed": problem.message})
    except OSError as error:
        _say(control, {"failed": refusal.explain("be set up", error)})
    except Exception as error:
        _say(control, {"failed": f"The sandbox could not be set up: {error!r}."})
    finally:
        os._exit(0)


class _Agent:
    def __init__(self, control: socket.socket, kernel: Kernel, program: inside.Program, limits: inside.Limits) -> None:
        self._control = control
        self._kernel = kernel
        self._program = program
        self._limits = limits
        self._running: dict[int, int] = {}
        """Process id → the id that the server gave."""

    def serve(self) -> None:
        """Until the server closes its end."""
        woken, waker = os.pipe()
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            ready, _, _ = select.select([self._control.fileno(), woken], [], [])
            if woken in ready:
                os.read(woken, 4096)
                self._reap()
            if self._control.fileno() in ready and not self._obey():
                return

    def _obey(self) -> bool:
        data, descriptors = _receive(self._control)
        try:
            if not data:
                return False
            order = json.loads(data)
            if "start" in order:
                self._start(order, descriptors)
            elif "signal" in order:
                self._signal(order["signal"], order["number"])
            elif "dial" in order:
                self._dial(order["dial"], order["port"])
            return True
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _start(self, order: Mapping[str, Any], streams: Sequence[int]) -> None:
        root, within = order.get("root"), self._process(order.get("within"))
        base = rooted.TRUST if root or within else self._program.environment
        program = self._program._replace(command=order["command"], environment={**base, **order["environment"]})
        child = os.fork()
        if child == 0:
            self._become(program, order["folder"], streams, root, within)
        self._running[child] = order["start"]
        _say(self._control, {"started": order["start"]})

    def _process(self, ident: int | None) -> int | None:
        """The process of a running program; one that has ended has none, and 0 is nobody's."""
        if ident is None:
            return None
        return next((process for process, known in self._running.items() if known == ident), 0)

    def _become(
        self,
        program: inside.Program,
        folder: str,
        streams: Sequence[int],
        root: Mapping[str, Any] | None,
        within: int | None,
    ) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)  # inheritable
            if root:
                rooted.enter_root(
                    self._kernel,
                    image=root["image"],
                    stage=root["stage"],
                    mounts=[rooted.Mount(*mount) for mount in root["mounts"]],
                    environment=self._program.environment,
                )
                folder = rooted.plain(folder)
                os.makedirs(folder, exist_ok=True)
            if within is not None:
                rooted.enter_beside(self._kernel, within)
                folder = rooted.plain(folder)
            os.chdir(folder)
        except OSError as error:
            os.write(2, f"keyfob: {error.filename or folder}: {error.strerror}\n".encode())
            os._exit(126)
        limits = self._limits
        if root or within is not None:
            powers = [power for power in inside.ALL_POWERS if power not in inside.CONTAINER_POWERS]
            limits = limits._replace(powers=sorted({*limits.powers, *powers}))
        inside.execute(self._kernel, program, limits, lambda: None)

    def _signal(self, wanted: int, number: int) -> None:
        for process, ident in self._running.items():
            if ident == wanted:
                try:
                    os.killpg(process, number)
                except ProcessLookupError:  # it has not come to its own group yet
                    os.kill(process, number)

    def _dial(self, ident: int, port: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.settimeout(PATIENCE)
            try:
                sock.connect(("127.0.0.1", port))
            except OSError as error:
                _say(self._control, {"failed_dial": ident, "sentence": error.strerror or "it does not answer"})
                return
            message = json.dumps({"dialled": ident}).encode()
            with suppress(OSError):  # the server has gone, which the next message tells
                socket.send_fds(self._control, [message], [sock.fileno()])

    def _reap(self) -> None:
        """What a program leaves running when it ends is ended with it: it would hold the ports of the next start."""
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if process == 0:
                return
            ident = self._running.pop(process, None)
            if ident is not None:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process, signal.SIGKILL)
                _say(self._control, {"exited": ident, "code": inside.exit_code(status)})


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    data, ancillary, _, _ = control.recvmsg(MESSAGE_LIMIT, socket.CMSG_SPACE(3 * 4), socket.MSG_CMSG_CLOEXEC)
    descriptors: list[int] = []
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors += struct.unpack(f"={len(content) // 4}i", content)
    return data, descriptors


def _say(control: socket.socket, message: Mapping[str, Any]) -> None:
    with suppress(OSError):  # the server has gone: the next read tells
        control.send(json.dumps(message).encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
