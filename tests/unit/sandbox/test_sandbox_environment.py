from __future__ import annotations

import pytest

from keyfob.hosts.sandbox.environment import TrustPaths, sandbox_environment

PATHS = TrustPaths(bundle="/etc/bundle.pem", authority="/data/ca.pem")


@pytest.mark.parametrize(
    "name",
    [
        "HTTP_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "no_proxy",
        "MSI_ENDPOINT",
        "MSI_SECRET",
        "IDENTITY_ENDPOINT",
        "IDENTITY_SERVER_THUMBPRINT",
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        "AZURE_CLIENT_SECRET",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_TOKEN_CREDENTIALS",
        "KEYFOB_DATA",
        "SSL_CERT_DIR",
    ],
)
def test_what_leads_elsewhere_is_taken_out_and_told(name):
    inside, removed = sandbox_environment({name: "value", "HOME": "/home/me"}, PATHS)
    assert name not in inside
    assert removed == (name,)
    assert inside["HOME"] == "/home/me"


@pytest.mark.parametrize(
    "name", ["AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CONFIG_DIR", "AZURE_AUTHORITY_HOST", "PATH", "MSIX", "PROXY"]
)
def test_what_chooses_among_identities_or_means_nothing_to_us_stays(name):
    inside, removed = sandbox_environment({name: "value"}, PATHS)
    assert inside[name] == "value"
    assert removed == ()


def test_trust_is_pointed_at_our_files_whatever_was_there():
    inside, removed = sandbox_environment({"SSL_CERT_FILE": "/mine.pem", "NODE_EXTRA_CA_CERTS": "/mine.pem"}, PATHS)
    assert {inside[name] for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")} == {
        "/etc/bundle.pem"
    }
    assert inside["NODE_EXTRA_CA_CERTS"] == "/data/ca.pem"
    assert removed == ()


def test_java_is_told_only_when_its_own_file_could_not_stand_in():
    assert "JAVA_TOOL_OPTIONS" not in sandbox_environment({}, PATHS)[0]
    told, _ = sandbox_environment({"JAVA_TOOL_OPTIONS": "-Xmx1g"}, PATHS._replace(truststore="/data/cacerts"))
    assert told["JAVA_TOOL_OPTIONS"] == (
        "-Xmx1g -Djavax.net.ssl.trustStore=/data/cacerts -Djavax.net.ssl.trustStorePassword=changeit"
    )


def test_the_callers_mapping_is_left_alone():
    current = {"HTTP_PROXY": "p"}
    sandbox_environment(current, PATHS)
    assert current == {"HTTP_PROXY": "p"}
