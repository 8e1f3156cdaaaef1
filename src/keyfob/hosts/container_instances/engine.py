"""Podman or Docker, by their command lines: whether one works here, and the few things that are asked of it.

Whether it works is tried, not assumed: a container without a network is started with each of `WAYS`, and its network is
entered. Containers of a group share the network of one that does nothing (`PAUSE`), in which the server listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import resource
import shutil
import tarfile
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keyfob.errors import Problem

PAUSE = "localhost/keyfob/pause:1"
"""An image without content: its program is the machine's own `sleep`, by a read-only mount."""

PROGRAMS = ("podman", "docker")
IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")

LOG_SIZE = "max-size=16mb"
"""Of the file that Podman writes; a program that prints without end must not fill the disk."""

AT_ONCE = 4
"""Commands of an engine at a time: with many groups a start of the server would else begin with as many."""

PATIENCE = 120.0
"""Seconds that one command of the engine may take."""

SAID = 4 * 1024 * 1024
"""Bytes of what a command says that are read."""

_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "usr")
_COPIED = ("PATH", "HOME", "USER", "LANG", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
_PREFIXES = ("CONTAINER_", "CONTAINERS_", "DOCKER_", "STORAGE_")
"""Variables that tell an engine where its things are: all that it gets of the server's own."""
_HEEDED = (
    *("LD_", "GO", "_", "GLIBC_", "GCONV_", "GIO_", "G_", "LC_", "LOC", "MALLOC_", "RES_"),  # by libraries
    *("DBUS_", "XDG_", "NOTIFY_", "LISTEN_", "SYSTEMD_", "INVOCATION_"),  # systemd's bus may be a command to run
    *("REGISTRY_", "BUILDAH_", "NETAVARK_", "OCI_", "SSL_CERT_", "BASH_", "TMP", "TEMP"),
)
"""How names begin that an engine, or what it starts, would take for its own."""


def _limits() -> tuple[str, ...]:
    """Limits that may be set without CAP_SYS_RESOURCE, which a server in a container may lack. Podman lowers its own
    number of processes to 32,768, above which it then cannot go (seen with 4.3.1)."""
    limits = (("nofile", resource.RLIMIT_NOFILE, 1_048_576), ("nproc", resource.RLIMIT_NPROC, 32_768))
    words: list[str] = []
    for name, number, most in limits:
        hard = resource.getrlimit(number)[1]
        value = most if hard == resource.RLIM_INFINITY else min(hard, most)
        words += ["--ulimit", f"{name}={value}:{value}"]
    return tuple(words)


@dataclass(frozen=True, slots=True)
class Way:
    """Options of the engine, and of its `run`."""

    engine: tuple[str, ...] = ()
    run: tuple[str, ...] = ()


def ways(program: str) -> tuple[Way, ...]:
    """How to run a container, the ordinary way first. runc also where crun refuses a mixed cgroup hierarchy."""
    limits = _limits()
    found = [Way(), Way((), limits)]
    if program == "podman":
        if shutil.which("runc"):
            found += [Way(("--runtime", "runc")), Way(("--runtime", "runc"), limits)]
        found += [Way((), ("--cgroups=disabled", *limits))]
    return tuple(dict.fromkeys(found))


class EngineFailed(Problem):
    """A command of the engine failed; the message is what it said."""

    code = "ContainerEngineFailed"


@dataclass(frozen=True, slots=True)
class Run:
    """A container to start. The environment never becomes part of the command line."""

    name: str
    image: str
    labels: Mapping[str, str]
    network: str
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    mounts: Sequence[tuple[str, str, bool]] = ()
    """(source, target, read only)"""

    log: str = ""
    """The file that gets what it prints."""

    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """A container as the engine knows it. `pid` is 0 when it does not run."""

    id: str
    labels: Mapping[str, str]
    pid: int
    running: bool
    code: int
    log: str


class Engine:
    def __init__(self, program: str, environ: Mapping[str, str]) -> None:
        self.program = program
        self._environment = {
            name: value for name, value in environ.items() if name in _COPIED or name.startswith(_PREFIXES)
        }
        self._way: Way | None = None
        self._refused = ""
        self._trying = asyncio.Lock()
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def works(self, reach: Callable[[int], Awaitable[None]]) -> None:
        """Returns when a container runs and `reach(pid)` gets into its network. Raises EngineFailed with the reason."""
        async with self._trying:
            if self._way is not None:
                return
            if self._refused:
                raise EngineFailed(self._refused)
            said = ""
            if not await self.has_image(PAUSE):
                await self._import_pause()
            for way in ways(self.program):
                try:
                    await self._try(way, reach)
                except Problem as problem:
                    said = problem.message
                else:
                    self._way = way
                    return
            self._refused = f"{self.program} runs no containers here: {said}"
            raise EngineFailed(self._refused)

    async def has_image(self, image: str) -> bool:
        """What is no name of an image is none, least of all an option of the engine's."""
        return (
            IMAGE.fullmatch(image) is not None
            and (await self._run("image", "inspect", "--format", "{{.Id}}", image))[0] == 0
        )

    async def start(self, run: Run, way: Way | None = None) -> Known:
        """Starts a container, in the way that works. Raises EngineFailed."""
        way = way or self._way or Way()
        arguments = [*way.engine, "run", "--detach", "--pull=never", "--name", run.name, "--network", run.network]
        arguments += [*way.run, "--security-opt", "label=disable"]
        for name, value in run.labels.items():
            arguments += ["--label", f"{name}={value}"]
        for source, target, read_only in run.mounts:
            arguments += ["--volume", f"{source}:{target}:{'ro' if read_only else 'rw'}"]
        if run.read_only:
            arguments.append("--read-only")
        if run.log and self.program == "podman":  # docker's logs lie where docker wants them
            arguments += ["--log-driver", "k8s-file", "--log-opt", f"path={run.log}", "--log-opt", LOG_SIZE]
        if run.command:
            arguments += ["--entrypoint", run.command[0]]
        with _environment_file(run.environment, os.path.dirname(run.log)) as (path, passed):
            options = ["--env-file", path, *(word for name in passed for word in ("--env", name))]
            await self.must(*arguments, *options, run.image, *run.command[1:], environment=passed)
        found = await self.inspect([run.name])
        if not found:
            raise EngineFailed(f"{self.program} does not know the container that it has started.")
        return found[0]

    async def inspect(self, names: Sequence[str]) -> list[Known]:
        """Those that there are."""
        if not names:
            return []
        _, output, _ = await self._run("container", "inspect", *names)
        try:
            rows = json.loads(output or "[]")
        except ValueError:
            rows = []
        return [_known(row) for row in rows]

    async def labelled(self, label: str) -> list[Known]:
        """Every container that has it, running or not. Raises EngineFailed."""
        output = await self.must("ps", "--all", "--no-trunc", "--quiet", "--filter", f"label={label}")
        return await self.inspect(output.split())

    async def wait(self, known: Known, patience: float = 15.0) -> int:
        """The exit code, as soon as it has ended. 137 when the engine has lost it."""
        await until_ended(known.pid)
        with contextlib.suppress(TimeoutError, ValueError):
            code, output, _ = await asyncio.wait_for(self._run("wait", known.id, hasty=True), patience)
            if code == 0:
                return int(output.split()[-1]) % 256
        return 137

    async def stop(self, names: Sequence[str], grace: float) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds. Also of what has ended."""
        if names:
            await self._run("stop", "--time", f"{grace:.0f}", *names)

    async def remove(self, names: Sequence[str]) -> None:
        """At once, running or not; also of what is not there. What others depend on goes after them."""
        at_once = ("--time", "0") if self.program == "podman" else ()  # which otherwise waits for ten seconds
        if names:
            await self._run("rm", "--force", "--volumes", *at_once, *names)

    async def execute(self, known: Known, command: Sequence[str]) -> tuple[int, str, str]:
        """One program more in a running container: exit code, output, errors."""
        way = self._way or Way()
        return await self._run(*way.engine, "exec", known.id, *command, hasty=True)

    async def must(self, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        """The output of a command. Raises EngineFailed."""
        code, output, errors = await self._run(*arguments, environment=environment)
        if code:
            raise EngineFailed(last_line(errors) or f"{self.program} ended with {code}.")
        return output

    async def _run(
        self, *arguments: str, environment: Mapping[str, str] | None = None, hasty: bool = False
    ) -> tuple[int, str, str]:
        """Exit code, output, errors. A command that has begun is not broken off, unless it is `hasty`: half a container
        is nobody's. Raises EngineFailed.

        What it says goes to files: of a pipe one would wait for the end, and what watches a container keeps it open.
        """
        turn = contextlib.nullcontext() if hasty else self._turns
        async with turn:
            return await self._say(arguments, environment, hasty)

    async def _say(
        self, arguments: Sequence[str], environment: Mapping[str, str] | None, hasty: bool
    ) -> tuple[int, str, str]:
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            try:
                process = await asyncio.create_subprocess_exec(
                    self.program,
                    *arguments,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    env={**self._environment, **(environment or {})},
                    cwd="/",
                    start_new_session=True,
                )
            except OSError as error:
                raise EngineFailed(f"{self.program} cannot be started: {error.strerror}.") from None
            code = await self._ended(process, hasty)
            if code is None:
                raise EngineFailed(f"{self.program} {arguments[0]} did not end within {PATIENCE:.0f} seconds.")
            said = []
            for file in (output, errors):
                file.seek(0)
                said.append(file.read(SAID).decode("utf-8", "replace"))
            return code, said[0], said[1]

    async def _ended(self, process: asyncio.subprocess.Process, hasty: bool) -> int | None:
        """The exit code; None when it took too long."""
        ending = asyncio.ensure_future(asyncio.wait_for(process.wait(), PATIENCE))
        try:
            return await asyncio.shield(ending)
        except TimeoutError:
            return None
        except asyncio.CancelledError:
            if hasty:
                ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)
            raise
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    async def _try(self, way: Way, reach: Callable[[int], Awaitable[None]]) -> None:
        name = f"keyfob-try-{os.urandom(6).hex()}"
        try:
            known = await self.start(pause(name, {}), way)
            if not known.running:
                raise EngineFailed(f"a container that should wait ended with {known.code}")
            await reach(known.pid)
        finally:
            await self.remove([name])

    async def _import_pause(self) -> None:
        with tempfile.NamedTemporaryFile(suffix=".tar") as file:
            file.write(_pause_root())
            file.flush()
            await self.must("import", file.name, PAUSE)


def pause(name: str, labels: Mapping[str, str]) -> Run:
    """The container whose network a group shares."""
    mounts = [(f"/{folder}", f"/{folder}", True) for folder in _FOLDERS if _is_folder(folder)]
    return Run(name, PAUSE, labels, "none", ("sleep", "2147483647"), mounts=mounts, read_only=True)


def engines(environ: Mapping[str, str]) -> list[Engine]:
    """Those that are installed, none of them tried yet."""
    return [Engine(program, environ) for program in PROGRAMS if shutil.which(program, path=environ.get("PATH"))]


def last_line(text: str) -> str:
    """Of what a command said on stderr: the sentence that says why it failed."""
    lines = [line for line in text.splitlines() if line.strip() and "level=warning" not in line]
    return lines[-1].strip()[:500] if lines else ""


def _is_folder(name: str) -> bool:
    return os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}")


def _pause_root() -> bytes:
    """A tar archive with the machine's links to /usr, and folders to mount on."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name in (*_FOLDERS, "proc", "sys", "dev", "etc", "run", "tmp"):
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if os.path.islink(f"/{name}"):
                info.type, info.linkname = tarfile.SYMTYPE, os.readlink(f"/{name}")
            elif os.path.isdir(f"/{name}"):
                info.type = tarfile.DIRTYPE
            else:
                continue
            archive.addfile(info)
    return content.getvalue()


def _known(row: Mapping[str, Any]) -> Known:
    state = row.get("State") or {}
    return Known(
        id=str(row.get("Id")),
        labels=(row.get("Config") or {}).get("Labels") or {},
        pid=int(state.get("Pid") or 0),
        running=state.get("Running") is True,
        code=int(state.get("ExitCode") or 0),
        log=str((row.get("HostConfig") or {}).get("LogConfig", {}).get("Path") or row.get("LogPath") or ""),
    )


@contextlib.contextmanager
def _environment_file(environment: Mapping[str, str], folder: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """A file that only we can read, and what it cannot hold, to be handed over in the engine's own environment. It
    lies in the group's folder, which no program of another host sees: /tmp they all share, as the same user.

    A file has one line for each variable, so values of several lines go the other way; a name that the engine itself
    would heed cannot.
    """
    passed = {name: value for name, value in environment.items() if "\n" in value or "\r" in value}
    for name in passed:
        if name in _COPIED or name.startswith((*_PREFIXES, *_HEEDED)):
            raise EngineFailed(f"The variable {name} cannot have several lines: the engine would take it for its own.")
    with tempfile.NamedTemporaryFile(
        "w", prefix="environment-", dir=folder or None, encoding="utf-8", errors="surrogateescape"
    ) as file:
        file.writelines(f"{name}={value}\n" for name, value in environment.items() if name not in passed)
        file.flush()
        yield file.name, passed


async def until_ended(pid: int) -> None:
    """Of any process that we may see, not a child alone."""
    if not pid:
        return
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _settle, ended)
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _settle(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
