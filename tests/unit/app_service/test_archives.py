"""What an archive may hold, and what it may not."""

from __future__ import annotations

import io
import stat
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from keyfob.hosts.app_service.deploying.archive import BadArchive, safe_name, stays_inside, unpack

Entry = tuple[str, int, bytes]


def archive(*entries: Entry) -> io.BytesIO:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, mode, data in entries:
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of names that are there twice
                opened.writestr(entry, data)
    made.seek(0)
    return made


FILE, LINK = stat.S_IFREG | 0o644, stat.S_IFLNK | 0o777


def test_files_folders_modes_and_links_inside_come_out(tmp_path: Path) -> None:
    sent = archive(
        ("run.sh", stat.S_IFREG | 0o755, b"#!/bin/sh"),
        ("folder/", stat.S_IFDIR | 0o755, b""),
        ("deep\\windows.txt", 0, b"w"),
        ("node_modules/.bin/tool", LINK, b"../pack/cli.js"),
        ("node_modules/pack/cli.js", FILE, b"cli"),
    )
    assert unpack(sent, tmp_path) == 4
    assert (tmp_path / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "folder").is_dir()
    assert (tmp_path / "deep" / "windows.txt").read_bytes() == b"w"
    assert (tmp_path / "node_modules" / ".bin" / "tool").read_bytes() == b"cli"


@pytest.mark.parametrize(
    "entries",
    [
        [("../evil", FILE, b"x")],
        [("a/../../evil", FILE, b"x")],
        [("/etc/evil", FILE, b"x")],
        [("..\\evil", FILE, b"x")],
        [("C:\\evil", FILE, b"x")],
        [("link", LINK, b"/etc/passwd")],
        [("link", LINK, b"../outside")],
        [("b", LINK, b"."), ("c", LINK, b"b/../../x")],
        [("b", LINK, b"."), ("b/c", LINK, b"../x")],
        [("pipe", stat.S_IFIFO | 0o644, b"")],
        [("device", stat.S_IFCHR | 0o644, b"")],
    ],
)
def test_what_leads_out_of_the_folder_is_refused(tmp_path: Path, entries: Sequence[Entry]) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(BadArchive):
        unpack(archive(*entries), inside)
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


def test_link_and_file_of_the_same_place_do_not_write_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(BadArchive):
        unpack(archive(("a", LINK, b"x"), ("a", FILE, b"data"), ("a/b", FILE, b"data")), inside)
    assert outside.read_text() == "mine"


def test_bounds_are_on_what_comes_out(tmp_path: Path) -> None:
    bomb = archive(("zeros", FILE, b"\0" * 1_000_000))
    with pytest.raises(BadArchive, match="more than a site may have"):
        unpack(bomb, tmp_path, most_bytes=100_000)
    with pytest.raises(BadArchive, match="more than 2 files"):
        unpack(archive(*((str(n), FILE, b"") for n in range(3))), tmp_path, most_files=2)


def test_what_is_no_archive_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    whole = archive(("a", FILE, b"some text " * 1_000)).getvalue()
    damaged = bytearray(whole)
    damaged[40:60] = b"\xff" * 20
    for sent in (b"", b"no zip", whole[: len(whole) // 2], bytes(damaged)):
        with pytest.raises(BadArchive):
            unpack(io.BytesIO(sent), tmp_path)


def test_names_and_links_by_themselves() -> None:
    assert safe_name("a//./b") == PurePosixPath("a/b")
    assert safe_name("a/..") is None
    assert safe_name("a\0b") is None
    assert stays_inside(PurePosixPath("a/b/link"), "../../x/y")
    assert not stays_inside(PurePosixPath("a/b/link"), "../../../x")
    assert not stays_inside(PurePosixPath("a/link"), "x/../y")
    assert not stays_inside(PurePosixPath("link"), "")
