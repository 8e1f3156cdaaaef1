"""Images as folders, for machines without an engine: `<folder>/<name>/<tag>/` holds `root` and `image.json`.

They come from a folder, a tar archive of a file system (`podman export`), or an archive of an image (`podman save`,
`docker save`, an OCI layout). Whom files belong to is not kept: programs of a container run as the server's user.
"""

from __future__ import annotations

import json
import os
import posixpath
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from keyfob.errors import InvalidInput, NotFound

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What engines set for an image that sets none."""

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


class Image(NamedTuple):
    root: Path
    command: tuple[str, ...]
    """Entry point and arguments; empty: the group must name a command."""

    entrypoint: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str


def normal(name: str) -> tuple[str, str]:
    """Repository and tag of a name as people write it: `alpine` is `docker.io/library/alpine:latest`."""
    plain = name.strip().partition("@")[0]
    head, slash, tail = plain.rpartition("/")
    base, _, tag = tail.partition(":")
    repository = f"{head}{slash}{base}"
    for prefix in ("docker.io/library/", "index.docker.io/library/", "docker.io/", "localhost/"):
        repository = repository.removeprefix(prefix)
    return repository, tag or "latest"


class Images:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str) -> Image | None:
        """The image that was imported under a name; one by digest is none of them."""
        place = self._place(name)
        if "@" in name or not (place / "root").is_dir():
            return None
        try:
            config = json.loads((place / "image.json").read_bytes())
        except (OSError, ValueError):
            config = {}
        entrypoint, arguments = _words(config.get("Entrypoint")), _words(config.get("Cmd"))
        environment = {"PATH": DEFAULT_PATH}
        for pair in _words(config.get("Env")):
            key, _, value = pair.partition("=")
            environment[key] = value
        return Image(
            place / "root", (*entrypoint, *arguments), entrypoint, environment, str(config.get("WorkingDir") or "/")
        )

    def names(self) -> list[str]:
        found = [
            f"{unquote(tag.parent.name)}:{unquote(tag.name)}"
            for tag in self._folder.glob("*/*")
            if not tag.parent.name.startswith(".") and (tag / "root").is_dir()
        ]
        return sorted(found)

    def remove(self, name: str) -> None:
        """Raises NotFound. A container that runs from it keeps what it has open."""
        place = self._place(name)
        if not place.is_dir():
            raise NotFound(f"There is no image '{name}'; `keyfob image list` names those that there are.")
        shutil.rmtree(place, onerror=_force)

    def add(self, name: str, source: Path) -> Image:
        """Import a folder or an archive; an image that had the name is replaced. Raises InvalidInput."""
        if not normal(name)[0] or "@" in name:
            raise InvalidInput(f"'{name}' is no name of an image: give it as in `shop/worker:1`.")
        if not source.exists():
            raise InvalidInput(f"There is no file or folder {source}.")
        place = self._place(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".new-", dir=self._folder))
        try:
            root = made / "root"
            config = _copy(source, root) if source.is_dir() and not _is_layout(source) else _unpack(source, root)
            if not any(root.iterdir()):
                raise InvalidInput(f"{source} holds no file system.")
            (made / "image.json").write_text(json.dumps(config))
            if place.exists():
                shutil.rmtree(place, onerror=_force)
            made.chmod(0o755)
            made.rename(place)
        except BaseException:
            shutil.rmtree(made, onerror=_force)
            raise
        found = self.find(name)
        assert found is not None
        return found

    def _place(self, name: str) -> Path:
        repository, tag = normal(name)
        return self._folder / quote(repository, safe="").replace(".", "%2E") / quote(tag, safe="").replace(".", "%2E")


def _copy(source: Path, root: Path) -> Mapping[str, Any]:
    shutil.copytree(source, root, symlinks=True, ignore=_special)
    return {}


def _special(folder: str, names: list[str]) -> list[str]:
    """Devices, sockets and pipes: a container gets its own."""
    paths = [(name, os.path.join(folder, name)) for name in names]
    return [name for name, path in paths if not (os.path.islink(path) or os.path.isfile(path) or os.path.isdir(path))]


def _is_layout(folder: Path) -> bool:
    return (folder / "oci-layout").is_file() or (folder / "manifest.json").is_file()


def _unpack(source: Path, root: Path) -> Mapping[str, Any]:
    """The file system of an archive, or of an unpacked image; the image's settings."""
    root.mkdir()
    if source.is_dir():
        return _layers(source, root)
    try:
        with tarfile.open(source) as archive:
            names = {posixpath.normpath(name) for name in archive.getnames()}
            if not names & {"manifest.json", "oci-layout"}:
                _extract(archive, root)
                return {}
            with tempfile.TemporaryDirectory(dir=root.parent) as folder:
                _extract(archive, Path(folder))
                return _layers(Path(folder), root)
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise InvalidInput(f"{source} is no tar archive that can be read: {error}.") from None


