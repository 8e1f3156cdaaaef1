"""MSAL for Python and for Node, unmodified, against the token service behind a real TLS server: every grant."""

from __future__ import annotations

import asyncio
import hashlib
import html
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from joserfc import jwt
from joserfc.jwk import RSAKey

from keyfob.clock import SystemClock, SystemIds
from keyfob.clouds.table import load_clouds
from keyfob.declare import Address
from keyfob.directory import applications, principals
from keyfob.directory.endpoint import TokenEndpoint
from keyfob.directory.fetcher import HttpKeyFetcher
from keyfob.directory.first_party import AZURE_CLI, load_first_party
from keyfob.directory.keys import KeyRing
from keyfob.directory.model import Application, FederatedCredential, Tenant, User
from keyfob.directory.seal import Seal
from keyfob.directory.secrets import hash_secret
from keyfob.directory.tenants import create_tenant
from keyfob.directory.tokens import Tokens
from keyfob.servers.http import HttpServer
from keyfob.servers.tls import leaves, open_authority, server_context
from keyfob.store.migrations import migrations_of
from keyfob.store.sqlite import open_sqlite
from keyfob.wire.http import Reply, Request

msal = pytest.importorskip("msal")
requests = pytest.importorskip("requests")

pytestmark = [
    pytest.mark.clients,
    pytest.mark.filterwarnings("ignore:Passing a static:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:response_mode='form_post' is recommended:UserWarning"),
    pytest.mark.filterwarnings(r"ignore:This API has been deprecated for public client:DeprecationWarning"),
]

WAIT = 30.0
ALICE, PASSWORD = "alice@contoso.onmicrosoft.com", "correct horse battery"
ARM = ["https://management.core.windows.net//.default"]
VAULT = ["https://vault.azure.net/.default"]


