"""Where a site's content lies: one folder for each deployment, and a name that says which one runs.

    content/<deployment>/   what an archive held, and what a build made of it
    current                 the deployment that runs: replaced in one step, so a broken archive changes nothing
    swapped                 the last swap of slots whose files have followed
    born                    when the site was made: a new site of the same name does not get the old one's content
    home/                   what is /home in the sandbox, apart from /home/site/wwwroot
    packages/               the package that runs as it is, in /home/data/SitePackages

All of it is in the host's own folder, which goes with the site.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

from keyfob.arm.model import Resource
from keyfob.arm.shapes import mapping
from keyfob.errors import NotFound
from keyfob.hosts.app_service.model import SWAPPED
from keyfob.hosts.app_service.running.environment import HOME, ROOT
from keyfob.hosts.app_service.site import Site
from keyfob.hosts.workloads.workshop import Workshop
from keyfob.resource_id import ResourceId


class Contents:
    """The content of every site. Nothing is remembered here: the disk knows."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop

    def folder(self, site: Site) -> Path:
        """The site's folder, empty when it was another site's of the same name. Raises `NotFound` when it is that of
        one that was made later: whoever still works for this one has come too late."""
        return self._own(site.id, site.resource)

    def _own(self, id: ResourceId, resource: Resource) -> Path:
        folder = self._workshop.folder_of(id)
        born = str(resource.created)
        known = _read(folder / "born")
        if known != born:
            if _moment(known) > resource.created:
                raise NotFound("This site was deleted, and another has its name.", code="SiteNotFound")
            if any(folder.iterdir()):
                self._workshop.forget(id)
                folder = self._workshop.folder_of(id)
            _write(folder / "born", born)
        return folder

    def current(self, site: Site) -> tuple[str, Path] | None:
        """The deployment that runs and its files; None before the first."""
        folder = self.folder(site)
        name = _read(folder / "current")
        found = folder / "content" / name
        return (name, found) if name and found.is_dir() else None

    def fresh(self, site: Site, name: str) -> Path:
        """An empty folder for a deployment that is being made."""
        made = self.folder(site) / "content" / name
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True, mode=0o755)
        return made

    def publish(self, site: Site, name: str) -> None:
        """From now on this deployment's files are the content. Those of the one before stay until they are swept."""
        _write(self.folder(site) / "current", name)

    def sweep(self, site: Site, running: str = "") -> None:
        """Removes the files of every deployment but the last, and the one that the program was started from."""
        folder = self.folder(site)
        kept = {_read(folder / "current"), running}
        for path in (folder / "content").glob("*"):
            if path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def abandon(self, site: Site, name: str) -> None:
        """What a deployment has left of a site that is gone."""
        folder = self._workshop.folder_of(site.id)
        if _moment(_read(folder / "born")) > site.resource.created:
            shutil.rmtree(folder / "content" / name, ignore_errors=True)
        else:
            self._workshop.forget(site.id)

    def discard(self, site: Site, name: str) -> None:
        """The files of a deployment that failed."""
        shutil.rmtree(self.folder(site) / "content" / name, ignore_errors=True)

    def keep_package(self, site: Site, package: IO[bytes], name: str) -> None:
        """The package itself, as `WEBSITE_RUN_FROM_PACKAGE=1` has it: the last one alone, beside a file that names it.
        Its folder is not in the home, of which the program may make what it likes, but is shown there."""
        folder = self._packages(site)
        for path in folder.glob("*.zip"):
            path.unlink()
        package.seek(0)
        with (folder / f"{name}.zip").open("xb") as file:
            shutil.copyfileobj(package, file)
        _write(folder / "packagename.txt", f"{name}.zip")

    # --- swaps

    def pending(self, resource: Resource) -> bool:
        """Whether files are still where they were before the site's last swap."""
        generation = _generation(resource)
        return bool(generation) and _read(self._folder_of(resource) / "swapped") != generation

    def exchange(self, one: Resource, other: Resource) -> None:
        """Exchanges the content of two slots, once for each swap. What was begun and not finished is finished: a
        journal in the first one's folder says which deployment goes where."""
        generation = _generation(one)
        first, second = (self._folder_of(each) for each in sorted((one, other), key=lambda each: each.id.lower()))
        if all(_read(folder / "swapped") == generation for folder in (first, second)):
            return
        journal = first / "swap"
        noted = _read(journal).split("\n")
        if noted[0] != generation:
            noted = [generation, f"1{_read(first / 'current')}", f"2{_read(second / 'current')}"]
            _write(journal, "\n".join(noted))
        for name, source, target in ((noted[1][1:], first, second), (noted[2][1:], second, first)):
            (target / "content").mkdir(exist_ok=True)
            if name and (source / "content" / name).is_dir():
                os.rename(source / "content" / name, target / "content" / name)
            _write(target / "current", name)
        for folder in (first, second):
            _write(folder / "swapped", generation)
        journal.unlink()

    def _folder_of(self, resource: Resource) -> Path:
        return self._own(ResourceId.parse(resource.id), resource)

    def grafts(self, site: Site, content: Path) -> list[tuple[Path, str]]:
        """What the site's sandbox shows: its /home, with the machine's own homes still in it, since interpreters
        and their packages may lie there."""
        home = self.folder(site) / "home"
        for inner in ("", "site", "site/wwwroot", "data", "data/SitePackages", "LogFiles"):
            _own_folder(home / inner)
        kept = [path for path in _homes() if path.name not in {"site", "data", "LogFiles"}]
        for path in kept:
            _own_folder(home / path.name)
        packages = (self._packages(site), f"{HOME}/data/SitePackages")
        return [(home, HOME), *((path, str(path)) for path in kept), packages, (content, ROOT)]

    def _packages(self, site: Site) -> Path:
        made = self.folder(site) / "packages"
        made.mkdir(exist_ok=True)
        return made


def _own_folder(path: Path) -> None:
    """A folder in a site's home, and no link: its program may have left one there, and it does not run now."""
    if path.is_symlink():
        path.unlink()
    path.mkdir(exist_ok=True)


def _homes() -> list[Path]:
    with contextlib.suppress(OSError):
        return [path for path in Path(HOME).iterdir() if path.is_dir() and not path.is_symlink()]
    return []


def _moment(born: str) -> float:
    try:
        return float(born)
    except ValueError:
        return 0.0


def _generation(resource: Resource) -> str:
    return str(mapping(resource.properties.get(SWAPPED)).get("generation") or "")


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _write(path: Path, text: str) -> None:
    """Whole or not at all, also when the machine fails."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
