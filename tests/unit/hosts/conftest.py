"""A tenant with one virtual machine and two user-assigned identities, and what answers for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from keyfob.arm.model import Resource, Subscription
from keyfob.arm.resources import RESOURCES, SUBSCRIPTIONS, Resources
from keyfob.clock import CountingIds, FakeClock
from keyfob.clouds.cloud import Cloud
from keyfob.clouds.table import load_clouds
from keyfob.directory.first_party import load_first_party
from keyfob.directory.keys import KeyRing
from keyfob.directory.model import ServicePrincipal, Tenant
from keyfob.directory.principals import create_service_principal
from keyfob.directory.seal import Seal
from keyfob.directory.tenants import create_tenant
from keyfob.directory.tokens import Tokens
from keyfob.hosts.caller import Secret
from keyfob.hosts.dialects.dialect import Dialect, Opening, TokenQuery
from keyfob.hosts.endpoints import Speaking, running_host
from keyfob.hosts.scale_sets import Inherited
from keyfob.hosts.token_endpoint import HostToken, TokenEndpoint
from keyfob.hosts.virtual_machines import InstanceMetadata, SigningCertificate
from keyfob.identities.attached import Attachments
from keyfob.identities.model import StoredIdentity, SystemIdentity
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store
from keyfob.wire.http import Fields, Reply, Request, parse_target

TENANT = "11111111-1111-1111-1111-111111111111"
SUBSCRIPTION = "22222222-2222-2222-2222-222222222222"
GROUP = ResourceId.group(SUBSCRIPTION, "rg")
MACHINE = GROUP.provider("Microsoft.Compute/virtualMachines", "web")


def signing_certificate(key: EllipticCurvePrivateKey, name: str) -> SigningCertificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begins = datetime(2023, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, SHA256())
    )
    return SigningCertificate(made, key)


@dataclass
class House:
    store: Store
    clock: FakeClock
    ids: CountingIds
    clouds: dict[str, Cloud]
    tokens: Tokens
    attachments: Attachments
    endpoint: TokenEndpoint
    metadata: InstanceMetadata
    identities: dict[str, ServicePrincipal] = field(default_factory=dict)

    async def principal(self, name: str) -> ServicePrincipal:
        made = ServicePrincipal(
            id=self.ids.guid(),
            tenant_id=TENANT,
            app_id=self.ids.guid(),
            display_name=name,
            kind="ManagedIdentity",
        )
        async with self.store.transaction() as tx:
            await create_service_principal(tx, made)
        self.identities[name] = made
        return made

    async def user_identity(self, name: str) -> str:
        """Makes a user-assigned identity; gives its resource id."""
        principal = await self.principal(name)
        id = GROUP.provider("Microsoft.ManagedIdentity/userAssignedIdentities", name)
        await self.put(
            Resource(
                id=str(id),
                type=id.type,
                name=name,
                tenant_id=TENANT,
                location="westus",
                properties={"principalId": principal.id, "clientId": principal.app_id, "tenantId": TENANT},
            )
        )
        return str(id)

    async def put(self, resource: Resource) -> None:
        async with self.store.transaction() as tx:
            await RESOURCES.put(tx, ResourceId.parse(resource.id).key, resource)

    async def remove(self, id: ResourceId) -> None:
        async with self.store.transaction() as tx:
            await RESOURCES.delete(tx, id.key)

    async def machine(self, **changes: object) -> None:
        row = await RESOURCES.get(self.store, MACHINE.key)
        assert row is not None
        await self.put(msgspec.structs.replace(row.value, **changes))

    async def host(
        self, id: ResourceId, *, system: bool = True, user: tuple[str, ...] = (), **properties: object
    ) -> ResourceId:
        """A host of any type; its own identity goes by its name."""
        own = self.identities.get(id.name) or await self.principal(id.name) if system else None
        held = SystemIdentity(principal_id=own.id, client_id=own.app_id) if own else None
        await self.put(
            Resource(
                id=str(id),
                type=id.type,
                name=id.name,
                tenant_id=TENANT,
                identity=StoredIdentity(system=held, user=user),
                properties=properties,
            )
        )
        return id

    async def attach(self, *, system: bool = False, user: tuple[str, ...] = ()) -> None:
        own = self.identities.get("web") or (await self.principal("web") if system else None)
        held = SystemIdentity(principal_id=own.id, client_id=own.app_id) if system and own else None
        await self.machine(identity=StoredIdentity(system=held, user=user))

    async def get(self, target: str, *headers: tuple[str, str], method: str = "GET", metadata: bool = True) -> Reply:
        path, raw, query = parse_target(target)
        sent = Fields((("Metadata", "true"), *headers) if metadata else headers)
        return await self.metadata(
            Request(method, path, query, sent, raw_path=raw, host="169.254.169.254", scheme="http"), MACHINE
        )


@pytest.fixture(scope="session")
def metadata_certificate() -> SigningCertificate:
    return signing_certificate(generate_private_key(SECP256R1()), "*.metadata.azure.com")


@pytest.fixture
async def house(store: Store, clock: FakeClock, ids: CountingIds, metadata_certificate: SigningCertificate) -> House:
    clouds = dict(load_clouds())
    tenant = Tenant(id=TENANT, domains=("contoso.onmicrosoft.com",), cloud="AzureCloud", default=True)
    async with store.transaction() as tx:
        await create_tenant(tx, tenant, clouds=clouds, first_party=load_first_party())
        await SUBSCRIPTIONS.put(tx, SUBSCRIPTION, Subscription(id=SUBSCRIPTION, tenant_id=TENANT, cloud="AzureCloud"))
    keys = KeyRing(store=store, seal=Seal(b"k" * 32), clock=clock)
    await keys.load()
    tokens = Tokens(keys=keys, clouds=clouds, clock=clock, ids=ids)
    attachments = Attachments(store=store, resources=Inherited(Resources()))
    endpoint = TokenEndpoint(store=store, attachments=attachments, tokens=tokens, clock=clock)
    metadata = InstanceMetadata(
        store=store, tokens=endpoint, signer=lambda name: metadata_certificate, clouds=clouds, clock=clock
    )
    made = House(store, clock, ids, clouds, tokens, attachments, endpoint, metadata)
    await made.put(
        Resource(
            id=str(MACHINE),
            type=MACHINE.type,
            name="web",
            tenant_id=TENANT,
            location="westus",
            tags={"team": "blue", "app": "shop"},
            zones=("2",),
            properties={
                "vmId": "33333333-3333-3333-3333-333333333333",
                "hardwareProfile": {"vmSize": "Standard_B1s"},
                "storageProfile": {
                    "imageReference": {"publisher": "Canonical", "offer": "UbuntuServer", "sku": "18.04-LTS"},
                    "osDisk": {"name": "os", "osType": "Linux", "diskSizeGB": 30, "createOption": "FromImage"},
                    "dataDisks": [{"lun": 0, "name": "d0"}],
                },
                "osProfile": {
                    "computerName": "web",
                    "adminUsername": "me",
                    "linuxConfiguration": {"ssh": {"publicKeys": [{"path": "/p", "keyData": "ssh-rsa A"}]}},
                },
                "userData": "dXNlcg==",
            },
        )
    )
    return made


# --- other dialects

SECRET = "the-hosts-own-secret"


@dataclass
class Keys:
    """One-time keys in memory."""

    given: list[str] = field(default_factory=list)

    def new(self) -> str:
        self.given.append(f"key-{len(self.given)}")
        return f"/var/opt/azcmagent/tokens/{len(self.given)}.key"

    def spend(self, key: str) -> bool:
        if key not in self.given:
            return False
        self.given[self.given.index(key)] = ""
        return True


class Talk:
    """Talks to a house's host in some dialects."""

    def __init__(self, house: House, host_id: ResourceId, *dialects: Dialect, windows: bool = False) -> None:
        self.keys = Keys()
        self.house = house
        self.host_id = host_id
        self.dialects = dialects
        opening = Opening(secret=Secret(SECRET), windows=windows, keys=self.keys)
        self._speaking = Speaking(dialects, opening, issue=self._issue, clock=house.clock, ids=house.ids)

    async def _issue(self, dialect: Dialect, query: TokenQuery) -> HostToken:
        if dialect.of_user:
            return await self.house.endpoint.issue_own(TENANT, self.house.identities["me"].id, query.resource)
        return await self.house.endpoint.issue(
            self.host_id,
            query.selector,
            query.resource,
            bypass_cache=query.bypass_cache,
            refused=query.refused,
            lone_user_identity=dialect.lone_user_identity,
            admit=lambda: running_host(self.house.store, self.host_id),
        )

    async def ask(
        self,
        path: str | None = None,
        headers: dict[str, str] | None = None,
        *,
        method: str = "GET",
        body: bytes = b"",
        more: str = "",
        **query: str,
    ) -> tuple[int, dict[str, Any], Reply]:
        """Status, body and reply. `more` is put behind the query as it is."""
        target = f"{path or self.dialects[0].path}?{urlencode(query)}{more}"
        decoded, raw, fields = parse_target(target)
        reply = await self._speaking(
            Request(method, decoded, fields, Fields((headers or {}).items()), body, raw_path=raw, scheme="http")
        )
        assert reply.content_type == "application/json; charset=utf-8"
        return reply.status, msgspec.json.decode(reply.body), reply


@pytest.fixture
def talk() -> type[Talk]:
    """`talk(house, host_id, *dialects)`."""
    return Talk
