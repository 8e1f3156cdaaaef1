"""Storage accounts through Resource Manager: accounts, keys, signatures, containers, queues, shares, tables."""

from __future__ import annotations

from keyfob.arm.keys import DerivedKeys
from keyfob.arm.shapes import Shaped, check_name_route, posting
from keyfob.declare import Action, IdentitySupport, OnPut, Provider, ResourceType, Route
from keyfob.services.storage import operations
from keyfob.services.storage.model import API_VERSIONS, NAME, TYPE, finished, in_use, shown
from keyfob.store.port import Store

__all__ = ["storage"]

_SUBSCRIPTION = "/subscriptions/{subscriptionId}/providers/Microsoft.Storage"
_CONTAINER = r"[a-z0-9$](?:-?[a-z0-9])*"
_SERVICES = {
    "blobServices": "containers",
    "fileServices": "shares",
    "queueServices": "queues",
    "tableServices": "tables",
}


def storage(*, store: Store, master_key: bytes) -> Provider:
    keys = operations.Keys(DerivedKeys(master_key))
    accounts = ResourceType(
        name=TYPE,
        api_versions=API_VERSIONS,
        operations=Shaped(
            compute=operations.accept,
            claim=operations.claim,
            children=operations.services,
            view=shown,
            write_only=("azureFilesIdentityBasedAuthentication.activeDirectoryProperties.password",),
        ),
        identity=IdentitySupport(
            system=True, user=True, joined="SystemAssigned,UserAssigned", absent_on_put=OnPut.KEEP
        ),
        actions={
            "listKeys": posting(TYPE, "listkeys", keys.show),
            "regenerateKey": posting(TYPE, "regeneratekey", keys.regenerate),
            "ListAccountSas": posting(TYPE, "listAccountSas", keys.account_signature),
            "ListServiceSas": posting(TYPE, "listServiceSas", keys.service_signature),
            "revokeUserDelegationKeys": posting(TYPE, "revokeUserDelegationKeys", operations.revoke_delegation_keys),
        },
        name_pattern=NAME,
        created=200,
        finish=finished,
        note="The control plane. Network rules, encryption and policies are kept, not enforced.",
    )
    below = []
    for service, kind in _SERVICES.items():
        below.append(_child(f"{service}", Shaped(compute=operations.service_defaults), created=200))
        below.append(
            _child(
                f"{service}/{kind}",
                Shaped(compute=operations.CONTENTS[kind]),
                created=201 if kind in ("containers", "shares") else 200,
                deleted=200 if kind in ("containers", "shares") else 204,
                name_pattern=r"[A-Za-z][A-Za-z0-9]{2,62}" if kind == "tables" else rf"(?=.{{3,63}}$){_CONTAINER}",
            )
        )
    check = check_name_route(
        store,
        _SUBSCRIPTION + "/checkNameAvailability",
        "Microsoft.Storage/checknameavailability/read",
        types=(TYPE,),
        pattern=NAME,
        api_versions=API_VERSIONS,
        invalid="Storage account name must be between 3 and 24 characters in length and use numbers and lower-case "
        "letters only.",
        in_use=in_use,
        asked=(TYPE,),
        reasons=("AccountNameInvalid", "AlreadyExists"),
    )
    skus = Route(
        "GET", _SUBSCRIPTION + "/skus", Action("Microsoft.Storage/skus/read"), operations.list_skus, None, API_VERSIONS
    )
    return Provider(namespace="Microsoft.Storage", types=(accounts, *below), routes=(check, skus), registered=True)


def _child(rest: str, work: Shaped, *, created: int, deleted: int = 200, name_pattern: str = "default") -> ResourceType:
    return ResourceType(
        name=f"{TYPE}/{rest}",
        api_versions=API_VERSIONS,
        operations=work,
        tracked=False,
        provisioning_state=False,
        created=created,
        deleted=deleted,
        name_pattern=name_pattern,
    )
