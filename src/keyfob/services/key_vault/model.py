"""What a vault holds, as stored and as written to the wire.

A secret is a pointer to its current version; a version is immutable but for its attributes. Deleting moves the pointer
to the deleted collection and leaves the versions where they are, so that recovering is moving it back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from keyfob.errors import InvalidInput

LONGEST_VALUE = 25 * 1024
"""Bytes of a secret's value (about-secrets: "maximum size of 25k bytes each")."""
LONGEST_CONTENT_TYPE = 255
MOST_TAGS = 15
LONGEST_TAG = 256

_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
_VERSION = re.compile(r"[0-9a-fA-F]{32}")
_LAST_SECOND = 253402300799  # 9999-12-31T23:59:59Z


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A name in a vault and the version it means now."""

    name: str = ""
    vault: str = ""
    current: str = ""
    created: int = 0
    deleted: int | None = None
    purge: int | None = None
    """When it disappears by itself. Epoch seconds, as `deleted`."""


class SecretVersion(msgspec.Struct, frozen=True, kw_only=True):
    """`sealed` is the value under the vault's data key, bound to vault, name and version."""

    name: str = ""
    version: str = ""
    vault: str = ""
    sealed: bytes = b""
    content_type: str | None = None
    enabled: bool = True
    nbf: int | None = None
    exp: int | None = None
    created: int = 0
    updated: int = 0
    tags: dict[str, str] | None = None


class DeletedVault(msgspec.Struct, frozen=True, kw_only=True):
    """A vault that waits to be recovered or purged, with all that is needed to bring it back."""

    name: str = ""
    vault_id: str = ""
    cloud: str = ""
    subscription_id: str = ""
    location: str = ""
    tags: dict[str, str] = {}
    properties: dict[str, Any] = {}
    deleted: float = 0.0
    purge: float = 0.0


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """The writable members of a request body; None where a member was absent."""

    value: str | None = None
    content_type: str | None = None
    enabled: bool | None = None
    nbf: int | None = None
    exp: int | None = None
    tags: dict[str, str] | None = None


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What deleting means in a vault."""

    soft_delete: bool = True
    days: int = 90
    protected: bool = False

    @property
    def level(self) -> str:
        """`DeletionRecoveryLevel` of the OpenAPI document."""
        if not self.soft_delete:
            return "Purgeable"
        kind = "Recoverable" if self.days == 90 else "CustomizedRecoverable"
        return kind if self.protected else f"{kind}+Purgeable"

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> Recovery:
        return cls(
            soft_delete=properties.get("enableSoftDelete", True) is not False,
            days=properties.get("softDeleteRetentionInDays", 90),
            protected=properties.get("enablePurgeProtection") is True,
        )


def bad(message: str) -> InvalidInput:
    return InvalidInput(message, code="BadParameter")


def check_name(name: str) -> str:
    """Raises `InvalidInput`, worded as the service does."""
    if not _NAME.fullmatch(name):
        raise bad(f"The request URI contains an invalid name: {name[:200]}")
    return name


def check_version(version: str) -> str:
    if not _VERSION.fullmatch(version):
        raise bad(f"Invalid version: {version[:200]}")
    return version.lower()


def from_wire(body: bytes, *, value_required: bool) -> Given:
    """A request body → its members. Raises `InvalidInput` for anything that does not fit."""
    try:
        raw = msgspec.json.decode(body) if body.strip() else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad("Invalid Json") from None
    if not isinstance(raw, dict):
        raise bad("Invalid Json: an object is expected")
    value = raw.get("value")
    if value is None and value_required:
        raise bad("The parameter 'value' is required and cannot be null")
    if value is not None and not isinstance(value, str):
        raise bad("The parameter 'value' must be a string")
    if value is not None and len(value.encode("utf-8")) > LONGEST_VALUE:
        raise bad(f"The value of a secret cannot be longer than {LONGEST_VALUE} bytes")
    attributes = raw.get("attributes")
    if attributes is None:
        attributes = {}
    if not isinstance(attributes, dict):
        raise bad("The parameter 'attributes' must be an object")
    enabled = attributes.get("enabled")
    if enabled is not None and not isinstance(enabled, bool):
        raise bad("The attribute 'enabled' must be true or false")
    return Given(
        value=value,
        content_type=_content_type(raw.get("contentType")),
        enabled=enabled,
        nbf=_time(attributes, "nbf"),
        exp=_time(attributes, "exp"),
        tags=_tags(raw.get("tags")),
    )


def check_times(nbf: int | None, exp: int | None) -> None:
    if nbf is not None and exp is not None and exp <= nbf:
        raise bad("The attribute 'exp' must be later than 'nbf'")


def _content_type(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > LONGEST_CONTENT_TYPE:
        raise bad(f"The parameter 'contentType' must be a string of at most {LONGEST_CONTENT_TYPE} characters")
    return value


def _time(attributes: Mapping[str, Any], name: str) -> int | None:
    value = attributes.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LAST_SECOND:
        raise bad(f"The attribute '{name}' must be a time in seconds since 1970")
    return value


def _tags(value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or len(value) > MOST_TAGS:
        raise bad(f"The parameter 'tags' must be an object of at most {MOST_TAGS} members")
    for name, text in value.items():
        if not isinstance(text, str) or len(name) > LONGEST_TAG or len(text) > LONGEST_TAG:
            raise bad(f"A tag's name and value must be strings of at most {LONGEST_TAG} characters")
    return value


def attributes(version: SecretVersion, recovery: Recovery, api_version: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"enabled": version.enabled}
    if version.nbf is not None:
        shown["nbf"] = version.nbf
    if version.exp is not None:
        shown["exp"] = version.exp
    shown |= {"created": version.created, "updated": version.updated}
    if api_version != "2015-06-01":
        shown["recoveryLevel"] = recovery.level
    if api_version[:2] == "7." and api_version != "7.0":
        shown["recoverableDays"] = recovery.days if recovery.soft_delete else 0
    return shown


def bundle(
    version: SecretVersion,
    *,
    base: str,
    recovery: Recovery,
    api_version: str,
    value: str | None = None,
    versioned: bool = True,
) -> dict[str, Any]:
    """`SecretBundle` with a value, `SecretItem` without. `base` is the vault's URL, no trailing slash."""
    shown: dict[str, Any] = {} if value is None else {"value": value}
    if version.content_type is not None:
        shown["contentType"] = version.content_type
    shown["id"] = f"{base}/secrets/{version.name}" + (f"/{version.version}" if versioned else "")
    shown["attributes"] = attributes(version, recovery, api_version)
    if version.tags is not None:
        shown["tags"] = version.tags
    return shown


def deleted_members(secret: Secret, base: str) -> dict[str, Any]:
    """What `DeletedSecretBundle` and `DeletedSecretItem` have before the rest."""
    return {
        "recoveryId": f"{base}/deletedsecrets/{secret.name}",
        "deletedDate": secret.deleted,
        "scheduledPurgeDate": secret.purge,
    }
