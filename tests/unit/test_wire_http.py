import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.wire.http import Fields, form, parse_host, parse_target


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("//metadata/endpoints?api-version=1", "/metadata/endpoints", {"api-version": "1"}),
        ("/a/b/", "/a/b", {}),
        ("/", "/", {}),
        ("/t?resource=https://management.azure.com/", "/t", {"resource": "https://management.azure.com/"}),
        ("/t?resource=https%3A%2F%2Fvault.azure.net&x=", "/t", {"resource": "https://vault.azure.net", "x": ""}),
    ],
)
def test_targets(target, path, query):
    parsed, raw, fields = parse_target(target)
    assert (parsed, {name: fields[name] for name in fields}) == (path, query)
    assert raw == target.partition("?")[0]


@pytest.mark.parametrize(
    ("value", "host", "port"),
    [("Example.COM", "example.com", None), ("a:443", "a", 443), ("[::1]:80", "[::1]", 80), ("[::1]", "[::1]", None)],
)
def test_hosts(value, host, port):
    assert parse_host(value) == (host, port)


def test_fields_ignore_case_and_know_repetition():
    fields = Fields([("Metadata", "true"), ("metadata", "false")])
    assert fields["METADATA"] == "true"
    assert fields.repeated() == "metadata"
    assert "true" not in repr(fields)


@given(st.binary(max_size=200))
def test_a_form_is_fields_or_a_unicode_error(body):
    try:
        form(body)
    except UnicodeDecodeError:
        return


@given(st.text(max_size=200))
def test_any_target_parses(text):
    path, _, _ = parse_target("/" + text)
    assert path.startswith("/")
    assert "//" not in path
