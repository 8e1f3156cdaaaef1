"""Azure Arc: the challenge, the key that counts once, and the echo that clients compare."""

from __future__ import annotations

import pytest

from keyfob.clock import CountingIds
from keyfob.errors import InvalidInput
from keyfob.hosts.caller import Secret
from keyfob.hosts.dialects.arc import ARC
from keyfob.hosts.dialects.dialect import Opening, Place
from keyfob.hosts.handed import MOST, KeyFolder, empty, shown_folder
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Fields, Request

GROUP = ResourceId.group("22222222-2222-2222-2222-222222222222", "rg")
MACHINE = GROUP.provider("Microsoft.HybridCompute/machines", "edge")
VAULT = "https://vault.azure.net"
ASKING = {"Metadata": "true"}
GOOD = {"api-version": "2020-06-01", "resource": VAULT}


@pytest.fixture
async def machine(house, talk):
    await house.host(MACHINE, user=(await house.user_identity("u1"),))
    return talk(house, MACHINE, ARC)


async def shown(machine, **query):
    """Asks as clients do: once, reads the key, asks again."""
    status, _, _ = await machine.ask(headers=ASKING, **query)
    assert status == 401
    return await machine.ask(headers=ASKING | {"Authorization": f"Basic {machine.keys.given[-1]}"}, **query)


async def test_the_challenge_is_one_that_clients_can_split(machine):
    status, said, reply = await machine.ask(headers=ASKING, **GOOD)
    assert status == 401
    assert said["error"] == "unauthorized"
    (challenge,) = [value for name, value in reply.headers if name == "WWW-Authenticate"]
    scheme, path = challenge.split("=")  # msal splits so, and takes no path with a `=` in it
    assert scheme == "Basic realm"
    assert path.rpartition("/")[0] == "/var/opt/azcmagent/tokens"
    assert path.endswith(".key")


@pytest.mark.parametrize("version", ["2019-08-15", "2019-11-01", "2020-06-01"])
async def test_the_key_opens_once(machine, house, version):
    query = GOOD | {"api-version": version}
    status, said, _ = await shown(machine, **query)
    assert status == 200
    assert said["client_id"] == house.identities["edge"].app_id
    assert said["expires_in"] == "86400"
    again = {"Authorization": "Basic key-0"}
    assert (await machine.ask(headers=ASKING | again, **query))[0] == 401


@pytest.mark.parametrize("value", ["Basic wrong", "Basic", "Bearer key-0", "Basic " + "x" * 5000, "Basic \udcff"])
async def test_a_wrong_key_is_challenged_again(machine, value):
    await machine.ask(headers=ASKING, **GOOD)
    status, _, reply = await machine.ask(headers=ASKING | {"Authorization": value}, **GOOD)
    assert status == 401
    assert any(name == "WWW-Authenticate" for name, _ in reply.headers)


async def test_selectors_are_echoed(machine, house):
    """azure-identity, MSAL for JavaScript and Go reject a user-assigned identity's answer that does not name it."""
    user = house.identities["u1"]
    id = str(GROUP.provider("Microsoft.ManagedIdentity/userAssignedIdentities", "u1"))
    for name, value in (("client_id", user.app_id), ("object_id", user.id), ("msi_res_id", id)):
        status, said, _ = await shown(machine, **GOOD, **{name: value})
        assert (status, said[name]) == (200, value)


@pytest.mark.parametrize(
    ("headers", "query", "status", "error", "description"),
    [
        ({}, GOOD, 400, "bad_request_102", "Required metadata header not specified"),
        (ASKING | {"X-Forwarded-For": "10.0.0.1"}, GOOD, 400, "invalid_request", "Requests that were forwarded"),
        (ASKING, {"resource": VAULT}, 400, "Bad request. api-version is invalid", ""),
        (ASKING, GOOD | {"api-version": "2018-02-01"}, 400, "Bad request. api-version is invalid", ""),
        (
            ASKING,
            {"api-version": "2020-06-01"},
            400,
            "invalid_request",
            "Required query variable 'resource' is missing",
        ),
        (ASKING, GOOD | {"client_id": "a", "object_id": "b"}, 400, "invalid_request", "Only one of client_id"),
    ],
)
async def test_refusals_before_the_challenge(machine, headers, query, status, error, description):
    got, said, _ = await machine.ask(headers=headers, **query)
    assert got == status
    assert said["error"].startswith(error)
    assert said.get("error_description", "").startswith(description)
    assert machine.keys.given == []


async def test_refusals_behind_it(machine, house):
    status, said, _ = await shown(machine, **GOOD, client_id="11111111-1111-1111-1111-111111111111")
    assert (status, said["error_description"]) == (400, "Identity not found")
    status, said, _ = await shown(machine, **GOOD | {"resource": "https://unknown.example"})
    assert (status, said["error"]) == (400, "invalid_resource")
    await house.host(MACHINE, system=False)
    status, said, _ = await shown(machine, **GOOD)
    assert (status, said["error_description"]) == (400, "Identity not found")
    await house.remove(MACHINE)
    assert (await shown(machine, **GOOD))[0] == 401
    assert (await machine.ask("/metadata/instance", ASKING, **GOOD))[0] == 404
    assert (await machine.ask(headers=ASKING, method="POST", **GOOD))[0] == 405


def test_without_a_folder_there_is_no_token():
    request = Request("GET", ARC.path, Fields(GOOD.items()), Fields(ASKING.items()))
    from keyfob.errors import Unauthenticated

    with pytest.raises(Unauthenticated):
        ARC.parse(request, Opening(Secret("s")))


def test_the_variables():
    assert ARC.variables(Place("http://127.0.0.1:40342")) == {
        "IDENTITY_ENDPOINT": "http://127.0.0.1:40342/metadata/identity/oauth2/token",
        "IMDS_ENDPOINT": "http://127.0.0.1:40342",
    }


# --- the folder


def test_keys_are_files_that_only_their_owner_reads(tmp_path):
    keys = KeyFolder(tmp_path, "/var/opt/azcmagent/tokens", CountingIds())
    shown = keys.new()
    (file,) = tmp_path.iterdir()
    assert shown == f"/var/opt/azcmagent/tokens/{file.name}"
    assert file.stat().st_mode & 0o777 == 0o600
    key = file.read_text()
    assert 0 < len(key) <= 4096
    assert not keys.spend("other")
    assert keys.spend(key)
    assert not keys.spend(key)
    assert list(tmp_path.iterdir()) == []


def test_keys_that_nobody_shows_do_not_pile_up(tmp_path):
    keys = KeyFolder(tmp_path, "/t", CountingIds())
    for _ in range(MOST + 5):
        keys.new()
    assert len(list(tmp_path.iterdir())) == MOST
    keys.close()
    assert list(tmp_path.iterdir()) == []


def test_a_client_names_no_other_folder(tmp_path):
    within = tmp_path / "handed"
    (within / "one").mkdir(parents=True)
    (tmp_path / "two").mkdir()
    (within / "link").symlink_to(tmp_path / "two")
    assert shown_folder(str(within / "one"), within) == within / "one"
    for wrong in ("", "/", "/etc", str(within), str(within / ".."), str(within / "link"), str(within / "none")):
        with pytest.raises(InvalidInput):
            shown_folder(wrong, within)
    empty(within)
    assert (tmp_path / "two").is_dir()
    assert not (within / "one").exists()
