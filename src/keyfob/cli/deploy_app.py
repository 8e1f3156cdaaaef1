"""`keyfob deploy-app`: a folder or an archive becomes what a site runs, with its progress."""

from __future__ import annotations

import os
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import click

from keyfob.cli.client import RESOURCES_API, Answer, Client, Failure, sentence
from keyfob.cli.output import data_option, output_option, say, show_json, tenant_option
from keyfob.resource_id import ResourceId

WEB_API = "2024-11-01"
BUILD = "SCM_DO_BUILD_DURING_DEPLOYMENT"

_NEVER = frozenset({".git", ".hg", ".svn", "__pycache__", ".azure", ".DS_Store", ".mypy_cache", ".pytest_cache"})
_BUILT = frozenset({"node_modules", "antenv", ".venv", "venv", "env"})
"""What a build makes anew."""

_SITES = frozenset({"microsoft.web/sites", "microsoft.web/sites/slots"})
_FAILED = 3
_PATIENCE = 300.0
"""Seconds for an app to come up; App Service gives 230."""
_SILENT = 10.0
"""Seconds without a word about an app that does not come up."""
_WARMUP = "/robots933456.txt"
"""What App Service asks an app for to see whether it answers."""
_TRIES = 20


@click.command("deploy-app")
@click.argument("name")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--group", "-g", metavar="NAME", help="Makes the site, with an identity, and the group.")
@click.option("--location", "-l", default="westeurope", show_default=True, help="Of what is made.")
@click.option("--command", "-c", metavar="COMMAND", help="Startup command; without: what the files say.")
@click.option("--build", is_flag=True, help="Install what requirements.txt or package.json name.")
@output_option
@tenant_option
@data_option
def deploy_app(
    name: str,
    source: Path,
    group: str | None,
    location: str,
    command: str | None,
    build: bool,
    output: str,
    tenant: str | None,
    data: Path,
) -> None:
    """Deploy an app to a site, and wait until it runs.

    NAME is a site, or `site/slot`; SOURCE is a folder or a zip archive. It goes through the site's own SCM site, as
    `az webapp deploy` does it.

    \b
    Examples:
      keyfob deploy-app shop ./app --group web --build
      keyfob deploy-app shop/staging app.zip --command "gunicorn main:app"
    """
    client = Client(data, tenant)
    id = _site(client, name, group, location)
    if command is not None:
        client.arm_json("PATCH", f"{id}/config/web", {"properties": {"appCommandLine": command}}, api_version=WEB_API)
    if build:
        _ask_for_build(client, id)
    site = client.arm_json("GET", id, api_version=WEB_API)
    host = site["properties"]["defaultHostName"]
    quiet = output == "json"
    with _package(source, built=not build) as package:
        forgotten = "" if build else _uninstalled(package)
        shown = _sent(client, host, package, quiet=quiet)
    if shown["status"] == _FAILED:
        raise Failure(f"The deployment failed: {shown['status_text']}")
    if site["properties"].get("state") == "Running":
        try:
            _come_up(client, id, shown["id"], quiet=quiet)
            _answer(client, id, shown["id"], host, functions="functionapp" in site.get("kind", ""))
        except Failure as failure:
            if forgotten and not any(line.startswith("$ ") for line in _logged(client, host, shown["id"])):
                raise Failure(
                    f"{failure.message}\nNothing of its {forgotten} was installed: --build does that."
                ) from None
            raise
    elif not quiet:
        _tell(f"{_short(id)} is stopped, so nothing was started: `keyfob az webapp start` does that.")
    if quiet:
        show_json(shown)
    else:
        say(f"https://{host}", fg="green")


# --- the site


def _site(client: Client, name: str, group: str | None, location: str) -> str:
    """Its resource id; made when it is not there and a group says where."""
    try:
        id = client.find_host(name)
    except Failure as failure:
        if name.startswith("/"):
            raise
        if group is None:
            raise Failure(f"{failure.message} With --group NAME the site is made.") from None
    else:
        return _meant(id, name, group)
    subscription = client.operator["subscription_id"]
    scope = f"/subscriptions/{subscription}/resourceGroups/{group}"
    if client.arm("HEAD", scope, api_version=RESOURCES_API).status == 404:
        client.arm_json("PUT", scope, {"location": location}, api_version=RESOURCES_API)
    site, _, slot = name.partition("/")
    id = f"{scope}/providers/Microsoft.Web/sites/{site}" + (f"/slots/{slot}" if slot else "")
    body = {
        "location": location,
        "kind": "app,linux",
        "identity": {"type": "SystemAssigned"},
        "properties": {"reserved": True, "httpsOnly": True},
    }
    client.arm_json("PUT", id, body, api_version=WEB_API)
    return id


def _meant(id: str, name: str, group: str | None) -> str:
    """What was found under that name, if it is what was asked for."""
    found = ResourceId.parse(id)
    if found.type.lower() not in _SITES:
        raise Failure(f"'{name}' is no site, but {id}.")
    if group is not None and (found.resource_group or "").lower() != group.lower():
        raise Failure(
            f"The site '{name}' is in the group {found.resource_group}, not in {group}; "
            "leave --group out to deploy to it."
        )
    return id


def _ask_for_build(client: Client, id: str) -> None:
    listed = client.arm_json("POST", f"{id}/config/appsettings/list", api_version=WEB_API)["properties"]
    if str(listed.get(BUILD, "")).lower() not in {"true", "1"}:
        client.arm_json(
            "PUT", f"{id}/config/appsettings", {"properties": {**listed, BUILD: "true"}}, api_version=WEB_API
        )


