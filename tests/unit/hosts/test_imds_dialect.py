"""The instance metadata dialect of tokens: what is refused, with which words, and the shape of a success."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import (
    Fault,
    Forbidden,
    InvalidInput,
    MethodNotAllowed,
    NotFound,
    Problem,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from keyfob.hosts.dialects import imds
from keyfob.hosts.token_endpoint import HostToken
from keyfob.identities.choose import ConflictingSelectors, IdentityNotFound, MultipleIdentities
from keyfob.identities.model import Selector
from keyfob.wire.http import Fields, Request, parse_target

GOOD = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net"


def request(target: str, *headers: tuple[str, str], method: str = "GET") -> Request:
    path, raw, query = parse_target(target)
    return Request(method, path, query, Fields(headers), raw_path=raw, host="169.254.169.254", scheme="http")


def parse(target: str, metadata: str = "true", **more: str) -> imds.TokenQuery:
    return imds.parse(request(target, ("Metadata", metadata), **more))  # type: ignore[arg-type]


TOKEN = HostToken(
    token="h.p.s",
    client_id="cid",
    principal_id="pid",
    resource="https://vault.azure.net",
    issued=1_000_000.0,
    not_before=999_700,
    expires_on=1_086_400,
)


# --- asking


@pytest.mark.parametrize(
    "target",
    [
        GOOD,
        GOOD.replace("token?", "token/?"),  # @azure/identity with an overridden authority host
        "/" + GOOD,  # msal4j
        GOOD.replace("https://vault.azure.net", "https%3A%2F%2Fvault.azure.net"),
        GOOD + "&client_id=",
        GOOD + "&claims=x&xms_cc=y",
    ],
)
def test_every_spelling_asks_the_same(target: str):
    asked = parse(target)
    assert asked == imds.TokenQuery("https://vault.azure.net", Selector())
    assert request(target).path == imds.TOKEN_PATH


@pytest.mark.parametrize("value", ["true", "True", "TRUE", " true "])
def test_the_header_value_compares_without_case(value: str):
    assert parse(GOOD, value)


@pytest.mark.parametrize(
    ("name", "selector"),
    [
        ("client_id", Selector(client_id="X")),
        ("object_id", Selector(object_id="X")),
        ("msi_res_id", Selector(resource_id="X")),
        ("mi_res_id", Selector(resource_id="X")),
    ],
)
def test_selectors(name: str, selector: Selector):
    asked = parse(f"{GOOD}&{name}=X")
    assert asked.selector == selector
    assert asked.asked_by == (name, "X")


def test_selectors_exclude_each_other():
    names = ["client_id", "object_id", "msi_res_id", "mi_res_id"]
    for first in names:
        for second in names:
            if first != second:
                with pytest.raises(ConflictingSelectors):
                    parse(f"{GOOD}&{first}=X&{second}=X")


@pytest.mark.parametrize("value", ["", "false", "1", "yes"])
def test_a_header_that_does_not_say_true_is_refused(value: str):
    with pytest.raises(InvalidInput) as refused:
        parse(GOOD, value)
    assert refused.value.code == "bad_request_102"


def test_no_header_is_refused_before_the_query_is_looked_at():
    for target in (GOOD, "/metadata/identity/oauth2/token"):
        with pytest.raises(InvalidInput) as refused:
            imds.parse(request(target))
        reply = imds.encode_problem(refused.value)
        assert reply.status == 400
        assert json.loads(reply.body) == {
            "error": "bad_request_102",
            "error_description": "Required metadata header not specified",
        }


def test_a_forwarded_request_is_refused():
    with pytest.raises(InvalidInput):
        imds.parse(request(GOOD, ("metadata", "true"), ("X-Forwarded-For", "10.0.0.1")))


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "DELETE", "OPTIONS"])
def test_only_get(method: str):
    with pytest.raises(MethodNotAllowed):
        parse(GOOD, method=method)


@pytest.mark.parametrize("version", ["", "2017-12-01", "2018-02-02", "2099-01-01", "latest"])
def test_unknown_versions_and_those_before_tokens_are_refused_with_the_newest(version: str):
    with pytest.raises(InvalidInput) as refused:
        parse(GOOD.replace("2018-02-01", version))
    body = json.loads(imds.encode_problem(refused.value).body)
    assert body["newest-versions"] == ["2025-04-07", "2024-07-17", "2024-03-15"]
    assert body["error"].startswith("Bad request. api-version is invalid")


@pytest.mark.parametrize("version", [v for v in imds.VERSIONS if v >= "2018-02-01"])
def test_every_version_since_tokens_is_taken(version: str):
    assert parse(GOOD.replace("2018-02-01", version))


@pytest.mark.parametrize("more", ["&resource=https://vault.azure.net", "&RESOURCE=x", "&api-version=2018-02-01"])
def test_a_repeated_parameter_is_refused(more: str):
    with pytest.raises(InvalidInput) as refused:
        parse(GOOD + more)
    assert json.loads(imds.encode_problem(refused.value).body)["error"] == "invalid_request"


@pytest.mark.parametrize("target", [GOOD.partition("&")[0], GOOD.partition("&")[0] + "&resource="])
def test_a_missing_resource(target: str):
    with pytest.raises(InvalidInput) as refused:
        parse(target)
    assert refused.value.message == "Required query variable 'resource' is missing"


def test_bypass_cache_has_one_legal_value():
    assert parse(GOOD + "&bypass_cache=true").bypass_cache
    assert not parse(GOOD).bypass_cache
    with pytest.raises(InvalidInput):
        parse(GOOD + "&bypass_cache=false")


@given(st.text(max_size=60))
def test_any_query_is_read_or_refused(text: str):
    problem: Problem | None = None
    try:
        parse("/metadata/identity/oauth2/token?" + text)
    except InvalidInput as refused:
        problem = refused
    assert problem is None or 400 <= imds.encode_problem(problem).status < 500


# --- answering


def test_the_success_body():
    reply = imds.encode(TOKEN, parse(GOOD), now=1_000_001.0)
    assert reply.status == 200
    assert reply.content_type == "application/json; charset=utf-8"
    assert dict(reply.headers)["Server"].startswith("IMDS/")
    body = json.loads(reply.body)
    assert body == {
        "access_token": "h.p.s",
        "client_id": "cid",
        "expires_in": "86399",
        "expires_on": "1086400",
        "ext_expires_in": "86399",
        "not_before": "999700",
        "resource": "https://vault.azure.net",
        "token_type": "Bearer",
    }
    # MSAL.NET writes both into one field: the absolute one must come last of the two
    assert reply.body.index(b'"expires_in"') < reply.body.index(b'"expires_on"')


def test_the_selector_is_echoed_and_the_client_id_is_always_there():
    body = json.loads(imds.encode(TOKEN, parse(GOOD + "&msi_res_id=/x"), 0).body)
    assert (body["client_id"], body["msi_res_id"]) == ("cid", "/x")
    assert json.loads(imds.encode(TOKEN, parse(GOOD + "&object_id=pid"), 0).body)["object_id"] == "pid"


def test_nothing_in_the_query_can_move_where_the_seconds_go():
    evil = '\0","expires_in":"\\u0000'
    query = imds.TokenQuery(evil, Selector(object_id=evil), ("object_id", evil))
    body = json.loads(imds.encode(TOKEN, query, now=1_086_399.0).body)
    assert body["resource"] == evil
    assert body["expires_in"] == body["ext_expires_in"] == "1"


def test_seconds_never_go_below_zero():
    assert TOKEN.seconds_left(2_000_000.0) == 0


def test_half_of_its_life_is_when_a_new_one_is_due():
    assert TOKEN.renew_after == 1_043_200.0


@pytest.mark.parametrize(
    ("problem", "status", "error", "description"),
    [
        (IdentityNotFound(), 400, "invalid_request", "Identity not found"),
        (
            MultipleIdentities(),
            400,
            "invalid_request",
            "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the "
            "token request",
        ),
        (InvalidInput("AADSTS50001: …", code="invalid_resource"), 400, "invalid_resource", "AADSTS50001: …"),
        (NotFound("gone", target="/x"), 401, "unknown_source", "Unknown Source /x"),
        (Unauthenticated(Fault.MISSING, "who?"), 401, "unknown_source", "Unknown Source"),
        (MethodNotAllowed("no"), 405, "method_not_allowed", "no"),
        (TooManyRequests("slow"), 429, "too_many_requests", "Too many requests"),
        (Unavailable("x"), 500, "unknown", "Failed to retrieve token from the Active directory."),
        (Problem("secret internals"), 500, "unknown", "Failed to retrieve token from the Active directory."),
        (Forbidden("unreachable"), 500, "unknown", "Failed to retrieve token from the Active directory."),
    ],
)
def test_errors_are_json_with_azures_words(problem: Problem, status: int, error: str, description: str):
    reply = imds.encode_problem(problem)
    assert reply.status == status
    assert json.loads(reply.body) == {"error": error, "error_description": description}
