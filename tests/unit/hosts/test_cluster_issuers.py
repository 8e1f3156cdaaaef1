"""A cluster's OIDC issuer: its documents, the tokens it signs, and that the token service takes those and no others."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace

import msgspec
import pytest

from keyfob.declare import Address
from keyfob.directory.applications import trusting
from keyfob.directory.assertions import take_apart, verify_federated
from keyfob.directory.fetcher import IssuerUnreachable
from keyfob.directory.model import FederatedCredential
from keyfob.directory.records import FEDERATED_CREDENTIALS
from keyfob.directory.seal import Seal
from keyfob.errors import InvalidInput, NotFound, Problem
from keyfob.hosts.clusters import ISSUER_SERVICE, TYPE, ClusterIssuers, ServiceAccount, clusters, project
from keyfob.hosts.clusters.issuers import ISSUERS
from keyfob.hosts.clusters.projected import LIFE
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Fields, Request

TENANT = "11111111-1111-1111-1111-111111111111"
GROUP = ResourceId.group("22222222-2222-2222-2222-222222222222", "rg")
CLUSTER = GROUP.provider(TYPE, "aks")
ACCOUNT = ServiceAccount("shop", "cart")
AUDIENCE = "api://AzureADTokenExchange"


class Nobody:
    """Every other issuer."""

    async def keys(self, issuer, kid):
        raise IssuerUnreachable("nobody else is asked here")


class Place:
    def __init__(self, house) -> None:
        self.house = house
        self.issuers = ClusterIssuers(store=house.store, seal=Seal(b"k" * 32), clock=house.clock, others=Nobody())
        self.work = clusters(ids=house.ids).types[0].operations

    async def put(self, *, enabled=True, before=None, cloud="AzureCloud", id=CLUSTER):
        """What the engine does with a PUT, as far as the cluster's own part goes."""
        async with self.house.store.transaction() as tx:
            change = SimpleNamespace(
                transaction=tx,
                id=id,
                before=before,
                body={"location": "West US", "properties": {"oidcIssuerProfile": {"enabled": enabled}}},
                cloud=self.house.clouds[cloud],
                tenant_id=TENANT,
            )
            properties = dict(await self.work.accept(change))
        return SimpleNamespace(id=str(id), location="westus", properties=properties)

    async def get(self, url, method="GET"):
        host, _, path = url.removeprefix("https://").partition("/")
        cloud = self.house.clouds["AzureCloud"]
        request = Request(method, "/" + path, Fields(), Fields(), host=host)
        return await self.issuers(request, Address(cloud, ISSUER_SERVICE, host.partition(".")[0]))


@pytest.fixture
async def place(house):
    return Place(house)


async def test_the_issuer_is_shown_and_never_changes(place):
    made = await place.put()
    url = made.properties["oidcIssuerProfile"]["issuerURL"]
    assert url.startswith(f"https://westus.oic.prod-aks.azure.com/{TENANT}/")
    assert url.endswith("/")
    shown = place.work.present(made, "2024-09-01", "")
    assert shown["oidcIssuerProfile"] == {"enabled": True, "issuerURL": url}
    assert "keyfob.issuer" not in shown
    again = await place.put(before=made)
    assert again.properties["oidcIssuerProfile"]["issuerURL"] == url
    with pytest.raises(InvalidInput, match="cannot be disabled"):
        await place.put(enabled=False, before=made)


async def test_a_cluster_without_an_issuer(place):
    made = await place.put(enabled=False)
    assert made.properties["oidcIssuerProfile"] == {"enabled": False}
    with pytest.raises(NotFound, match="enable-oidc-issuer"):
        await place.issuers.of(str(CLUSTER))
    later = await place.put(before=made)
    assert (await place.issuers.of(str(CLUSTER).upper())).url == later.properties["oidcIssuerProfile"]["issuerURL"]


async def test_other_clouds(place):
    for cloud, zone in (("AzureUSGovernment", "azure.us"), ("AzureChinaCloud", "azure.cn")):
        made = await place.put(cloud=cloud, id=GROUP.provider(TYPE, cloud))
        assert made.properties["oidcIssuerProfile"]["issuerURL"].startswith(f"https://westus.oic.prod-aks.{zone}/")
    with pytest.raises(InvalidInput, match="have no OIDC issuer"):
        await place.put(cloud="AzureGermanCloud")


async def test_its_documents(place):
    url = (await place.put()).properties["oidcIssuerProfile"]["issuerURL"]
    found = msgspec.json.decode((await place.get(url + ".well-known/openid-configuration")).body)
    assert found["issuer"] == url
    assert found["id_token_signing_alg_values_supported"] == ["RS256"]
    (key,) = msgspec.json.decode((await place.get(found["jwks_uri"])).body)["keys"]
    assert set(key) == {"use", "kty", "kid", "alg", "n", "e"}
    other = url.replace("westus", "eastus")
    for wrong in (url, url + "other", other + ".well-known/openid-configuration", f"https://westus.oic/{TENANT}/x/y"):
        assert (await place.get(wrong)).status == 404
    assert (await place.get(url + ".well-known/openid-configuration", "POST")).status == 405


