"""Every way of signing in with az, nothing registered and nothing turned off: real names, real instance discovery."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from keyfob.servers.tls import leaves, open_authority

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
GROUP = "az-login"


def claims(token: str) -> dict[str, object]:
    part = token.split(".")[1]
    decoded: dict[str, object] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return decoded


@pytest.fixture(scope="module")
def machine(az, az_server):
    """A machine with two user-assigned identities and its own; each of the three may read its group."""
    az(f"group create -n {GROUP} -l westeurope")
    ids = [az(f"identity create -g {GROUP} -n login-{n}") for n in ("first", "second")]
    subscription = az_server.operator()["subscription_id"]
    made = az_server.rest(
        "PUT",
        f"/subscriptions/{subscription}/resourceGroups/{GROUP}/providers/Microsoft.Compute/virtualMachines/login-vm"
        "?api-version=2024-11-01",
        {
            "location": "westeurope",
            "identity": {
                "type": "SystemAssigned, UserAssigned",
                "userAssignedIdentities": {one["id"]: {} for one in ids},
            },
        },
    )
    for principal in (made["identity"]["principalId"], ids[0]["principalId"], ids[1]["principalId"]):
        az(
            f"role assignment create --assignee-object-id {principal} --assignee-principal-type ServicePrincipal"
            f" --role Reader --scope /subscriptions/{subscription}/resourceGroups/{GROUP}"
        )
    return made, ids


def test_as_the_machine(az_on, machine, az_server):
    made, _ = machine
    az = az_on("login-vm")
    shown = az("login --identity")
    assert shown[0]["user"] == {
        "assignedIdentityInfo": "MSI",
        "name": "systemAssignedIdentity",
        "type": "servicePrincipal",
    }
    token = az("account get-access-token --resource https://vault.azure.net")
    assert claims(token["accessToken"])["oid"] == made["identity"]["principalId"]
    assert claims(token["accessToken"])["aud"] == "https://vault.azure.net"
    assert [group["name"] for group in az("group list")] == [GROUP]  # what it may see, and no more
    assert "AuthorizationFailed" in az.fails(f"group delete -n {GROUP} --yes")


@pytest.mark.parametrize("selector", ["client-id", "object-id", "resource-id"])
def test_as_a_user_assigned_identity(az_on, machine, selector):
    _, ids = machine
    chosen = ids[1]
    value = {"client-id": chosen["clientId"], "object-id": chosen["principalId"], "resource-id": chosen["id"]}[selector]
    az = az_on("login-vm")
    shown = az(f"login --identity --{selector} {value}")
    assert shown[0]["user"]["name"] == "userAssignedIdentity"
    token = az("account get-access-token")
    assert claims(token["accessToken"])["oid"] == chosen["principalId"]


def test_an_identity_that_the_machine_does_not_have(az_on, machine, az):
    az(f"identity create -g {GROUP} -n login-other")
    other = az(f"identity show -g {GROUP} -n login-other")
    stranger = az_on("login-vm")
    for selector, value in (("client-id", other["clientId"]), ("resource-id", other["id"])):
        assert "Identity not found" in stranger.fails(f"login --identity --{selector} {value}")
    assert "az login" in stranger.fails("group list")


def test_as_a_service_principal_with_a_secret(az_on, az_server):
    operator = az_server.operator()
    az = az_on()
    refused = az.fails(
        f"login --service-principal -u {operator['client_id']} -p wrong --tenant {operator['tenant_id']}"
    )
    assert "AADSTS7000215" in refused
    assert operator["client_secret"] not in refused
    shown = az(
        f"login --service-principal -u {operator['client_id']} -p {operator['client_secret']}"
        f" --tenant {operator['tenant_id']}"
    )
    assert shown[0]["user"] == {"name": operator["client_id"], "type": "servicePrincipal"}
    assert shown[0]["tenantId"] == operator["tenant_id"]
    az("logout")
    assert "az login" in az.fails("group list")


@pytest.fixture
def issuer(az_server, tmp_path):
    """An issuer elsewhere, as a pipeline's or a cluster's is: its URL, and what signs for a subject."""
    now = datetime.now(UTC)
    (leaf,), _ = leaves(open_authority(az_server.data / "ca", now), tmp_path, ["127.0.0.1"], now)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(leaf.path)
    key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            jwks = {"keys": [key.as_dict(private=False)]}
            found = {"issuer": url, "jwks_uri": f"{url}/keys"} if "well-known" in self.path else jwks
            body = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        url = f"https://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def sign(subject: str) -> str:
            now = int(time.time())
            statement = {"iss": url, "sub": subject, "aud": "api://AzureADTokenExchange", "iat": now, "exp": now + 600}
            return str(jwt.encode({"alg": "RS256", "kid": "one"}, statement, key))

        yield url, sign
        server.shutdown()


def test_with_a_federated_token(az_on, machine, az_server, az, issuer):
    """A user-assigned identity that trusts a workload elsewhere."""
    _, ids = machine
    url, sign = issuer
    tenant = az_server.operator()["tenant_id"]
    az(
        f"identity federated-credential create -g {GROUP} --identity-name login-first -n trusts-elsewhere"
        f" --issuer {url} --subject system:serviceaccount:shop:web --audiences api://AzureADTokenExchange"
    )
    elsewhere = az_on("login-vm")
    who = f"login --service-principal -u {ids[0]['clientId']} --tenant {tenant} --federated-token "
    assert "AADSTS700213" in elsewhere.fails(who + sign("system:serviceaccount:shop:other"))
    elsewhere(who + sign("system:serviceaccount:shop:web"))
    assert claims(elsewhere("account get-access-token")["accessToken"])["oid"] == ids[0]["principalId"]


def test_a_token_for_each_resource(az):
    known = {
        "https://management.azure.com/": "https://management.azure.com/",
        "https://management.core.windows.net/": "https://management.core.windows.net/",
        "https://vault.azure.net": "https://vault.azure.net",
        "https://storage.azure.com/": "https://storage.azure.com/",
        "https://database.windows.net/": "https://database.windows.net/",
        "https://eventhubs.azure.net": "https://eventhubs.azure.net",
        "https://servicebus.azure.net": "https://servicebus.azure.net",
        "https://datalake.azure.net/": "https://datalake.azure.net/",
        "https://graph.microsoft.com/": "https://graph.microsoft.com/",
    }
    for resource, audience in known.items():
        token = az(f"account get-access-token --resource {resource}")
        assert str(claims(token["accessToken"])["aud"]).rstrip("/") == audience.rstrip("/")
        assert token["tokenType"] == "Bearer"
    assert "AADSTS500011" in az.fails("account get-access-token --resource https://nothing.example")


def test_the_account(az, az_server):
    operator = az_server.operator()
    titles, rows = az.table("account list")
    assert titles == ["Name", "CloudName", "SubscriptionId", "TenantId", "State", "IsDefault"]
    assert operator["subscription_id"] in rows[0]
    assert az("account show")["user"]["name"] == operator["client_id"]
    az(f"account set --subscription {operator['subscription_id']}")
    assert [one["id"] for one in az("account list --refresh")] == [operator["subscription_id"]]


def test_real_processes(az, az_server):
    """As a person types them: one process each, in a sandbox each."""
    made = az.process("account", "show", "--query", "id", "-o", "tsv")
    out, err = made.communicate(timeout=120)
    assert made.returncode == 0, err
    assert out.strip() == az_server.operator()["subscription_id"]
    refused = az.process("group", "show", "-n", "no-such-group")
    _, err = refused.communicate(timeout=120)
    assert refused.returncode == 3
    assert "(ResourceGroupNotFound) Resource group 'no-such-group' could not be found." in err