@dataclass
class Service:
    """The token service on a loopback port, with an issuer of federated tokens beside it."""

    folder: Path
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    clock: SystemClock = field(default_factory=SystemClock)
    ids: SystemIds = field(default_factory=SystemIds)
    close: list[Any] = field(default_factory=list)
    sessions: list[Any] = field(default_factory=list)

    def start(self) -> Service:
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.run(self._build())
        return self

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WAIT)

    def stop(self) -> None:
        for session in self.sessions:
            session.close()
        for each in reversed(self.close):
            self.run(each())
        self.run(asyncio.sleep(0.01))  # transports close in a later turn of the loop
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(WAIT)
        self.loop.close()

    async def _build(self) -> None:
        clouds, now = load_clouds(), datetime.now(UTC)
        authority = open_authority(self.folder / "ca", now)
        found, _ = leaves(authority, self.folder / "ca", ["localhost", "login.microsoftonline.com"], now)
        self.ca = self.folder / "ca" / "ca.crt"
        self.store = await open_sqlite(self.folder / "keyfob.db", migrations_of("keyfob.store"))
        self.close.append(self.store.close)
        seal = Seal(b"k" * 32)
        self.keys = KeyRing(store=self.store, seal=seal, clock=self.clock)
        await self.keys.load()
        self.tokens = Tokens(keys=self.keys, clouds=clouds, clock=self.clock, ids=self.ids)
        endpoint = TokenEndpoint(
            store=self.store,
            keys=self.keys,
            tokens=self.tokens,
            clouds=clouds,
            seal=seal,
            clock=self.clock,
            ids=self.ids,
            fetcher=HttpKeyFetcher(clock=self.clock, trusted=[self.ca]),
        )
        await self._people(clouds)

        async def answer(request: Request) -> Reply:
            return await endpoint(request, Address(clouds["AzureCloud"], "login"))

        server = HttpServer()
        self.port = await self._listen(server, answer, server_context(found))
        self.issuer_key = generate_private_key(public_exponent=65537, key_size=2048)
        issuer_port = await self._listen(server, self._issuer_answer, server_context(found))
        self.issuer = f"https://localhost:{issuer_port}/cluster"
        self.close.append(lambda: server.shutdown(0))
        credential = FederatedCredential(name="cluster", issuer=self.issuer, subject="workload")
        async with self.store.transaction() as tx:
            await applications.add_federated_credential(tx, self.tenant.id, self.app.id, credential)

    async def _listen(self, server: HttpServer, handler: Any, tls: Any) -> int:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        await server.listen(sock=sock, handler=handler, tls=tls)
        return port

    async def _issuer_answer(self, request: Request) -> Reply:
        if request.path.endswith("openid-configuration"):
            return Reply.json({"issuer": self.issuer, "jwks_uri": self.issuer + "/keys"})
        jwk = RSAKey.import_key(self._pem(self.issuer_key)).as_dict(private=False)
        return Reply.json({"keys": [{**jwk, "kid": "k1"}]})

    async def _people(self, clouds: Mapping[str, Any]) -> None:
        self.tenant = Tenant(
            id=self.ids.guid(),
            display_name="Contoso",
            domains=("contoso.onmicrosoft.com",),
            created=self.clock.now(),
            password_grant=True,
        )
        self.app = Application(
            id=self.ids.guid(),
            tenant_id=self.tenant.id,
            app_id=self.ids.guid(),
            display_name="Daemon",
            identifier_uris=("api://daemon",),
            redirect_uris=("http://localhost:8400/signed-in",),
        )
        self.certificate, self.certificate_key = self._certificate()
        user = User(
            id=self.ids.guid(),
            tenant_id=self.tenant.id,
            principal_name=ALICE,
            display_name="Alice",
            password_hash=hash_secret(PASSWORD),
        )
        self.user = user
        async with self.store.transaction() as tx:
            await create_tenant(tx, self.tenant, clouds=clouds, first_party=load_first_party())
            self.principal = await applications.create_application(tx, self.app, principal_id=self.ids.guid())
            secret = await applications.add_secret(tx, self.tenant.id, self.app.id, clock=self.clock, ids=self.ids)
            self.secret = secret.text
            await applications.add_certificate(tx, self.tenant.id, self.app.id, self.certificate, ids=self.ids)
            await principals.create_user(tx, user)

    def _certificate(self) -> tuple[bytes, str]:
        key = generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "daemon")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .sign(key, SHA256())
        )
        return certificate.public_bytes(Encoding.PEM), self._pem(key).decode()

    def _pem(self, key: Any) -> bytes:
        pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return pem

    # --- clients ---

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def session(self) -> Any:
        session = requests.Session()
        session.verify = str(self.ca)
        session.trust_env = False
        self.sessions.append(session)
        return session

    def application(self, kind: Any, client_id: str, *, tenant: str = "", **more: Any) -> Any:
        given = {"instance_discovery": False, "http_client": self.session()} | more
        return kind(client_id, authority=f"{self.url}/{tenant or self.tenant.id}", **given)

    def daemon(self, credential: Any, **more: Any) -> Any:
        return self.application(
            msal.ConfidentialClientApplication, self.app.app_id, client_credential=credential, **more
        )

    def public(self, tenant: str = "organizations", **more: Any) -> Any:
        return self.application(msal.PublicClientApplication, AZURE_CLI, tenant=tenant, **more)

    def named(self) -> Any:
        """A public client under Azure's own name: MSAL asks for the user realm without a port."""
        authority = "https://login.microsoftonline.com/organizations"
        return msal.PublicClientApplication(AZURE_CLI, authority=authority, http_client=Names(self))

    def claims(self, token: str, audience: str) -> Mapping[str, Any]:
        """Of a token that our own verification accepts."""
        now = self.clock.now()
        claims: Mapping[str, Any] = self.tokens.verify(
            token, audiences=frozenset({audience}), tenant_id=self.tenant.id, now=now
        )
        return claims

    def federated_token(self, **more: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": "workload",
            "aud": "api://AzureADTokenExchange",
            "exp": now + 600,
            "iat": now,
        }
        key = RSAKey.import_key(self._pem(self.issuer_key))
        return jwt.encode({"alg": "RS256", "kid": "k1"}, claims | more, key)

    def sign_in(self, address: str, **fields: str) -> Any:
        """What a browser does with a sign-in page."""
        session = self.session()
        page = session.get(address)
        assert page.status_code == 200, page.text
        action = html.unescape(re.findall(r'<form method="post" action="([^"]*)"', page.text)[0])
        hidden = {
            html.unescape(name): html.unescape(value)
            for name, value in re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page.text)
        }
        who = {"username": ALICE, "password": PASSWORD}
        return session.post(self.url + action, data=hidden | who | fields, allow_redirects=False)


