"""Data factories and what is in them: `Microsoft.DataFactory/factories`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from keyfob.arm.keys import DerivedKeys, regenerated
from keyfob.arm.model import without
from keyfob.arm.shapes import Shaped, answering, change_properties, held, posting, setting, unique
from keyfob.clock import Ids, iso
from keyfob.declare import Change, IdentitySupport, PostAction, Provider, ResourceType
from keyfob.errors import Conflict, InvalidInput
from keyfob.wire.http import Reply

__all__ = ["data_factory"]

TYPE = "Microsoft.DataFactory/factories"
API_VERSIONS = ("2017-09-01-preview", "2018-06-01")
_UPDATES = ("autoUpdate", "updateDelayOffset")
Finish = Callable[[Any, dict[str, Any], str], dict[str, Any]]
_NAME = r"(?=.{3,63}$)[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*"
_CHILD = r"[A-Za-z0-9_][^<>*#.%&:\\+?/]{0,259}"


def data_factory(*, ids: Ids, master_key: bytes) -> Provider:
    factories = ResourceType(
        name=TYPE,
        api_versions=API_VERSIONS,
        operations=Shaped(compute=_accept, claim=unique((TYPE,), _taken)),
        identity=IdentitySupport(system=True, user=True, joined="SystemAssigned,UserAssigned"),
        name_pattern=_NAME,
        created=200,
        actions={
            name: posting(TYPE, name, _nothing_found)
            for name in ("queryPipelineRuns", "queryTriggerRuns", "queryTriggers")
        },
        note="Pipelines are kept; nothing runs them.",
    )
    keys = _RuntimeKeys(DerivedKeys(master_key))
    runtimes, triggers, pipelines = f"{TYPE}/integrationRuntimes", f"{TYPE}/triggers", f"{TYPE}/pipelines"

    async def create_run(change: Change) -> Reply:
        return Reply.json({"runId": ids.guid()})

    types = (
        factories,
        _child(f"{TYPE}/linkedservices"),
        _child(f"{TYPE}/datasets"),
        _child(f"{TYPE}/dataflows"),
        _child(f"{TYPE}/credentials"),
        _child(pipelines, actions={"createRun": posting(pipelines, "createRun", create_run)}),
        _child(
            triggers,
            compute=lambda change, given: {"runtimeState": held(change, "runtimeState", "Stopped")},
            actions={
                "start": posting(triggers, "start", setting({"runtimeState": "Started"})),
                "stop": posting(triggers, "stop", setting({"runtimeState": "Stopped"})),
            },
        ),
        _child(
            runtimes,
            compute=lambda change, given: {"state": "Online" if given.get("type") == "Managed" else "NeedRegistration"},
            actions={
                "listAuthKeys": posting(runtimes, "listauthkeys", keys.show),
                "regenerateAuthKey": posting(runtimes, "regenerateauthkey", keys.regenerate),
                "getStatus": posting(runtimes, "getstatus", _status),
                "syncCredentials": posting(runtimes, "synccredentials", answering(200)),
            },
            finish=_runtime,
        ),
    )
    return Provider(namespace="Microsoft.DataFactory", types=types, registered=True)


def _child(
    name: str, *, compute: Any = None, actions: Mapping[str, PostAction] | None = None, finish: Finish | None = None
) -> ResourceType:
    def accept(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
        if any(not isinstance(change.body.get(one, ""), str) for one in _UPDATES):
            raise InvalidInput("autoUpdate and updateDelayOffset are strings.", code="BadRequest")
        if change.before is None and not given:
            raise InvalidInput("The document could not be read: 'properties' is missing.", code="BadRequest")
        return {**without_secrets(given), **(compute(change, given) if compute is not None else {})}

    return ResourceType(
        name=name,
        api_versions=API_VERSIONS,
        operations=Shaped(compute=accept),
        tracked=False,
        provisioning_state=False,
        created=200,
        actions=actions or {},
        name_pattern=_CHILD,
        finish=finish or _with_etag,
    )


def without_secrets(value: Any) -> Any:
    """Members of type `SecureString` lose their value: it is stored nowhere, and shown as Azure shows it."""
    if isinstance(value, Mapping):
        if value.get("type") == "SecureString":
            return {"type": "SecureString", "value": "**********"}
        return {name: without_secrets(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_secrets(inner) for inner in value]
    return value


def _accept(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "createTime": held(change, "createTime", iso(change.now)),
        "version": "2018-06-01",
        "publicNetworkAccess": given.get("publicNetworkAccess") or "Enabled",
    }


def _with_etag(resource: Any, document: dict[str, Any], api_version: str) -> dict[str, Any]:
    return {**document, "etag": f"{int(resource.changed * 1000):012x}"}


def _runtime(resource: Any, document: dict[str, Any], api_version: str) -> dict[str, Any]:
    """What PATCH sets is of the runtime's status, and not of the runtime."""
    return without(_with_etag(resource, document, api_version), *_UPDATES)


def _taken(name: str) -> Conflict:
    return Conflict(
        f"The specified resource name '{name}' is already in use. Resource names must be globally unique.",
        code="DataFactoryNameInUse",
    )


class _RuntimeKeys:
    def __init__(self, derived: DerivedKeys) -> None:
        self._derived = derived

    def __repr__(self) -> str:
        return "RuntimeKeys()"

    def _shown(self, runtime: Any) -> Reply:
        return Reply.json({name: "IR@" + self._derived.key(runtime, name) for name in ("authKey1", "authKey2")})

    async def show(self, change: Change) -> Reply:
        return self._shown(change.before)

    async def regenerate(self, change: Change) -> Reply:
        name = change.body.get("keyName")
        if name not in ("authKey1", "authKey2"):
            raise InvalidInput("The keyName is authKey1 or authKey2.", code="BadRequest")
        return self._shown(await change_properties(change, regenerated(change.before, name)))


async def _status(change: Change) -> Reply:
    kind, state = change.before.properties.get("type"), change.before.properties.get("state")
    set_there = {name: change.before.more[name] for name in _UPDATES if name in change.before.more}
    shown = {"type": kind, "state": state, "typeProperties": set_there if kind == "SelfHosted" else {}}
    return Reply.json({"name": change.id.name, "properties": shown})


async def _nothing_found(change: Change) -> Reply:
    return Reply.json({"value": []})
