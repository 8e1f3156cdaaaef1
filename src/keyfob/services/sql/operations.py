"""What the engine asks about SQL servers and what is in them.

A server's Azure AD administrator is shown by the server and is a resource of its own
(`administrators/ActiveDirectory`); whoever writes one of the two updates the other.
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec

from keyfob.arm.model import DELETING
from keyfob.arm.resources import RESOURCES
from keyfob.arm.shapes import Compute, held, mapping, put_child
from keyfob.clock import iso
from keyfob.declare import Change
from keyfob.errors import Conflict, InvalidInput
from keyfob.services.sql.model import SKUS

__all__ = ["Compute"]

_RESERVED = frozenset({"admin", "administrator", "sa", "root", "dbmanager", "loginmanager", "dbo", "guest", "public"})


def name_taken(name: str) -> Conflict:
    return Conflict(f"The name '{name}' already exists. Choose a different name.", code="NameAlreadyExists")


# --- servers


def server(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    administrators = mapping(given.get("administrators"))
    only_directory = administrators.get("azureADOnlyAuthentication") is True
    login = given.get("administratorLogin") or held(change, "administratorLogin", None)
    if change.before is None and not only_directory:
        if not isinstance(login, str) or not login or not given.get("administratorLoginPassword"):
            raise _invalid("Invalid value given for parameter Login. Specify a valid parameter value.")
        if login.lower() in _RESERVED or not re.fullmatch(r"[^\s\\/\"'<>:;&]{1,128}", login):
            raise _invalid(f"'{login[:60]}' is not a valid login name.")
        _strong(given["administratorLoginPassword"], login)
    elif given.get("administratorLoginPassword") is not None and login:
        _strong(given["administratorLoginPassword"], str(login))
    if change.before is not None and login != held(change, "administratorLogin", login):
        raise _invalid("Invalid value given for parameter administratorLogin: a server's login cannot be changed.")
    result: dict[str, Any] = {
        "version": given.get("version") or "12.0",
        "state": "Ready",
        "fullyQualifiedDomainName": f"{change.id.name.lower()}.{change.cloud.suffixes['sql']}",
        "privateEndpointConnections": [],
        "minimalTlsVersion": given.get("minimalTlsVersion") or "None",
        "publicNetworkAccess": given.get("publicNetworkAccess") or "Enabled",
        "restrictOutboundNetworkAccess": given.get("restrictOutboundNetworkAccess") or "Disabled",
    }
    if login:
        result["administratorLogin"] = login
    if administrators:
        result["administrators"] = {
            "administratorType": "ActiveDirectory",
            "azureADOnlyAuthentication": False,
            "tenantId": change.tenant_id,
            **administrators,
        }
        _object_id(administrators.get("sid"))
    elif held(change, "administrators", None):
        result["administrators"] = held(change, "administrators", None)
    return result


async def with_server(change: Change, properties: Mapping[str, Any]) -> None:
    """A server has a database `master`; an administrator that is given inline is a child too."""
    if change.before is None:
        await put_child(
            change,
            "databases",
            "master",
            {
                "databaseId": str(uuid5(NAMESPACE_URL, change.id.key)),
                "status": "Online",
                "creationDate": iso(change.now),
                "maxSizeBytes": 32212254720,  # azure-cli's table divides it
            },
            location=str(change.body.get("location", "")),
            kind="v12.0,system",
            sku={"name": "System", "tier": "System", "capacity": 0},
        )
        await put_child(change, "connectionPolicies", "default", {"connectionType": "Default"})
        await put_child(change, "azureADOnlyAuthentications", "Default", {"azureADOnlyAuthentication": False})
    administrators = mapping(properties.get("administrators"))
    if administrators.get("sid"):
        await put_child(change, "administrators", "ActiveDirectory", dict(administrators))
        only = {"azureADOnlyAuthentication": administrators.get("azureADOnlyAuthentication") is True}
        await put_child(change, "azureADOnlyAuthentications", "Default", only)


def server_kind(resource: Any, document: dict[str, Any], api_version: str) -> dict[str, Any]:
    return {**document, "kind": "v12.0"}


# --- databases


def database(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    name, tier, capacity = _sku(change.body.get("sku"), given)
    wanted = str(given.get("requestedServiceObjectiveName") or mapping(change.body.get("sku")).get("name") or "")
    objective = wanted or "GP_Gen5_2"
    return {
        "collation": given.get("collation") or "SQL_Latin1_General_CP1_CI_AS",
        "maxSizeBytes": given.get("maxSizeBytes") or 34359738368,
        "status": held(change, "status", "Online"),
        "databaseId": held(change, "databaseId", str(uuid5(NAMESPACE_URL, f"{change.id.key} {change.now}"))),
        "creationDate": held(change, "creationDate", iso(change.now)),
        "currentServiceObjectiveName": objective,
        "requestedServiceObjectiveName": objective,
        "currentSku": {"name": name, "tier": tier, "capacity": capacity},
        "defaultSecondaryLocation": next((x for x in change.cloud.locations if x != change.body.get("location")), ""),
        "catalogCollation": given.get("catalogCollation") or "SQL_Latin1_General_CP1_CI_AS",
        "zoneRedundant": bool(given.get("zoneRedundant", False)),
        "readScale": given.get("readScale") or "Disabled",
        "currentBackupStorageRedundancy": given.get("requestedBackupStorageRedundancy") or "Geo",
        "requestedBackupStorageRedundancy": given.get("requestedBackupStorageRedundancy") or "Geo",
        "isLedgerOn": bool(given.get("isLedgerOn", False)),
        "isInfraEncryptionEnabled": False,
    }


def _sku(sku: Any, given: Mapping[str, Any]) -> tuple[str, str, int]:
    asked = mapping(sku)
    name = str(asked.get("name") or given.get("requestedServiceObjectiveName") or "GP_Gen5_2")
    known, tier, capacity = SKUS.get(name.lower(), (name, str(asked.get("tier") or "GeneralPurpose"), 2))
    given_capacity = asked.get("capacity")
    return known, str(asked.get("tier") or tier), given_capacity if isinstance(given_capacity, int) else capacity


def database_sku(resource: Any, document: dict[str, Any], api_version: str) -> dict[str, Any]:
    document.setdefault("sku", resource.properties.get("currentSku", {"name": "GP_Gen5", "tier": "GeneralPurpose"}))
    if "tier" not in document["sku"] and isinstance(resource.properties.get("currentSku"), Mapping):
        document["sku"] = {**document["sku"], **resource.properties["currentSku"]}
    document.setdefault("kind", "v12.0,user")
    return document


async def keep_master(change: Change) -> None:
    """`master` goes with its server only."""
    if change.id.name.lower() != "master":
        return
    row = await RESOURCES.get(change.transaction, change.id.parent.key)
    group_goes = row is None or row.value.provisioning_state == DELETING
    if not group_goes and change.before.provisioning_state == DELETING:
        raise Conflict("The database 'master' cannot be deleted.", code="OperationNotAllowedForSystemDatabase")


# --- administrators and rules


def administrator(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    tenant = given.get("tenantId") or change.tenant_id
    return {
        "administratorType": "ActiveDirectory",
        "login": str(given["login"]),
        "sid": _object_id(given["sid"]),
        "tenantId": _object_id(tenant),
        "azureADOnlyAuthentication": held(change, "azureADOnlyAuthentication", False),
    }


async def _administrator_shown(change: Change, properties: Mapping[str, Any]) -> None:
    row = await RESOURCES.get(change.transaction, change.id.parent.key)
    if row is not None:
        known = mapping(row.value.properties.get("administrators"))
        principal = {"principalType": known["principalType"]} if "principalType" in known else {}
        await _on_server(change, {**principal, **properties})


async def _administrator_gone(change: Change) -> None:
    await _on_server(change, None)


async def _on_server(change: Change, administrators: Mapping[str, Any] | None) -> None:
    row = await RESOURCES.get(change.transaction, change.id.parent.key)
    if row is None:
        return
    properties = {name: value for name, value in row.value.properties.items() if name != "administrators"}
    if administrators is not None:
        properties["administrators"] = dict(administrators)
    await RESOURCES.put(change.transaction, row.key, msgspec.structs.replace(row.value, properties=properties))


def only_directory(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    value = given.get("azureADOnlyAuthentication")
    if not isinstance(value, bool):
        raise _invalid("The value of parameter azureADOnlyAuthentication is invalid.")
    return {"azureADOnlyAuthentication": value}


async def _only_directory_shown(change: Change, properties: Mapping[str, Any]) -> None:
    row = await RESOURCES.get(change.transaction, change.id.parent.key)
    known = mapping(row.value.properties.get("administrators")) if row is not None else {}
    wanted = properties["azureADOnlyAuthentication"]
    if not known:
        if wanted:
            raise InvalidInput(
                "Azure Active Directory only authentication needs an Azure Active Directory administrator first.",
                code="AadOnlyAuthenticationIsEnabledWithoutAdmin",
            )
        return
    await _on_server(change, {**known, "azureADOnlyAuthentication": wanted})


def firewall_rule(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        first, last = (ipaddress.IPv4Address(str(given[name])) for name in ("startIpAddress", "endIpAddress"))
    except ValueError:
        raise _invalid("Invalid value given for parameter StartIpAddress or EndIpAddress.") from None
    if first > last:
        raise _invalid("The start of the range is after its end.")
    return {"startIpAddress": str(first), "endIpAddress": str(last)}


def network_rule(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"state": "Ready"}


def connection_policy(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"connectionType": given.get("connectionType") or "Default"}


AFTER = {"administrators": _administrator_shown, "azureADOnlyAuthentications": _only_directory_shown}
REMOVED = {"administrators": _administrator_gone}


# --- checks


def _strong(password: Any, login: str) -> None:
    """Three of four classes, at least eight characters, without the login: as SQL wants it."""
    classes = (r"[a-z]", r"[A-Z]", r"[0-9]", r"[^A-Za-z0-9]")
    ok = isinstance(password, str) and 8 <= len(password) <= 128
    if not ok or sum(bool(re.search(one, password)) for one in classes) < 3 or login.lower() in password.lower():
        raise InvalidInput(
            "Password validation failed. The password does not meet policy requirements because it is not complex "
            "enough.",
            code="PasswordNotComplex",
        )


def _object_id(value: Any) -> str:
    try:
        return str(uuid.UUID(value))
    except (ValueError, TypeError, AttributeError):
        raise _invalid(f"Invalid value given for parameter Sid or TenantId: '{str(value)[:60]}'.") from None


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(message, code="InvalidParameterValue")
