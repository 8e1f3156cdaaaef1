"""What the engine asks about storage accounts, and the actions that hand out keys and signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from keyfob.arm.keys import DerivedKeys, regenerated
from keyfob.arm.shapes import change_properties, held, mapping, put_child, unique
from keyfob.clock import iso
from keyfob.declare import Call, Change
from keyfob.errors import Conflict, InvalidInput
from keyfob.services.storage import model
from keyfob.services.storage.model import TYPE
from keyfob.wire.http import Reply

claim = unique(
    (TYPE,),
    lambda name: Conflict(f"The storage account named {name} is already taken.", code="StorageAccountAlreadyTaken"),
)


def accept(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = _one_of(change.body.get("kind") or "Storage", model.KINDS, "kind")
    sku = change.body.get("sku")
    if not isinstance(sku, Mapping) or not isinstance(sku.get("name"), str):
        raise InvalidInput("The value of parameter sku is required.", code="InvalidParameter", target="sku")
    name = _one_of(sku["name"], model.SKUS, "sku.name")
    if kind == "BlobStorage" and not given.get("accessTier"):
        raise InvalidInput(
            "The access tier is required for an account of kind BlobStorage.", code="AccountPropertyIsRequired"
        )
    for flag in ("supportsHttpsTrafficOnly", "allowBlobPublicAccess", "allowSharedKeyAccess", "isHnsEnabled"):
        if given.get(flag) is not None and not isinstance(given[flag], bool):
            raise InvalidInput(f"The value of parameter {flag} is invalid.", code="InvalidParameter", target=flag)
    created = held(change, "creationTime", iso(change.now))
    computed = model.computed(
        change.id.name.lower(), kind, name, str(change.body.get("location", "")), change.cloud, created
    )
    computed["keyCreationTime"] = held(change, "keyCreationTime", computed["keyCreationTime"])
    return model.defaults(given, kind, created) | computed


def _one_of(value: Any, known: tuple[str, ...], name: str) -> str:
    found = next((one for one in known if isinstance(value, str) and one.lower() == value.lower()), None)
    if found is None:
        raise InvalidInput(f"The value '{str(value)[:60]}' of parameter {name} is invalid.", code="InvalidParameter")
    return found


async def services(change: Change, properties: Mapping[str, Any]) -> None:
    """Each account has its four services, called `default`, from the start."""
    if change.before is None:
        for kind in ("blobServices", "fileServices", "queueServices", "tableServices"):
            await put_child(change, kind, "default", _SERVICE[kind])


_CORS: dict[str, Any] = {"cors": {"corsRules": []}}
_SERVICE: Mapping[str, dict[str, Any]] = {
    "blobServices": _CORS | {"deleteRetentionPolicy": {"enabled": False}},
    "fileServices": _CORS | {"shareDeleteRetentionPolicy": {"enabled": True, "days": 7}},
    "queueServices": _CORS,
    "tableServices": _CORS,
}


def service_defaults(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**_SERVICE[change.id.segments[-2]], **{n: v for n, v in given.items() if v is not None}}


def _container(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "publicAccess": given.get("publicAccess") or "None",
        "leaseStatus": "Unlocked",
        "leaseState": "Available",
        "lastModifiedTime": iso(change.now),
        "hasImmutabilityPolicy": False,
        "hasLegalHold": False,
        "defaultEncryptionScope": given.get("defaultEncryptionScope") or "$account-encryption-key",
        "denyEncryptionScopeOverride": bool(given.get("denyEncryptionScopeOverride", False)),
        "deleted": False,
        "remainingRetentionDays": 0,
    }


def _share(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "shareQuota": given.get("shareQuota") or 5120,
        "lastModifiedTime": iso(change.now),
        "enabledProtocols": given.get("enabledProtocols") or "SMB",
        "accessTier": given.get("accessTier") or "TransactionOptimized",
        "leaseStatus": "unlocked",
        "leaseState": "available",
    }


CONTENTS = {
    "containers": _container,
    "shares": _share,
    "queues": lambda change, given: {"metadata": dict(mapping(given.get("metadata")))},
    "tables": lambda change, given: {"tableName": change.id.name},
}


# --- keys


class Keys:
    def __init__(self, derived: DerivedKeys) -> None:
        self._derived = derived

    def __repr__(self) -> str:
        return "Keys()"

    def _listed(self, account: Any) -> list[dict[str, Any]]:
        times = mapping(account.properties.get("keyCreationTime"))
        return [
            {
                "creationTime": times.get(name, iso(account.created)),
                "keyName": name,
                "value": self._derived.key(account, name, size=64),
                "permissions": "FULL",
            }
            for name in ("key1", "key2")
        ]

    async def show(self, change: Change) -> Reply:
        _sharing(change.before)
        return Reply.json({"keys": self._listed(change.before)})

    async def regenerate(self, change: Change) -> Reply:
        name = change.body.get("keyName")
        if not isinstance(name, str) or name.lower() not in {"key1", "key2"}:
            raise InvalidInput("The value of parameter keyName is invalid.", code="InvalidParameter", target="keyName")
        properties = regenerated(change.before, name)
        times = {**mapping(properties.get("keyCreationTime")), name.lower(): iso(change.now)}
        changed = await change_properties(change, {**properties, "keyCreationTime": times})
        return Reply.json({"keys": self._listed(changed)})

    async def account_signature(self, change: Change) -> Reply:
        """An account signature as the storage services check it (version 2015-04-05)."""
        body = change.body
        for name in ("signedServices", "signedResourceTypes", "signedPermission", "signedExpiry"):
            if not isinstance(body.get(name), str):
                raise InvalidInput(
                    f"Values for request parameters are invalid: {name}.", code="InvalidValuesForRequestParameters"
                )
        said = {name: str(body.get(name) or "") for name in _ACCOUNT}
        lines = [change.before.name, *(said[name] for name in _ACCOUNT), "2015-04-05", ""]
        query = {"sv": "2015-04-05", **{short: said[name] for name, short in _ACCOUNT.items() if said[name]}}
        return Reply.json({"accountSasToken": urlencode({**query, "sig": self._sign(change, lines)})})

    async def service_signature(self, change: Change) -> Reply:
        body = change.body
        if not isinstance(body.get("canonicalizedResource"), str):
            raise InvalidInput(
                "Values for request parameters are invalid: canonicalizedResource.",
                code="InvalidValuesForRequestParameters",
            )
        said = {name: str(body.get(name) or "") for name in _SERVICE_SAS}
        lines = [said[name] for name in _SERVICE_LINES[:3]] + [said["canonicalizedResource"]]
        lines += [said[name] for name in _SERVICE_LINES[3:]] + ["2015-04-05"]
        lines += [said[name] for name in ("rscc", "rscd", "rsce", "rscl", "rsct")]
        query = {"sv": "2015-04-05", **{short: said[n] for n, short in _SERVICE_SAS.items() if short and said[n]}}
        return Reply.json({"serviceSasToken": urlencode({**query, "sig": self._sign(change, lines)})})

    def _sign(self, change: Change, lines: list[str]) -> str:
        _sharing(change.before)
        which = str(change.body.get("keyToSign") or "key1")
        if which.lower() not in {"key1", "key2"}:
            raise InvalidInput("The value of parameter keyToSign is invalid.", code="InvalidParameter")
        key = base64.b64decode(self._derived.key(change.before, which, size=64))
        return base64.b64encode(hmac.new(key, "\n".join(lines).encode(), hashlib.sha256).digest()).decode("ascii")


_ACCOUNT = {
    "signedPermission": "sp",
    "signedServices": "ss",
    "signedResourceTypes": "srt",
    "signedStart": "st",
    "signedExpiry": "se",
    "signedIp": "sip",
    "signedProtocol": "spr",
}
_SERVICE_LINES = ("signedPermission", "signedStart", "signedExpiry", "signedIdentifier", "signedIp", "signedProtocol")
_SERVICE_SAS = {
    "canonicalizedResource": "",
    "signedResource": "sr",
    "signedPermission": "sp",
    "signedStart": "st",
    "signedExpiry": "se",
    "signedIdentifier": "si",
    "signedIp": "sip",
    "signedProtocol": "spr",
    "rscc": "rscc",
    "rscd": "rscd",
    "rsce": "rsce",
    "rscl": "rscl",
    "rsct": "rsct",
}


def _sharing(account: Any) -> None:
    if account.properties.get("allowSharedKeyAccess") is False:
        raise Conflict(
            f"Key based authentication is not permitted on storage account '{account.name}'.",
            code="KeyBasedAuthenticationNotPermitted",
        )


async def revoke_delegation_keys(change: Change) -> Reply:
    """Signatures by delegation keys that were made before now are void."""
    await change_properties(change, {**change.before.properties, "keyfob.revoked": change.now})
    return Reply(200)


async def list_skus(call: Call) -> Reply:
    rows = [
        {"resourceType": "storageAccounts", "name": name, "tier": name.partition("_")[0], "kind": kind,
         "locations": list(call.cloud.locations), "capabilities": [], "restrictions": []}
        for kind in model.KINDS
        for name in model.SKUS
    ]  # fmt: skip
    return Reply.json({"value": rows})
