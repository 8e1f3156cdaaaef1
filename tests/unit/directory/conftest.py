"""A directory with one of everything, and a way to ask its token service as a client would."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from joserfc import jwt
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry

from keyfob.clock import FakeClock, SystemIds
from keyfob.clouds.cloud import Cloud
from keyfob.clouds.table import load_clouds
from keyfob.declare import Address
from keyfob.directory import applications, principals, tenants
from keyfob.directory.endpoint import TokenEndpoint
from keyfob.directory.fetcher import IssuerUnreachable
from keyfob.directory.first_party import load_first_party
from keyfob.directory.keys import KeyRing
from keyfob.directory.model import Application, ServicePrincipal, Tenant, User
from keyfob.directory.seal import Seal
from keyfob.directory.secrets import hash_secret
from keyfob.directory.tokens import Tokens
from keyfob.store.port import Store
from keyfob.wire.http import Reply, Request, parse_target

HOST = "login.microsoftonline.com"
ARM = "https://management.azure.com/"
PASSWORD = "correct horse battery"


class FakeFetcher:
    """Issuers and their keys, and how often they were asked."""

    def __init__(self) -> None:
        self.issuers: dict[str, list[Mapping[str, Any]]] = {}
        self.asked: list[str] = []

    async def keys(self, issuer: str, kid: str) -> Sequence[Mapping[str, Any]]:
        self.asked.append(issuer)
        if issuer not in self.issuers:
            raise IssuerUnreachable("nobody answers")
        return self.issuers[issuer]


@dataclass
class World:
    store: Store
    clock: FakeClock
    clouds: Mapping[str, Cloud]
    seal: Seal
    keys: KeyRing
    tokens: Tokens
    tenant: Tenant
    other: Tenant
    app: Application
    principal: ServicePrincipal
    secret: str
    user: User
    fetcher: FakeFetcher
    endpoint: TokenEndpoint
    ids: SystemIds = field(default_factory=SystemIds)

    async def ask(
        self,
        method: str,
        target: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        host: str = HOST,
        cloud: str = "AzureCloud",
        endpoint: TokenEndpoint | None = None,
    ) -> Reply:
        path, raw, query = parse_target(target)
        from keyfob.wire.http import Fields

        name, _, port = host.partition(":")
        request = Request(
            method,
            path,
            query,
            Fields((headers or {}).items()),
            body,
            host=name,
            port=int(port) if port else 443,
            raw_path=raw,
        )
        return await (endpoint or self.endpoint)(request, Address(self.clouds[cloud], "login"))

    async def token(self, tenant: str | None = None, *, v1: bool = False, **form: str) -> tuple[int, dict[str, Any]]:
        """A POST to the token endpoint: status and JSON."""
        path = f"/{tenant or self.tenant.id}/oauth2{'' if v1 else '/v2.0'}/token"
        reply = await self.ask("POST", path, body=urlencode(form).encode())
        return reply.status, json.loads(reply.body)

    async def refused(self, tenant: str | None = None, *, v1: bool = False, **form: str) -> tuple[int, str, int]:
        """The same, for what must be refused: status, OAuth error, AADSTS code."""
        status, body = await self.token(tenant, v1=v1, **form)
        assert "access_token" not in body
        (code,) = body["error_codes"]
        assert body["error_description"].startswith(f"AADSTS{code}: ")
        assert "\r\nTrace ID: " in body["error_description"]
        return status, body["error"], code

    async def change(self, application: Application) -> Application:
        async with self.store.transaction() as tx:
            await applications.update_application(tx, application)
        return application


@pytest.fixture
async def world(store: Store, clock: FakeClock) -> World:
    clouds, first_party, ids = load_clouds(), load_first_party(), SystemIds()
    seal = Seal(b"m" * 32)
    keys = KeyRing(store=store, seal=seal, clock=clock)
    await keys.load()
    tokens = Tokens(keys=keys, clouds=clouds, clock=clock, ids=ids)
    tenant = Tenant(
        id="11111111-1111-4111-8111-111111111111",
        display_name="Contoso",
        domains=("contoso.onmicrosoft.com", "contoso.example"),
        created=clock.now(),
        default=True,
    )
    other = Tenant(
        id="22222222-2222-4222-8222-222222222222", display_name="Fabrikam", domains=("fabrikam.onmicrosoft.com",)
    )
    app = Application(
        id=ids.guid(),
        tenant_id=tenant.id,
        app_id=ids.guid(),
        display_name="Payroll",
        identifier_uris=("api://payroll",),
        redirect_uris=("https://payroll.example/signed-in",),
    )
    user = User(
        id=ids.guid(),
        tenant_id=tenant.id,
        principal_name="alice@contoso.onmicrosoft.com",
        display_name="Alice",
        password_hash=hash_secret(PASSWORD),
    )
    async with store.transaction() as tx:
        for each in (tenant, other):
            await tenants.create_tenant(tx, each, clouds=clouds, first_party=first_party)
        principal = await applications.create_application(tx, app, principal_id=ids.guid())
        secret = await applications.add_secret(tx, tenant.id, app.id, clock=clock, ids=ids)
        await principals.create_user(tx, user)
    stored = await applications.get_application(store, tenant.id, app.id)
    assert stored is not None
    fetcher = FakeFetcher()
    endpoint = TokenEndpoint(
        store=store, keys=keys, tokens=tokens, clouds=clouds, seal=seal, clock=clock, ids=ids, fetcher=fetcher
    )
    return World(
        store=store,
        clock=clock,
        clouds=clouds,
        seal=seal,
        keys=keys,
        tokens=tokens,
        tenant=tenant,
        other=other,
        app=stored,
        principal=principal,
        secret=secret.text,
        user=user,
        fetcher=fetcher,
        endpoint=endpoint,
    )


@dataclass
class Signer:
    """A key with a certificate, as a client or a foreign issuer holds it."""

    private: RSAPrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key(self) -> RSAKey:
        pem = self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return RSAKey.import_key(pem)

    def sign(self, claims: Mapping[str, Any], *, alg: str = "RS256", **header: Any) -> str:
        registry = JWSRegistry(algorithms=[alg], strict_check_header=False)
        return jwt.encode({"alg": alg, "typ": "JWT", **header}, dict(claims), self.key, registry=registry)

    def jwk(self, kid: str) -> Mapping[str, Any]:
        return {**self.key.as_dict(private=False), "kid": kid, "use": "sig"}


def make_signer(clock: FakeClock, *, days: int = 365, starts: int = -1) -> Signer:
    private = generate_private_key(public_exponent=65537, key_size=2048)
    now = datetime.datetime.fromtimestamp(clock.now(), datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=starts))
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(private, SHA256())
    )
    return Signer(private, certificate)


@pytest.fixture(scope="session")
def signer() -> Signer:
    """Valid around the fake clock's start."""
    return make_signer(FakeClock())


@pytest.fixture(scope="session")
def stranger() -> Signer:
    return make_signer(FakeClock())


@pytest.fixture
def expired_signer() -> Signer:
    return make_signer(FakeClock(), starts=-30, days=-1)


def host_of(url: str) -> str:
    return urlsplit(url).netloc
