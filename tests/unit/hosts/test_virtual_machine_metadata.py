"""Instance metadata, the attested document, the resource type's operations, and the variables of `keyfob env`."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import pkcs7
from hypothesis import given
from hypothesis import strategies as st

from keyfob.arm.model import Resource
from keyfob.arm.resources import RESOURCES, get_resource
from keyfob.clock import CountingIds
from keyfob.declare import Caller, Change
from keyfob.errors import Conflict, InvalidInput, NotFound
from keyfob.hosts.virtual_machines import attested, instance, model, virtual_machines
from keyfob.hosts.virtual_machines.operations import VirtualMachineOperations, switching
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Reply

MACHINE = ResourceId.parse(
    "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/rg/providers/Microsoft.Compute"
    "/virtualMachines/web"
)
SWAGGER = Path(__file__).parents[4] / (
    "shared/azure/openapi/specification/imds/data-plane/Microsoft.InstanceMetadataService/stable"
)


def body(reply: Reply) -> Any:
    return json.loads(reply.body)


# --- /metadata/instance


async def test_the_whole_document(house):
    reply = await house.get("/metadata/instance?api-version=2021-12-13")
    assert reply.status == 200
    tree = body(reply)
    compute = tree["compute"]
    assert compute["azEnvironment"] == "AzurePublicCloud"
    assert compute["name"] == "web"
    assert compute["resourceId"] == str(MACHINE)
    assert compute["subscriptionId"] == MACHINE.subscription_id
    assert compute["resourceGroupName"] == "rg"
    assert compute["tags"] == "app:shop;team:blue"
    assert compute["tagsList"] == [{"name": "app", "value": "shop"}, {"name": "team", "value": "blue"}]
    assert compute["vmSize"] == "Standard_B1s"
    assert compute["zone"] == "2"
    assert compute["publicKeys"] == [{"keyData": "ssh-rsa A", "path": "/p"}]
    assert compute["storageProfile"]["osDisk"]["diskSizeGB"] == "30"
    assert compute["customData"] == ""
    assert len(tree["network"]["interface"]) == 1


async def test_every_leaf_is_a_string(house):
    def leaves(node: Any) -> Any:
        if isinstance(node, dict):
            return [leaf for value in node.values() for leaf in leaves(value)]
        if isinstance(node, list):
            return [leaf for value in node for leaf in leaves(value)]
        return [node]

    for version in ("2017-04-02", "2019-06-04", "2025-04-07"):
        tree = body(await house.get(f"/metadata/instance?api-version={version}"))
        assert all(isinstance(leaf, str) for leaf in leaves(tree))


async def test_region_detection_of_msal(house):
    reply = await house.get("/metadata/instance/compute?api-version=2021-02-01")
    assert body(reply)["location"] == "westus"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("compute/location", "westus"),
        ("COMPUTE/Location", "westus"),
        ("compute/tagsList/1/value", "blue"),
        ("network/interface/0/ipv4/subnet/0/prefix", "24"),
        ("network/interface/0/ipv4", "ipAddress/\nsubnet/"),
        ("network/interface", "0/"),
        ("", "compute/\nnetwork/"),
    ],
)
async def test_walking_as_text(house, path: str, text: str):
    reply = await house.get(f"/metadata/instance/{path}?api-version=2021-02-01&format=text")
    assert (reply.status, reply.body.decode()) == (200, text)
    assert (reply.content_type or "").startswith("text/plain")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/metadata/instance/compute/location?api-version=2021-02-01", 400),  # a leaf needs format=text
        ("/metadata/instance/compute/nothing?api-version=2021-02-01", 404),
        ("/metadata/instance/compute/tagsList/2?api-version=2021-02-01", 404),
        ("/metadata/instance/compute/tagsList/-1?api-version=2021-02-01", 404),
        ("/metadata/instance/compute/location/x?api-version=2021-02-01&format=text", 404),
        ("/metadata/instance?api-version=2021-02-01&format=xml", 400),
        ("/metadata/instance?api-version=2021-02-01&api-version=2021-02-01", 400),
        ("/metadata/scheduledevents?api-version=2020-07-01", 404),
        ("/metadata", 404),
        ("/", 404),
    ],
)
async def test_what_is_not_answered(house, target: str, status: int):
    reply = await house.get(target)
    assert reply.status == status
    assert body(reply)["error"]


@pytest.mark.parametrize("query", ["", "?api-version=", "?api-version=2020-01-01"])
async def test_an_unknown_version_names_the_newest(house, query: str):
    reply = await house.get("/metadata/instance" + query)
    assert reply.status == 400
    assert body(reply) == {
        "error": "Bad request. api-version is invalid or was not specified in the request. For more information refer "
        "to aka.ms/azureimds",
        "newest-versions": ["2025-04-07", "2024-07-17", "2024-03-15"],
    }


async def test_the_header_rules_hold_everywhere(house):
    for target in ("/metadata/instance?api-version=2021-02-01", "/metadata/versions"):
        reply = await house.get(target, metadata=False)
        assert (reply.status, body(reply)) == (400, {"error": "Bad request. Required metadata header not specified"})
        assert (await house.get(target, ("x-forwarded-for", "1.1.1.1"))).status == 400
        assert (await house.get(target, method="POST")).status == 405
        assert (await house.get(target)).status == 200


async def test_versions(house):
    listed = body(await house.get("/metadata/versions"))["apiVersions"]
    assert listed[0] == "2017-03-01"
    assert listed == sorted(listed)


async def test_a_machine_in_an_unknown_subscription_or_gone(house):
    await house.remove(MACHINE)
    for target in ("instance?api-version=2021-02-01", "attested/document?api-version=2021-02-01"):
        assert (await house.get("/metadata/" + target)).status == 404


def test_members_appear_with_the_versions_that_brought_them():
    machine = Resource(id=str(MACHINE), name="web", properties={"vmId": "x"})
    compute = instance.document(machine, azure_environment="E", version="2017-04-02")["compute"]
    assert set(compute) == {name for name, since in instance.SINCE.items() if since == "2017-04-02"}
    assert "tagsList" not in instance.document(machine, azure_environment="E", version="2019-04-30")["compute"]
    assert "tagsList" in instance.document(machine, azure_environment="E", version="2019-06-04")["compute"]


@pytest.mark.parametrize(
    "version", ["2018-02-01", "2018-10-01", "2019-06-04", "2020-09-01", "2021-12-13", "2023-07-01"]
)
def test_no_member_that_the_openapi_document_of_a_version_lacks(version: str):
    path = SWAGGER / version / "imds.json"
    if not path.exists():
        pytest.skip("the shared OpenAPI documents are not beside this checkout")
    described = set(json.loads(path.read_text())["definitions"]["Compute"]["properties"])
    machine = Resource(id=str(MACHINE), name="web", properties={"vmId": "x"})
    compute = instance.document(machine, azure_environment="E", version=version)["compute"]
    # the documentation has these, the OpenAPI documents leave them out
    assert set(compute) - described <= {"customData", "azEnvironment", "provider", "plan", "publicKeys"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=10,
    )
)
def test_any_properties_give_a_document(value: Any):
    parts = ("storageProfile", "osProfile", "hardwareProfile", "securityProfile", "virtualMachineScaleSet", "priority")
    machine = Resource(id=str(MACHINE), name="web", properties=dict.fromkeys(parts, value))
    instance.document(machine, azure_environment="E", version="2025-04-07")
    attested.payload(machine, nonce=None, now=0, version="2025-04-07")


def test_walking_nowhere():
    with pytest.raises(NotFound):
        instance.walk({"a": {}}, ["a", "b"])
    with pytest.raises(NotFound):
        instance.walk({"a": ["x"]}, ["a", "²"])


# --- the attested document


async def test_the_attested_document_is_signed_and_holds_the_nonce(house, metadata_certificate):
    reply = await house.get("/metadata/attested/document?api-version=2020-09-01&nonce=1234567890")
    said = body(reply)
    assert said["encoding"] == "pkcs7"
    der = base64.b64decode(said["signature"])
    (certificate,) = pkcs7.load_der_pkcs7_certificates(der)
    assert certificate == metadata_certificate.certificate
    begin = der.index(b'{"licenseType"')
    value, _ = json.JSONDecoder().raw_decode(der[begin:].decode("latin-1"))
    assert value["nonce"] == "1234567890"
    assert value["vmId"] == "33333333-3333-3333-3333-333333333333"
    assert value["subscriptionId"] == MACHINE.subscription_id
    assert value["timeStamp"] == {"createdOn": "11/14/23 22:13:20 -0000", "expiresOn": "11/15/23 04:13:20 -0000"}


async def test_the_signers_name_is_the_clouds(house):
    asked: list[str] = []
    house.metadata._signer = lambda name: asked.append(name) or _signing(name)
    assert (await house.get("/metadata/attested/document?api-version=2020-09-01")).status == 200
    assert asked == ["*.metadata.azure.com"]


def _signing(name: str) -> attested.SigningCertificate:
    from datetime import UTC, datetime

    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256

    key = generate_private_key(SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 5)
    builder = builder.not_valid_before(datetime(2023, 1, 1, tzinfo=UTC)).not_valid_after(
        datetime(2123, 1, 1, tzinfo=UTC)
    )
    return attested.SigningCertificate(builder.sign(key, SHA256()), key)


async def test_a_nonce_is_the_time_unless_given_and_at_most_32_long(house):
    target = "/metadata/attested/document?api-version=2020-09-01"
    assert (await house.get(target + "&nonce=" + "a" * 32)).status == 200
    assert (await house.get(target + "&nonce=" + "a" * 33)).status == 400
    machine = Resource(id=str(MACHINE), properties={})
    assert attested.payload(machine, nonce=None, now=0, version="2020-09-01")["nonce"] == "19700101-000000"
    assert "licenseType" not in attested.payload(machine, nonce="1", now=0, version="2018-10-01")


def test_the_signing_key_does_not_show():
    assert "PrivateKey" not in repr(_signing("x"))


# --- the resource type


def change(body: dict[str, Any], before: Resource | None = None, tx: Any = None) -> Change:
    caller = Caller("t", "p")
    return Change(tx, MACHINE, "PUT", before, body, caller, None, "t", "2024-07-01", 1_700_000_000.0)  # type: ignore[arg-type]


def test_the_declaration(store):
    provider = virtual_machines(store=store, ids=CountingIds())
    machines = provider.types[0]
    assert machines.name == "Microsoft.Compute/virtualMachines"
    assert machines.identity.system
    assert machines.identity.user
    assert machines.identity.joined == "SystemAssigned, UserAssigned"
    assert "2017-12-01" in machines.identity.array_versions
    assert "2018-06-01" not in machines.identity.array_versions
    assert {"start", "restart", "powerOff", "deallocate"} <= set(machines.actions)
    for version in ("2016-04-30-preview", "2018-06-01", "2018-10-01", "2024-03-01", "2026-04-01"):
        assert version in machines.api_versions


async def test_a_new_machine_gets_an_id_that_stays_and_no_password_is_kept():
    operations = VirtualMachineOperations(CountingIds())
    given = {
        "hardwareProfile": {"vmSize": "Standard_B1s"},
        "osProfile": {
            "adminUsername": "me",
            "adminPassword": "hunter2",
            "customData": "c2VjcmV0",
            "windowsConfiguration": {"additionalUnattendContent": [{"content": "hunter2"}], "timeZone": "UTC"},
        },
        "vmId": "mine",
        model.POWER: "stopped",
        "provisioningState": "Failed",
    }
    made = dict(await operations.accept(change({"properties": given})))
    assert made["vmId"] == "00000000-0000-0000-0000-000000000001"
    assert made["osProfile"] == {"adminUsername": "me", "windowsConfiguration": {"timeZone": "UTC"}}
    assert made[model.POWER] == "running"
    assert "provisioningState" not in made
    assert "hunter2" not in json.dumps(made)
    assert "c2VjcmV0" not in json.dumps(made)
    before = Resource(id=str(MACHINE), name="web", properties={**made, model.POWER: "deallocated"})
    again = await operations.accept(change({"properties": {}}, before))
    assert (again["vmId"], again["timeCreated"], again[model.POWER]) == (
        made["vmId"],
        made["timeCreated"],
        "deallocated",
    )


@pytest.mark.parametrize("properties", ["text", [], {"osProfile": "x"}, {"storageProfile": []}])
async def test_a_body_that_does_not_fit(properties: object):
    with pytest.raises(InvalidInput):
        await VirtualMachineOperations(CountingIds()).accept(change({"properties": properties}))


def test_what_is_shown_and_what_must_be_asked_for():
    operations = VirtualMachineOperations(CountingIds())
    machine = Resource(
        id=str(MACHINE), name="web", properties={"vmId": "x", "userData": "dQ==", model.POWER: "running"}
    )
    assert operations.present(machine, "2024-07-01", "") == {"vmId": "x"}
    assert operations.present(machine, "2024-07-01", "userData")["userData"] == "dQ=="
    view = operations.present(machine, "2024-07-01", "instanceView")["instanceView"]
    assert [status["code"] for status in view["statuses"]] == ["ProvisioningState/succeeded", "PowerState/running"]
    assert view["computerName"] == "web"


async def test_starting_and_stopping(house):
    async def act(power: str) -> Resource:
        async with house.store.transaction() as tx:
            before = (await RESOURCES.get(tx, MACHINE.key)).value
            await switching(power)(change({}, before, tx))
        found = await get_resource(house.store, MACHINE)
        assert found is not None
        return found

    for power in (model.STOPPED, model.RUNNING, model.DEALLOCATED):
        machine = await act(power)
        assert model.power_of(machine) == power
        assert machine.properties["vmId"] == "33333333-3333-3333-3333-333333333333"
    with pytest.raises(Conflict):
        await act(model.STOPPED)
    assert model.power_of(await act(model.RUNNING)) == model.RUNNING


async def test_the_instance_view_route(house):
    route = virtual_machines(store=house.store, ids=house.ids).routes[0]
    scope = route.scope({"subscriptionId": MACHINE.subscription_id, "resourceGroup": "rg", "name": "web"}, None)  # type: ignore[misc]
    assert scope == MACHINE
    assert body(await route.operation(SimpleNamespace(scope=scope)))["statuses"][1]["code"] == "PowerState/running"  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        await route.operation(SimpleNamespace(scope=ResourceId.parse(str(MACHINE) + "x")))  # type: ignore[arg-type]
