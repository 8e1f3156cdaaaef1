"""Which program a site's content is, and how it is started.

The order is that of the platform images (microsoft/Oryx, startupscriptgenerator, python and node): the startup command
of `appCommandLine`, else a framework found by its files. What the content says is looked at, never run.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keyfob.hosts.app_service.running.environment import ROOT, stack
from keyfob.hosts.app_service.site import Site

PYTHON_PORT = 8000
NODE_PORT = 8080
OTHER_PORT = 8080
"""What an app listens on that is told nothing: the images' own defaults."""

_FLASK = ("application.py", "app.py", "index.py", "server.py")
_NODE = ("bin/www", "server.js", "app.js", "index.js", "hostingstart.js")
ENVIRONMENTS = ("antenv", ".venv", "venv", "env")
"""Folders of the content that may be a Python environment, best first; a build makes the first."""
LONGEST_PACKAGE = 1 << 20

PACKAGES = (".python_packages/lib/site-packages", "__oryx_packages__")
"""Folders of packages without an environment: what tools put into the archive."""

DEFAULT_SERVER = Path(__file__).with_name("serve_wsgi.py")
"""Runs a WSGI app where there is no gunicorn, which every image of App Service has."""
DEFAULT_SERVER_AT = "/opt/startup/serve_wsgi.py"


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a site's program. The port is that it must listen on to be up."""

    command: Sequence[str]
    port: int
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Besides what every site has; settings of the site come last."""
    notes: Sequence[str] = ()
    """Sentences for the site's log."""
    grafts: Sequence[tuple[Path, str]] = ()
    """Further folders and files to show."""


Chooser = Callable[[Site, Path], Launch | None]
"""Site and content → how to start it; None: there is nothing to start, and the default page answers.

This is the seam for other kinds of site: `Sites` is given one for each kind that is not started as a web app."""


def choose(site: Site, content: Path, path: str | None = None) -> Launch | None:
    """`path` is the PATH that programs are looked for on."""
    found = path if path is not None else os.environ.get("PATH", os.defpath)
    given = str(site.config.get("appCommandLine") or "").strip()
    what = _language(site, content)
    if what == "python":
        return _python(site, content, given, found)
    if what == "node":
        return _node(site, content, given)
    if given:
        return _shell(given, _port(site, OTHER_PORT), {}, content)
    return None


def _language(site: Site, content: Path) -> str:
    named = stack(site)
    if named in {"python", "node"}:
        return named
    if named:
        return ""  # .NET, Java, PHP: started by their startup command alone
    if (content / "package.json").is_file() or any((content / name).is_file() for name in _NODE):
        return "node"
    if (content / "requirements.txt").is_file() or any(content.glob("*.py")) or any(content.glob("*/wsgi.py")):
        return "python"
    return ""


def _port(site: Site, otherwise: int) -> int:
    """WEBSITES_PORT, or PORT, where the site's settings say one."""
    for name in ("WEBSITES_PORT", "PORT", "HTTP_PLATFORM_PORT"):
        text = site.setting(name).strip()
        if text.isdigit() and 0 < int(text) < 65536:
            return int(text)
    return otherwise


# --- Python


def _python(site: Site, content: Path, given: str, path: str) -> Launch | None:
    port = _port(site, PYTHON_PORT)
    home = next((name for name in ENVIRONMENTS if (content / name / "bin" / "python").is_symlink()
                 or (content / name / "bin" / "python").is_file()), "")  # fmt: skip
    interpreter, notes = _interpreter(site, path)
    variables = _python_variables(content, home, path, port)
    if home:
        interpreter = f"{ROOT}/{home}/bin/python"
    if given:
        return _shell(given, port, variables, content, notes)
    module = _wsgi_module(content)
    if module is None:
        return None
    if _has_gunicorn(content, home, path):
        return Launch(["gunicorn", module], port, variables, notes)
    notes = [*notes, "gunicorn is not installed: the app is served by wsgiref; add gunicorn to requirements.txt"]
    return Launch(
        [interpreter, DEFAULT_SERVER_AT, module, str(port)],
        port,
        variables,
        notes,
        grafts=((DEFAULT_SERVER, DEFAULT_SERVER_AT),),
    )


