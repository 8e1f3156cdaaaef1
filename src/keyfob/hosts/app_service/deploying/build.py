"""The build of a deployment: `pip install` into `antenv`, `npm install`, where the site asks for it.

A build runs outside the sandbox, which has no way out to a package index, and as the server's user: what it runs is
what the package says (build scripts of packages, npm's `build`). It is off unless the site's settings say
SCM_DO_BUILD_DURING_DEPLOYMENT, as on App Service.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from keyfob.errors import InvalidInput
from keyfob.hosts.app_service.deploying.deployments import ASKED_BY, Telling
from keyfob.hosts.app_service.running.command import build_python, package_json
from keyfob.hosts.app_service.running.environment import ROOT
from keyfob.hosts.app_service.site import Site

PATIENCE = 1_200.0
"""Seconds for each command."""

_PASSED = frozenset(
    {
        "PATH",
        "HOME",
        "LANG",
        "LC_ALL",
        "TZ",
        "TMPDIR",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
    }
)
_PASSED_FAMILIES = ("PIP_", "NPM_CONFIG_")
"""Of the server's environment: where package indexes are and how to reach them. Settings of the site are not given to
its build: they may hold secrets, and a build's log is kept."""


class BuildFailed(InvalidInput):
    code = "BuildFailed"


async def build(site: Site, folder: Path, telling: Telling) -> None:
    """Raises `BuildFailed`."""
    if not site.says(ASKED_BY):
        return
    if (folder / "requirements.txt").is_file():
        await _python(site, folder, telling)
    if (folder / "package.json").is_file():
        await _node(folder, telling)


async def _python(site: Site, folder: Path, telling: Telling) -> None:
    environment = folder / "antenv"
    await _run([build_python(site), "-m", "venv", "--clear", str(environment)], folder, telling)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    await _run([*pip, "-r", "requirements.txt"], folder, telling)
    if not site.is_function_app and not (environment / "bin" / "gunicorn").exists():
        telling.say("gunicorn is added: App Service's images have it.")
        await _run([*pip, "--quiet", "gunicorn"], folder, telling)
    await asyncio.to_thread(move_scripts, environment, folder, ROOT)


async def _node(folder: Path, telling: Telling) -> None:
    if shutil.which("npm") is None:
        raise BuildFailed("This machine has no npm: install Node.js, or deploy with node_modules in the package.")
    await _run(["npm", "install", "--no-audit", "--no-fund"], folder, telling)
    scripts = package_json(folder).get("scripts")
    for name in ("build", "build:azure"):
        if isinstance(scripts, dict) and name in scripts:
            await _run(["npm", "run", name], folder, telling)


def move_scripts(environment: Path, folder: Path, root: str) -> None:
    """An environment's scripts name the interpreter by where they were made; they run elsewhere."""
    made, meant = str(folder).encode(), root.encode()
    for path in (environment / "bin").iterdir():
        if path.is_symlink() or not path.is_file():
            continue
        text = path.read_bytes()
        if (made in text and text[:2] == b"#!") or path.name.lower().startswith("activate"):
            mode = path.stat().st_mode
            path.write_bytes(text.replace(made, meant))
            path.chmod(mode)


async def _run(command: Sequence[str], folder: Path, telling: Telling) -> None:
    telling.say("$ " + " ".join(os.path.basename(command[0]) if i == 0 else one for i, one in enumerate(command)))
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env=_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            limit=1 << 20,
        )
    except OSError as error:
        raise BuildFailed(f"{command[0]} could not be started: {error.strerror}.") from None
    try:
        async with asyncio.timeout(PATIENCE):
            assert process.stdout is not None
            async for line in _lines(process.stdout):
                telling.say(line)
            code = await process.wait()
    except TimeoutError:
        raise BuildFailed(f"{os.path.basename(command[0])} did not end within {PATIENCE:.0f} seconds.") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if code:
        raise BuildFailed(f"{os.path.basename(command[0])} ended with exit code {code}; the log has what it said.")


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    rest = b""
    while data := await stream.read(64 * 1024):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace").rstrip()[:4_000]
        rest = rest[-4_000:]
    if rest:
        yield rest.decode("utf-8", "replace").rstrip()


def _environment() -> Mapping[str, str]:
    passed = {
        name: value
        for name, value in os.environ.items()
        if name.upper() in _PASSED or name.upper().startswith(_PASSED_FAMILIES)
    }
    return {"PATH": os.defpath, **passed, "PYTHONDONTWRITEBYTECODE": "1", "CI": "true"}
