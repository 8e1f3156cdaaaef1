"""From a socket to a token: the whole application serves the sockets of a sandbox as a host of each kind."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import json
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from keyfob.app.hosts import Inhabited
from keyfob.declare import Caller
from keyfob.errors import InvalidInput, NotFound, Problem
from keyfob.hosts.endpoints import Wish
from keyfob.hosts.kinds import CONSOLE
from keyfob.hosts.sandbox.protocol import ENDPOINTS
from keyfob.resource_id import ResourceId

SITE = "Microsoft.Web/sites/shop"
VAULT = "https://vault.azure.net"
IDENTITY = {"type": "SystemAssigned"}


def sockets() -> dict[str, socket.socket]:
    """As a sandbox brings them, but on loopback ports of any number."""
    made = {}
    for end in ENDPOINTS:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if end.datagram else socket.SOCK_STREAM)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        made[end.name] = sock
    return made


@contextlib.asynccontextmanager
async def inhabited(
    trip: Any, id: str, wish: Wish | None = None, **more: Any
) -> AsyncIterator[tuple[Inhabited, dict[str, int]]]:
    """The open sandbox, and the port of each of its sockets that is served."""
    brought = sockets()
    ports = {name: sock.getsockname()[1] for name, sock in brought.items()}
    try:
        opened = await trip.app.hosts.inhabit(ResourceId.parse(id), list(brought.values()), wish, **more)
        try:
            yield opened, {name: port for name, port in ports.items() if brought[name].fileno() != -1}
        finally:
            await opened.close()
    finally:
        for sock in brought.values():
            sock.close()


async def ask(port: int, target: str, headers: dict[str, str], tls: ssl.SSLContext | None = None) -> tuple[int, Any]:
    def call() -> tuple[int, Any]:
        link = (
            http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=tls)
            if tls
            else http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        )
        try:
            link.request("GET", target, headers=headers)
            reply = link.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            link.close()

    return await asyncio.to_thread(call)


async def site(trip: Any, **properties: Any) -> str:
    body = {"location": "westeurope", "identity": IDENTITY, "properties": properties}
    return str((await trip.made(f"{trip.group}/providers/{SITE}", body, "2024-04-01"))["id"])


async def test_only_the_sockets_of_the_kind_are_kept(trip):
    id = await site(trip)
    async with inhabited(trip, id) as (opened, ports):
        assert set(ports) - {"http", "https", "dns_udp", "dns_tcp"} == {"platform"}
        assert set(opened.environment) == {"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET"}
        assert opened.environment["IDENTITY_ENDPOINT"] == "http://169.254.129.2:8081/msi/token"
        target = f"/msi/token?api-version=2019-08-01&resource={VAULT}"
        shown = {"X-IDENTITY-HEADER": opened.environment["IDENTITY_HEADER"]}
        assert (await ask(ports["platform"], target, shown))[0] == 200
        assert (await ask(ports["platform"], target, {}))[0] == 401
        async with inhabited(trip, id) as (again, others):
            assert again.environment["IDENTITY_HEADER"] != shown["X-IDENTITY-HEADER"]
            assert (await ask(others["platform"], target, shown))[0] == 401
        port = ports["platform"]
    with pytest.raises(ConnectionRefusedError):
        await ask(port, target, shown)


async def test_a_machine_has_the_old_extension_beside_its_metadata(trip):
    body = {"location": "westeurope", "identity": IDENTITY, "properties": {}}
    machine = (await trip.made(f"{trip.group}/providers/Microsoft.Compute/virtualMachines/vm", body, "2024-07-01"))[
        "id"
    ]
    async with inhabited(trip, machine) as (opened, ports):
        assert opened.environment == {}
        assert set(ports) - {"http", "https", "dns_udp", "dns_tcp"} == {"imds", "extension"}
        asking = {"Metadata": "true"}
        new = await ask(
            ports["imds"], f"/metadata/identity/oauth2/token?api-version=2018-02-01&resource={VAULT}", asking
        )
        old = await ask(ports["extension"], f"/oauth2/token?resource={VAULT}", asking)
        assert new[0] == old[0] == 200
        assert new[1]["access_token"] == old[1]["access_token"]
    async with inhabited(trip, machine, Wish(client_id="chosen")) as (opened, ports):
        assert opened.environment == {"AZURE_CLIENT_ID": "chosen"}
    async with inhabited(trip, machine, Wish("azure-ml")) as (opened, ports):
        assert set(ports) - {"http", "https", "dns_udp", "dns_tcp"} == {"platform"}
        assert opened.environment["DEFAULT_IDENTITY_CLIENT_ID"] == new[1]["client_id"]


async def test_service_fabrics_certificate_outlives_the_opening(trip):
    id = await site(trip)
    seen = set()
    for _ in range(2):
        async with inhabited(trip, id, Wish("service-fabric")) as (opened, ports):
            told = opened.environment
            der = await asyncio.to_thread(
                lambda port: ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port))), ports["fabric"]
            )
            assert hashlib.sha1(der, usedforsecurity=False).hexdigest().upper() == told["IDENTITY_SERVER_THUMBPRINT"]
            trusted = ssl.create_default_context(cafile=str(trip.app.settings.data / "ca" / "ca.crt"))
            target = f"/metadata/identity/oauth2/token?api-version=2019-07-01-preview&resource={VAULT}"
            status, said = await ask(ports["fabric"], target, {"Secret": told["IDENTITY_HEADER"]}, trusted)
            assert (status, said["resource"]) == (200, VAULT)
            seen.add(told["IDENTITY_SERVER_THUMBPRINT"])
    assert len(seen) == 1


async def test_arcs_keys_are_written_where_the_program_looks(trip, tmp_path):
    body = {"location": "westeurope", "identity": IDENTITY, "properties": {}}
    arc = (await trip.made(f"{trip.group}/providers/Microsoft.HybridCompute/machines/edge", body, "2024-07-10"))["id"]
    folder = tmp_path / "tokens"
    folder.mkdir()
    async with inhabited(trip, arc, folder=folder) as (opened, ports):
        assert opened.environment["IMDS_ENDPOINT"] == "http://127.0.0.1:40342"
        target = f"/metadata/identity/oauth2/token?api-version=2020-06-01&resource={VAULT}"
        assert (await ask(ports["arc"], target, {"Metadata": "true"}))[0] == 401
        (key,) = folder.iterdir()
        shown = {"Metadata": "true", "Authorization": f"Basic {key.read_text()}"}
        assert (await ask(ports["arc"], target, shown))[0] == 200
        assert (await ask(ports["arc"], target, shown))[0] == 401
    assert not folder.exists()


async def test_a_clusters_program_finds_a_token_that_the_token_service_takes(trip, tmp_path):
    body = {"location": "westeurope", "properties": {"oidcIssuerProfile": {"enabled": True}}}
    path = f"{trip.group}/providers/Microsoft.ContainerService/managedClusters/aks"
    cluster = await trip.made(path, body, "2024-09-01")
    user = await trip.made(
        f"{trip.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/cart",
        {"location": "westeurope"},
        "2023-01-31",
    )
    wish = Wish(service_account="shop/cart")
    with pytest.raises(InvalidInput, match="no identity has a federated credential"):
        async with inhabited(trip, cluster["id"], wish):
            pass
    with pytest.raises(InvalidInput, match="NAMESPACE/NAME"):
        async with inhabited(trip, cluster["id"]):
            pass
    await trip.made(
        f"{user['id']}/federatedIdentityCredentials/cart",
        {
            "properties": {
                "issuer": cluster["properties"]["oidcIssuerProfile"]["issuerURL"],
                "subject": "system:serviceaccount:shop:cart",
                "audiences": ["api://AzureADTokenExchange"],
            }
        },
        "2023-01-31",
    )
    folder = tmp_path / "projected"
    folder.mkdir()
    async with inhabited(trip, cluster["id"], wish, folder=folder) as (opened, ports):
        assert set(ports) == {"http", "https", "dns_udp", "dns_tcp"}
        assert opened.environment == {
            "AZURE_CLIENT_ID": user["properties"]["clientId"],
            "AZURE_TENANT_ID": user["properties"]["tenantId"],
            "AZURE_FEDERATED_TOKEN_FILE": "/var/run/secrets/azure/tokens/azure-identity-token",
            "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/",
        }
        assertion = (folder / "azure-identity-token").read_text()
    answer = await exchange(trip, opened.environment, assertion)
    assert answer.status == 200, answer.body
    deleted = await trip.arm("DELETE", path, version="2024-09-01")
    assert deleted.status in (200, 202, 204)
    answer = await exchange(trip, opened.environment, assertion)
    assert (answer.status, answer.json()["error"]) == (401, "invalid_client")


async def exchange(trip: Any, told: Any, assertion: str) -> Any:
    from urllib.parse import urlencode

    fields = {
        "grant_type": "client_credentials",
        "client_id": told["AZURE_CLIENT_ID"],
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion,
        "scope": f"{VAULT}/.default",
    }
    return await asyncio.to_thread(
        trip.client.send,
        "POST",
        f"{told['AZURE_AUTHORITY_HOST']}{told['AZURE_TENANT_ID']}/oauth2/v2.0/token",
        {"Content-Type": "application/x-www-form-urlencoded"},
        urlencode(fields).encode(),
    )


async def test_cloud_shell_is_whoever_opened_it(trip):
    known = trip.client.operator
    caller = Caller(tenant_id=known["tenant_id"], principal_id=known["object_id"])
    async with inhabited(trip, str(CONSOLE), caller=caller) as (opened, ports):
        assert set(ports) - {"http", "https", "dns_udp", "dns_tcp"} == {"extension"}
        assert opened.environment == {"MSI_ENDPOINT": "http://127.0.0.1:50342/oauth2/token"}
    opened = await trip.arm("POST", f"{CONSOLE}/providers/Keyfob.Hosts/openEndpoint", version="2026-11-01")
    assert (opened.status, opened.json()["dialect"]) == (200, "cloud-shell")
    anonymous = await trip.send(
        "POST", f"https://management.azure.com{CONSOLE}/providers/Keyfob.Hosts/openEndpoint?api-version=2026-11-01"
    )
    assert anonymous.status == 401


async def test_a_site_without_endpoint_and_what_is_no_host(trip):
    id = await site(trip, siteConfig={"appSettings": [{"name": "WEBSITE_DISABLE_MSI", "value": "true"}]})
    async with inhabited(trip, id) as (opened, ports):
        assert opened.environment == {}
        assert set(ports) == {"http", "https", "dns_udp", "dns_tcp"}
    for wrong, wish, error in (
        (f"{trip.group}/providers/Microsoft.Compute/virtualMachines/none", None, NotFound),
        (trip.group, None, NotFound),
        (id, Wish("nonsense"), InvalidInput),
        (id, Wish("workload-identity", "a/b"), InvalidInput),
    ):
        with pytest.raises(error) as refused:
            async with inhabited(trip, wrong, wish):
                pass
        assert isinstance(refused.value, Problem)
        assert refused.value.message.endswith(".")


async def test_what_a_wish_may_be(trip):
    id = await site(trip)
    route = f"{id}/providers/Keyfob.Hosts/openEndpoint"
    for body, status in (
        (None, 200),
        ({}, 200),
        ({"dialect": "azure-ml"}, 200),
        ({"dialect": "AZURE-ML"}, 200),
        ({"dialect": "none"}, 400),
        ({"dialect": 1}, 400),
        ([], 400),
        ({"clientId": "chosen"}, 200),
        ({"dialect": "workload-identity", "serviceAccount": "a/b"}, 400),
        ({"serviceAccount": "a/b"}, 400),
    ):
        answer = await trip.arm("POST", route, body, version="2026-11-01")
        assert answer.status == status, (body, answer.body)
    chosen = (await trip.arm("POST", route, {"clientId": "chosen"}, version="2026-11-01")).json()
    assert chosen["variables"]["AZURE_CLIENT_ID"] == "chosen"
    first = (await trip.arm("POST", route, {}, version="2026-11-01")).json()
    assert first == (await trip.arm("POST", route, {}, version="2026-11-01")).json()
    assert first["dialect"] == "app-service-2019"


async def test_ways_of_being_a_host_are_bounded(trip):
    """Each is a port of the machine's."""
    host = await site(trip)
    route = f"{host}/providers/Keyfob.Hosts/openEndpoint"
    statuses = [
        (await trip.arm("POST", route, {"clientId": f"wish {number}"}, version="2026-11-01")).status
        for number in range(65)
    ]
    assert statuses == [200] * 64 + [409]
    assert (await trip.arm("POST", route, {"clientId": "wish 3"}, version="2026-11-01")).status == 200
