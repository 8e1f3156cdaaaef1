"""Unpacking what somebody sent: nothing outside the folder, nothing without a bound.

Refused: names that are absolute or climb, links that lead out, devices, encryption, more than `MOST_FILES` files or
`MOST_BYTES` bytes as they really come out (what the archive says about its sizes counts for nothing). Links are made
last, so that no file is written through one.
"""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO

from keyfob.errors import InvalidInput

MOST_FILES = 100_000
MOST_BYTES = 2 * 1024**3
_LONGEST_NAME = 1_024
_LONGEST_LINK = 4_096
_PART = 1 << 20


class BadArchive(InvalidInput):
    """The archive is none, or holds what it must not."""

    code = "InvalidPackage"


def unpack(archive: IO[bytes], target: Path, *, most_files: int = MOST_FILES, most_bytes: int = MOST_BYTES) -> int:
    """Writes what the zip holds into an empty folder; how many files. Raises `BadArchive`."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return _unpack(opened, target, most_files, most_bytes)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise BadArchive(f"The package is not a zip archive that can be read: {error}.") from None
    except zipfile.LargeZipFile:
        raise BadArchive("The package is larger than a zip archive may be.") from None
    except OSError as error:
        raise BadArchive(f"The package could not be unpacked: {error.strerror or error}.") from None
    except Exception as error:  # zlib.error and its like have no common ancestor
        if type(error).__module__ in {"zlib", "lzma", "_lzma", "bz2", "struct"}:
            raise BadArchive(f"The package is damaged: {error}.") from None
        raise


def _unpack(opened: zipfile.ZipFile, target: Path, most_files: int, most_bytes: int) -> int:
    entries = opened.infolist()
    if len(entries) > most_files:
        raise BadArchive(f"The package has more than {most_files} files.")
    links: list[tuple[Path, PurePosixPath, str]] = []
    left, files = most_bytes, 0
    for entry in entries:
        name = safe_name(entry.filename)
        if name is None:
            raise BadArchive(f"The package has a file outside its folder: {entry.filename[:80]!r}.")
        if not name.parts:
            continue
        place = target.joinpath(*name.parts)
        mode = entry.external_attr >> 16
        if entry.flag_bits & 0x1:
            raise BadArchive("The package is encrypted.")
        if entry.is_dir() or stat.S_ISDIR(mode):
            place.mkdir(parents=True, exist_ok=True)
            continue
        if stat.S_ISLNK(mode):
            links.append((place, name, _link(opened, entry)))
            continue
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise BadArchive(f"The package has something that is no file: {entry.filename[:80]!r}.")
        left -= _write(opened, entry, place, mode, left)
        files += 1
    for place, name, to in links:
        if not stays_inside(name, to):
            raise BadArchive(f"The package has a link that leads out of it: {str(name)[:80]!r}.")
        place.parent.mkdir(parents=True, exist_ok=True)
        if os.path.realpath(place.parent) != os.path.join(os.path.realpath(target), *name.parent.parts):
            raise BadArchive(f"The package has a link below a link: {str(name)[:80]!r}.")
        place.symlink_to(to)
    return files + len(links)


def safe_name(text: str) -> PurePosixPath | None:
    """The name relative to the folder, as Windows or anybody writes it; None when it leads elsewhere."""
    clean = text.replace("\\", "/")
    parts = [part for part in clean.split("/") if part not in ("", ".")]
    if clean.startswith("/") or ".." in parts or "\0" in clean or len(clean) > _LONGEST_NAME:
        return None
    if parts and len(parts[0]) > 1 and parts[0][1] == ":":
        return None
    return PurePosixPath(*parts)


def stays_inside(name: PurePosixPath, to: str) -> bool:
    """Whether a link of that name leads to a place in the folder, whatever else is linked there.

    It may climb only at its beginning: `b/..` is elsewhere when `b` is a link itself.
    """
    if not to or to.startswith("/") or "\\" in to or "\0" in to:
        return False
    depth, descending = len(name.parts) - 1, False
    for part in to.split("/"):
        if part == "..":
            depth -= 1
            if descending or depth < 0:
                return False
        elif part not in ("", "."):
            descending = True
    return True


def _link(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    with opened.open(entry) as source:
        return source.read(_LONGEST_LINK).decode("utf-8", "replace")


def _write(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, place: Path, mode: int, left: int) -> int:
    place.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    descriptor = os.open(place, flags, 0o600 | (mode & 0o111 if mode else 0))
    written = 0
    with os.fdopen(descriptor, "wb") as file, opened.open(entry) as source:
        while part := source.read(_PART):
            written += len(part)
            if written > left:
                raise BadArchive("The package holds more than a site may have.")
            file.write(part)
        os.fchmod(file.fileno(), 0o644 | (mode & 0o111))
    return written
