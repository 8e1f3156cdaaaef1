"""`keyfob run --as RESOURCE -- CMD`, the client's side.

Three processes: this one stays outside, holds the control connection (its end is the sandbox's end), passes signals
on and returns the exit code; its child is process 1 inside (`inside.py`); the program is process 1's child. All three
share the terminal and the process group, so input, output, job control and Ctrl-C need no help. Process 1 dies with
this process (PR_SET_PDEATHSIG), and the kernel then ends everything in the namespace and takes it apart.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from keyfob.errors import InvalidInput
from keyfob.hosts.sandbox import inside, protocol
from keyfob.hosts.sandbox.kernel import Kernel
from keyfob.hosts.sandbox.refusal import SandboxUnavailable

if TYPE_CHECKING:
    from pathlib import Path  # 3 ms that not every caller has paid already

FORWARDED = {
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
}
PATIENCE = 30.0
"""Seconds for the server's answer."""

_SI_KERNEL = 0x80
"""sigaction(2): the terminal sent it, and to the whole process group, so the program has it already."""

_CREDENTIALS = struct.Struct("=iII")


def run_in_sandbox(
    *,
    control: Path,
    resource_id: str,
    token: str,
    command: Sequence[str],
    ca_pem: bytes,
    cover: Sequence[Path],
    verbose: bool = False,
    wish: Mapping[str, str] | None = None,
    folder: str = "",
    environ: Mapping[str, str] | None = None,
    kernel: Kernel | None = None,
) -> int:
    """Run `command` in a sandbox of the host `resource_id` and return its exit code (128 + n after signal n).

    `control` is the server's control socket, `token` an operator's bearer token, `ca_pem` the authority the program is
    to trust. `cover` are folders and files of the server, hidden from the program; the first folder shows the
    sandbox's certificate files instead. `verbose` tells on stderr what was changed. `wish` has further members of the
    `OpenRequest`, on how to be that host; `folder` is where the program is to find files that the server hands it.

    The last act of a single-threaded process: it leaves this one in the sandbox's user namespace. Raises
    SandboxUnavailable (no namespaces here; no server; refused) before the program has started, never after.
    """
    if not command:
        raise InvalidInput("There is no command to run.")
    if sys.platform != "linux":
        raise SandboxUnavailable(_OTHER_SYSTEM)
    kernel = kernel or Kernel()
    with _connect(control) as connection, _home(cover) as home, _handed(home if folder else "") as handed:
        program = inside.Program(
            command=command,
            environment=dict(os.environ if environ is None else environ),
            folder=os.getcwd(),
            pid=os.getpid(),
            home=home,
            cover=[str(path) for path in cover],
            sockets=[str(control)],
            ca_pem=ca_pem,
            grafts=[(handed, folder)] if folder else [],
        )
        asked = wish or {}
        request = protocol.OpenRequest(
            resource_id=resource_id,
            token=token,
            dialect=asked.get("dialect", ""),
            service_account=asked.get("service_account", ""),
            client_id=asked.get("client_id", ""),
            folder=handed,
        )
        with _Sandbox(kernel, program, connection) as sandbox:
            sandbox.open(connection, request)
            for note in sandbox.wait_until_prepared():
                if verbose:
                    _say(note)
            return sandbox.run(connection, sandbox.wait_until_ready(connection))


