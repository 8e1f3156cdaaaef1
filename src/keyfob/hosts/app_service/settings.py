"""`config/…` rows that hold secrets, sealed at rest: a copy of the database shows no setting of any site.

A row's values are one sealed text, bound to the row, so that it opens as no other's. `WEBSITE_DISABLE_MSI` stands
beside it in the open: a host's endpoint asks for it, and knows no seal.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from keyfob.arm.model import Resource
from keyfob.arm.resources import get_resource
from keyfob.arm.shapes import OURS, Shaped, properties_of, put_child
from keyfob.declare import Change
from keyfob.directory.seal import Seal
from keyfob.hosts.app_service import config
from keyfob.hosts.app_service.model import SECRET_CONFIG
from keyfob.resource_id import ResourceId
from keyfob.store.port import Session

SEALED = f"{OURS}sealed"
OPEN = frozenset({"website_disable_msi"})


class Settings:
    """Made once, of the master key."""

    def __init__(self, master_key: bytes) -> None:
        self._seal = Seal(master_key)

    def __repr__(self) -> str:
        return "Settings()"

    def close(self, row: ResourceId, values: Mapping[str, Any]) -> dict[str, Any]:
        """The properties to store of that row. Rows that hold no secrets stay as they are."""
        if not is_secret(row):
            return dict(values)
        sealed = self._seal.close(msgspec.json.encode(values), about=_about(row))
        shown = {name: value for name, value in values.items() if name.lower() in OPEN}
        return {**shown, SEALED: base64.b64encode(sealed).decode("ascii")}

    def open(self, row: Resource | None) -> dict[str, Any]:
        """The values of a stored row; none where there is no row. One from before there were seals is open."""
        if row is None:
            return {}
        sealed = row.properties.get(SEALED)
        if not isinstance(sealed, str):
            return {name: value for name, value in row.properties.items() if not name.startswith(OURS)}
        data = self._seal.open(base64.b64decode(sealed), about=_about(ResourceId.parse(row.id)))
        values: dict[str, Any] = msgspec.json.decode(data)
        return values

    async def read(self, session: Session, site: ResourceId, name: str) -> dict[str, Any]:
        """The values of `config/{name}`."""
        return self.open(await get_resource(session, site.child("config", name)))

    async def put(self, change: Change, name: str, values: Mapping[str, Any]) -> None:
        """Writes `config/{name}` of the site that is being changed."""
        await put_child(change, "config", name, self.close(change.id.child("config", name), values))


class ConfigOperations(Shaped):
    """The operations of `{site}/config`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(compute=config.accept, children=self._after, write_only=("appSettings", "connectionStrings"))
        self._settings = settings

    async def accept(self, change: Change) -> Mapping[str, Any]:
        kept = await super().accept(change)
        if not is_secret(change.id):
            return kept
        values = {name: value for name, value in kept.items() if not name.startswith(OURS)}
        if change.method == "PATCH":
            values = {**self._settings.open(change.before), **values}
        return self._settings.close(change.id, values)

    def present(self, resource: Any, api_version: str, expand: str) -> Mapping[str, Any]:
        return self._settings.open(resource)

    async def _after(self, change: Change, properties: Mapping[str, Any]) -> None:
        """`config/web` may carry application settings, which belong elsewhere."""
        if change.id.name.lower() != "web":
            return
        named = config.named_settings(properties_of(change).get("appSettings"))
        row = change.id.parent.child("config", "appsettings")
        if named is not None and (there := await get_resource(change.transaction, row)) is not None:
            await config.replace(change, there, self._settings.close(row, named))


def is_secret(row: ResourceId) -> bool:
    return row.name.lower() in SECRET_CONFIG


def _about(row: ResourceId) -> str:
    return f"settings {row.key}"
