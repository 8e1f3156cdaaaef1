"""Settings that stand for a secret of a vault, and what became of each.

`@Microsoft.KeyVault(SecretUri=https://{vault}.{suffix}/secrets/{name}[/{version}])`, or `VaultName=…;SecretName=…` with
an optional `SecretVersion`. When a site's program is started, each is fetched at the vault's own door with a token of
the site's identity (`keyVaultReferenceIdentity`), so the vault decides about it, and logs that, as about any other
caller. What cannot be fetched stays the text it is: that is what the program then gets, as on App Service.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from keyfob.arm.resources import resource_not_found
from keyfob.arm.shapes import mapping, resource_path, resource_scope
from keyfob.clock import Ids
from keyfob.clouds.hostnames import name_of, resolve
from keyfob.declare import Action, Call, Route
from keyfob.errors import NotFound, Problem
from keyfob.hosts.app_service.model import API_VERSIONS
from keyfob.hosts.app_service.running.sites import Resolved
from keyfob.hosts.app_service.site import Connection, Site, SiteReader
from keyfob.hosts.endpoints import running_host
from keyfob.hosts.token_endpoint import TokenEndpoint
from keyfob.identities.choose import IdentityNotFound
from keyfob.identities.model import Selector
from keyfob.store.port import Store
from keyfob.wire.http import Fields, Reply, Request, parse_target

_REFERENCE = re.compile(r"@Microsoft\.KeyVault\((.*)\)", re.IGNORECASE | re.DOTALL)
_HOLDERS = ("appsettings", "connectionstrings")
_VERSION = "7.4"
"""api-version of the vault's door."""

SYSTEM = "SystemAssigned"

REMEMBERED = 1_000
"""Sites of which is known what became of their references."""