def _layers(folder: Path, root: Path) -> Mapping[str, Any]:
    """Lay the layers of an image over one another. Raises InvalidInput for what is no image."""
    try:
        if (folder / "manifest.json").is_file():
            row = json.loads((folder / "manifest.json").read_bytes())[0]
            config, layers = _inside(folder, row["Config"]), [_inside(folder, name) for name in row["Layers"]]
        else:
            config, layers = _oci(folder)
        settings = json.loads(config.read_bytes()).get("config") or {}
        for layer in layers:
            with tarfile.open(layer) as archive:
                _extract(archive, root)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, tarfile.TarError) as error:
        raise InvalidInput(f"This is no image that can be read: {error}.") from None
    return dict(settings)


def _oci(folder: Path) -> tuple[Path, list[Path]]:
    """Settings and layers of the first image of an OCI layout (image-spec, image-layout.md)."""

    def blob(row: Mapping[str, Any]) -> Path:
        kind, _, digest = str(row["digest"]).partition(":")
        return _inside(folder, f"blobs/{kind}/{digest}")

    found = json.loads((folder / "index.json").read_bytes())
    while "manifests" in found:
        found = json.loads(blob(found["manifests"][0]).read_bytes())
    return blob(found["config"]), [blob(row) for row in found["layers"]]


def _inside(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"{name} lies outside of the image")
    return path


def _extract(archive: tarfile.TarFile, root: Path) -> None:
    """What an archive holds, over what is there; devices and pipes are left out. Nothing gets out of `root`, whatever
    the archive says. By hand, since Python's own filters came with 3.11.4. Raises ValueError, OSError."""
    for member in archive:
        folder, base = posixpath.split(posixpath.normpath("/" + member.name))
        if not base:
            continue
        above = _inside(root, folder.lstrip("/"))
        above.mkdir(parents=True, exist_ok=True)
        if base == _OPAQUE:
            for path in above.iterdir():
                _remove(path)
        elif base.startswith(_WHITEOUT):
            _remove(above / base.removeprefix(_WHITEOUT))
        else:
            _place_member(archive, member, above / base, root)


def _place_member(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path, root: Path) -> None:
    """Files are the importer's own, to read and to write; an image's set-user-id means nothing to one user."""
    if member.isdir():
        if place.is_symlink() or not place.is_dir():
            _remove(place)
            place.mkdir()
        place.chmod(member.mode & 0o1777 | 0o700)
        return
    if not (member.isfile() or member.issym() or member.islnk()):
        return
    _remove(place)
    if member.issym():
        place.symlink_to(member.linkname)
    elif member.islnk():
        folder, base = posixpath.split(posixpath.normpath("/" + member.linkname))
        os.link(_inside(root, folder.lstrip("/")) / base, place, follow_symlinks=False)
    else:
        content = archive.extractfile(member)
        assert content is not None  # it is a file
        with open(place, "xb") as file:
            shutil.copyfileobj(content, file)
        place.chmod(member.mode & 0o777 | 0o600)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=_force)
    else:
        path.unlink(missing_ok=True)


def _force(remove: Any, path: str, problem: Any) -> None:
    """Folders that an image closed to everybody."""
    os.chmod(os.path.dirname(path), 0o700)
    if os.path.isdir(path) and not os.path.islink(path):
        os.chmod(path, 0o700)
        shutil.rmtree(path)
    else:
        remove(path)


def _words(value: Any) -> tuple[str, ...]:
    return tuple(str(word) for word in value) if isinstance(value, list) else ()
