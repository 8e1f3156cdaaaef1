"""Files that the server hands a program: shown where its clients look, on a machine that has no such folder."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.sandbox

WISH = {"dialect": "arc", "service_account": "shop/cart"}


@pytest.mark.parametrize("folder", ["/var/opt/keyfob-test/tokens", "/var/run/secrets/keyfob-test/tokens"])
def test_the_program_finds_what_the_server_wrote(place, folder):
    place.serve()
    done = place.run("cat", f"{folder}/handed.txt", wish=WISH, folder=folder)
    assert (done.code, done.output) == (0, "arc shop/cart"), done.errors
    assert list((place.data / "handed").iterdir()) == []


def test_the_program_does_not_see_what_others_are_handed(place):
    place.serve()
    done = place.run(
        "sh",
        "-c",
        f"ls {place.data}/handed /var/opt/keyfob-test/tokens",
        wish=WISH,
        folder="/var/opt/keyfob-test/tokens",
    )
    assert done.code != 0
    assert "handed.txt" in done.output
    assert "No such file" in done.errors


def test_nothing_is_made_where_nothing_is_asked_for(place):
    place.serve()
    assert place.run("true").code == 0
    assert not (place.data / "handed").exists()
