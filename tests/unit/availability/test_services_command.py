"""`keyfob services`, and the page that it prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from keyfob.cli.services import edition_at, services
from keyfob.clouds.availability import load_availability
from keyfob.errors import InvalidInput

PAGE = Path(__file__).parents[3] / "docs" / "services.md"


def run(*arguments: str) -> str:
    done = CliRunner().invoke(services, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_page_is_what_the_command_prints():
    assert PAGE.read_text("utf-8") == run("--as-of", "all", "--output", "markdown")


def test_json_has_hosts_and_targets_of_one_cloud():
    found = json.loads(run("--cloud", "azurechinacloud", "--as-of", "2019-06-19", "--output", "json"))
    assert found["edition"] == "2019-06-19"
    assert len(found["hosts"]) == 16
    assert len(found["targets"]) == 7
    vault = next(row for row in found["targets"] if row["key"] == "key-vault")
    assert vault["clouds"] == {"AzureChinaCloud": {"status": "Available", "resourceIds": ["https://vault.azure.cn"]}}
    group = next(row for row in found["hosts"] if row["key"] == "container-instances")
    assert group["clouds"] == {"AzureChinaCloud": "Not available"}


def test_a_table_for_people():
    printed = run("--cloud", "AzureCloud")
    assert "Azure Virtual Machines" in printed
    assert "Linux: Preview, Windows: Listed" in printed
    assert "AzureChinaCloud" not in printed


@pytest.mark.parametrize(
    ("text", "edition"),
    [
        ("2018-11-28", "2018-11-28"),
        ("2019-06-18", "2018-11-28"),
        ("2019-06-19", "2019-06-19"),
        ("2026-01-01", "current"),
        ("current", "current"),
    ],
)
def test_a_date_means_the_edition_of_that_day(text, edition):
    assert edition_at(load_availability(), text) == edition


@pytest.mark.parametrize("text", ["2018-11-27", "yesterday", "2019-13-01", ""])
def test_what_is_no_edition_is_said(text):
    with pytest.raises(InvalidInput, match="There is no edition"):
        edition_at(load_availability(), text)


def test_an_unknown_cloud_is_said():
    with pytest.raises(InvalidInput, match="There is no cloud 'Moon'"):
        run("--cloud", "Moon")
