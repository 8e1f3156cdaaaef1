"""Shared-access authorization rules of messaging namespaces and of what is in them: rights, and two keys each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyfob.arm.keys import DerivedKeys, regenerated
from keyfob.arm.shapes import Shaped, change_properties, posting, put_child
from keyfob.declare import Change, ResourceType
from keyfob.errors import InvalidInput
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Reply

ROOT_RULE = "RootManageSharedAccessKey"
_RIGHTS = ("Listen", "Manage", "Send")
_WORDS = {"primarykey": "PrimaryKey", "secondarykey": "SecondaryKey"}


def access_rules(
    parent: str, *, derived: DerivedKeys, api_versions: tuple[str, ...], spelled: str = "authorizationRules"
) -> ResourceType:
    """The type `{parent}/authorizationRules`."""
    name = f"{parent}/{spelled}"

    async def list_keys(change: Change) -> Reply:
        return Reply.json(_keys(change.before, derived, change.cloud.suffixes["service_bus"]))

    async def regenerate(change: Change) -> Reply:
        which = _WORDS.get(str(change.body.get("keyType") or "").lower())
        if which is None or change.body.get("key"):
            raise InvalidInput(
                "The parameter keyType is PrimaryKey or SecondaryKey; keys of one's own are not taken.",
                code="BadRequest",
                target="keyType",
            )
        changed = await change_properties(change, regenerated(change.before, which))
        return Reply.json(_keys(changed, derived, change.cloud.suffixes["service_bus"]))

    return ResourceType(
        name=name,
        api_versions=api_versions,
        operations=Shaped(compute=_rights),
        tracked=False,
        provisioning_state=False,
        created=200,
        actions={
            "listKeys": posting(name, "listkeys", list_keys),
            "regenerateKeys": posting(name, "regenerateKeys", regenerate),
        },
        name_pattern=r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,48}[A-Za-z0-9])?",
    )


async def with_root_rule(change: Change, properties: Mapping[str, Any]) -> None:
    """A namespace is made with a rule that may do everything."""
    if change.before is None:
        await put_child(change, "authorizationRules", ROOT_RULE, {"rights": list(_RIGHTS)})


def _rights(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    rights = given.get("rights")
    known = {one.lower(): one for one in _RIGHTS}
    if not isinstance(rights, list) or not rights or any(str(one).lower() not in known for one in rights):
        raise InvalidInput("The value of parameter rights is Listen, Send, Manage.", code="BadRequest", target="rights")
    wanted = [known[str(one).lower()] for one in rights]
    if "Manage" in wanted and len(set(wanted)) < 3:
        raise InvalidInput("Manage needs Listen and Send too.", code="BadRequest", target="rights")
    return {"rights": wanted}


def _keys(rule: Any, derived: DerivedKeys, suffix: str) -> dict[str, Any]:
    id = ResourceId.parse(rule.id)
    namespace, *inner = id.names[:-1]
    entity = f";EntityPath={'/'.join(inner)}" if inner else ""
    result: dict[str, Any] = {"keyName": rule.name}
    for word in ("primary", "secondary"):
        key = derived.key(rule, f"{word}Key")
        result[f"{word}Key"] = key
        result[f"{word}ConnectionString"] = (
            f"Endpoint=sb://{namespace.lower()}.{suffix}/;SharedAccessKeyName={rule.name};SharedAccessKey={key}{entity}"
        )
    return result
