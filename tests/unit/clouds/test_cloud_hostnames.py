"""Names both ways, and that nothing else has a name."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.clouds.hostnames import name_of, patterns, primary_of, resolve
from keyfob.clouds.table import load_clouds

CLOUDS = load_clouds()
WITH_ACCOUNT = [(cloud, service) for cloud in CLOUDS.values() for service in set(cloud.zones.values())]
FIXED = [(cloud, service) for cloud in CLOUDS.values() for service in set(cloud.fixed_names.values())]
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


def answer(host: str) -> tuple[str, str, str] | None:
    found = resolve(host, CLOUDS)
    return found and (found[0].name, found[1], found[2])


@pytest.mark.parametrize(
    ("host", "cloud", "service", "account"),
    [
        ("login.microsoftonline.com", "AzureCloud", "login", ""),
        ("sts.windows.net", "AzureCloud", "login", ""),
        ("login.usgovcloudapi.net", "AzureUSGovernment", "login", ""),
        ("login-us.microsoftonline.com", "AzureUSGovernment", "login", ""),
        ("login.partner.microsoftonline.cn", "AzureChinaCloud", "login", ""),
        ("login.microsoftonline.de", "AzureGermanCloud", "login", ""),
        ("westus.login.microsoft.com", "AzureCloud", "login", "westus"),
        ("chinaeast2.login.partner.microsoftonline.cn", "AzureChinaCloud", "login", "chinaeast2"),
        ("management.azure.com", "AzureCloud", "resource_manager", ""),
        ("eastus.management.azure.com", "AzureCloud", "resource_manager", "eastus"),
        ("management.chinacloudapi.cn", "AzureChinaCloud", "resource_manager", ""),
        ("graph.microsoft.com", "AzureCloud", "graph", ""),
        ("dod-graph.microsoft.us", "AzureUSGovernment", "graph", ""),
        ("graph.windows.net", "AzureCloud", "aad_graph", ""),
        ("graph.microsoftazure.us", "AzureUSGovernment", "aad_graph", ""),
        ("portal.azure.us", "AzureUSGovernment", "portal", ""),
        ("my-vault.vault.azure.net", "AzureCloud", "key_vault", "my-vault"),
        ("my-vault.vault.microsoftazure.de", "AzureGermanCloud", "key_vault", "my-vault"),
        ("acct.blob.core.windows.net", "AzureCloud", "storage_blob", "acct"),
        ("acct-secondary.blob.core.windows.net", "AzureCloud", "storage_blob", "acct-secondary"),
        ("acct.queue.core.usgovcloudapi.net", "AzureUSGovernment", "storage_queue", "acct"),
        ("acct.table.core.chinacloudapi.cn", "AzureChinaCloud", "storage_table", "acct"),
        ("acct.file.core.cloudapi.de", "AzureGermanCloud", "storage_file", "acct"),
        ("acct.dfs.core.windows.net", "AzureCloud", "storage_dfs", "acct"),
        ("srv.database.windows.net", "AzureCloud", "sql", "srv"),
        ("ns.servicebus.usgovcloudapi.net", "AzureUSGovernment", "service_bus", "ns"),
        ("lake.azuredatalakestore.net", "AzureCloud", "data_lake", "lake"),
        ("site.azurewebsites.net", "AzureCloud", "web", "site"),
        ("site.scm.azurewebsites.net", "AzureCloud", "web_scm", "site"),
        ("site.chinacloudsites.cn", "AzureChinaCloud", "web", "site"),
        ("MyVault.VAULT.azure.NET", "AzureCloud", "key_vault", "myvault"),
        ("myvault.vault.azure.net.", "AzureCloud", "key_vault", "myvault"),
        ("MANAGEMENT.azure.com.", "AzureCloud", "resource_manager", ""),
    ],
)
def test_a_name_leads_to_cloud_service_and_account(host, cloud, service, account):
    assert answer(host) == (cloud, service, account)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "..",
        "localhost",
        "169.254.169.254",
        "10.0.0.4",
        "[::1]",
        "::1",
        "example.com",
        "vault.azure.net",  # the suffix alone is nobody's
        ".vault.azure.net",
        "a.b.vault.azure.net",  # two labels
        "myvault.vault.azure.net..",
        "myvault.vault.azure.net:443",
        "-vault.vault.azure.net",
        "vault-.vault.azure.net",
        "my_vault.vault.azure.net",
        "*.vault.azure.net",
        "../x.vault.azure.net",
        "my vault.vault.azure.net",
        "my\nvault.vault.azure.net",
        "myvault.vault.azure.net\n",
        "myvault.vault.azure.net.evil.example",
        "evilvault.azure.net",
        "evil-management.azure.com",
        "management.azure.com.evil.example",
        "acct.blob.core.windows.net.evil.example",
        "acct.web.core.windows.net",
        "lake.azuredatalakestore.us",
        "mÿvault.vault.azure.net",
        "myvault\u3002vault.azure.net",  # IDNA would read it as a dot
        "\N{KELVIN SIGN}v.vault.azure.net",  # lower-cases to an ASCII k
        "login.microsoftonline.com\0",
        f"{'a' * 64}.vault.azure.net",
        "a" * 100_000,
        "a." * 50_000,
    ],
)
def test_a_name_that_no_cloud_owns_is_nobodys(host):
    assert resolve(host, CLOUDS) is None


def test_an_account_of_63_characters_still_has_a_name():
    assert answer(f"{'a' * 63}.vault.azure.net") == ("AzureCloud", "key_vault", "a" * 63)


@given(st.sampled_from(WITH_ACCOUNT), LABELS)
def test_account_names_go_round(where, account):
    cloud, service = where
    host = name_of(cloud, service, account)
    if host in cloud.fixed_names:  # `login` before `…`: a fixed name wins over an account of that spelling
        return
    assert resolve(host, CLOUDS) == (cloud, service, account)
    assert resolve(host.upper() + ".", CLOUDS) == (cloud, service, account)


@pytest.mark.parametrize(("cloud", "service"), FIXED, ids=lambda value: getattr(value, "name", value))
def test_fixed_names_go_round(cloud, service):
    assert resolve(name_of(cloud, service), CLOUDS) == (cloud, service, "")


@given(st.text(max_size=80) | st.from_regex(r"[a-zA-Z0-9.:\-_*]{0,80}", fullmatch=True))
def test_no_text_raises(host):
    found = resolve(host, CLOUDS)
    assert found is None or found[0] in CLOUDS.values()


@given(st.text(max_size=30), st.sampled_from(sorted(zone for cloud in CLOUDS.values() for zone in cloud.zones)))
def test_what_stands_before_a_suffix_is_an_account_only_if_it_is_a_label(label, zone):
    found = resolve(f"{label}.{zone}", CLOUDS)
    if found is not None and found[2]:
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", found[2])
        assert found[2] == label.lower() or "." in label


def test_the_preferred_name_comes_first():
    public = CLOUDS["AzureCloud"]
    assert name_of(public, "login") == "login.microsoftonline.com"
    assert name_of(public, "key_vault", "MyVault") == "myvault.vault.azure.net"
    assert name_of(CLOUDS["AzureChinaCloud"], "login") == "login.chinacloudapi.cn"


def test_a_service_the_cloud_lacks_has_no_name():
    with pytest.raises(KeyError, match="AzureGermanCloud has no host names of data_lake accounts"):
        name_of(CLOUDS["AzureGermanCloud"], "data_lake", "lake")
    with pytest.raises(KeyError, match="key_vault"):
        name_of(CLOUDS["AzureCloud"], "key_vault")


def test_the_secondary_address_is_told_apart():
    assert primary_of("acct-secondary") == ("acct", True)
    assert primary_of("acct") == ("acct", False)


def test_no_two_clouds_claim_one_name():
    claims = patterns(CLOUDS)
    assert len(claims) == len(set(claims))


def test_no_fixed_name_of_one_cloud_lies_in_a_zone_of_another():
    for cloud in CLOUDS.values():
        for name in cloud.fixed_names:
            found = resolve(name, {key: other for key, other in CLOUDS.items() if other is not cloud})
            assert found is None, (name, found)


def test_patterns_are_names_or_one_leading_wildcard():
    for pattern in patterns(CLOUDS):
        assert re.fullmatch(r"(\*\.)?([a-z0-9-]+\.)+[a-z]+", pattern), pattern
        assert pattern.count(".") >= 2


@given(st.sampled_from(WITH_ACCOUNT), LABELS)
def test_patterns_cover_every_account(where, account):
    host = name_of(*where, account)
    assert covered(host)
    assert not covered(f"deeper.{host}") or resolve(f"deeper.{host}", CLOUDS) is not None


def test_patterns_cover_every_fixed_name():
    assert all(covered(name) for cloud in CLOUDS.values() for name in cloud.fixed_names)
    assert not covered("example.com")


def covered(host: str) -> bool:
    """As certificates match: `*` is exactly one label."""
    return any(fnmatchcase(host, pattern) and host.count(".") == pattern.count(".") for pattern in patterns(CLOUDS))
