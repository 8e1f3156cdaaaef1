"""Bodies of /metadata/endpoints against what Resource Manager really answered."""

from __future__ import annotations

import json

import pytest

from keyfob.clouds.metadata import API_VERSIONS, metadata_endpoints


def test_every_version_answers_and_no_other(clouds):
    public = clouds["AzureCloud"]
    for version in API_VERSIONS:
        assert metadata_endpoints(public, clouds, version)
    for version in ("", "2022-09-02", "2022-09-01-preview", "2.0"):
        assert metadata_endpoints(public, clouds, version) is None


def test_the_newest_is_one_object_of_the_cloud_asked(clouds):
    for cloud in clouds.values():
        body = metadata_endpoints(cloud, clouds, "2022-09-01")
        assert isinstance(body, dict)
        assert body["name"] == cloud.name
        assert body["authentication"]["loginEndpoint"] == cloud.login
        # az takes it for both `management` and `active_directory_resource_id`.
        assert body["authentication"]["audiences"][0] == cloud.management_audience
        assert body["suffixes"]["keyVaultDns"] == cloud.suffixes["key_vault"]
        assert not any(value is None or str(value).startswith(".") for value in body["suffixes"].values())
        assert body["ossrdbmsResourceId"] == body["ossrDbmsResourceId"]


def test_2019_is_a_list_with_the_cloud_asked_first(clouds):
    body = metadata_endpoints(clouds["AzureGermanCloud"], clouds, "2019-05-01")
    assert isinstance(body, list)
    assert body[0]["name"] == "AzureGermanCloud"
    assert {entry["name"] for entry in body} == set(clouds)


def test_what_a_cloud_lacks_is_left_out(clouds):
    german = metadata_endpoints(clouds["AzureGermanCloud"], clouds, "2022-09-01")
    assert isinstance(german, dict)
    assert "logAnalyticsResourceId" not in german
    assert "azureDataLakeStoreFileSystem" not in german["suffixes"]


def test_az_finds_every_endpoint_of_its_table(clouds, reference):
    source = json.loads((reference / "clouds/az-cloud-definitions.json").read_text())
    members = source["armMetadataIndex"]["endpoints"]
    for entry in source["clouds"]:
        if entry["name"] not in clouds:
            continue
        body = metadata_endpoints(clouds[entry["name"]], clouds, "2022-09-01")
        for key, value in entry["endpoints"].items():
            if value and key != "vm_image_alias_doc":
                assert same(dig(body, members[key]), value), (entry["name"], key)
        for key, value in entry["suffixes"].items():
            if value:
                assert dig(body, source["armMetadataIndex"]["suffixes"][key]) == value.removeprefix("."), key


@pytest.mark.parametrize("version", ["2015-01-01", "2018-01-01", "2019-05-01", "2022-09-01"])
def test_the_public_cloud_answers_as_captured(clouds, reference, version):
    captured = json.loads((reference / "clouds/arm-metadata-endpoints.json").read_text())["bodies"][version]
    body = metadata_endpoints(clouds["AzureCloud"], clouds, version)
    if isinstance(captured, list):
        assert isinstance(body, list)
        body, captured = body[0], captured[0]
    assert isinstance(body, dict)
    extra = {"gallery", "appServiceResourceId", "ossrdbmsResourceId"} if version == "2022-09-01" else set()
    assert {key: value for key, value in body.items() if key not in extra} == captured
    assert extra <= body.keys()


def test_the_other_clouds_answer_as_captured_but_for_slashes(clouds, reference):
    captured = json.loads((reference / "clouds/arm-metadata-endpoints.json").read_text())["bodies"]["2019-05-01"]
    body = metadata_endpoints(clouds["AzureCloud"], clouds, "2019-05-01")
    assert isinstance(body, list)
    ours = {entry["name"]: entry for entry in body}
    for entry in captured:
        made = dict(ours[entry["name"]])
        if entry["name"] == "AzureUSGovernment":  # az's value is kept for these two
            assert made.pop("graph") == made.pop("graphAudience") == "https://graph.microsoftazure.us/"
        theirs = {key: value for key, value in entry.items() if key in made}
        assert bare(made) == bare(theirs)
        assert entry.keys() - made.keys() <= {"graph", "graphAudience"}


def dig(body, path):
    """`authentication.audiences[0]`."""
    for step in path.replace("[0]", ".0").split("."):
        body = body[int(step)] if step.isdigit() else body[step]
    return body


def same(left, right):
    return bare(left) == bare(right)


def bare(value):
    if isinstance(value, dict):
        return {key: bare(item) for key, item in value.items()}
    if isinstance(value, list):
        return [bare(item) for item in value]
    return value.rstrip("/")
