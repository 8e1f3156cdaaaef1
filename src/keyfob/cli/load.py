"""`keyfob load FILE`: a template, or a seed that says what should be there. Loading it again changes nothing."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import click

from keyfob.cli.client import LOCAL_API, RESOURCES_API, Answer, Client, Failure, operator_file, sentence
from keyfob.cli.output import data_option, say, tenant_option
from keyfob.resource_id import ResourceId

DEPLOYMENTS_API, ASSIGNMENTS_API = "2021-04-01", "2022-04-01"
_KNOWN = ("tenants", "users", "groups", "resourceGroups", "resources", "roleAssignments", "secrets")
_NAMES = uuid.UUID("0a6a3c0e-2d8b-5f0e-8a9e-5a1f0f1c2b3d")
_DOMAIN = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_PATIENCE = 1800.0
"""Seconds that a deployment may take."""


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--group", "-g", metavar="NAME", help="The resource group a group's template goes into.")
@click.option("--parameters", "-p", metavar="FILE", help="A parameter file of the template.")
@click.option("--location", default="westeurope", metavar="NAME", help="Where to make what does not say where it is.")
@tenant_option
@data_option
def load(file: Path, group: str | None, parameters: str | None, location: str, tenant: str | None, data: Path) -> None:
    """Make what a template or a seed (JSON, or YAML with keyfob[yaml]) says. The same again changes nothing.

    \b
    Examples:
      keyfob load world.yaml
      keyfob load shop.json --group shop --parameters shop.parameters.json
    """
    load_file(file, Client(data, tenant), group=group, parameters=parameters, location=location)


def load_file(
    file: Path,
    client: Client,
    *,
    group: str | None = None,
    parameters: str | None = None,
    location: str = "westeurope",
) -> None:
    """Raises `Failure` at the first thing that cannot be made, naming it."""
    document = read_document(file)
    if "contentVersion" in document or "deploymenttemplate" in str(document.get("$schema", "")).lower():
        given = read_document(Path(parameters)).get("parameters", {}) if parameters else {}
        Deployment(client, location).go(file.stem, document, group, given)
        return
    unknown = [name for name in document if name not in _KNOWN]
    if unknown:
        raise Failure(f"{file} has '{unknown[0]}', which a seed does not have; it has {', '.join(_KNOWN)}.")
    Seed(client, location).go(document)


def read_document(file: Path) -> dict[str, Any]:
    """JSON, or YAML by the file's name. Raises `Failure`."""
    try:
        text = file.read_text("utf-8-sig")
        value = _yaml(text, file) if file.suffix.lower() in (".yaml", ".yml") else json.loads(text)
    except RecursionError:
        raise Failure(f"{file} is nested too deep.") from None
    except (OSError, ValueError) as error:
        raise Failure(f"{file} cannot be read: {error}.") from error
    if not isinstance(value, dict):
        raise Failure(f"{file} is no template and no seed: it is not an object.")
    return value