# --- the package


def _package(source: Path, *, built: bool) -> IO[bytes]:
    """The archive, at its beginning; of a folder it is made."""
    if source.is_file():
        if not zipfile.is_zipfile(source):
            raise Failure(f"{source} is neither a folder nor a zip archive.")
        return source.open("rb")
    made: IO[bytes] = tempfile.TemporaryFile(prefix="keyfob-app-")  # noqa: SIM115 - the caller closes it
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in _files(source, _NEVER if built else _NEVER | _BUILT):
            name = path.relative_to(source).as_posix()
            if path.is_symlink():
                entry = zipfile.ZipInfo(name)
                entry.external_attr = 0o120777 << 16
                archive.writestr(entry, os.readlink(path))
            else:
                archive.write(path, name)
    made.seek(0)
    return made


def _uninstalled(package: IO[bytes]) -> str:
    """The file that names packages, of an archive that has none of them; "" without such a file."""
    with zipfile.ZipFile(package) as archive:
        names = {name.partition("/")[0] for name in archive.namelist()}
    package.seek(0)
    if "requirements.txt" in names and not names & {"antenv", ".venv", ".python_packages"}:
        return "requirements.txt"
    return "package.json" if "package.json" in names and "node_modules" not in names else ""


def _files(folder: Path, without: frozenset[str]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in without:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path, without)
        elif path.is_symlink() or path.is_file():
            yield path


# --- the deployment


def _sent(client: Client, host: str, package: IO[bytes], *, quiet: bool) -> Any:
    """The deployment when it has ended; meanwhile its log."""
    label, _, zone = host.partition(".")
    base = f"https://{label}.scm.{zone}/api"
    headers = {"Authorization": f"Bearer {client.token(client.operator['audience'])}"}
    size = package.seek(0, os.SEEK_END)
    package.seek(0)
    about = {**headers, "Content-Type": "application/zip", "Content-Length": str(size)}
    body: Any = package  # http.client sends a file piece by piece
    begun = client.send("POST", f"{base}/zipdeploy?isAsync=true&deployer=keyfob", about, body)
    if begun.status != 202:
        raise Failure(_said(begun))
    url = f"{base}/deployments/{begun.headers['scm-deployment-id']}"
    told, pause = 0, 0.05
    while True:
        shown = _read(client, url, headers)
        if not quiet:
            lines = _read(client, f"{url}/log", headers)
            for line in lines[told:]:
                _tell(line["message"])
            told = len(lines)
        if shown["complete"]:
            return shown
        time.sleep(pause)
        pause = min(1.0, pause * 1.5)


def _read(client: Client, url: str, headers: Mapping[str, str]) -> Any:
    answer = client.send("GET", url, headers)
    if answer.status >= 300:
        raise Failure(_said(answer))
    return answer.json()


def _tell(text: str) -> None:
    click.echo(click.style(f"  {text}", dim=True), err=True)


def _said(answer: Answer) -> str:
    return f"The SCM site refused: {sentence(answer)}"


def _logged(client: Client, host: str, deployment: str) -> list[str]:
    label, _, zone = host.partition(".")
    headers = {"Authorization": f"Bearer {client.token(client.operator['audience'])}"}
    lines = _read(client, f"https://{label}.scm.{zone}/api/deployments/{deployment}/log", headers)
    return [line["message"] for line in lines]


def _come_up(client: Client, id: str, deployment: str, *, quiet: bool) -> None:
    """Until its program answers."""
    if not quiet:
        _tell("Starting the app.")
    begun = time.monotonic()
    told = quiet
    while (waited := time.monotonic() - begun) < _PATIENCE:
        if _runs(client, id, deployment):
            return
        if waited > _SILENT and not told:
            _tell(f"Its port does not answer yet; `keyfob logs {_short(id)}` shows what it prints.")
            told = True
        time.sleep(0.2)
    raise Failure(f"The app has not come up yet; `keyfob logs {_short(id)}` tells why.")


def _runs(client: Client, id: str, deployment: str) -> bool:
    """Its port answers. Raises `Failure` when it never will."""
    shown = client.arm_json("GET", f"{id}/deploymentStatus/{deployment}", api_version=WEB_API)["properties"]
    if shown["status"] == "RuntimeFailed":
        raise Failure("The app did not come up: " + "; ".join(one["message"] for one in shown["errors"]))
    return bool(shown["status"] == "RuntimeSuccessful")


def _answer(client: Client, id: str, deployment: str, host: str, *, functions: bool) -> None:
    """A port may be open before the program behind it fails, so it is asked for something."""
    if not client.arm_json("GET", f"{id}/instances", api_version=WEB_API)["value"]:
        missing = (
            "there is no host.json with function_app.py or a function.json"
            if functions
            else "there is no program in it that could be started without being named. --command names one"
        )
        raise Failure(f"It is deployed, but nothing of it runs: {missing}; `keyfob logs {_short(id)}` may tell more.")
    for _ in range(_TRIES):
        if client.send("GET", f"https://{host}{_WARMUP}").status not in (502, 503):
            return
        _runs(client, id, deployment)
        time.sleep(0.2)


def _short(id: str) -> str:
    return "/".join(ResourceId.parse(id).names)
