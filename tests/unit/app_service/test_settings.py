"""Settings of sites at rest: sealed, bound to their row, readable by those who may list them."""

from __future__ import annotations

import base64
from pathlib import Path

import msgspec

from keyfob.arm.resources import RESOURCES
from keyfob.hosts.app_service.settings import SEALED
from keyfob.resource_id import ResourceId

from .conftest import Place

SECRET = "hunter2-in-a-setting"


async def test_no_setting_is_found_in_the_database_and_list_shows_it(place: Place, tmp_path: Path) -> None:
    given = [{"name": "A", "value": SECRET}]
    strings = [{"name": "db", "connectionString": SECRET, "type": "SQLAzure"}]
    await place.site("shop", config={"appSettings": given, "connectionStrings": strings})
    site = place.id("shop")

    async def listed(name: str) -> object:
        return (await place.ok("POST", f"{site}/config/{name}/list"))["properties"]

    assert await listed("appsettings") == {"A": SECRET}
    assert await listed("connectionstrings") == {"db": {"value": SECRET, "type": "SQLAzure"}}
    put = await place.ok("PUT", f"{site}/config/appsettings", {"properties": {"A": SECRET, "B": "2", SEALED: "x"}})
    assert put["properties"] == {"A": SECRET, "B": "2"}
    assert await listed("appsettings") == {"A": SECRET, "B": "2"}
    await place.ok("PATCH", f"{site}/config/appsettings", {"properties": {"B": "3"}})
    assert await listed("appsettings") == {"A": SECRET, "B": "3"}
    await place.ok("PUT", f"{site}/config/web", {"properties": {"appSettings": given}})
    assert await listed("appsettings") == {"A": SECRET}
    await place.ok("PUT", f"{site}/config/authsettings", {"properties": {"clientSecret": SECRET}})
    assert (await listed("authsettings")) == {"clientSecret": SECRET}
    await place.app.guard.log.flush()
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert SECRET.encode() not in path.read_bytes(), path


async def test_sealed_settings_open_as_no_other_sites_and_older_rows_are_read(place: Place) -> None:
    await place.site("shop")
    await place.site("other")
    await place.settings(place.id("shop"), {"A": SECRET})
    rows = {
        name: await RESOURCES.get(place.app.store, ResourceId.parse(place.id(name)).child("config", "appsettings").key)
        for name in ("shop", "other")
    }
    shop, other = rows["shop"], rows["other"]
    assert shop is not None
    assert other is not None
    assert set(shop.value.properties) == {SEALED}
    assert base64.b64decode(shop.value.properties[SEALED])
    async with place.app.store.transaction() as tx:
        stolen = msgspec.structs.replace(other.value, properties=shop.value.properties)
        await RESOURCES.put(tx, other.key, stolen)
    refused = await place.arm("POST", f"{place.id('other')}/config/appsettings/list")
    assert refused.status >= 400
    assert SECRET.encode() not in refused.body
    async with place.app.store.transaction() as tx:
        await RESOURCES.put(tx, other.key, msgspec.structs.replace(other.value, properties={"OLD": "open"}))
    assert (await place.ok("POST", f"{place.id('other')}/config/appsettings/list"))["properties"] == {"OLD": "open"}


async def test_switch_of_the_token_endpoint_is_still_seen(place: Place) -> None:
    from keyfob.hosts.endpoints import identity_disabled

    await place.site("shop")
    await place.settings(place.id("shop"), {"A": SECRET, "WEBSITE_DISABLE_MSI": "true"})
    assert await identity_disabled(place.app.store, ResourceId.parse(place.id("shop")))
