"""Vaults and their secrets, with roles and with access policies."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
GROUP = "az-vaults"


@pytest.fixture(scope="module")
def officer(az, az_server):
    """The operator may write secrets below the group."""
    operator = az_server.operator()
    az(f"group create -n {GROUP} -l westeurope")
    az(
        f"role assignment create --assignee-object-id {operator['object_id']} --role 'Key Vault Secrets Officer'"
        " --assignee-principal-type ServicePrincipal"
        f" --scope /subscriptions/{operator['subscription_id']}/resourceGroups/{GROUP}"
    )
    return operator


def test_a_vault(az, officer):
    made = az(f"keyvault create -g {GROUP} -n az-vault-a -l westeurope --retention-days 7")
    assert made["properties"]["enableRbacAuthorization"] is True
    assert made["properties"]["vaultUri"] == "https://az-vault-a.vault.azure.net/"
    titles, rows = az.table(f"keyvault list -g {GROUP}")
    assert titles == ["Location", "Name", "ResourceGroup"]
    assert ["westeurope", "az-vault-a", GROUP] in [row.split() for row in rows]
    assert az("keyvault show -n az-vault-a")["id"] == made["id"]
    assert az("keyvault update -n az-vault-a --enabled-for-deployment true")["properties"]["enabledForDeployment"]
    az("keyvault delete -n az-vault-a")
    assert "not found" in az.fails("keyvault show -n az-vault-a")
    deleted = az("keyvault show-deleted -n az-vault-a")
    assert deleted["properties"]["vaultId"] == made["id"]
    assert "az-vault-a" in [one["name"] for one in az("keyvault list-deleted --resource-type vault")]
    az("keyvault recover -n az-vault-a")
    assert az("keyvault show -n az-vault-a")["id"] == made["id"]
    az("keyvault delete -n az-vault-a")
    az("keyvault purge -n az-vault-a")
    assert "No deleted Vault" in az.fails("keyvault show-deleted -n az-vault-a")


def test_secrets(az, officer, tmp_path):
    az(f"keyvault create -g {GROUP} -n az-vault-b -l westeurope")
    vault = "--vault-name az-vault-b -n word"
    first = az(f"keyvault secret set {vault} --value one --tags k=v --content-type text/plain")
    second = az(f"keyvault secret set {vault} --value two")
    assert az(f"keyvault secret show {vault}")["value"] == "two"
    assert az(f"keyvault secret show --id {first['id']}")["value"] == "one"
    titles, _ = az.table("keyvault secret list --vault-name az-vault-b")
    assert titles == ["Name", "Id", "ContentType", "Enabled", "Expires"]
    versions = {one["id"] for one in az(f"keyvault secret list-versions {vault}")}
    assert versions == {first["id"], second["id"]}
    kept = tmp_path / "word"
    az(f"keyvault secret download {vault} -f {kept}.txt")
    assert kept.with_suffix(".txt").read_text() == "two"
    az(f"keyvault secret backup {vault} -f {kept}.bak")
    az(f"keyvault secret set-attributes {vault} --enabled false")
    assert "disabled" in az.fails(f"keyvault secret show {vault}")
    az(f"keyvault secret set-attributes {vault} --enabled true")
    az(f"keyvault secret delete {vault}")
    assert "SecretNotFound" in az.fails(f"keyvault secret show {vault}")
    assert [one["name"] for one in az("keyvault secret list-deleted --vault-name az-vault-b")] == ["word"]
    assert az(f"keyvault secret show-deleted {vault}")["recoveryId"]
    az(f"keyvault secret recover {vault}")
    assert az(f"keyvault secret show {vault}")["value"] == "two"
    az(f"keyvault secret delete {vault}")
    az(f"keyvault secret purge {vault}")
    assert az("keyvault secret list-deleted --vault-name az-vault-b") == []
    az(f"keyvault secret restore --vault-name az-vault-b -f {kept}.bak")
    assert az(f"keyvault secret show {vault}")["value"] == "two"


def test_who_has_no_role_reads_nothing(az, az_on, officer):
    az(f"keyvault create -g {GROUP} -n az-vault-c -l westeurope")
    az("keyvault secret set --vault-name az-vault-c -n word --value hidden")
    machine = az_on()
    machine("login --identity")  # owns the subscription: that is no right to data
    refused = machine.fails("keyvault secret show --vault-name az-vault-c -n word")
    assert "Caller is not authorized to perform action on resource." in refused
    assert "Microsoft.KeyVault/vaults/secrets/getSecret/action" in refused
    assert "hidden" not in refused


def test_access_policies(az, az_on, az_server, officer):
    az(f"keyvault create -g {GROUP} -n az-vault-d -l westeurope --enable-rbac-authorization false --no-self-perms")
    assert "Forbidden" in az.fails("keyvault secret set --vault-name az-vault-d -n word --value x")
    made = az(f"keyvault set-policy -n az-vault-d --object-id {officer['object_id']} --secret-permissions get list set")
    policy = made["properties"]["accessPolicies"][0]
    assert policy["objectId"] == officer["object_id"]
    assert {p.lower() for p in policy["permissions"]["secrets"]} == {"get", "list", "set"}
    az("keyvault secret set --vault-name az-vault-d -n word --value x")
    machine = az_on()
    machine("login --identity")
    assert "Forbidden" in machine.fails("keyvault secret show --vault-name az-vault-d -n word")
    principal = az_server.console["identity"]["principalId"]
    az(f"keyvault set-policy -n az-vault-d --object-id {principal} --secret-permissions get")
    assert machine("keyvault secret show --vault-name az-vault-d -n word")["value"] == "x"
    az(f"keyvault delete-policy -n az-vault-d --object-id {principal}")
    assert "Forbidden" in machine.fails("keyvault secret show --vault-name az-vault-d -n word")
