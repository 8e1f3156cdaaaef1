"""How hosts are named on the command line, and what the commands say of refusals."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from keyfob.cli import az, hosts
from keyfob.cli.client import Client, Failure
from keyfob.hosts.kinds import CONSOLE, FOLDERS

GROUP = "/subscriptions/s/resourceGroups/rg/providers"
IDS = [
    f"{GROUP}/Microsoft.Compute/virtualMachines/web",
    f"{GROUP}/Microsoft.Compute/virtualMachineScaleSets/workers",
    f"{GROUP}/Microsoft.Compute/virtualMachineScaleSets/workers/virtualMachines/0",
    f"{GROUP}/Microsoft.Compute/virtualMachineScaleSets/workers/virtualMachines/12",
    f"{GROUP}/Microsoft.Web/sites/shop",
    f"{GROUP}/Microsoft.Web/sites/web",
    f"{GROUP}/Microsoft.Web/sites/shop/slots/staging",
    f"{GROUP}/Microsoft.ServiceFabric/clusters/fabric/applications/cart",
    f"{GROUP}/Microsoft.KeyVault/vaults/shop",
]


def kind(id: str) -> str:
    from keyfob.resource_id import ResourceId

    return ResourceId.parse(id).type


class Listed(Client):
    """A client whose subscription has `ids`."""

    def __init__(self, ids: list[str]) -> None:
        self.operator = {"subscription_id": "s"}
        self.ids = ids

    def arm_json(self, method: str, path: str, body: Any = None, *, api_version: str = "") -> Any:
        return {"value": [{"id": id, "name": id.rpartition("/")[2], "type": kind(id)} for id in self.ids]}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("shop", 4),
        ("SHOP", 4),
        ("shop/staging", 6),
        ("staging", 6),
        ("workers/0", 2),
        ("workers_12", 3),
        ("fabric/cart", 7),
        ("cart", 7),
    ],
)
def test_a_host_by_its_name(name, found):
    assert Listed(IDS).find_host(name) == IDS[found]


def test_ids_and_ones_own_shell():
    assert Listed(IDS).find_host("/x") == "/x"
    assert Listed(IDS).find_host("Cloud-Shell") == str(CONSOLE)


def test_several_none_and_what_is_no_host():
    with pytest.raises(Failure) as refused:
        Listed(IDS).find_host("web")
    assert IDS[0] in refused.value.message
    assert IDS[5] in refused.value.message
    for name in ("workers", "0", "fabric", "nobody", "workers/1", ""):
        with pytest.raises(Failure, match="There are: fabric/cart, shop, shop/staging, web, workers/0, workers/12"):
            Listed(IDS).find_host(name)
    with pytest.raises(Failure, match="There is none yet"):
        Listed([]).find_host("web")


def test_what_comes_with_files():
    assert hosts._spoken(IDS[0]) == "imds"
    assert hosts._spoken(IDS[4]) == "app-service-2019"
    assert hosts._spoken("/subscriptions/s") == ""
    assert hosts._spoken(f"{GROUP}/Microsoft.HybridCompute/machines/x") in FOLDERS


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            b'{"error":"invalid_request","error_description":"Identity not found"}',
            "invalid_request: Identity not found",
        ),
        (b'{"statusCode":400,"message":"No identity.","correlationId":"x"}', "No identity."),
        (b'{"StatusCode":400,"Message":"No MSI.","CorrelationId":"x"}', "No MSI."),
        (
            b'{"error":{"code":"ManagedIdentityNotFound","message":"gone","correlationId":"x"}}',
            "ManagedIdentityNotFound: gone",
        ),
        (b"<html>", "it does not say why."),
        (b"[]", ""),
    ],
)
def test_refusals_of_every_dialect_become_a_sentence(body, said):
    assert hosts._sentence(body) == said


def test_a_refusal_says_that_there_is_no_identity(monkeypatch):
    rows = [{"id": IDS[0], "name": "web", "identities": []}, {"id": IDS[4], "name": "shop", "identities": [{}]}]
    monkeypatch.setattr("keyfob.cli.seeing.look", lambda client: {"value": rows})
    said = [hosts._without_identity(Listed(IDS), id) for id in (IDS[0].upper(), IDS[4], IDS[5])]
    assert said[0].startswith("\nweb has no identity:")
    assert said[1:] == ["", ""]


def test_az_is_not_started_for_a_server_that_was_killed():
    client = Listed([])
    with socket.create_server(("127.0.0.1", 0)) as door:
        client.server = {"address": "127.0.0.1", "port": door.getsockname()[1]}
        az._answers(client)
    with pytest.raises(Failure, match="keyfob up"):
        az._answers(client)
