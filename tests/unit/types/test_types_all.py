"""What every declared top-level type must do, whatever it is: one table, one life."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

GROUP = "/subscriptions/bbbbbbbb-0000-4000-8000-000000000001/resourceGroups/g"
SQL = {"administratorLogin": "chief", "administratorLoginPassword": "S3cret!pass"}
BOX = {
    "osType": "Linux",
    "containers": [{"name": "a", "properties": {"image": "i", "resources": {"requests": {"cpu": 1, "memoryInGB": 1}}}}],
}
VAULT = {
    "sku": {"family": "A", "name": "standard"},
    "tenantId": "aaaaaaaa-0000-4000-8000-000000000001",
    "accessPolicies": [],
}
SPACED, JOINED = "SystemAssigned, UserAssigned", "SystemAssigned,UserAssigned"


@dataclass(frozen=True)
class Kind:
    """A type, a version of its documents, a body that makes one, and how it spells both identities."""

    type: str
    version: str
    properties: Any
    joined: str = SPACED
    sku: Any = None
    kind: str = ""
    system: bool = True
    user: bool = True
    replaces: bool = False
    """Whether a PUT without `identity` removes what is there."""
    recent: str = ""

    @property
    def path(self) -> str:
        return f"{GROUP}/providers/{self.type}/matrix1"

    def body(self, **more: Any) -> dict[str, Any]:
        made: dict[str, Any] = {"location": "West Europe", "properties": self.properties}
        if self.sku:
            made["sku"] = self.sku
        if self.kind:
            made["kind"] = self.kind
        return made | more


KINDS = (
    Kind("Microsoft.Compute/virtualMachines", "2018-10-01", {}, recent="2024-11-01"),
    Kind("Microsoft.Compute/virtualMachineScaleSets", "2018-10-01", {}, sku={"name": "Standard_B1s", "capacity": 1}),
    Kind("Microsoft.Web/sites", "2018-11-01", {}, replaces=True, recent="2025-05-01"),
    Kind("Microsoft.Web/sites", "2018-11-01", {}, kind="functionapp", replaces=True),
    Kind("Microsoft.Logic/workflows", "2019-05-01", {"definition": {}}),
    Kind("Microsoft.DataFactory/factories", "2018-06-01", {}, joined=JOINED),
    Kind(
        "Microsoft.ApiManagement/service",
        "2018-01-01",
        {"publisherEmail": "a@b.example", "publisherName": "b"},
        sku={"name": "Developer", "capacity": 1},
        recent="2022-08-01",
    ),
    Kind("Microsoft.ContainerInstance/containerGroups", "2018-10-01", BOX, recent="2024-05-01-preview"),
    Kind("Microsoft.KeyVault/vaults", "2018-02-14", VAULT, system=False, user=False, recent="2023-07-01"),
    Kind("Microsoft.DataLakeStore/accounts", "2016-11-01", {}, user=False),
    Kind("Microsoft.Sql/servers", "2015-05-01-preview", SQL, joined=JOINED, recent="2021-11-01"),
    Kind("Microsoft.EventHub/namespaces", "2017-04-01", {}, sku={"name": "Standard"}, recent="2024-01-01"),
    Kind("Microsoft.ServiceBus/namespaces", "2017-04-01", {}, sku={"name": "Premium"}, recent="2021-11-01"),
    Kind(
        "Microsoft.Storage/storageAccounts",
        "2018-07-01",
        {},
        joined=JOINED,
        sku={"name": "Standard_LRS"},
        kind="StorageV2",
        recent="2023-05-01",
    ),
    Kind("Microsoft.Web/serverfarms", "2018-02-01", {}, sku={"name": "S1"}, system=False, user=False),
    Kind("Microsoft.Compute/availabilitySets", "2018-10-01", {}, system=False, user=False),
    Kind("Microsoft.Network/virtualNetworks", "2018-08-01", {}, system=False, user=False),
    Kind("Microsoft.Network/networkSecurityGroups", "2018-08-01", {}, system=False, user=False),
    Kind("Microsoft.Network/publicIPAddresses", "2018-08-01", {}, system=False, user=False),
    Kind("Microsoft.Network/networkInterfaces", "2018-08-01", {}, system=False, user=False),
    Kind("Microsoft.OperationalInsights/workspaces", "2023-09-01", {}),
    Kind("Microsoft.Compute/disks", "2023-04-02", {"creationData": {"createOption": "Empty"}}),
)
IDS = [one.type.partition(".")[2] + (f" {one.kind}" if one.kind else "") for one in KINDS]
every = pytest.mark.parametrize("kind", KINDS, ids=IDS)
hosting = pytest.mark.parametrize(
    "kind", [one for one in KINDS if one.user], ids=[id for one, id in zip(KINDS, IDS, strict=True) if one.user]
)


@every
async def test_a_life(world: Any, kind: Kind) -> None:
    path, v = kind.path, kind.version
    assert (await world.send("GET", path, v=v)).code == "ResourceNotFound"
    made = await world.send("PUT", path, kind.body(tags={"a": "1"}), v=v)
    assert made.status in (200, 201), made.body
    shown = await world.ok("GET", path.lower(), v=v)
    assert (shown["id"], shown["name"], shown["type"]) == (path, "matrix1", kind.type)
    assert (shown["location"], shown["tags"]) == ("westeurope", {"a": "1"})
    assert "keyfob." not in str(shown)
    again = await world.send("PUT", path, kind.body(tags={"a": "2"}), v=kind.recent or v)
    assert again.status == 200, again.body
    patched = await world.send("PATCH", path, {"tags": {"b": "3"}}, v=v)
    assert patched.status == 200, patched.body
    assert patched.json["tags"] == {"a": "2", "b": "3"}
    settled = (await world.ok("GET", path, v=v))["properties"]
    assert settled == (await world.ok("GET", path, v=v))["properties"]
    assert settled.get("provisioningState", "Succeeded") == "Succeeded"
    for scope in (GROUP, GROUP.partition("/resourceGroups")[0]):
        rows = (await world.ok("GET", f"{scope}/providers/{kind.type}", v=v))["value"]
        assert [row["id"] for row in rows] == [path]
    assert (await world.send("DELETE", path, v=v)).status in (200, 202, 204)
    assert (await world.send("GET", path, v=v)).status == 404
    assert (await world.send("DELETE", path, v=v)).status == 204
    left = await world.ok("GET", f"{GROUP}/resources", v="2021-04-01")
    plans = [row["id"] for row in left["value"] if row["type"] == "Microsoft.Web/serverfarms"]
    assert [row["id"] for row in left["value"]] == (plans if kind.kind == "functionapp" else [])  # its plan stays


@every
async def test_who_may_not(world: Any, kind: Kind) -> None:
    path, v = kind.path, kind.version
    assert (await world.send("PUT", path, kind.body(), v=v, who="reader")).code == "AuthorizationFailed"
    await world.ok("PUT", path, kind.body(), v=v)
    for who, methods in {"nobody": ("GET", "PUT", "PATCH", "DELETE"), "reader": ("PUT", "PATCH", "DELETE")}.items():
        for method in methods:
            answer = await world.send(method, path, kind.body(), v=v, who=who)
            assert (answer.status, answer.code) == (403, "AuthorizationFailed")
    await world.ok("GET", path, v=v, who="reader")


@every
async def test_what_is_no_body(world: Any, kind: Kind) -> None:
    deep: Any = {}
    for _ in range(150):
        deep = {"a": deep}
    bodies: tuple[Any, ...] = (
        [], 5, None, {}, {"location": 5}, {"location": "mars", "properties": {}}, kind.body(properties=[1]),
        kind.body(properties="x"), kind.body(sku=5), kind.body(sku={"name": {"a": []}, "capacity": "x"}),
        kind.body(properties=deep), kind.body(kind=7), kind.body(tags=[1]), kind.body(identity="SystemAssigned"),
    )  # fmt: skip
    for body in bodies:
        answer = await world.send("PUT", kind.path, body, v=kind.version)
        assert answer.status < 500, (body, answer.body)
    for value in (None, 5, "x", [], [1], {}, {"a": None}, True, -1, "\ud800" * 2):
        for name in kind.properties:
            body = kind.body(properties={**kind.properties, name: value})
            answer = await world.send("PUT", kind.path, body, v=kind.version)
            assert answer.status < 500, (body, answer.body)


@hosting
async def test_identities(world: Any, kind: Kind) -> None:
    path, v = kind.path, kind.version
    one, two = await world.identity("user-one"), await world.identity("user-two")
    system = (await world.ok("PUT", path, kind.body(identity={"type": "SystemAssigned"}), v=v))["identity"]
    assert system["principalId"]

    async def patch(type: str, **users: Any) -> Any:
        body = {"type": type, **({"userAssignedIdentities": users["users"]} if users else {})}
        return (await world.ok("PATCH", path, {"identity": body}, v=v)).get("identity")

    both = await patch("SystemAssigned, UserAssigned", users={one: {}, two: {}})
    assert both["type"] == kind.joined
    assert both["principalId"] == system["principalId"]
    assert {id.lower() for id in both["userAssignedIdentities"]} == {one.lower(), two.lower()}
    assert all(entry["clientId"] for entry in both["userAssignedIdentities"].values())
    less = await patch("systemassigned,userassigned", users={one: None})
    assert [id.lower() for id in less["userAssignedIdentities"]] == [two.lower()]
    users = await patch("UserAssigned")
    assert "principalId" not in users
    assert (await patch("SystemAssigned"))["principalId"] != system["principalId"]
    assert await patch("None") is None

    await world.ok("PUT", path, kind.body(identity={"type": "SystemAssigned"}), v=v)
    left = await world.ok("PUT", path, kind.body(), v=v)
    assert ("identity" in left) is not kind.replaces
    refused = kind.body(identity={"type": "UserAssigned", "userAssignedIdentities": {one: {}}})
    await world.give("contributor", "acdd72a7-3385-48ef-bd42-f606fba81ae7", "/")
    assert (await world.send("PUT", path, refused, v=v, who="reader")).code == "AuthorizationFailed"


@hosting
async def test_attaching_needs_a_role_on_the_identity(world: Any, kind: Kind) -> None:
    one = await world.identity("user-one")
    role = {
        "Microsoft.Compute": "9980e02c-c2be-4d73-94e8-173b1dc7cf3c",  # Virtual Machine Contributor
        "Microsoft.Web": "de139f84-1756-47ae-9be6-808fbbe84772",  # Website Contributor
        "Microsoft.Storage": "17d1049b-9a84-46fb-8f53-869881c3d3ab",  # Storage Account Contributor
    }.get(kind.type.partition("/")[0])
    if role is None or kind.type.endswith("/disks"):
        pytest.skip("no built-in role writes this type alone")
    await world.give("nobody", role, GROUP)
    body = kind.body(identity={"type": "UserAssigned", "userAssignedIdentities": {one: {}}})
    answer = await world.send("PUT", kind.path, body, v=kind.version, who="nobody")
    assert (answer.status, answer.code) == (403, "LinkedAuthorizationFailed")
    assert (await world.send("GET", kind.path, v=kind.version)).status == 404
    await world.give("nobody", "f1a07417-d97a-45cb-824c-7a7467783830", one)  # Managed Identity Operator
    await world.ok("PUT", kind.path, body, v=kind.version, who="nobody")


async def test_data_lake_has_a_system_assigned_identity_only(world: Any) -> None:
    path, one = f"{GROUP}/providers/Microsoft.DataLakeStore/accounts/lake1", await world.identity("user-one")
    body = {"location": "westeurope", "identity": {"type": "SystemAssigned"}}
    made = await world.ok("PUT", path, body, v="2016-11-01")
    assert made["identity"]["principalId"]
    user = {"identity": {"type": "UserAssigned", "userAssignedIdentities": {one: {}}}}
    assert (await world.send("PATCH", path, user, v="2016-11-01")).status == 400


async def test_names_are_unique_in_a_cloud_not_across_clouds(world: Any) -> None:
    china = "/subscriptions/bbbbbbbb-0000-4000-8000-000000000004"
    more: dict[str, Any] = {"cloud": "AzureChinaCloud"}
    for namespace in ("Microsoft.Storage", "Microsoft.Web"):
        await world.ok("POST", f"{china}/providers/{namespace}/register", v="2021-04-01", **more)
    await world.ok("PUT", f"{china}/resourceGroups/g", {"location": "chinaeast"}, v="2021-04-01", **more)
    for kind in KINDS:
        if kind.type in ("Microsoft.Storage/storageAccounts", "Microsoft.Web/sites") and kind.kind != "functionapp":
            await world.ok("PUT", kind.path, kind.body(), v=kind.version)
            path = f"{china}/resourceGroups/g/providers/{kind.type}/matrix1"
            made = await world.ok("PUT", path, kind.body(location="chinaeast"), v=kind.version, **more)
            assert ".chinacloud" in str(made["properties"])


async def test_the_catalogue_of_images(world: Any) -> None:
    base = GROUP.partition("/resourceGroups")[0] + "/providers/Microsoft.Compute/locations/westeurope"
    publisher = f"{base}/publishers/Canonical/artifacttypes/vmimage/offers"
    v = "2024-11-01"
    offers = await world.ok("GET", publisher, v=v)
    assert "ubuntu-24_04-lts" in [row["name"] for row in offers]
    versions = await world.ok("GET", f"{publisher}/ubuntu-24_04-lts/skus/server/versions", v=v)
    image = await world.ok("GET", versions[0]["id"], v=v)
    assert image["properties"]["osDiskImage"]["operatingSystem"] == "Linux"
    assert image["id"] == versions[0]["id"]
    missing = await world.send("GET", f"{publisher}/ubuntu-24_04-lts/skus/server/versions/9.9.9", v=v)
    assert missing.status == 404
    assert (await world.send("GET", f"{publisher}/beos/skus", v=v)).status == 404
    assert (await world.send("GET", publisher.replace("westeurope", "mars"), v=v)).status == 400
    assert (await world.send("GET", publisher, v=v, who="nobody")).status == 403
    sizes = await world.ok("GET", f"{base}/vmSizes", v=v)
    assert "Standard_B1s" in [row["name"] for row in sizes["value"]]
    skus = await world.ok(
        "GET", f"{base.partition('/locations')[0]}/skus?api-version=2021-07-01&$filter=location eq 'westeurope'"
    )
    assert {row["locations"][0] for row in skus["value"]} == {"westeurope"}
