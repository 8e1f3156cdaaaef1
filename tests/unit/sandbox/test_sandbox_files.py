from __future__ import annotations

import shutil
import struct
import subprocess
from base64 import b64encode
from hashlib import sha1
from pathlib import Path

import pytest

from keyfob.hosts.sandbox.files import lay_out, name_services, outermost
from keyfob.hosts.sandbox.trust import certifi_bundles, find_program, java_truststore, java_truststores


def pem(content: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + b64encode(content) + b"\n-----END CERTIFICATE-----\n"


def test_hosts_are_found_in_files_and_by_dns_only():
    text = b"# comment\npasswd: files systemd\nhosts: mymachines resolve [!UNAVAIL=return] files dns\nnetworks: files\n"
    assert name_services(text) == b"# comment\npasswd: files systemd\nnetworks: files\nhosts: files dns\n"
    assert name_services(b"") == b"hosts: files dns\n"


def test_a_folder_inside_another_is_covered_with_it(tmp_path):
    outer, inner, other, like = (tmp_path / name for name in ("a", "a/b", "c", "a-like"))
    for folder in (outer, inner, other, like):
        folder.mkdir()
    assert outermost([str(inner), str(other), str(outer)])[0] == str(outer)
    assert set(outermost([str(other), str(inner), str(outer), str(like)])) == {str(other), str(outer), str(like)}


def test_links_are_followed_and_nothing_is_mounted_below_a_cover(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "control.sock").touch()
    (tmp_path / "link").symlink_to(data)
    (tmp_path / "key").touch()
    layout = lay_out(
        home=str(tmp_path / "link"),
        cover=[str(data), str(tmp_path / "key"), str(tmp_path / "absent")],
        sockets=[str(data / "control.sock")],
        ca_pem=b"ours\n",
        environ={"PATH": ""},
        program="app",
    )
    assert layout.home == str(data)
    assert layout.hidden_files == [str(tmp_path / "key")]
    assert str(data) not in layout.hidden_folders
    assert layout.trust.authority == str(data / "ca.pem")
    assert layout.contents["ca.pem"] == b"ours\n"
    assert layout.contents["ca-bundle.pem"].endswith(b"\nours\n") or layout.contents["ca-bundle.pem"] == b"ours\n"


def test_certifi_is_found_without_running_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a .venv in the working folder counts too
    bundle = tmp_path / "env/lib/python3.11/site-packages/certifi/cacert.pem"
    bundle.parent.mkdir(parents=True)
    bundle.touch()
    program = tmp_path / "env/bin/app"
    program.parent.mkdir()
    program.touch(0o755)
    assert certifi_bundles({"PATH": "", "VIRTUAL_ENV": str(tmp_path / "env")}, "app") == [str(bundle)]
    assert certifi_bundles({"PATH": str(program.parent)}, "app") == [str(bundle)]
    assert certifi_bundles({"PATH": ""}, str(program)) == [str(bundle)]
    assert str(bundle) not in certifi_bundles({"PATH": ""}, "app")


def test_certifi_is_found_behind_a_shim(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bundle = tmp_path / "versions/3.12.1/lib/python3.12/site-packages/certifi/cacert.pem"
    bundle.parent.mkdir(parents=True)
    bundle.touch()
    (tmp_path / "shims").mkdir()
    (tmp_path / "shims/python3").touch(0o755)
    assert certifi_bundles({"PATH": str(tmp_path / "shims")}, "app") == [str(bundle)]


def test_the_truststores_of_java_home_are_found(tmp_path):
    new, old = tmp_path / "lib/security/cacerts", tmp_path / "jre/lib/security/cacerts"
    for file in (new, old):
        file.parent.mkdir(parents=True)
        file.touch()
    found = java_truststores({"PATH": "", "JAVA_HOME": str(tmp_path)})
    assert {str(new), str(old)} <= set(found)
    assert str(new) not in java_truststores({"PATH": ""})


def test_programs_are_found_as_a_shell_finds_them(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "one/app").touch(0o644)
    (tmp_path / "two/app").touch(0o755)
    path = f"{tmp_path}/one:{tmp_path}/two:{tmp_path}/absent"
    assert find_program("app", path) == str(tmp_path / "two/app")
    assert find_program(str(tmp_path / "two/app"), "") == str(tmp_path / "two/app")
    assert find_program(str(tmp_path / "one/app"), path) is None
    assert find_program("two", str(tmp_path)) is None


def test_a_truststore_holds_each_certificate_once_and_is_sealed():
    store = java_truststore(pem(b"first") + b"text between\n" + pem(b"second") + pem(b"first"))
    assert struct.unpack(">III", store[:12]) == (0xFEEDFEED, 2, 2)
    assert store.count(b"first") == store.count(b"second") == 1
    assert store[-20:] == sha1("changeit".encode("utf-16-be") + b"Mighty Aphrodite" + store[:-20]).digest()


def test_javas_own_tool_opens_the_truststore(tmp_path):
    keytool, system = shutil.which("keytool"), Path("/etc/ssl/certs/ca-certificates.crt")
    if keytool is None or not system.exists():
        pytest.skip("needs keytool and a system bundle to put in")
    (tmp_path / "cacerts").write_bytes(java_truststore(system.read_bytes()))
    command = [keytool, "-list", "-keystore", str(tmp_path / "cacerts"), "-storepass"]
    listed = subprocess.run([*command, "changeit"], capture_output=True, text=True, check=True).stdout
    assert listed.count("trustedCertEntry") == len(set(system.read_text().split("-----BEGIN CERTIFICATE-----")[1:]))
    assert subprocess.run([*command, "wrong-password"], check=False, capture_output=True).returncode != 0
