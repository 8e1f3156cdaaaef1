"""Going on with what another process began: what is remembered for that, and how far it had come.

A deployment outlives the process that runs it, as on Azure. Its template is stored; beside it, sealed, who deploys and
the parameters' values. Defaults are remembered as they came out, so that `newGuid()` and `utcNow()` give the same names
again; only what had not been recorded as done is put again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from keyfob.arm.templates.records import FAILED, SUCCEEDED, Deployment, DeploymentOperation
from keyfob.arm.templates.request import Wanted
from keyfob.arm.templates.template import DEPLOYMENTS, Opened
from keyfob.clouds.cloud import Cloud
from keyfob.declare import Caller
from keyfob.resource_id import ResourceId


class Sealer(Protocol):
    """`directory.seal.Seal`, as far as it is needed here."""

    def close(self, plain: bytes, *, about: str) -> bytes: ...

    def open(self, sealed: bytes, *, about: str) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """All that the stored deployment does not say of itself."""

    parameters: Mapping[str, Any]
    linked: Mapping[str, Any]
    cloud: str
    request_id: str
    caller: Caller

    def sealed(self, seal: Sealer, key: str) -> bytes:
        caller = self.caller
        plain = {
            "parameters": dict(self.parameters),
            "linked": dict(self.linked),
            "cloud": self.cloud,
            "request_id": self.request_id,
            "tenant_id": caller.tenant_id,
            "principal_id": caller.principal_id,
            "app_id": caller.app_id,
            "name": caller.name,
            "roles": sorted(caller.roles),
            "claims": dict(caller.claims),
        }
        return seal.close(json.dumps(plain).encode(), about=_about(key))


def remember(opened: Opened, wanted: Wanted, caller: Caller, cloud: Cloud, request_id: str) -> Memory:
    values = opened.frame.parameters.values
    given = {
        name: {"value": values[name.lower()], **{k: v for k, v in shown.items() if k == "reference"}}
        for name, shown in opened.shown_parameters.items()
    }
    return Memory(parameters=given, linked=wanted.linked, cloud=cloud.name, request_id=request_id, caller=caller)


def recall(sealed: bytes, seal: Sealer, key: str) -> Memory:
    """The caller comes without groups: those of then do not count. Raises `WrongMasterKey`."""
    plain = json.loads(seal.open(sealed, about=_about(key)))
    caller = Caller(
        tenant_id=plain["tenant_id"],
        principal_id=plain["principal_id"],
        app_id=plain["app_id"],
        name=plain["name"],
        roles=frozenset(plain["roles"]),
        claims=plain["claims"],
    )
    return Memory(
        parameters=plain["parameters"],
        linked=plain["linked"],
        cloud=plain["cloud"],
        request_id=plain["request_id"],
        caller=caller,
    )


def _about(key: str) -> str:
    return f"deployment {key}"


@dataclass(slots=True)
class Progress:
    """How far a deployment had come."""

    done: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    begun: dict[str, DeploymentOperation] = field(default_factory=dict)
    """What was being worked on: its operation goes on under its own number."""
    errors: list[dict[str, Any]] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    number: int = 0


def progress_of(operations: Iterable[DeploymentOperation], nested: Mapping[str, Deployment]) -> Progress:
    """`nested` holds the deployments in it, by key: what they made, it made."""
    found = Progress()
    for one in sorted(operations, key=lambda one: one.number):
        found.number = max(found.number, one.number)
        if one.target is None:
            continue
        id = one.target["id"]
        key = ResourceId.parse(id).key
        if one.state == SUCCEEDED:
            found.done.add(key)
            inner = nested.get(key) if one.target["resourceType"].lower() == DEPLOYMENTS else None
            found.made += inner.output_resources if inner is not None else (id,)
        elif one.state == FAILED:
            found.failed.add(key)
            error = one.message.get("error") if isinstance(one.message, Mapping) else None
            found.errors.append({**(error or {}), "target": id})
        else:
            found.begun[key] = one
    return found
