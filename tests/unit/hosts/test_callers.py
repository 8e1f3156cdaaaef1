"""A host's secret: what is shown is that one or nothing."""

from __future__ import annotations

import pytest

from keyfob.clock import SystemIds
from keyfob.errors import Fault, Unauthenticated
from keyfob.hosts.caller import Secret


def test_the_secret_and_nothing_near_it():
    secret = Secret("S3cret")
    secret.check("S3cret")
    for wrong, fault in (
        ("s3cret", Fault.SIGNATURE),
        ("S3cret ", Fault.SIGNATURE),
        ("S3cre", Fault.SIGNATURE),
        ("\udcff", Fault.SIGNATURE),
        ("ü", Fault.SIGNATURE),
        ("", Fault.MISSING),
        (None, Fault.MISSING),
    ):
        with pytest.raises(Unauthenticated) as refused:
            secret.check(wrong)
        assert refused.value.fault is fault


def test_it_is_not_printed():
    secret = Secret("S3cret")
    assert secret.reveal() == "S3cret"
    assert "S3cret" not in f"{secret!r} {secret}"
    with pytest.raises(ValueError, match="empty"):
        Secret("")


def test_each_opening_has_its_own():
    assert Secret.new(SystemIds()).reveal() != Secret.new(SystemIds()).reveal()