def _python_variables(content: Path, home: str, path: str, port: int) -> dict[str, str]:
    packages = [f"{ROOT}/{name}" for name in PACKAGES if (content / name).is_dir()]
    folders = [f"{ROOT}/{home}/bin"] if home else []
    folders += [f"{folder}/bin" for folder in packages]
    made = {
        "PATH": os.pathsep.join([*folders, path, ROOT]),
        "GUNICORN_CMD_ARGS": (
            f"--timeout 600 --access-logfile '-' --error-logfile '-' --bind=0.0.0.0:{port} --chdir={ROOT}"
        ),
        "PYTHONUNBUFFERED": "1",
    }
    if packages:
        made["PYTHONPATH"] = os.pathsep.join(packages)
    if home:
        made["VIRTUAL_ENV"] = f"{ROOT}/{home}"
    return made


def _interpreter(site: Site, path: str) -> tuple[str, list[str]]:
    """The Python that the site names when the machine has it, else the machine's own."""
    version = str(site.config.get("linuxFxVersion") or "").partition("|")[2].strip()
    if version and shutil.which(f"python{version}", path=path):
        return f"python{version}", []
    notes = [f"this machine has no Python {version}: its python3 is used"] if version else []
    return "python3", notes


def interpreter(site: Site) -> tuple[str, list[str]]:
    """The Python of a site on this machine, and what its log should say about that."""
    return _interpreter(site, os.environ.get("PATH", os.defpath))


def build_python(site: Site) -> str:
    """What makes the environment of a site's content."""
    return interpreter(site)[0]


def _wsgi_module(content: Path) -> str | None:
    """Django's `<folder>.wsgi`, else Flask's `<file>:app`."""
    for folder in sorted(path for path in content.iterdir() if path.is_dir() and path.name not in ENVIRONMENTS):
        if (folder / "wsgi.py").is_file():
            return f"{folder.name}.wsgi"
    return next((f"{name[:-3]}:app" for name in _FLASK if (content / name).is_file()), None)


def _has_gunicorn(content: Path, home: str, path: str) -> bool:
    folders = [content / home / "bin"] if home else []
    folders += [content / name / "bin" for name in PACKAGES]
    return any((folder / "gunicorn").is_file() for folder in folders) or shutil.which("gunicorn", path=path) is not None


# --- Node


def _node(site: Site, content: Path, given: str) -> Launch | None:
    port = _port(site, NODE_PORT)
    variables = {"PATH": os.pathsep.join([f"{ROOT}/node_modules/.bin", os.environ.get("PATH", os.defpath), ROOT])}
    if given and not given.endswith(("package.json", ".js")):
        return _shell(given, port, variables, content)
    if given.endswith(".js"):
        return Launch(["node", given], port, variables)
    package = package_json(content)
    if isinstance(scripts := package.get("scripts"), dict) and scripts.get("start"):
        return Launch(["npm", "start"], port, {**variables, "NPM_CONFIG_UPDATE_NOTIFIER": "false"})
    main = package.get("main")
    if isinstance(main, str) and main:
        return Launch(["node", main], port, variables)
    found = next((name for name in _NODE if (content / name).is_file()), None)
    return Launch(["node", found], port, variables) if found else None


def package_json(content: Path) -> Mapping[str, object]:
    """The file as far as it is one, of at most `LONGEST_PACKAGE` bytes. The program may put there what it likes: a
    pipe, which nobody would ever write to, a link to files of the server, a file without an end."""
    path = os.path.realpath(content / "package.json")
    if not Path(path).is_relative_to(os.path.realpath(content)):
        return {}
    try:
        with open(path, "rb", opener=_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return {}
            read = json.loads(file.read(LONGEST_PACKAGE).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


# --- anything


def _shell(given: str, port: int, variables: Mapping[str, str], content: Path, notes: Sequence[str] = ()) -> Launch:
    """A startup command, or the name of a file of the content that holds one."""
    file = given.removeprefix(f"{ROOT}/")
    inside = content / file
    if not os.path.isabs(file) and ".." not in Path(file).parts and inside.is_file() and not shlex.split(file)[1:]:
        return Launch(["sh", file], port, variables, notes)
    return Launch(["sh", "-c", given], port, variables, notes)