_WORDS = {
    "Resolved": "Reference has been successfully resolved.",
    "InvalidSyntax": "Reference was not able to be resolved because its syntax is not valid.",
    "MSINotEnabled": "Reference was not able to be resolved because site Managed Identity not enabled.",
    "VaultNotFound": "Reference was not able to be resolved because the vault was not found.",
    "SecretNotFound": "Reference was not able to be resolved because the secret was not found in the key vault.",
    "SecretVersionNotFound": "Reference was not able to be resolved because the version of the secret was not found.",
    "AccessToKeyVaultDenied": (
        "Reference was not able to be resolved because site was denied access to Key Vault reference's vault."
    ),
    "OtherReasons": "Reference was not able to be resolved.",
    "Initialized": "",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one reference: ResolveStatus of WebApps.json, and the secret where that is Resolved."""

    reference: str
    status: str
    named: Mapping[str, str]
    secret: str = field(default="", repr=False)
    version: str = ""
    """Of the secret, as it was given."""
    why: str = ""
    """What the vault said."""


Ask = Callable[[Request], Awaitable[Reply]]
"""The front door."""


class References:
    """Resolves; and remembers, for each site, what became of the references that its program was started with."""

    def __init__(self, *, store: Store, reader: SiteReader, tokens: TokenEndpoint, ask: Ask, ids: Ids) -> None:
        self._store = store
        self._reader = reader
        self._tokens = tokens
        self._ask = ask
        self._ids = ids
        self._outcomes: dict[str, tuple[str, Mapping[str, Mapping[str, Outcome]]]] = {}

    async def resolve(self, site: Site) -> Resolved:
        found = await self._resolve(site)
        settings = {name: _given(value, found["appsettings"].get(name)) for name, value in site.settings.items()}
        connections = {
            name: Connection(_given(one.value, found["connectionstrings"].get(name)), one.type)
            for name, one in site.connections.items()
        }
        notes = [
            f"the reference of {name} is not resolved: {outcome.status}. {outcome.why}".rstrip()
            for holder in _HOLDERS
            for name, outcome in found[holder].items()
            if outcome.status != "Resolved"
        ]
        return Resolved(settings, connections, notes)

    async def _resolve(self, site: Site) -> Mapping[str, Mapping[str, Outcome]]:
        holders = {
            "appsettings": dict(site.settings),
            "connectionstrings": {name: one.value for name, one in site.connections.items()},
        }
        found: dict[str, dict[str, Outcome]] = {holder: {} for holder in _HOLDERS}
        for holder, values in holders.items():
            for name, text in values.items():
                if matched := _REFERENCE.fullmatch(text.strip()):
                    found[holder][name] = await self._outcome(site, text, matched[1])
        self._remember(site, found)
        return found

    def _remember(self, site: Site, found: Mapping[str, Mapping[str, Outcome]]) -> None:
        """What became of them, and no secret."""
        told = {
            holder: {name: replace(outcome, secret="") for name, outcome in outcomes.items()}
            for holder, outcomes in found.items()
        }
        self._outcomes.pop(site.id.key, None)
        self._outcomes[site.id.key] = (site.form, told)
        while len(self._outcomes) > REMEMBERED:
            del self._outcomes[next(iter(self._outcomes))]

    # --- one reference

    async def _outcome(self, site: Site, text: str, inside: str) -> Outcome:
        named = parse_reference(inside)
        if not named or not self._is_vault(site, inside):
            return Outcome(text, "InvalidSyntax", named)
        try:
            token = await self._token(site)
        except IdentityNotFound as problem:
            return Outcome(text, "MSINotEnabled", named, why=problem.message)
        except Problem as problem:
            return Outcome(text, "OtherReasons", named, why=problem.message)
        reply = await self._ask(self._request(site, named, token))
        body = _json(reply.body)
        if reply.status == 200:
            return Outcome(
                text, "Resolved", named, str(body.get("value") or ""), str(body.get("id") or "").rpartition("/")[2]
            )
        error = mapping(body.get("error"))
        said = f"{error.get('code', '')}: {error.get('message', '')}" if error else f"status {reply.status}"
        return Outcome(text, _status(reply.status, str(error.get("code") or ""), named), named, why=said)

    def _is_vault(self, site: Site, inside: str) -> bool:
        """A token of the site goes to vaults of its own cloud alone, whatever address the reference has."""
        host = _secret_uri_host(inside)
        if not host:
            return True
        found = resolve(host, {site.cloud.name: site.cloud})
        return found is not None and found[1] == "key_vault"

    async def _token(self, site: Site) -> str:
        wanted = str(site.resource.properties.get("keyVaultReferenceIdentity") or SYSTEM)
        selector = Selector() if wanted.lower() == SYSTEM.lower() else Selector(resource_id=wanted)
        audience = site.cloud.audiences["key_vault"][0]
        issued = await self._tokens.issue(
            site.id,
            selector,
            audience,
            lone_user_identity=False,
            admit=lambda: running_host(self._store, site.id),
        )
        return issued.token

    def _request(self, site: Site, named: Mapping[str, str], token: str) -> Request:
        path = f"/secrets/{quote(named['secretName'], safe='')}"
        if named.get("secretVersion"):
            path += f"/{quote(named['secretVersion'], safe='')}"
        decoded, raw, query = parse_target(f"{path}?api-version={_VERSION}")
        return Request(
            "GET",
            decoded,
            query,
            Fields([("Authorization", f"Bearer {token}"), ("User-Agent", "AppService-KeyVaultReference")]),
            host=name_of(site.cloud, "key_vault", named["vaultName"]),
            raw_path=raw,
            raw_query=f"api-version={_VERSION}",
            listener=str(site.id),
            request_id=self._ids.guid(),
        )

    # --- what Resource Manager tells

    def routes(self, kind: str) -> tuple[Route, ...]:
        path, scope = f"{resource_path(kind)}/config/configreferences", resource_scope(kind)
        read = Action(f"{kind}/config/read")
        rows = []
        for holder in _HOLDERS:
            rows.append(Route("GET", f"{path}/{holder}", read, self._listing(holder), scope, API_VERSIONS))
            rows.append(Route("GET", f"{path}/{holder}/{{setting}}", read, self._reading(holder), scope, API_VERSIONS))
        return tuple(rows)

    def _listing(self, holder: str) -> Callable[[Call], Awaitable[Reply]]:
        async def show(call: Call) -> Reply:
            return Reply.json({"value": [row for _, row in await self._rows(call, holder)]})

        return show

    def _reading(self, holder: str) -> Callable[[Call], Awaitable[Reply]]:
        async def show(call: Call) -> Reply:
            wanted = call.parameters["setting"]
            for name, row in await self._rows(call, holder):
                if name.lower() == wanted.lower():
                    return Reply.json(row)
            raise NotFound(f"The setting '{wanted[:100]}' is no reference to a vault.", code="NotFound")

        return show

    async def _rows(self, call: Call, holder: str) -> list[tuple[str, dict[str, Any]]]:
        site = await self._reader.read(call.scope)
        if site is None:
            raise resource_not_found(call.scope)
        known = self._outcomes.get(site.id.key)
        found = known[1] if known is not None and known[0] == site.form else await self._resolve(site)
        rows = []
        for name, outcome in found[holder].items():
            id = f"{call.scope}/config/configreferences/{holder}/{name}"
            row = {"id": id, "name": name, "type": f"{call.scope.type}/config/configreferences/{holder}"}
            rows.append((name, row | {"properties": _shown(site, outcome)}))
        return rows


def _shown(site: Site, outcome: Outcome) -> dict[str, Any]:
    wanted = str(site.resource.properties.get("keyVaultReferenceIdentity") or SYSTEM)
    own = wanted.lower() == SYSTEM.lower()
    identity = {"type": SYSTEM} if own else {"type": "UserAssigned", "userAssignedIdentities": {wanted: {}}}
    details = " ".join(part for part in (_WORDS.get(outcome.status, ""), outcome.why) if part)
    return {
        "reference": outcome.reference,
        "status": outcome.status,
        "source": "KeyVault",
        "identityType": identity,
        "details": details,
        **outcome.named,
        **({"activeVersion": outcome.version} if outcome.version else {}),
    }


def _given(text: str, outcome: Outcome | None) -> str:
    return outcome.secret if outcome is not None and outcome.status == "Resolved" else text


def _status(status: int, code: str, named: Mapping[str, str]) -> str:
    if status in (401, 403):
        return "AccessToKeyVaultDenied"
    if status == 404:
        if code == "SecretNotFound":
            return "SecretVersionNotFound" if named.get("secretVersion") else "SecretNotFound"
        return "VaultNotFound"
    return "OtherReasons"


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        read = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return read if isinstance(read, Mapping) else {}


def _pairs(inside: str) -> dict[str, str]:
    parts = (part.partition("=") for part in inside.split(";") if part.strip())
    return {name.strip().lower(): value.strip() for name, _, value in parts}


def _secret_uri_host(inside: str) -> str:
    try:
        return urlsplit(_pairs(inside).get("secreturi", "")).hostname or ""
    except ValueError:
        return ""


def parse_reference(inside: str) -> Mapping[str, str]:
    """`vaultName`, `secretName` and perhaps `secretVersion`; nothing where the parentheses hold no reference."""
    given = _pairs(inside)
    if "secreturi" in given:
        try:
            url = urlsplit(given["secreturi"])
            vault = (url.hostname or "").partition(".")[0]
        except ValueError:
            return {}
        word, name, version = [*url.path.strip("/").split("/"), "", ""][:3]
        if word.lower() != "secrets" or url.scheme != "https":
            return {}
    else:
        vault, name = given.get("vaultname", ""), given.get("secretname", "")
        version = given.get("secretversion", "")
    if not vault or not name:
        return {}
    return {"vaultName": vault, "secretName": name, **({"secretVersion": version} if version else {})}
