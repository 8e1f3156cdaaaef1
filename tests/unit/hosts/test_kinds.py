"""The table of kinds agrees with what the folders of the kinds, the sandbox and the dialects say of themselves."""

from __future__ import annotations

import msgspec
import pytest

from keyfob.hosts import kinds
from keyfob.hosts.app_service import model as sites
from keyfob.hosts.container_instances import TYPE as GROUP_TYPE
from keyfob.hosts.dialects.dialect import Place
from keyfob.hosts.dialects.table import DIALECTS
from keyfob.hosts.kinds import KINDS, kind_of, runs
from keyfob.hosts.sandbox.environment import is_removed, leads_elsewhere
from keyfob.hosts.sandbox.protocol import ENDPOINTS
from keyfob.hosts.scale_sets import model as sets
from keyfob.hosts.virtual_machines import TYPE as MACHINE_TYPE
from keyfob.hosts.virtual_machines import model as machines
from keyfob.resource_id import ResourceId

GROUP = ResourceId.group("22222222-2222-2222-2222-222222222222", "rg")
INSTANCES = [GROUP.provider(sets.INSTANCE, "set", number) for number in ("0", "1")]
SET = INSTANCES[0].parent


def test_names_of_types_and_states_are_the_folders_own():
    assert kind_of(MACHINE_TYPE.upper()) is kinds.VIRTUAL_MACHINE
    assert kind_of(sets.INSTANCE) is kinds.SCALE_SET_INSTANCE
    assert kind_of(sites.SITE) is kind_of(sites.SLOT) is kinds.SITE
    assert kind_of(GROUP_TYPE) is kinds.CONTAINER_GROUP
    assert kind_of(sets.TYPE) is None  # the set has instances, and is no host itself
    assert kind_of("Microsoft.KeyVault/vaults") is None
    assert kinds.VIRTUAL_MACHINE.state == (machines.POWER, machines.RUNNING)
    assert kinds.SCALE_SET_INSTANCE.state == (sets.POWER, sets.RUNNING)
    assert len({name.lower() for kind in KINDS for name in kind.types}) == sum(len(kind.types) for kind in KINDS)


def test_what_runs():
    assert runs(kinds.VIRTUAL_MACHINE, {})
    assert not runs(kinds.VIRTUAL_MACHINE, {machines.POWER: machines.STOPPED})
    assert not runs(kinds.SITE, {"state": "Stopped"})
    assert not runs(kinds.CONTAINER_GROUP, {"keyfob.state": "Stopped"})
    assert runs(kinds.ARC_MACHINE, {"state": "Stopped"})


def test_every_dialect_has_a_place():
    assert tuple(DIALECTS) == kinds.DIALECTS
    sockets = {end.name for end in ENDPOINTS}
    for dialect in DIALECTS.values():
        assert dialect.socket in sockets | {""}
        assert dialect.path == dialect.path.lower().rstrip("/")
    for kind in KINDS:
        assert set(kind.dialects) <= set(DIALECTS)
        assert kind.silent < set(kind.dialects)
        heard = [(DIALECTS[name].socket, DIALECTS[name].path, DIALECTS[name].version) for name in kind.dialects]
        assert len(set(heard)) == len(heard), "two dialects of a kind could not be told apart"
    assert set(kinds.FOLDERS) <= set(DIALECTS)


def test_what_one_host_left_in_the_environment_is_taken_out_for_another():
    place = Place("http://h:1", "s", client_id="c", thumbprint="t", file="/f", tenant_id="t", authority="https://a/")
    told = {name for dialect in DIALECTS.values() for name in dialect.variables(place)}
    chooses = {"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_AUTHORITY_HOST"}  # the caller's own may stand
    assert told - chooses == leads_elsewhere()
    assert all(is_removed(name) for name in leads_elsewhere())


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda dialect: dialect.name)
def test_a_secret_is_not_printed(dialect):
    assert "S3cret" not in repr(Place("http://h:1", "S3cret"))
    assert "S3cret" not in repr(dialect.ask("http://h:1", "S3cret", "https://vault.azure.net", ""))


async def test_an_instance_has_the_identities_of_its_set_and_metadata_of_its_own(house):
    await house.host(SET)
    for number, id in enumerate(INSTANCES):
        await house.host(id, system=False, vmId=f"id-{number}")
    asked = []
    for id in INSTANCES:
        from keyfob.identities.model import Selector

        token = await house.endpoint.issue(id, Selector(), "https://vault.azure.net")
        asked.append(token)
        assert house.endpoint.recall(id, Selector(), "https://vault.azure.net", house.clock.now()) == token
        claims = house.tokens.verify(
            token.token, audiences=frozenset({"https://vault.azure.net"}), tenant_id=None, now=house.clock.now()
        )
        assert claims["xms_mirid"].lower() == SET.key
    assert asked[0].client_id == asked[1].client_id
    assert asked[0].token != asked[1].token


async def test_a_deleted_instance_gets_nothing_though_its_set_lives(house):
    from keyfob.wire.http import Fields, Request, parse_target

    await house.host(SET)
    for id in INSTANCES:
        await house.host(id, system=False)
    target = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net"
    path, raw, query = parse_target(target)
    request = Request("GET", path, query, Fields((("Metadata", "true"),)), raw_path=raw)
    headers = [(b"metadata", b"true")]
    hot = house.metadata.hot(INSTANCES[0])
    assert (await house.metadata(request, INSTANCES[0])).status == 200
    assert hot(target.encode(), headers) is not None
    await house.remove(INSTANCES[0])
    assert (await house.metadata(request, INSTANCES[1])).status == 200
    assert hot(target.encode(), headers) is None
    assert (await house.metadata(request, INSTANCES[0])).status == 401


async def test_other_hosts_have_tokens_by_instance_metadata_and_nothing_else_of_it(house):
    from keyfob.wire.http import Fields, Request, parse_target

    group = await house.host(GROUP.provider(GROUP_TYPE, "group"))
    for target, status in (
        ("/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net", 200),
        ("/metadata/identity/info?api-version=2018-02-01", 200),
        ("/metadata/instance?api-version=2021-02-01", 404),
        ("/metadata/attested/document?api-version=2021-02-01", 404),
        ("/metadata/versions", 404),
    ):
        path, raw, query = parse_target(target)
        request = Request("GET", path, query, Fields((("Metadata", "true"),)), raw_path=raw)
        assert (await house.metadata(request, group)).status == status, target
    row = {"keyfob.state": "Stopped"}
    await house.host(group, **row)
    path, raw, query = parse_target(
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net"
    )
    reply = await house.metadata(Request("GET", path, query, Fields((("Metadata", "true"),))), group)
    assert msgspec.json.decode(reply.body)["error_description"] == "The container group 'group' is not running."