class Names:
    """An `http_client` for MSAL that leads Azure's names to the service, as a sandbox does."""

    def __init__(self, service: Service) -> None:
        self.url = service.url
        self.session = service.session()
        self.asked: list[str] = []

    def _there(self, url: str, headers: Any) -> tuple[str, dict[str, str]]:
        parts = urlsplit(url)
        self.asked.append(parts.path)
        return url.replace(f"https://{parts.netloc}", self.url), {**(headers or {}), "Host": parts.netloc}

    def get(self, url: str, headers: Any = None, **more: Any) -> Any:
        where, sent = self._there(url, headers)
        return self.session.get(where, headers=sent, **more)

    def post(self, url: str, headers: Any = None, **more: Any) -> Any:
        where, sent = self._there(url, headers)
        return self.session.post(where, headers=sent, **more)

    def close(self) -> None:
        self.session.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    started = Service(tmp_path_factory.mktemp("sts")).start()
    yield started
    started.stop()


def good(result: Any) -> str:
    assert "access_token" in result, result
    token: str = result["access_token"]
    return token


# --- client credentials ----------------------------------------------------------------------------------------


def test_secret(service: Service) -> None:
    app = service.daemon(service.secret)
    token = good(app.acquire_token_for_client(ARM))
    assert service.claims(token, "https://management.core.windows.net/")["oid"] == service.principal.id
    again = app.acquire_token_for_client(ARM)
    assert again["token_source"] == "cache"
    assert service.claims(good(app.acquire_token_for_client(VAULT)), "https://vault.azure.net")


def test_wrong_secret(service: Service) -> None:
    result = service.daemon("wrong").acquire_token_for_client(ARM)
    assert (result["error"], result["error_codes"]) == ("invalid_client", [7000215])


def test_unknown_resource_and_bad_scope(service: Service) -> None:
    app = service.daemon(service.secret)
    assert app.acquire_token_for_client(["https://nobody.example/.default"])["error_codes"] == [500011]
    assert app.acquire_token_for_client(["https://vault.azure.net/user_impersonation"])["error_codes"] == [1002012]


@pytest.mark.parametrize("form", ["pem with certificate (PS256)", "thumbprint (RS256)", "chain in x5c"])
def test_certificate(service: Service, form: str) -> None:
    sha1 = hashlib.sha1(x509.load_pem_x509_certificate(service.certificate).public_bytes(Encoding.DER)).hexdigest()
    public = service.certificate.decode()
    credential = {
        "pem with certificate (PS256)": {"private_key": service.certificate_key, "public_certificate": public},
        "thumbprint (RS256)": {"private_key": service.certificate_key, "thumbprint": sha1},
        "chain in x5c": {"private_key": service.certificate_key, "thumbprint": sha1, "public_certificate": public},
    }[form]
    claims = service.claims(good(service.daemon(credential).acquire_token_for_client(VAULT)), "https://vault.azure.net")
    assert (claims["oid"], claims["appidacr"]) == (service.principal.id, "2")


def test_a_certificate_that_is_not_registered(service: Service) -> None:
    certificate, key = service._certificate()
    credential = {"private_key": key, "public_certificate": certificate.decode()}
    result = service.daemon(credential).acquire_token_for_client(VAULT)
    assert (result["error"], result["error_codes"]) == ("invalid_client", [700027])


def test_federated_assertion(service: Service) -> None:
    app = service.daemon({"client_assertion": service.federated_token})
    assert service.claims(good(app.acquire_token_for_client(VAULT)), "https://vault.azure.net")["appidacr"] == "2"
    for change, code in (
        ({"sub": "Workload"}, 700213),
        ({"iss": service.issuer + "x"}, 700211),
        ({"aud": "other"}, 700212),
        ({"exp": int(time.time()) - 400}, 700024),
    ):
        token = service.federated_token(**change)
        result = service.daemon({"client_assertion": token}).acquire_token_for_client(VAULT)
        assert result["error_codes"] == [code]


def test_unknown_tenant(service: Service) -> None:
    with pytest.raises(ValueError, match="double check your tenant name or GUID"):
        service.daemon(service.secret, tenant="22222222-2222-4222-8222-222222222222").acquire_token_for_client(VAULT)


def test_the_authority_is_validated_when_it_has_azure_s_name(service: Service) -> None:
    """No flags: MSAL asks login.microsoftonline.com about itself and finds us (names lead here, as in a sandbox)."""
    names = Names(service)
    app = msal.ConfidentialClientApplication(
        service.app.app_id,
        client_credential=service.secret,
        authority=f"https://login.microsoftonline.com/{service.tenant.id}",
        http_client=names,
    )
    assert service.claims(good(app.acquire_token_for_client(VAULT)), "https://vault.azure.net")
    assert f"/{service.tenant.id}/oauth2/v2.0/token" in names.asked
    with pytest.raises(ValueError, match="invalid_instance"):
        msal.ConfidentialClientApplication(
            service.app.app_id,
            client_credential=service.secret,
            authority=f"https://login.evil.example/{service.tenant.id}",
            http_client=names,
        )


