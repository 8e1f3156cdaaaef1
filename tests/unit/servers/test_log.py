"""Logs, and what must not be in them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from keyfob.servers.log import configure, redact

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger as it was, afterwards."""
    root = logging.getLogger()
    ours = logging.getLogger("keyfob")
    before = root.handlers[:], root.level, ours.level
    yield root
    root.handlers[:], level, ours_level = before
    root.setLevel(level)
    ours.setLevel(ours_level)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"token {JWT} seen", JWT),
        (f"Authorization: Bearer {JWT}", "c2lnbmF0dXJl"),
        ("authorization: bearer opaque-token-1234567890", "opaque-token"),
        ("Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpw"),
        ("grant_type=client_credentials&client_secret=s3cr~t.value&scope=x", "s3cr~t"),
        ("client_secret%3Ds3cret", "s3cret"),
        ("refresh_token=0.AAAA-long", "0.AAAA"),
        ("password=hunter2", "hunter2"),
        ('{"client_secret": "s3\\"tail", "x": 1}', "tail"),
        ("{'password': 'hunter2'}", "hunter2"),
        ("https://acct.blob.core.windows.net/c?sv=2018&sig=abc%2Fdef", "abc%2Fdef"),
        ("Endpoint=sb://x/;SharedAccessKey=abcdef=", "abcdef"),
        ("X-IDENTITY-HEADER=853b9a84-5bfa", "853b9a84"),
        ("-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----", "MIGH"),
        ("-----BEGIN EC PRIVATE KEY-----\nMIGH cut off", "MIGH"),
    ],
)
def test_secrets_are_hidden(text: str, secret: str) -> None:
    assert secret not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net",
        "principal 11111111-2222-3333-4444-555555555555 may not read secrets",
        "a bearer token is missing",
        "/subscriptions/x/resourceGroups/y/providers/Microsoft.KeyVault/vaults/z/secrets/w",
        "assigned=true designation=3",
    ],
)
def test_the_rest_is_left_alone(text: str) -> None:
    assert redact(text) == text


def test_json_lines(root: logging.Logger) -> None:
    stream = io.StringIO()
    configure("info", stream=stream)
    log = logging.getLogger("keyfob.test")
    log.debug("not shown")
    log.info("hello %s", JWT, extra={"request_id": "r1", "status": 3, "client_secret": "x", "path": f"/x?t={JWT}"})
    try:
        raise ValueError(f"client_secret=hidden {JWT}")
    except ValueError:
        log.exception("failed")
    first, second = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "info",
        "logger": "keyfob.test",
        "message": "hello ***",
        "request_id": "r1",
        "client_secret": "***",
        "status": 3,
        "path": "/x?t=***",
    }
    assert "ValueError: client_secret=*** ***" in second["error"]


def test_lines_for_people(root: logging.Logger) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    configure("debug", stream=stream)
    logging.getLogger("keyfob.test").debug("look", extra={"password": "x"})
    assert stream.getvalue().endswith("debug keyfob.test: look | password=***\n")
    logging.getLogger("elsewhere").info("libraries are quiet")
    assert "quiet" not in stream.getvalue()


def test_configuring_twice_does_not_double(root: logging.Logger) -> None:
    stream = io.StringIO()
    configure(stream=stream)
    configure(stream=stream, form="json")
    logging.getLogger("keyfob").warning("once")
    assert stream.getvalue().count("once") == 1
    with pytest.raises(ValueError, match="none of"):
        configure(form="xml")
