"""Images that are imported as folders."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from keyfob.errors import InvalidInput, NotFound
from keyfob.hosts.container_instances.images import DEFAULT_PATH, Images, normal

Content = dict[str, bytes | str | None]
"""name → bytes of a file, text of a link, None for a folder."""


def archive(content: Content) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, value in content.items():
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if value is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(value, str):
                info.type, info.linkname = tarfile.SYMTYPE, value
            else:
                info.size = len(value)
            tar.addfile(info, io.BytesIO(value) if isinstance(value, bytes) else None)
    return made.getvalue()


SETTINGS = {"config": {"Entrypoint": ["/app"], "Cmd": ["serve"], "Env": ["A=1=2", "PATH=/own"], "WorkingDir": "/srv"}}


def saved(*layers: Content) -> bytes:
    """As `docker save` writes an image."""
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    parts: Content = {name: archive(layer) for name, layer in zip(names, layers, strict=True)}
    parts["config.json"] = json.dumps(SETTINGS).encode()
    parts["manifest.json"] = json.dumps([{"Config": "config.json", "Layers": names}]).encode()
    return archive(parts)


def layout(folder: Path, layer: bytes) -> Path:
    """An OCI layout, with an index of one image."""

    def blob(content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        (folder / "blobs" / "sha256" / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    manifest = {"config": blob(json.dumps(SETTINGS).encode()), "layers": [blob(layer)]}
    index = {"manifests": [blob(json.dumps(manifest).encode())]}
    (folder / "oci-layout").write_text("{}")
    (folder / "index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(tmp_path / "images")


def put(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "given.tar"
    path.write_bytes(content)
    return path


def test_names() -> None:
    assert normal("alpine") == ("alpine", "latest")
    assert normal("docker.io/library/alpine:3") == ("alpine", "3")
    assert normal("localhost/shop:1") == ("shop", "1")
    assert normal("mcr.microsoft.com:443/a/b") == ("mcr.microsoft.com:443/a/b", "latest")


def test_a_folder(images: Images, tmp_path: Path) -> None:
    (tmp_path / "root" / "bin").mkdir(parents=True)
    (tmp_path / "root" / "bin" / "app").write_text("x")
    (tmp_path / "root" / "link").symlink_to("/bin/app")
    os.mkfifo(tmp_path / "root" / "pipe")
    images.add("shop:1", tmp_path / "root")
    found = images.find("docker.io/library/shop:1")
    assert found is not None
    assert (found.root / "bin" / "app").read_text() == "x"
    assert os.readlink(found.root / "link") == "/bin/app"
    assert not (found.root / "pipe").exists()
    assert (found.command, found.environment, found.folder) == ((), {"PATH": DEFAULT_PATH}, "/")
    assert images.names() == ["shop:1"]


def test_an_archive_of_a_root(images: Images, tmp_path: Path) -> None:
    found = images.add("a/b", put(tmp_path, archive({"./": None, "./etc": None, "./etc/x": b"1", "bin": "usr/bin"})))
    assert (found.root / "etc" / "x").read_bytes() == b"1"
    assert os.readlink(found.root / "bin") == "usr/bin"
    assert images.find("a/b") is not None
    assert images.find("a/b:other") is None
    assert images.find("a/b@sha256:00") is None


def test_layers_lie_over_one_another(images: Images, tmp_path: Path) -> None:
    lower: Content = {"etc": None, "etc/gone": b"", "etc/kept": b"old", "all": None, "all/one": b"", "was": b"a file"}
    upper: Content = {
        "etc/.wh.gone": b"", "etc/kept": b"new", "all/.wh..wh..opq": b"", "all/two": b"", "was": None, "was/now": b""
    }  # fmt: skip
    found = images.add("i", put(tmp_path, saved(lower, upper)))
    assert sorted(str(path.relative_to(found.root)) for path in found.root.rglob("*")) == [
        "all", "all/two", "etc", "etc/kept", "was", "was/now"
    ]  # fmt: skip
    assert (found.root / "etc" / "kept").read_bytes() == b"new"
    assert (found.command, found.folder) == (("/app", "serve"), "/srv")
    assert found.environment == {"PATH": "/own", "A": "1=2"}


def test_an_oci_layout(images: Images, tmp_path: Path) -> None:
    found = images.add("oci", layout(tmp_path / "layout", archive({"file": b"x"})))
    assert (found.root / "file").read_bytes() == b"x"
    assert found.command == ("/app", "serve")


def test_an_image_is_replaced_whole(images: Images, tmp_path: Path) -> None:
    images.add("i", put(tmp_path, archive({"one": b""})))
    found = images.add("i", put(tmp_path, archive({"two": b""})))
    assert [path.name for path in found.root.iterdir()] == ["two"]
    images.remove("i")
    assert images.find("i") is None
    with pytest.raises(NotFound):
        images.remove("i")


@pytest.mark.parametrize(
    "content",
    [
        {"out": "/", "out/escaped": b"x"},
        {"up": "..", "up/escaped": b"x"},
        {"../escaped": b"x", "../../escaped": b"x"},
        {"/escaped": b"x"},
    ],
)
def test_nothing_gets_out_of_the_image(images: Images, tmp_path: Path, content: Content) -> None:
    given = put(tmp_path, archive(content))
    before = {path for path in tmp_path.rglob("*") if "images" not in path.parts}
    try:
        found = images.add("bad", given)
    except InvalidInput:
        assert images.find("bad") is None
    else:
        assert (found.root / "escaped").read_bytes() == b"x"  # where it was put instead
    assert not Path("/escaped").exists()
    assert {path for path in tmp_path.rglob("*") if "images" not in path.parts} == before
    assert not list((tmp_path / "images").glob(".new-*"))


def test_hard_links_stay_inside(images: Images, tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        info = tarfile.TarInfo("file")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
        link = tarfile.TarInfo("other")
        link.type, link.linkname = tarfile.LNKTYPE, "/file"
        tar.addfile(link)
        bad = tarfile.TarInfo("bad")
        bad.type, bad.linkname = tarfile.LNKTYPE, "../../../../../../../etc/hostname"
        tar.addfile(bad)
    with pytest.raises(InvalidInput):
        images.add("i", put(tmp_path, made.getvalue()))
    assert images.names() == []


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", archive({}), archive({"manifest.json": b"{}"}), archive({"manifest.json": b"[{}]"}),
     archive({"oci-layout": b"{}", "index.json": b"[]"})],
)  # fmt: skip
def test_what_is_no_image_is_refused_and_leaves_nothing(images: Images, tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InvalidInput):
        images.add("i", put(tmp_path, content))
    assert images.find("i") is None
    assert not list((tmp_path / "images").glob(".new-*"))