# --- users -----------------------------------------------------------------------------------------------------


def test_device_code_then_silent_refresh(service: Service) -> None:
    app = service.public()
    flow = app.initiate_device_flow(ARM)
    assert flow["user_code"] in flow["message"]
    done = service.sign_in(flow["verification_uri"] + "?otc=" + flow["user_code"], user_code=flow["user_code"])
    assert "You have signed in" in done.text
    result = app.acquire_token_by_device_flow(flow)
    assert service.claims(good(result), "https://management.core.windows.net/")["upn"] == ALICE
    assert result["id_token_claims"]["preferred_username"] == ALICE
    (account,) = app.get_accounts()
    assert account["home_account_id"] == f"{service.user.id}.{service.tenant.id}"
    cached = app.acquire_token_silent(ARM, account)
    assert good(cached) == good(result)
    other = app.acquire_token_silent(VAULT, account)  # by the refresh token
    assert service.claims(good(other), "https://vault.azure.net")["oid"] == service.user.id
    forced = app.acquire_token_silent(ARM, account, force_refresh=True)
    assert good(forced) != good(result)


def test_a_device_that_is_declined(service: Service) -> None:
    app = service.public()
    flow = app.initiate_device_flow(ARM)
    service.sign_in(flow["verification_uri"], user_code=flow["user_code"], decline="1")
    assert app.acquire_token_by_device_flow(flow)["error"] == "authorization_declined"


@pytest.mark.parametrize("mode", ["query", "form_post"])
def test_authorization_code_with_pkce(service: Service, mode: str) -> None:
    app = service.public()
    flow = app.initiate_auth_code_flow(ARM, redirect_uri="http://localhost:51823", response_mode=mode)
    done = service.sign_in(flow["auth_uri"])
    if mode == "query":
        back = {key: value[0] for key, value in parse_qs(urlsplit(done.headers["Location"]).query).items()}
    else:
        found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', done.text)
        back = {html.unescape(name): html.unescape(value) for name, value in found}
    result = app.acquire_token_by_auth_code_flow(dict(flow), back)
    assert service.claims(good(result), "https://management.core.windows.net/")["oid"] == service.user.id
    again = app.acquire_token_by_auth_code_flow(dict(flow), back)
    assert again["error_codes"] == [54005]


def test_authorization_code_with_another_verifier(service: Service) -> None:
    app = service.public()
    flow = app.initiate_auth_code_flow(ARM, redirect_uri="http://localhost:51823", response_mode="query")
    back = {
        key: value[0]
        for key, value in parse_qs(urlsplit(service.sign_in(flow["auth_uri"]).headers["Location"]).query).items()
    }
    result = app.acquire_token_by_auth_code_flow(dict(flow) | {"code_verifier": "w" * 64}, back)
    assert result["error_codes"] == [501481]


def test_a_confidential_web_application_signs_a_user_in(service: Service) -> None:
    app = service.daemon(service.secret)
    flow = app.initiate_auth_code_flow(VAULT, redirect_uri="http://localhost:8400/signed-in", response_mode="query")
    location = service.sign_in(flow["auth_uri"]).headers["Location"]
    back = {key: value[0] for key, value in parse_qs(urlsplit(location).query).items()}
    claims = service.claims(good(app.acquire_token_by_auth_code_flow(flow, back)), "https://vault.azure.net")
    assert (claims["oid"], claims["appidacr"]) == (service.user.id, "1")


def test_username_and_password(service: Service) -> None:
    app = service.named()
    result = app.acquire_token_by_username_password(ALICE, PASSWORD, ARM)
    assert service.claims(good(result), "https://management.core.windows.net/")["upn"] == ALICE
    wrong = app.acquire_token_by_username_password(ALICE, "wrong", ARM)
    assert wrong["error_codes"] == [50126]


