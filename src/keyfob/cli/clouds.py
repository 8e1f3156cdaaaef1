"""`keyfob clouds` and `keyfob ca`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from keyfob.cli.client import Failure
from keyfob.cli.output import data_option, output_option, say, show_json, table


@click.command()
@output_option
def clouds(output: str) -> None:
    """List the clouds served here, with the names that clients use in each.

    Example: keyfob clouds --output json
    """
    from keyfob.clouds.table import load_clouds

    known = load_clouds().values()
    if output == "json":
        show_json(
            [
                {
                    "name": cloud.name,
                    "login": cloud.login,
                    "resourceManager": cloud.resource_manager,
                    "audience": cloud.management_audience,
                    "suffixes": dict(cloud.suffixes),
                }
                for cloud in known
            ]
        )
        return
    table(
        ["cloud", "sign-in", "Resource Manager", "Key Vault", "Storage"],
        [
            [
                cloud.name,
                cloud.login.removeprefix("https://"),
                cloud.resource_manager.removeprefix("https://"),
                f"*.{cloud.suffixes['key_vault']}",
                f"*.*.{cloud.suffixes['storage']}",
            ]
            for cloud in known
        ],
    )


@click.command()
@click.option("--pem", is_flag=True, help="Print the certificate itself.")
@data_option
def ca(pem: bool, data: Path) -> None:
    """Where the private certificate authority is, and how a program is told to trust it.

    \b
    Examples:
      keyfob ca
      keyfob ca --pem >> my-bundle.pem
    """
    certificate = data / "ca" / "ca.crt"
    if not certificate.exists():
        raise Failure(f"{data} has no certificate yet; the first `keyfob up` makes it.")
    if pem:
        sys.stdout.write(certificate.read_text())
        return
    say(str(certificate), bold=True)
    say("`keyfob run` trusts it for the program by itself, `keyfob env` prints the variables. By hand:")
    table(
        ["program", "set"],
        [
            ["Python, az", f"REQUESTS_CA_BUNDLE={certificate}"],
            ["curl", f"CURL_CA_BUNDLE={certificate}"],
            ["Node", f"NODE_EXTRA_CA_CERTS={certificate}"],
            ["Go", f"SSL_CERT_FILE={certificate}"],
            ["Java", "-Djavax.net.ssl.trustStore=" + str(data / "ca" / "truststore.p12")],
        ],
    )