def unavailable(kernel: Kernel | None = None) -> str | None:
    """A sentence that says why sandboxes cannot be had here, None when they can. Tries it, in a forked child."""
    if sys.platform != "linux":
        return _OTHER_SYSTEM
    kernel = kernel or Kernel()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            inside.enter_user_namespace(kernel)
            inside.new_process_namespace(kernel)
            for sock in inside.new_network(kernel):
                sock.close()
            inside.keep_mounts_private(kernel)
        except SandboxUnavailable as problem:
            os.write(writer, problem.message.encode())
        except BaseException as error:
            os.write(writer, f"The sandbox could not be tried: {error!r}.".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as answer:
        sentence = answer.read()
    os.waitpid(child, 0)
    return sentence or None


class _Sandbox:
    """Process 1 and our talk with it. Leaving the context ends it, whatever happened."""

    def __init__(self, kernel: Kernel, program: inside.Program, connection: socket.socket) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # were it ignored, the kernel would keep no exit code
        powers = inside.ALL_POWERS if inside.enter_user_namespace(kernel) else inside.HOST_POWERS
        inside.new_process_namespace(kernel)
        self._channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        limits = inside.Limits(mask=_signals(mask), powers=powers)
        self._pid: int | None = os.fork()
        if self._pid == 0:
            self._channel.close()
            connection.close()
            inside.be_process_one(other, kernel, program, limits)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        other.close()

    def open(self, connection: socket.socket, request: protocol.OpenRequest) -> None:
        """Hand the bound sockets to the server."""
        _, descriptors = self._receive()
        try:
            socket.send_fds(connection, [protocol.encode_request(request)], descriptors)
        except OSError as error:
            raise SandboxUnavailable(f"The Keyfob server closed the connection ({error.strerror}).") from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def wait_until_prepared(self) -> list[str]:
        message, _ = self._receive()
        return [str(note) for note in message.get("prepared", ())]

    def wait_until_ready(self, connection: socket.socket) -> Mapping[str, str]:
        connection.settimeout(PATIENCE)
        try:
            line = _read_line(connection)
        except TimeoutError:
            raise SandboxUnavailable(f"The Keyfob server gave no answer for {PATIENCE:.0f} seconds.") from None
        if not line:
            raise SandboxUnavailable("The Keyfob server closed the connection without an answer.")
        answer = protocol.decode_reply(line)
        if isinstance(answer, protocol.Refused):
            raise SandboxUnavailable(answer.sentence, code="SandboxRefused", status=403)
        return answer.environment

    def run(self, connection: socket.socket, environment: Mapping[str, str]) -> int:
        """Start the program and stay until it ends."""
        watched = FORWARDED | {signal.SIGCHLD, signal.SIGIO}
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
        try:
            with suppress(BrokenPipeError):  # process 1 has ended: its exit code follows
                self._channel.send(json.dumps({"go": dict(environment)}).encode())
            program = self._program_pid()
            _notify_of_end(connection)
            while (code := self._reap()) is None:
                heard = signal.sigwaitinfo(watched)
                if heard.si_signo == signal.SIGIO:
                    _report_end(connection)
                elif heard.si_signo in FORWARDED and heard.si_code != _SI_KERNEL and program is not None:
                    _kill(program, heard.si_signo)
            return code
        finally:
            while signal.sigtimedwait(watched, 0):
                pass  # a Ctrl-C that ended the program is not ours as well
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _program_pid(self) -> int | None:
        """The program's process id as seen here: the kernel translates the credentials of whoever sends."""
        _, ancillary, _, _ = self._channel.recvmsg(16, socket.CMSG_SPACE(_CREDENTIALS.size))
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                return int(_CREDENTIALS.unpack(data)[0]) or None
        return None

    def _receive(self) -> tuple[dict[str, Any], list[int]]:
        count = len(protocol.ENDPOINTS)
        space = socket.CMSG_SPACE(count * 4) + socket.CMSG_SPACE(_CREDENTIALS.size)
        data, ancillary, _, _ = self._channel.recvmsg(protocol.MESSAGE_LIMIT, space, socket.MSG_CMSG_CLOEXEC)
        descriptors: list[int] = []
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors += struct.unpack(f"={len(content) // 4}i", content)
        message = json.loads(data or b"{}")
        if "failed" in message:
            raise SandboxUnavailable(message["failed"])
        if not message:
            raise SandboxUnavailable("The sandbox's first process ended before it was set up.")
        return message, descriptors

    def _reap(self) -> int | None:
        if self._pid is None:
            return None
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0:
            return None
        self._pid = None
        return inside.exit_code(status)

    def __enter__(self) -> _Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pid is not None:
            _kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = None
        self._channel.close()


@contextmanager
def _connect(control: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE)
        try:
            with protocol.socket_address(control) as address:
                connection.connect(address)
        except PermissionError:
            raise SandboxUnavailable(
                f"The Keyfob server at {control} belongs to another user: run as that user, or start one of your own."
            ) from None
        except OSError:
            raise SandboxUnavailable(f"No Keyfob server listens at {control}: start one with `keyfob up`.") from None
        yield connection


@contextmanager
def _home(cover: Sequence[Path]) -> Iterator[str]:
    """The folder that gets the sandbox's files: the first covered one, else an empty one made for the purpose."""
    for path in cover:
        if path.is_dir():
            yield str(path)
            return
    temporary = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - mkdir below makes a new one or fails
    folder = f"{temporary}/keyfob-run-{os.urandom(8).hex()}"  # tempfile takes 8 ms to import
    os.mkdir(folder, 0o700)
    try:
        yield folder
    finally:
        os.rmdir(folder)


@contextmanager
def _handed(home: str) -> Iterator[str]:
    """A folder below the server's, for its files; the server takes it away, and so do we. "" when none is wanted."""
    if not home:
        yield ""
        return
    folder = f"{home}/handed/{os.urandom(8).hex()}"
    os.makedirs(folder, 0o700)
    with suppress(PermissionError):
        owner = os.stat(home)
        os.chown(os.path.dirname(folder), owner.st_uid, owner.st_gid)  # root may be the client of another's server
        os.chown(folder, owner.st_uid, owner.st_gid)
    try:
        yield folder
    finally:
        import shutil  # few sandboxes need it, and it takes 5 ms

        shutil.rmtree(folder, ignore_errors=True)


def _read_line(connection: socket.socket) -> bytes:
    """One message, b"" when the connection ends first."""
    line = b""
    while not line.endswith(b"\n"):
        data = connection.recv(protocol.MESSAGE_LIMIT)
        if not data:
            return b""
        line += data
    return line


def _notify_of_end(connection: socket.socket) -> None:
    """Let the kernel send SIGIO when something happens on the connection: only its end can."""
    connection.setblocking(False)
    fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(connection, fcntl.F_SETFL, fcntl.fcntl(connection, fcntl.F_GETFL) | os.O_ASYNC)
    _report_end(connection)


def _report_end(connection: socket.socket) -> None:
    try:
        if connection.fileno() != -1 and connection.recv(1) == b"":
            connection.close()
            _say("the server has ended; the program goes on without it")
    except BlockingIOError:
        pass


def _kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):  # it ended in this moment; SIGCHLD tells
        os.kill(pid, number)


def _signals(mask: set[Any]) -> set[signal.Signals]:
    return {number for number in mask if isinstance(number, signal.Signals)}


def _say(sentence: str) -> None:
    print(f"keyfob: {sentence}", file=sys.stderr, flush=True)


_OTHER_SYSTEM = "Sandboxes need Linux: use `keyfob env` to give a program its variables instead."