def _yaml(text: str, file: Path) -> Any:
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise Failure(f"{file} is YAML: pip install 'keyfob[yaml]', or write it as JSON.") from None

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """Dates stay the texts that they are."""

        yaml_implicit_resolvers: ClassVar = {
            first: [(tag, pattern) for tag, pattern in rows if not tag.endswith(":timestamp")]
            for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    try:
        return json.loads(json.dumps(yaml.load(text, Loader)))  # noqa: S506 - a safe one; names become texts
    except TypeError:
        raise Failure(f"{file} holds a value that JSON has no word for.") from None
    except yaml.YAMLError as error:  # its own text quotes the file, which may hold passwords
        at = getattr(error, "problem_mark", None)
        where = f", line {at.line + 1}" if at is not None else ""
        raise Failure(f"{file} is not YAML: {getattr(error, 'problem', None) or 'it cannot be read'}{where}.") from None


class Deployment:
    """A template, deployed by Resource Manager as anybody's is."""

    def __init__(self, client: Client, location: str) -> None:
        self._client = client
        self._location = location
        self._subscription = f"/subscriptions/{client.operator['subscription_id']}"

    def go(self, name: str, template: Mapping[str, Any], group: str | None, parameters: Mapping[str, Any]) -> None:
        schema = str(template.get("$schema", "")).lower()
        body: dict[str, Any] = {
            "properties": {"mode": "Incremental", "template": template, "parameters": dict(parameters)}
        }
        if "subscriptiondeployment" in schema:
            scope = self._subscription
            body["location"] = self._location
        elif group is None:
            raise Failure("This template goes into a resource group: say which with --group.")
        else:
            scope = f"{self._subscription}/resourceGroups/{quote(group, safe='')}"
            made = self._client.arm("GET", scope, api_version=RESOURCES_API)
            if made.status == 404:
                self._client.arm_json("PUT", scope, {"location": self._location}, api_version=RESOURCES_API)
        clean = "".join(c if c.isalnum() or c in "-_.()" else "-" for c in f"load-{name}")[:64]
        path = f"{scope}/providers/Microsoft.Resources/deployments/{clean}"
        shown = self._client.arm_json("PUT", path, body, api_version=DEPLOYMENTS_API)
        self._wait(path, shown)

    def _wait(self, path: str, shown: Mapping[str, Any]) -> None:
        until, told = time.monotonic() + _PATIENCE, set[str]()
        while True:
            self._tell(path, told)
            state = shown["properties"]["provisioningState"]
            if state == "Succeeded":
                say("loaded", fg="green")
                return
            if state in ("Failed", "Canceled"):
                error = shown["properties"].get("error") or {}
                raise Failure(f"The deployment {state.lower()}: {_story(error)}")
            if time.monotonic() > until:
                raise Failure("The deployment takes too long; it goes on without being watched.")
            time.sleep(0.2)
            shown = self._client.arm_json("GET", path, api_version=DEPLOYMENTS_API)

    def _tell(self, path: str, told: set[str]) -> None:
        answer = self._client.arm("GET", f"{path}/operations", api_version=DEPLOYMENTS_API)
        for row in answer.json().get("value", []) if answer.status == 200 else []:
            target = row["properties"].get("targetResource") or {}
            done = row["properties"].get("provisioningState") == "Succeeded" and "resourceType" in target
            if done and row["operationId"] not in told:
                told.add(row["operationId"])
                say(f"  made {target.get('resourceType', '')} {target.get('resourceName', '')}", dim=True)


def _story(error: Mapping[str, Any]) -> str:
    inner = " ".join(_story(one) for one in error.get("details") or [])
    return f"{error.get('code', '')}: {error.get('message', '')} {inner}".strip()


class Seed:
    """What should be there, made in the order in which things need each other."""

    def __init__(self, client: Client, location: str) -> None:
        self._client = client
        self._location = location
        self._subscription = f"/subscriptions/{client.operator['subscription_id']}"
        self._versions: dict[str, str] = {}

    def go(self, seed: Mapping[str, Any]) -> None:
        for name, make in self._steps():
            for row in _rows(seed, name):
                make(row)
        resources = [*self._flat(seed)]
        for one in in_order(resources):
            self._resource(one)
        for row in _rows(seed, "roleAssignments"):
            self._assign(row)
        for row in _rows(seed, "secrets"):
            self._secret(row)
        say("loaded", fg="green")

    def _steps(self) -> list[tuple[str, Callable[[Mapping[str, Any]], None]]]:
        return [
            ("tenants", self._tenant),
            ("users", self._user),
            ("groups", self._directory_group),
            ("resourceGroups", self._group),
        ]

    # --- tenants and principals

    def _tenant(self, row: Mapping[str, Any]) -> None:
        domain = _needed(row, "domain", "tenants")
        if not _DOMAIN.fullmatch(domain):
            raise Failure(f"'{domain}' is no domain that a tenant could have.")
        file = operator_file(self._client.data, domain)
        known = self._client.arm_json("GET", "/providers/Keyfob.Directory/tenants", api_version=LOCAL_API)["value"]
        if any(str(one["domain"]).lower() == domain.lower() for one in known):
            return
        path = f"/providers/Keyfob.Directory/tenants/{quote(domain, safe='')}"
        made = self._client.arm_json("PUT", path, {"cloud": row.get("cloud", "AzureCloud")}, api_version=LOCAL_API)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(json.dumps(made["operator"], indent=2))
        say(f"  made tenant {domain}", dim=True)

    def _user(self, row: Mapping[str, Any]) -> None:
        name = _needed(row, "userPrincipalName", "users")
        if self._found("users", "userPrincipalName", name):
            return
        nick = name.partition("@")[0]
        body = {
            "accountEnabled": True,
            "displayName": row.get("displayName", nick),
            "mailNickname": nick,
            "userPrincipalName": name,
            "passwordProfile": {
                "password": row.get("password") or f"Kf1!{uuid.uuid4()}",
                "forceChangePasswordNextSignIn": False,
            },
        }
        self._graph("POST", "/users", body)
        say(f"  made user {name}", dim=True)

    def _directory_group(self, row: Mapping[str, Any]) -> None:
        name = _needed(row, "displayName", "groups")
        found = self._found("groups", "displayName", name)
        if not found:
            nick = "".join(c for c in name if c.isalnum()) or "group"
            body = {"displayName": name, "mailEnabled": False, "mailNickname": nick, "securityEnabled": True}
            found = self._graph("POST", "/groups", body)["id"]
            say(f"  made group {name}", dim=True)
        have = {one["id"] for one in self._graph("GET", f"/groups/{found}/members")["value"]}
        for member in row.get("members") or []:
            id = self._principal(str(member))
            if id not in have:
                self._graph(
                    "POST", f"/groups/{found}/members/$ref", {"@odata.id": self._url(f"/directoryObjects/{id}")}
                )

    def _found(self, kind: str, property: str, value: str) -> str:
        text = quote(value.replace("'", "''"))
        rows = self._graph("GET", f"/{kind}?$filter={property}%20eq%20'{text}'")["value"]
        return str(rows[0]["id"]) if rows else ""

    def _url(self, path: str) -> str:
        from keyfob.clouds.hostnames import name_of
        from keyfob.clouds.table import load_clouds

        return f"https://{name_of(load_clouds()[self._client.operator['cloud']], 'graph')}/v1.0{path}"

    def _graph(self, method: str, path: str, body: Any = None) -> Any:
        from keyfob.clouds.table import load_clouds

        audience = load_clouds()[self._client.operator["cloud"]].audiences["graph"][0]
        headers = {"Authorization": f"Bearer {self._client.token(audience)}", "Content-Type": "application/json"}
        encoded = None if body is None else json.dumps(body).encode()
        answer = self._client.send(method, self._url(path), headers, encoded)
        if answer.status >= 300:
            raise Failure(f"{method} {path.partition('?')[0]}: {sentence(answer)}")
        return answer.json()

    def _principal(self, text: str) -> str:
        """An object id; or the user, group or resource that is meant."""
        if _is_guid(text):
            return text
        if text.startswith("/"):
            id = self._id(text)
            shown = self._client.arm_json("GET", id, api_version=self._version(ResourceId.parse(id).type))
            found = (shown.get("identity") or {}).get("principalId") or shown["properties"].get("principalId")
            if not found:
                raise Failure(f"{id} has no identity of its own to give a role to.")
            return str(found)
        for kind, property in (
            ("users", "userPrincipalName"),
            ("groups", "displayName"),
            ("servicePrincipals", "displayName"),
        ):
            if found := self._found(kind, property, text):
                return found
        raise Failure(f"Nobody is called '{text}'.")

    # --- resources

    def _id(self, text: str) -> str:
        """`{subscription}` stands for the default one, as in `keyfob rest`."""
        return text.replace("{subscription}", str(self._client.operator["subscription_id"]))

    def _group(self, row: Mapping[str, Any]) -> None:
        path = f"{self._subscription}/resourceGroups/{quote(_needed(row, 'name', 'resourceGroups'), safe='')}"
        known = self._client.arm("GET", path, api_version=RESOURCES_API)
        wanted = {"location": row.get("location", self._location), "tags": row.get("tags") or {}}
        if known.status == 200 and (not row.get("tags") or known.json().get("tags") == wanted["tags"]):
            return
        if known.status == 200:
            wanted["location"] = known.json()["location"]
        self._put(path, wanted, RESOURCES_API)

    def _flat(self, seed: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
        for group in _rows(seed, "resourceGroups"):
            base = f"{self._subscription}/resourceGroups/{_needed(group, 'name', 'resourceGroups')}"
            for row in _rows(group, "resources"):
                yield self._whole(row, base, str(group.get("location", self._location)))
        for row in _rows(seed, "resources"):
            yield self._whole(row, "", self._location)

    def _whole(self, row: Mapping[str, Any], base: str, location: str) -> dict[str, Any]:
        if "id" in row:
            id = self._id(str(row["id"]))
        else:
            namespace, *types = _needed(row, "type", "resources").split("/")
            names = _needed(row, "name", "resources").split("/")
            if not base or len(types) != len(names):
                raise Failure(
                    f"A resource needs an id, or in a group a type and as many names: {sorted(map(str, row))}."
                )
            inner = "/".join(part for pair in zip(types, names, strict=True) for part in pair)
            id = f"{base}/providers/{namespace}/{inner}"
        body = {name: value for name, value in row.items() if name not in ("id", "type", "name", "apiVersion")}
        text = json.dumps(body, default=str).replace("{subscription}", str(self._client.operator["subscription_id"]))
        return {"id": id, "apiVersion": row.get("apiVersion"), "body": {"location": location, **json.loads(text)}}

    def _resource(self, one: Mapping[str, Any]) -> None:
        id = ResourceId.parse(str(one["id"]))
        self._put(str(id), one["body"], str(one["apiVersion"] or self._version(id.type)))

    def _put(self, path: str, body: Any, version: str) -> None:
        answer = self._client.arm("PUT", path, body, api_version=version)
        if answer.status >= 300:
            raise Failure(f"{path}: {sentence(answer)}")
        self._finished(path, answer)
        if answer.status in (201, 202):
            say(f"  made {path.rpartition('/providers/')[2] or path.rpartition('/')[2]}", dim=True)

    def _finished(self, path: str, answer: Answer) -> None:
        """Waits for what goes on after the answer. Raises `Failure` when it ends badly."""
        poll = answer.headers.get("azure-asyncoperation") or (
            answer.headers.get("location") if answer.status == 202 else None
        )
        until = time.monotonic() + _PATIENCE
        while poll:
            if time.monotonic() > until:
                raise Failure(f"{path} takes too long; it goes on without being watched.")
            now = self._client.arm("GET", poll)
            shown = now.json() if now.body else None
            state = shown.get("status") if isinstance(shown, dict) else None
            if now.status >= 300 or state in ("Failed", "Canceled"):
                raise Failure(f"{path}: {sentence(now)}")
            if now.status != 202 and (state is None or state == "Succeeded"):
                return
            time.sleep(0.1)

    def _version(self, kind: str) -> str:
        if not self._versions:
            listed = self._client.arm_json("GET", "/providers", api_version=RESOURCES_API)["value"]
            for provider in listed:
                for one in provider["resourceTypes"]:
                    released = sorted(v for v in one["apiVersions"] if "preview" not in v) or one["apiVersions"]
                    self._versions[f"{provider['namespace']}/{one['resourceType']}".lower()] = released[-1]
        return self._versions.get(kind.lower(), "2024-05-01")

    # --- roles and secrets

    def _assign(self, row: Mapping[str, Any]) -> None:
        scope = self._id(_needed(row, "scope", "roleAssignments"))
        role, who = _needed(row, "role", "roleAssignments"), _needed(row, "principal", "roleAssignments")
        role_id, principal = self._role(role), self._principal(who)
        have = self._client.arm_json(
            "GET",
            f"{scope}/providers/Microsoft.Authorization/roleAssignments?$filter=principalId%20eq%20'{principal}'",
            api_version=ASSIGNMENTS_API,
        )["value"]
        for one in have:
            given = one["properties"]
            same = ResourceId.parse(given["scope"]) == ResourceId.parse(scope)
            if same and str(given["roleDefinitionId"]).lower().endswith(role_id):
                return
        name = uuid.uuid5(_NAMES, f"{scope.lower()}|{role_id}|{principal}")
        properties = {
            "roleDefinitionId": f"{self._subscription}/providers/Microsoft.Authorization/roleDefinitions/{role_id}",
            "principalId": principal,
        }
        if row.get("principalType"):
            properties["principalType"] = row["principalType"]
        path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"
        self._put(path, {"properties": properties}, ASSIGNMENTS_API)

    def _role(self, role: str) -> str:
        found = role.rpartition("/")[2].lower()
        if _is_guid(found):
            return found
        text = quote(role.replace("'", "''"))
        rows = self._client.arm_json(
            "GET",
            f"{self._subscription}/providers/Microsoft.Authorization/roleDefinitions?$filter=roleName%20eq%20'{text}'",
            api_version=ASSIGNMENTS_API,
        )["value"]
        if not rows:
            raise Failure(f"No role is called '{role}'.")
        return str(rows[0]["name"]).lower()

    def _secret(self, row: Mapping[str, Any]) -> None:
        """Read first: writing the same value would make a new version."""
        from keyfob.clouds.hostnames import name_of
        from keyfob.clouds.table import load_clouds

        vault, name = _needed(row, "vault", "secrets"), _needed(row, "name", "secrets")
        value = _needed(row, "value", "secrets")
        cloud = load_clouds()[self._client.operator["cloud"]]
        url = f"https://{name_of(cloud, 'key_vault', vault)}/secrets/{quote(name)}?api-version=7.4"
        token = self._client.token(cloud.audiences["key_vault"][0])
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        known = self._client.send("GET", url, headers)
        if known.status == 200 and known.json()["value"] == value:
            return
        answer = self._client.send("PUT", url, headers, json.dumps({"value": value}).encode())
        if answer.status >= 300:
            raise Failure(f"The secret {vault}/{name}: {sentence(answer)}")
        say(f"  made secret {vault}/{name}", dim=True)


def in_order(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Parents first, and what a body names before what names it. Raises `Failure` for a circle."""
    ids = {ResourceId.parse(one["id"]).key: one for one in resources}
    texts = {key: json.dumps(one["body"]).lower() for key, one in ids.items()}
    needs = {
        key: {
            other
            for other in ids
            if other != key
            and (key.startswith(other + "/") or f'"{other}"' in texts[key] or f'"{other}/' in texts[key])
            and not other.startswith(key + "/")
        }
        for key in ids
    }
    done: list[dict[str, Any]] = []
    placed: set[str] = set()
    while len(placed) < len(ids):
        ready = [key for key in ids if key not in placed and needs[key] <= placed]
        if not ready:
            stuck = next(key for key in ids if key not in placed)
            raise Failure(f"{ids[stuck]['id']} and what it names need each other.")
        placed.update(ready)
        done += [ids[key] for key in ready]
    return done


def _rows(seed: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    rows = [] if seed.get(name) is None else seed[name]
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise Failure(f"'{name}' must be a list of objects.")
    return rows


def _needed(row: Mapping[str, Any], name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise Failure(f"An entry of '{where}' has no '{name}': {sorted(map(str, row))}.")
    return value


def _is_guid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
