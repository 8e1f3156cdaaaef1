"""The access keys of a function app, and their digests, which are all that its process gets.

The master key, the host key `default` and each function's key `default` follow from the app and are stored nowhere.
What its owner chooses, renews or deletes is: sealed, in the row `host/default` of the app, so that it goes with the app
and a copy of the database shows no key. A function's name stands there from the first time that its keys are handed
out, since its host cannot know the digest of a key of a function whose name it does not know.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from keyfob.arm.keys import DerivedKeys
from keyfob.arm.model import Resource
from keyfob.arm.resources import RESOURCES, get_resource
from keyfob.arm.shapes import OURS
from keyfob.directory.seal import Seal
from keyfob.hosts.app_service.functions.embedded.keys import digest
from keyfob.resource_id import ResourceId
from keyfob.store.port import Session, Transaction

SEALED = f"{OURS}keys"
DEFAULT = "default"


class Chosen(msgspec.Struct, omit_defaults=True):
    """What is not as it was at first. None for a name: that key was deleted."""

    master: str = ""
    host: dict[str, str | None] = {}
    system: dict[str, str | None] = {}
    functions: dict[str, dict[str, str | None]] = {}
    """By the function's name in lower case."""


class AppKeys:
    """The keys of one app as they are."""

    def __init__(self, first: Mapping[str, str], chosen: Chosen, own: Mapping[str, str]) -> None:
        self.master = chosen.master or first["master"]
        self.platform = first["platform"]
        self.host = _merged({DEFAULT: first["default"]}, chosen.host)
        self.system = _merged({}, chosen.system)
        self.functions = {name: _merged({DEFAULT: own[name]}, keys) for name, keys in chosen.functions.items()}

    def __repr__(self) -> str:
        return "AppKeys()"

    def digests(self) -> dict[str, Any]:
        """What `embedded.keys.Keys.read` takes. System keys open extensions' webhooks, which there are none of."""
        return {
            "platform": digest(self.platform),
            "master": digest(self.master),
            "host": [digest(key) for key in self.host.values()],
            "functions": {name: [digest(key) for key in keys.values()] for name, keys in self.functions.items()},
        }


class FunctionKeys:
    """Made once, of the master key of the server."""

    def __init__(self, master_key: bytes) -> None:
        self._derived = DerivedKeys(master_key)
        self._seal = Seal(master_key)

    def __repr__(self) -> str:
        return "FunctionKeys()"

    async def read(self, session: Session, app: Resource) -> AppKeys:
        return self.of(app, await get_resource(session, _row(app)))

    def of(self, app: Resource, row: Resource | None) -> AppKeys:
        """`row`: the app's `host/default`."""
        chosen = self._opened(app, row)
        first = {name: self._key(app, name) for name in ("master", "default", "platform")}
        own = {name: self._key(app, f"function/{name}/default") for name in chosen.functions}
        return AppKeys(first, chosen, own)

    async def change(self, transaction: Transaction, app: Resource, chosen: Chosen, now: float) -> None:
        id = _row(app)
        sealed = self._seal.close(msgspec.json.encode(chosen), about=_about(app))
        row = await get_resource(transaction, id)
        kept = row.properties if row is not None else {}
        properties = {**kept, SEALED: base64.b64encode(sealed).decode("ascii")}
        if row is None:
            made = Resource(
                id=str(id), type=id.type, name=id.name, tenant_id=app.tenant_id, properties=properties,
                created=now, changed=now, created_by=app.created_by, changed_by=app.created_by,
            )  # fmt: skip
            await RESOURCES.insert(transaction, id.key, made)
        else:
            await RESOURCES.put(transaction, id.key, msgspec.structs.replace(row, properties=properties, changed=now))

    async def chosen(self, session: Session, app: Resource) -> Chosen:
        return self._opened(app, await get_resource(session, _row(app)))

    def _opened(self, app: Resource, row: Resource | None) -> Chosen:
        sealed = row.properties.get(SEALED) if row is not None else None
        if not isinstance(sealed, str):
            return Chosen()
        return msgspec.json.decode(self._seal.open(base64.b64decode(sealed), about=_about(app)), type=Chosen)

    def _key(self, app: Resource, name: str) -> str:
        """In base64url, as Azure's are: they are sent in queries."""
        return self._derived.key(app, name).translate(_URL)


def _merged(first: Mapping[str, str], chosen: Mapping[str, str | None]) -> dict[str, str]:
    """Names compare without regard to case; the latest spelling is shown."""
    found = dict(first)
    for name, value in chosen.items():
        for known in [one for one in found if one.lower() == name.lower()]:
            del found[known]
        if value is not None:
            found[name] = value
    return found


def _row(app: Resource) -> ResourceId:
    return ResourceId.parse(app.id).child("host", "default")


def _about(app: Resource) -> str:
    """Bound to this app: one of the same name that is made later opens none of it."""
    return f"function keys {ResourceId.parse(app.id).key} {app.created}"


_URL = str.maketrans("+/", "-_")
