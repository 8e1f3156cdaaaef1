"""Microsoft Graph: whatever a body has, a refusal in Graph's form that changes nothing, or an object to be read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bad_things import ANY, BODIES, JSON, NASTY, Land, refused, unchanged, well_formed
from hypothesis import given
from hypothesis import strategies as st

from keyfob.directory.graph.routes import graph_routes
from keyfob.wire.http import Reply

pytestmark = pytest.mark.usefixtures("no_failures")

PERSON = {
    "displayName": "Ada",
    "mailNickname": "ada",
    "userPrincipalName": "ada@{domain}",
    "accountEnabled": True,
    "passwordProfile": {"password": "Correct-horse-7"},
}
GROUP = {"displayName": "g", "mailNickname": "g", "mailEnabled": False, "securityEnabled": True}
WRITING = [route for route in graph_routes() if route.method in ("POST", "PATCH")]


class Directory:
    """One object of each kind, there for all tests."""

    def __init__(self, land: Land) -> None:
        self.land = land
        domains = json.loads(land.graph("GET", "domains").body)["value"]
        self.person = {**PERSON, "userPrincipalName": f"ada@{domains[0]['id']}"}
        self.bodies = {"users": self.person, "groups": GROUP, "applications": {"displayName": "app"}}
        self.made = {name: self.new(name, body) for name, body in self.bodies.items()}
        app = {"appId": self.made["applications"]["appId"]}
        self.bodies["servicePrincipals"] = app
        self.made["servicePrincipals"] = self.new("servicePrincipals", app)

    def new(self, collection: str, body: Any) -> Any:
        reply = self.land.graph("POST", collection, body)
        assert reply.status == 201, reply.body
        return json.loads(reply.body)

    def path(self, template: str) -> str:
        """With the ids of what is there."""
        parts = template.split("/")
        here = self.made.get(parts[0], self.made["groups"])["id"]
        other = self.made["users"]["id"]
        return "/".join(here if one == "{id}" else other if one.startswith("{") else one for one in parts)

    def readable(self) -> None:
        for collection in self.bodies:
            assert self.land.graph("GET", collection).status == 200, collection


@pytest.fixture(scope="module")
def directory(land: Land) -> Directory:
    return Directory(land)


def judged(directory: Directory, before: Any, reply: Reply, what: str) -> None:
    assert reply.status < 500, (what, reply.body[:300])
    well_formed(reply)
    if reply.status >= 400:
        refused(reply, what)
        inner = json.loads(reply.body)["error"]["innerError"]
        assert inner["request-id"], what
    else:
        directory.readable()
    unchanged(directory.land, before, reply, what)


@pytest.mark.parametrize("body", [name for name in BODIES if "MB" not in name])
def test_bodies_that_are_none(directory: Directory, body: str) -> None:
    for route in WRITING:
        before = directory.land.stored()
        reply = directory.land.graph(route.method, directory.path(route.path), BODIES[body])
        judged(directory, before, reply, f"{route.method} {route.path} {body}")


@ANY
@given(body=JSON, pick=st.integers(0, 10_000))
def test_random_bodies(directory: Directory, body: Any, pick: int) -> None:
    route = WRITING[pick % len(WRITING)]
    before = directory.land.stored()
    encoded = json.dumps(body).encode("utf-8", "surrogatepass")
    reply = directory.land.graph(route.method, directory.path(route.path), encoded)
    judged(directory, before, reply, f"{route.method} {route.path} {encoded[:300]!r}")


MEMBERS = {
    "users": [*PERSON, "mail", "otherMails", "givenName", "usageLocation", "passwordPolicies", "businessPhones", "id"],
    "groups": [*GROUP, "description", "groupTypes", "members@odata.bind", "owners@odata.bind", "visibility", "id"],
    "applications": [
        "displayName", "identifierUris", "appRoles", "api", "web", "spa", "publicClient", "requiredResourceAccess",
        "passwordCredentials", "keyCredentials", "signInAudience", "optionalClaims", "tags", "appId", "info",
        "groupMembershipClaims", "isFallbackPublicClient", "id",
    ],
    "servicePrincipals": [
        "appId", "displayName", "accountEnabled", "appRoleAssignmentRequired", "tags", "alternativeNames",
        "servicePrincipalType", "servicePrincipalNames", "appRoles", "notes", "homepage", "id",
    ],
}  # fmt: skip
ODD = JSON | st.lists(
    st.dictionaries(st.sampled_from(["id", "value", "displayName", "type", "keyId"]), JSON), max_size=2
)


@ANY
@given(
    collection=st.sampled_from(sorted(MEMBERS)),
    method=st.sampled_from(["POST", "PATCH"]),
    data=st.data(),
)
def test_random_members(directory: Directory, collection: str, method: str, data: st.DataObject) -> None:
    """Bodies that are right but for some members."""
    inner = data.draw(st.dictionaries(st.sampled_from(MEMBERS[collection]), ODD, min_size=1, max_size=3))
    before = directory.land.stored()
    if method == "POST":
        body = {**directory.bodies[collection], **inner}
        reply = directory.land.graph("POST", collection, json.dumps(body).encode("utf-8", "surrogatepass"))
    else:
        encoded = json.dumps(inner).encode("utf-8", "surrogatepass")
        reply = directory.land.graph("PATCH", directory.path(f"{collection}/{{id}}"), encoded)
    judged(directory, before, reply, f"{method} {collection} {inner!r:.300}")


REFERENCES = st.sampled_from(NASTY) | st.sampled_from(
    ["https://graph.microsoft.com/v1.0/directoryObjects/{user}", "https://graph.microsoft.com/v1.0/groups/{group}",
     "https://elsewhere/v1.0/directoryObjects/{user}", "directoryObjects/{user}", "{user}", "//{user}", "http://["]
)  # fmt: skip


@ANY
@given(
    reference=REFERENCES | JSON,
    collection=st.sampled_from(
        ["groups/{id}/members/$ref", "groups/{id}/owners/$ref", "applications/{id}/owners/$ref"]
    ),
    bound=st.booleans(),
)
def test_references_to_members(directory: Directory, reference: Any, collection: str, bound: bool) -> None:
    if isinstance(reference, str):
        reference = reference.replace("{user}", directory.made["users"]["id"])
        reference = reference.replace("{group}", directory.made["groups"]["id"])
    before = directory.land.stored()
    if bound:
        body = {"members@odata.bind": reference if isinstance(reference, list) else [reference]}
        reply = directory.land.graph("PATCH", directory.path("groups/{id}"), json.dumps(body).encode())
    else:
        body = {"@odata.id": reference}
        reply = directory.land.graph("POST", directory.path(collection), json.dumps(body).encode())
    judged(directory, before, reply, f"{collection} {reference!r:.300}")