async def test_the_key_is_sealed_and_the_same_for_every_node(place, house):
    url = (await place.put()).properties["oidcIssuerProfile"]["issuerURL"]
    issuer = await place.issuers.of(str(CLUSTER))
    key = await place.issuers.key(issuer.id)
    stored = (await ISSUERS.get(house.store, issuer.id)).value
    assert stored.key.kid == key.kid
    assert b"PRIVATE" not in msgspec.json.encode(stored)
    assert "d" not in key.jwk
    assert key.private.private_numbers().d.to_bytes(256, "big") not in stored.key.sealed
    other = ClusterIssuers(store=house.store, seal=Seal(b"k" * 32), clock=house.clock, others=Nobody())
    assert (await other.keys(url, key.kid))[0]["n"] == key.jwk["n"]
    with pytest.raises(Problem, match="cannot be opened"):
        await ClusterIssuers(
            store=house.store, seal=Seal(b"x" * 32), clock=house.clock, others=Nobody()
        ).key(issuer.id)  # fmt: skip


async def _token(place, account=ACCOUNT, audience=AUDIENCE):
    issuer = await place.issuers.of(str(CLUSTER))
    key = await place.issuers.key(issuer.id)
    return issuer, project(
        issuer, key, account, audience=audience, now=place.house.clock.now(), ids=place.house.ids
    )  # fmt: skip


async def test_the_token_is_a_pods(place, house):
    await place.put()
    issuer, token = await _token(place)
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    assert header["alg"] == "RS256"
    assert claims["iss"] == issuer.url
    assert claims["sub"] == "system:serviceaccount:shop:cart"
    assert claims["aud"] == [AUDIENCE]
    assert claims["exp"] == claims["iat"] + LIFE
    assert claims["kubernetes.io"]["serviceaccount"]["name"] == "cart"


async def test_the_token_service_verifies_it_here(place, house):
    await place.put()
    issuer, token = await _token(place)
    trusted = FederatedCredential(name="fic", issuer=issuer.url, subject=ACCOUNT.subject, audiences=(AUDIENCE,))

    async def verify(text, credential=trusted, now=None):
        return await verify_federated(
            take_apart(text), [credential], fetcher=place.issuers, now=now or house.clock.now()
        )

    assert await verify(token) == trusted
    head, body, signature = token.split(".")
    forged = base64.urlsafe_b64encode(
        base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).replace(b"cart", b"root")
    ).decode()
    of_root = msgspec.structs.replace(trusted, subject="system:serviceaccount:shop:root")
    for text, credential, code in (
        (f"{head}.{forged.rstrip('=')}.{signature}", of_root, 700027),
        (token, msgspec.structs.replace(trusted, issuer=issuer.url.rstrip("/")), 700211),
        (token, msgspec.structs.replace(trusted, subject="system:serviceaccount:shop:Cart"), 700213),
        (token, msgspec.structs.replace(trusted, audiences=("api://other",)), 700212),
    ):
        with pytest.raises(Problem) as refused:
            await verify(text, credential)
        assert refused.value.aadsts == code
    with pytest.raises(Problem):
        await verify(token, now=house.clock.now() + LIFE + 301)


async def test_a_deleted_clusters_tokens_are_good_for_nothing(place, house):
    made = await place.put()
    issuer, _ = await _token(place)
    async with house.store.transaction() as tx:
        await place.work.remove(SimpleNamespace(transaction=tx, before=made))
    with pytest.raises(NotFound):
        await place.issuers.of(str(CLUSTER))
    with pytest.raises(NotFound):
        await place.issuers.key(issuer.id)
    with pytest.raises(IssuerUnreachable):
        await place.issuers.keys(issuer.url, "x")


async def test_every_other_issuer_is_somebody_elses(place):
    for issuer in ("https://token.actions.githubusercontent.com", f"https://x/{TENANT}/{TENANT}/", ""):
        with pytest.raises(IssuerUnreachable, match="nobody else"):
            await place.issuers.keys(issuer, "kid")


async def test_whom_a_service_account_is_trusted_by(place, house):
    url = (await place.put()).properties["oidcIssuerProfile"]["issuerURL"]
    with pytest.raises(InvalidInput, match="no identity has a federated credential"):
        await trusting(house.store, TENANT, url, ACCOUNT.subject)
    owners = [await house.principal(name) for name in ("u1", "u2")]
    for number, owner in enumerate(owners):
        credential = FederatedCredential(name="f", issuer=url, subject=ACCOUNT.subject, owner_id=owner.id)
        async with house.store.transaction() as tx:
            await FEDERATED_CREDENTIALS.put(tx, f"{TENANT}/{owner.id}/f", credential)
        if number == 0:
            assert await trusting(house.store, TENANT, url, ACCOUNT.subject) == owner.app_id
    with pytest.raises(InvalidInput, match="several identities"):
        await trusting(house.store, TENANT, url, ACCOUNT.subject)


def test_names_of_service_accounts():
    assert ServiceAccount.parse("shop/cart") == ACCOUNT
    assert ServiceAccount.parse("a/b.c-d").name == "b.c-d"
    too_long = ("a" * 64 + "/b", "a/" + "b." * 130 + "b")
    for wrong in ("", "cart", "shop/", "/cart", "a/b/c", "Shop/cart", "shop/cart:x", "shop/-c", *too_long):
        with pytest.raises(InvalidInput, match="NAMESPACE/NAME"):
            ServiceAccount.parse(wrong)
