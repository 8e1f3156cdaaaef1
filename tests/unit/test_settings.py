from pathlib import Path

import pytest

from keyfob.errors import InvalidInput
from keyfob.settings import TABLE, read_settings


def test_given_wins_over_environment_over_default(tmp_path):
    environment = {"KEYFOB_PORT": "5000", "KEYFOB_CLOUD": "azurechinacloud", "HOME": str(tmp_path)}
    settings = read_settings(environment, port=6000, data=None)
    assert settings.port == 6000
    assert settings.cloud == "AzureChinaCloud"
    assert settings.data == tmp_path / ".local" / "share" / "keyfob"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "70000"),
        ("port", "x"),
        ("cloud", "Mars"),
        ("database", "mysql://x"),
        ("log", "loud"),
        ("colour", "red"),
    ],
)
def test_a_wrong_setting_is_named(name, value):
    with pytest.raises(InvalidInput, match=name):
        read_settings({"HOME": "/h"}, **{name: value})


def test_every_setting_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    for row in TABLE:
        assert f"`KEYFOB_{row.name.upper()}`" in page, row.name
        assert row.help
