"""Scopes and redirect URIs: text in, values out."""

from __future__ import annotations

import pytest

from keyfob.directory.aadsts import TABLE, Refused, error_body, moment
from keyfob.directory.fetcher import IssuerUnreachable, require_safe
from keyfob.directory.model import Application
from keyfob.directory.redirects import is_registered, with_parameters
from keyfob.directory.scopes import application_resource, parse_scopes


@pytest.mark.parametrize(
    ("scope", "resource"),
    [
        ("https://management.core.windows.net//.default", "https://management.core.windows.net/"),
        ("https://vault.azure.net/.default", "https://vault.azure.net"),
        ("797f4846-ba00-4fd7-ba43-dac1f8f63013/.default", "797f4846-ba00-4fd7-ba43-dac1f8f63013"),
        ("api://orders/.default", "api://orders"),
        ("x/.default/.default", "x/.default"),
        ("https://vault.azure.net/.default openid offline_access profile", "https://vault.azure.net"),
    ],
)
def test_the_resource_is_what_stands_before_the_last_default(scope: str, resource: str) -> None:
    assert application_resource(scope) == resource
    assert parse_scopes(f"{scope} openid").resource == resource


@pytest.mark.parametrize(
    "scope",
    [
        "",
        ".default",
        "/.default",
        "openid profile",
        "a/.default b",
        "a/.default openid b/.default",
        "https://x/.Default",
        "a/.default b/.default",
    ],
)
def test_an_application_asks_for_one_default(scope: str) -> None:
    with pytest.raises(Refused) as caught:
        application_resource(scope)
    assert caught.value.aadsts == 1002012


def test_user_scopes() -> None:
    found = parse_scopes("  api://orders/read   api://orders/write openid offline_access ")
    assert (found.resource, found.permissions) == ("api://orders", ("read", "write"))
    assert found.openid == {"openid", "offline_access"}
    assert found.text == "api://orders/read api://orders/write openid offline_access"
    assert parse_scopes("User.Read openid").resource == ""
    assert parse_scopes("https://management.core.windows.net//user_impersonation").resource == (
        "https://management.core.windows.net/"
    )


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        ("https://a.example/x https://b.example/y", 28000),
        ("https:///x", 28002),
        ("https://a.example/", 28002),
        ("/x", 28002),
        ("a\0b", 28002),
        ("x" * 5000, 28002),
    ],
)
def test_user_scopes_that_are_none(scope: str, code: int) -> None:
    with pytest.raises(Refused) as caught:
        parse_scopes(scope)
    assert caught.value.aadsts == code


def test_redirect_uris_compare_exactly_but_for_the_loopback_port() -> None:
    app = Application(
        id="a", public_client=True, redirect_uris=("http://localhost", "http://127.0.0.1/cb", "https://app.example/cb")
    )
    for good in ("http://localhost", "http://localhost:8400", "http://localhost:8400/", "http://127.0.0.1:9/cb"):
        assert is_registered(app, good)
    for bad in (
        "",
        "https://localhost:8400",
        "http://localhost:8400/cb",
        "http://localhost:8400?x=1",
        "http://127.0.0.1:9",
        "http://localhost:99999",
        "http://localhost@evil.example",
        "http://localhost\\@evil.example",
        "http://localhost.evil.example",
        "https://app.example:444/cb",
        "https://APP.example/cb",
        "https://app.example/cb/",
    ):
        assert not is_registered(app, bad)
    confidential = Application(id="b", redirect_uris=("http://localhost",))
    assert not is_registered(confidential, "http://localhost:8400")


def test_parameters_join_what_is_there() -> None:
    assert with_parameters("https://a.example/cb?x=1", {"code": "a b"}, fragment=False) == (
        "https://a.example/cb?x=1&code=a+b"
    )
    assert with_parameters("app://cb", {"code": "1"}, fragment=True) == "app://cb#code=1"


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example",
        "http://169.254.169.254/x",
        "http://localhost.evil.example",
        "file:///etc/passwd",
        "ftp://x",
        "https://",
        "",
    ],
)
def test_issuers_are_reached_by_https_or_on_this_machine(url: str) -> None:
    with pytest.raises(IssuerUnreachable):
        require_safe(url)


def test_loopback_issuers_may_use_http() -> None:
    for url in ("http://localhost:8080/x", "http://127.0.0.1/x", "http://[::1]:1/x", "https://issuer.example/x"):
        require_safe(url)


def test_every_refusal_has_an_oauth_error_and_a_status() -> None:
    for code, row in TABLE.items():
        assert row.status in (400, 401, 429), code
        assert row.error.replace("_", "").islower()
        assert row.text


def test_long_values_are_cut_in_refusals() -> None:
    refused = Refused(700016, app_id="x" * 9_000, tenant="t")
    assert len(refused.message) < 1_000
    body = error_body(aadsts=None, error="e", message="m", now=0.0, trace_id="t", correlation_id="c", login="https://l")
    assert (body["error_codes"], "error_uri" in body) == ([], False)
    assert moment(1_727_906_703.5) == "2024-10-02T22:05:03.5000000Z"
    assert moment(1e15) == "an impossible time"