def test_on_behalf_of(service: Service) -> None:
    incoming = good(service.named().acquire_token_by_username_password(ALICE, PASSWORD, ["api://daemon/.default"]))
    app = service.daemon(service.secret)
    claims = service.claims(good(app.acquire_token_on_behalf_of(incoming, VAULT)), "https://vault.azure.net")
    assert (claims["oid"], claims["appid"]) == (service.user.id, service.app.app_id)
    head, body, signature = incoming.split(".")
    tampered = app.acquire_token_on_behalf_of(f"{head}.{body[:-4]}AAAA.{signature}", VAULT)
    assert tampered["error_codes"] == [50013]
    for_another = good(service.named().acquire_token_by_username_password(ALICE, PASSWORD, VAULT))
    assert app.acquire_token_on_behalf_of(for_another, VAULT)["error_codes"] == [500131]


def test_rotation_goes_unnoticed(service: Service) -> None:
    before = good(service.daemon(service.secret).acquire_token_for_client(VAULT))
    service.run(service.keys.rotate())
    after = good(service.daemon(service.secret).acquire_token_for_client(VAULT))
    for token in (before, after):
        assert service.claims(token, "https://vault.azure.net")
    published = service.session().get(f"{service.url}/{service.tenant.id}/discovery/v2.0/keys").json()["keys"]
    assert len(published) >= 2


def test_a_refresh_token_of_nobody(service: Service) -> None:
    result = service.public().acquire_token_by_refresh_token("0.made-up", ARM)
    assert (result["error"], result["error_codes"]) == ("invalid_grant", [70000])


# --- the same from Node ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node_results(service: Service) -> dict[str, dict[str, str]]:
    """`node/msal/grants.mjs` run once: name → token or error."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not on this machine")
    source = Path(__file__).parent / "node" / "msal"
    folder = Path(__file__).parents[2] / ".cache" / "node-msal"
    folder.mkdir(parents=True, exist_ok=True)
    manifest = (source / "package.json").read_text()
    installed = folder / "installed.json"
    if not installed.exists() or installed.read_text() != manifest:
        (folder / "package.json").write_text(manifest)
        done = subprocess.run(
            [npm, "install", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip("npm could not install @azure/msal-node")
        installed.write_text(manifest)
    script = folder / "grants.mjs"
    script.write_text((source / "grants.mjs").read_text())
    der = x509.load_pem_x509_certificate(service.certificate).public_bytes(Encoding.DER)
    world = {
        "url": service.url,
        "tenant": service.tenant.id,
        "clientId": service.app.app_id,
        "cli": AZURE_CLI,
        "secret": service.secret,
        "thumbprint256": hashlib.sha256(der).hexdigest(),
        "privateKey": service.certificate_key,
        "certificate": service.certificate.decode(),
        "federated": service.federated_token(),
        "foreign": service.federated_token(iss="https://evil.example"),
        "user": ALICE,
        "password": PASSWORD,
    }
    ran = subprocess.run(
        [node, str(script), json.dumps(world)],
        env={"PATH": os.environ["PATH"], "NODE_EXTRA_CA_CERTS": str(service.ca)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    results: dict[str, dict[str, str]] = json.loads(ran.stdout)
    return results


@pytest.mark.parametrize(
    ("name", "audience", "by_user"),
    [
        ("secret", "https://vault.azure.net", False),
        ("certificate", "https://vault.azure.net", False),
        ("certificate with chain", "https://vault.azure.net", False),
        ("federated assertion", "https://vault.azure.net", False),
        ("device code", "https://management.core.windows.net/", True),
        ("authorization code", "https://management.core.windows.net/", True),
        ("silent for another resource", "https://vault.azure.net", True),
        ("on behalf of", "https://vault.azure.net", True),
    ],
)
def test_node_gets_a_token(
    service: Service, node_results: dict[str, dict[str, str]], name: str, audience: str, by_user: bool
) -> None:
    assert "token" in node_results[name], node_results[name]
    claims = service.claims(node_results[name]["token"], audience)
    assert claims["oid"] == (service.user.id if by_user else service.principal.id)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("wrong secret", "AADSTS7000215"),
        ("another certificate", "AADSTS700027"),
        ("foreign issuer", "AADSTS700211"),
        ("authorization code again", "AADSTS54005"),
        ("revoked by the second use", "AADSTS70000"),
        ("another verifier", "AADSTS501481"),
        ("on behalf of, wrong audience", "AADSTS500131"),
    ],
)
def test_node_is_refused(node_results: dict[str, dict[str, str]], name: str, code: str) -> None:
    assert "token" not in node_results[name]
    assert code in node_results[name]["codes"]
