"""Features: a state of each subscription."""

from __future__ import annotations

from typing import Any

from keyfob.arm.extras.features import feature_state

V = {"version": "2021-07-01"}


def at(world: Any, name: str = "EncryptionAtHost", namespace: str = "Microsoft.Compute") -> str:
    return f"{world.subscription}/providers/Microsoft.Features/providers/{namespace}/features/{name}"


async def test_a_feature_is_registered_and_unregistered(world: Any) -> None:
    async def state() -> str:
        return str(await feature_state(world.app.store, world.subscription_id, "microsoft.compute/ENCRYPTIONATHOST"))

    assert (await world.good("GET", at(world), **V))["properties"] == {"state": "NotRegistered"}
    made = await world.good("POST", f"{at(world, 'encryptionathost')}/register", **V)
    assert made == {
        "properties": {"state": "Registered"},
        "id": at(world),
        "type": "Microsoft.Features/providers/features",
        "name": "Microsoft.Compute/EncryptionAtHost",
    }
    assert await state() == "Registered"
    await world.good("POST", f"{at(world)}/unregister", **V)
    assert await state() == "Unregistered"


async def test_lists_name_known_ones_and_those_that_were_registered(world: Any) -> None:
    await world.good("POST", f"{at(world, 'SomethingNew')}/register", **V)
    everything = f"{world.subscription}/providers/Microsoft.Features/features"
    rows = {row["name"]: row["properties"]["state"] for row in (await world.good("GET", everything, **V))["value"]}
    assert rows["Microsoft.Compute/SomethingNew"] == "Registered"
    assert rows["Microsoft.Storage/AllowNFSV3"] == "NotRegistered"
    compute = (await world.good("GET", at(world, "").rstrip("/"), **V))["value"]
    assert {row["name"].partition("/")[0] for row in compute} == {"Microsoft.Compute"}


async def test_registrations_as_objects(world: Any) -> None:
    here = f"{world.subscription}/providers/Microsoft.Features"
    one = f"{here}/featureProviders/Microsoft.Compute/subscriptionFeatureRegistrations/EncryptionAtHost"
    assert (await world.arm("DELETE", one, **V)).status == 204
    made = await world.good("PUT", one, {}, **V)
    assert made["id"] == one
    assert made["properties"]["state"] == "Registered"
    assert made["properties"]["tenantId"] == world.tenant
    listed = await world.good("GET", f"{here}/subscriptionFeatureRegistrations", **V)
    assert [row["name"] for row in listed["value"]] == ["EncryptionAtHost"]
    assert (await world.arm("DELETE", one, **V)).status == 200
    assert (await world.good("GET", one, **V))["properties"]["state"] == "Unregistered"


async def test_unknown_namespaces_and_odd_names(world: Any) -> None:
    assert await world.refused("GET", at(world, namespace="Contoso.Nothing"), **V) == (404, "InvalidResourceNamespace")
    assert await world.refused("POST", f"{at(world, 'x' * 300)}/register", **V) == (404, "FeatureNotFound")


async def test_a_reader_reads_and_who_has_no_role_does_not(world: Any) -> None:
    reader = await world.somebody("acdd72a7-3385-48ef-bd42-f606fba81ae7", world.subscription)
    nobody = await world.somebody()
    assert (await world.arm("GET", at(world), by=reader, **V)).status == 200
    refused = (403, "AuthorizationFailed")
    assert await world.refused("POST", f"{at(world)}/register", by=reader, **V) == refused
    assert await world.refused("GET", at(world), by=nobody, **V) == refused
