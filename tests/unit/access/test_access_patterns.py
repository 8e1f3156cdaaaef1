"""Wildcards of action patterns."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfob.access.memo import Memo
from keyfob.access.patterns import Patterns, matches

SECRET = "Microsoft.KeyVault/vaults/secrets/getSecret/action"


@pytest.mark.parametrize(
    ("pattern", "action", "covered"),
    [
        ("*", SECRET, True),
        ("**", SECRET, True),
        ("*", "", True),
        ("", "", True),
        ("", SECRET, False),
        (SECRET, SECRET, True),
        (SECRET.upper(), SECRET, True),
        (SECRET, SECRET + "s", False),
        (SECRET, "x" + SECRET, False),
        ("*/read", "Microsoft.Compute/virtualMachines/read", True),
        ("*/read", "Microsoft.Compute/virtualMachines/reads", False),
        ("*/read", "/read", True),
        ("*/read", "read", False),
        ("Microsoft.KeyVault/*", SECRET, True),
        ("Microsoft.KeyVault/*", "Microsoft.KeyVault", False),
        ("Microsoft.KeyVault/*", "Microsoft.KeyVaults/x", False),
        ("Microsoft.Authorization/*/Write", "Microsoft.Authorization/roleAssignments/write", True),
        ("Microsoft.Authorization/*/Write", "Microsoft.Authorization/a/b/write", True),
        ("Microsoft.Authorization/*/Write", "Microsoft.Authorization/write", True),
        ("Microsoft.Authorization/*/Write", "Microsoft.Authorizationwrite", False),
        ("M/userAssignedIdentities/*/assign/action", "M/userAssignedIdentities/assign/action", True),
        ("M/userAssignedIdentities/*/assign/action", "M/userAssignedIdentities/x/y/assign/action", True),
        ("M/userAssignedIdentities/*/assign/action", "M/userAssignedIdentitiesassign/action", False),
        ("a/*/*/b", "a/b", True),
        ("a/**/b", "a/b", True),
        ("a/*b", "a/b", True),
        ("a/*b", "ab", False),
        ("Microsoft.Authorization/*/Write", "Microsoft.Authorization/roleAssignments/delete", False),
        ("Microsoft.EventHub/*/send/action", "Microsoft.EventHub/namespaces/messages/send/action", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*c", "axxbyyc", True),
        ("a*b*c", "acb", False),
        ("*b*", "abc", True),
        ("*b*", "ac", False),
        ("a*bb*b", "abb", False),
        ("a*bb*b", "abbb", True),
        ("[a]?.", "a1x", False),
    ],
)
def test_a_pattern_covers(pattern: str, action: str, covered: bool) -> None:
    assert matches(pattern, action) is covered


def expression(pattern: str) -> str:
    head, *pieces = re.sub(r"\*+", "*", pattern).split("*")
    out = re.escape(head)
    for before, piece in zip([head, *pieces], pieces, strict=False):
        shared = before.endswith("/") and piece.startswith("/")
        out += "(?:.*/)?" + re.escape(piece[1:]) if shared else ".*" + re.escape(piece)
    return out


@settings(max_examples=500)
@given(st.text("ab/*", max_size=8), st.text("ab/", max_size=10))
def test_agrees_with_a_regular_expression(pattern: str, action: str) -> None:
    assert matches(pattern, action) is (re.fullmatch(expression(pattern), action, re.DOTALL) is not None)


@given(st.lists(st.text("ab/*", max_size=6), max_size=6), st.text("ab/", max_size=8))
def test_a_set_covers_what_one_of_it_covers(patterns: list[str], action: str) -> None:
    assert Patterns(patterns).cover(action) is any(matches(p, action) for p in patterns)


def test_no_patterns_cover_nothing() -> None:
    assert not Patterns(())
    assert not Patterns(()).cover("")
    assert not Patterns(()).cover("a")


def test_many_stars_end() -> None:
    """Backtracking over each star would not, in this universe."""
    assert not matches("*a" * 200 + "*b", "a" * 5000)


def test_a_memo_is_bounded_and_keeps_what_is_used() -> None:
    memo: Memo[int, str] = Memo(10)
    for number in range(1000):
        memo.put(number, str(number))
        memo.put(-1, "kept") if number == 0 else memo.get(-1)
    assert len(memo) <= 20
    assert memo.get(-1) == "kept"
    assert memo.get(999) == "999"
    assert memo.get(5) is None
    memo.clear()
    assert memo.get(-1) is None
