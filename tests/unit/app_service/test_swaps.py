"""Swapping slots: what goes over and what stays."""

from __future__ import annotations

import asyncio

import pytest

from .conftest import Place, Start, server

pytestmark = pytest.mark.sandbox


async def two(place: Place) -> None:
    await place.site(
        "shop", identity={"type": "SystemAssigned"}, config={"alwaysOn": True, "appCommandLine": "python3 main.py"}
    )
    await place.site(
        "shop", "staging", identity={"type": "SystemAssigned"}, config={"appCommandLine": "python3 next.py"}
    )
    sticky = {"appSettingNames": ["PLACE"], "connectionStringNames": ["local"]}
    await place.ok("PUT", f"{place.id('shop')}/config/slotConfigNames", {"properties": sticky})
    for slot, word in (("", "live"), ("staging", "next")):
        id = place.id("shop", slot)
        await place.settings(id, {"PLACE": f"of {word}", "MOVES": f"of {word}", f"ONLY_{word.upper()}": "x"})
        strings = {name: {"value": word, "type": "Custom"} for name in ("local", "moving")}
        await place.ok("PUT", f"{id}/config/connectionstrings", {"properties": strings})
    await place.deploy("shop", {"main.py": server("live")})
    await place.deploy("shop", {"next.py": server("next")}, slot="staging")
    assert [(await place.get(name))["text"] for name in ("shop", "shop-staging")] == ["live", "next"]


async def swap(place: Place, slot: str = "staging", target: str = "production") -> int:
    answer = await place.arm(
        "POST", f"{place.id('shop', slot)}/slotsswap", {"targetSlot": target, "preserveVnet": True}
    )
    return answer.status


async def test_content_and_settings_go_over_and_what_belongs_to_the_place_stays(place: Place) -> None:
    await two(place)
    before = {slot: (await place.ok("GET", place.id("shop", slot)))["identity"] for slot in ("", "staging")}
    assert await swap(place) == 200
    async with asyncio.timeout(90):
        while [(await place.get(name))["text"] for name in ("shop", "shop-staging")] != ["next", "live"]:
            await asyncio.sleep(0.05)
    live, staging = await place.get("shop"), await place.get("shop-staging")
    for said, place_of, moved, only in ((live, "live", "next", "ONLY_NEXT"), (staging, "next", "live", "ONLY_LIVE")):
        seen = said["environment"]
        assert (seen["PLACE"], seen["CUSTOMCONNSTR_local"]) == (f"of {place_of}", place_of)
        assert (seen["MOVES"], seen["CUSTOMCONNSTR_moving"]) == (f"of {moved}", moved)
        assert [name for name in seen if name.startswith("ONLY_")] == [only]
    assert live["environment"]["WEBSITE_SLOT_NAME"] == "Production"
    after = {slot: (await place.ok("GET", place.id("shop", slot)))["identity"] for slot in ("", "staging")}
    assert after == before
    web = await place.ok("GET", f"{place.id('shop')}/config/web")
    assert (web["properties"]["alwaysOn"], web["properties"]["appCommandLine"]) == (True, "python3 next.py")
    assert "keyfob" not in str(await place.ok("GET", place.id("shop")))
    assert await swap(place, "", "staging") == 200
    async with asyncio.timeout(90):
        while [(await place.get(name))["text"] for name in ("shop", "shop-staging")] != ["live", "next"]:
            await asyncio.sleep(0.05)


async def test_bad_targets_are_refused(place: Place) -> None:
    await place.site("shop")
    await place.site("shop", "staging")
    assert await swap(place, "staging", "staging") == 400
    assert await swap(place, "staging", "../x") == 400
    assert await swap(place, "", "production") == 400
    assert await swap(place, "staging", "nothing") == 404
    answer = await place.arm("POST", f"{place.id('shop')}/slotsswap", {"targetSlot": 3})
    assert answer.status == 400


async def test_swap_whose_files_had_not_followed_is_finished_by_the_next_server(starting: Start) -> None:
    place: Place = await starting()
    await two(place)
    contents = place.sites._contents
    await place.sites.stop()  # nobody follows
    exchange, contents.exchange = contents.exchange, lambda one, other: None  # type: ignore[method-assign]
    assert await swap(place) == 200
    assert await swap(place) == 409
    contents.exchange = exchange  # type: ignore[method-assign]
    place = await starting()
    assert [(await place.get(name))["text"] for name in ("shop", "shop-staging")] == ["next", "live"]
    assert [(await place.get(name))["environment"]["MOVES"] for name in ("shop", "shop-staging")] == [
        "of next",
        "of live",
    ]


async def test_who_may_only_touch_a_slot_cannot_swap_into_production(place: Place) -> None:
    from keyfob.access.assignments import assign
    from keyfob.declare import Caller, Change
    from keyfob.errors import Forbidden
    from keyfob.hosts.app_service.settings import Settings
    from keyfob.hosts.app_service.swap import Swap
    from keyfob.resource_id import ResourceId

    await place.site("shop")
    made = await place.site("shop", "staging", identity={"type": "SystemAssigned"})
    known = place.client.operator
    slot = ResourceId.parse(place.id("shop", "staging"))
    principal = made["identity"]["principalId"]
    caller = Caller(tenant_id=known["tenant_id"], principal_id=principal, name="slot only")
    swap = Swap(Settings(b"x" * 32), lambda row: False, guard=place.app.guard, ids=place.app.hosts._ids)

    async def tried() -> None:
        async with place.app.store.transaction() as tx:
            change = Change(
                transaction=tx,
                id=slot,
                method="POST",
                before=None,
                body={"targetSlot": "production"},
                caller=caller,
                cloud=place.sites._reader._clouds["AzureCloud"],
                tenant_id=known["tenant_id"],
                api_version="2024-11-01",
                now=0.0,
            )
            await swap(change)

    async with place.app.store.transaction() as tx:
        await assign(
            tx,
            tenant_id=known["tenant_id"],
            scope=slot,
            principal_id=principal,
            role_definition_id="de139f84-1756-47ae-9be6-808fbbe84772",
            now=0.0,
        )
    with pytest.raises(Forbidden, match=r"Microsoft\.Web/sites/slotsswap/Action"):
        await tried()
