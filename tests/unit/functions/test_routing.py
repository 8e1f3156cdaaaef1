"""Routes of HTTP triggers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.hosts.app_service.functions.embedded.routing import parse_route


@pytest.mark.parametrize(
    ("template", "path", "found"),
    [
        ("hello", "hello", {}),
        ("hello", "/Hello/", {}),
        ("hello", "hello/you", None),
        ("a.b", "aXb", None),
        ("items/{id}", "items/3", {"id": "3"}),
        ("items/{id}", "items/a%20b%2Fc", {"id": "a b/c"}),
        ("items/{id}", "items", None),
        ("items/{id}", "items/3/4", None),
        ("items/{id:int}", "items/-3", {"id": "-3"}),
        ("items/{id:int}", "items/x", None),
        ("items/{id:int?}", "items", {}),
        ("items/{id:int?}", "items/7", {"id": "7"}),
        ("products/{category:alpha}/{id:int?}", "products/toys/7", {"category": "toys", "id": "7"}),
        ("products/{category:alpha}/{id:int?}", "products/toys", {"category": "toys"}),
        ("products/{category:alpha}/{id:int?}", "products/t0ys", None),
        ("{*rest}", "", {"rest": ""}),
        ("{*rest}", "a/b/c", {"rest": "a/b/c"}),
        ("files/{*path}", "files/a/b", {"path": "a/b"}),
        ("files/{*path}", "files", {}),
        ("files/{*path}", "filesystem", None),
        ("v{version:int}/{name}", "v2/x", {"version": "2", "name": "x"}),
        ("{id:guid}", "11111111-2222-3333-4444-555555555555", {"id": "11111111-2222-3333-4444-555555555555"}),
        ("{flag:bool}", "TRUE", {"flag": "TRUE"}),
        ("{price:decimal}", "1.25", {"price": "1.25"}),
    ],
)
def test_what_a_route_takes(template: str, path: str, found: dict[str, str] | None) -> None:
    assert parse_route(template).match(path) == found


@pytest.mark.parametrize("template", ["{id:uneven}", "{id", "a{b?}c", "x{*rest}", "{1}", "{a}{"])
def test_what_is_no_route(template: str) -> None:
    with pytest.raises(ValueError, match="route"):
        parse_route(template)


def test_the_more_specific_comes_first() -> None:
    templates = ["{*all}", "items/{id}", "items/{id:int}", "items/new"]
    assert sorted(templates, key=lambda one: parse_route(one).rank) == list(reversed(templates))


@given(st.text(st.characters(codec="ascii"), max_size=30))
def test_any_text_is_a_route_or_refused(text: str) -> None:
    try:
        route = parse_route(text)
    except ValueError:
        return
    route.match(text)
