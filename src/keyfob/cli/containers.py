"""`keyfob image` and `keyfob exec`: what container groups run from, and programs in their containers."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from keyfob.cli.client import LOCAL_API, Client, Failure
from keyfob.cli.output import data_option, output_option, say, show_json, table, tenant_option
from keyfob.hosts.container_instances.images import Images


@click.group()
def image() -> None:
    """Images that container groups run from where there is no Podman or Docker that has them.

    They lie in the server's data folder; a group that waits for one starts by itself.
    """


@image.command(name="import")
@click.argument("name")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@data_option
def import_(name: str, source: Path, data: Path) -> None:
    """Import a file system or an image under NAME.

    SOURCE is a folder with a root file system, a tar archive of one (`podman export`, `docker export`), an archive of
    an image (`podman save`, `docker save`) or an OCI layout.

    \b
    Examples:
      keyfob image import shop/worker:1 worker.tar
      keyfob image import alpine ./alpine-minirootfs.tar.gz
    """
    images = _images(data)
    found = images.add(name, source)
    click.echo(f"{name}: {' '.join(found.command) or 'no command of its own: containers of it have to name theirs'}")


@image.command(name="list")
@output_option
@data_option
def list_(output: str, data: Path) -> None:
    """List the images that were imported.

    Example: keyfob image list
    """
    images = _images(data)
    found = [(name, images.find(name)) for name in images.names()]
    rows = [(name, " ".join(one.command) if one else "") for name, one in found]
    if output == "json":
        show_json([{"name": name, "command": command} for name, command in rows])
    elif not rows:
        say("No image was imported yet; `keyfob image import NAME SOURCE` does that.")
    else:
        table(("Name", "Command"), rows)


@image.command(name="remove")
@click.argument("name")
@data_option
def remove(name: str, data: Path) -> None:
    """Remove an image that was imported.

    Example: keyfob image remove shop/worker:1
    """
    _images(data).remove(name)


@click.command(name="exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--container", metavar="NAME", help="Which container of the group; the first without it.")
@tenant_option
@data_option
@click.argument("group")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(container: str | None, tenant: str | None, data: Path, group: str, command: tuple[str, ...]) -> None:
    """Run a program in a running container of a group, to its end; it has no input.

    GROUP is the group's name or resource id.

    \b
    Examples:
      keyfob exec shop ls -l /
      keyfob exec --container worker shop sh -c 'cat /secrets/key'
    """
    client = Client(data, tenant)
    host_id = client.find_host(group)
    if "/microsoft.containerinstance/containergroups/" not in host_id.lower():
        raise Failure(f"'{group}' is no container group: use `keyfob run --as` for other hosts.")
    if container is None:
        shown = client.arm_json("GET", host_id, api_version="2023-05-01")
        container = str(shown["properties"]["containers"][0]["name"])
    words = list(command[1:] if command[0] == "--" else command)
    path = f"{host_id}/containers/{container}/providers/Keyfob.Hosts/exec"
    done = client.arm_json("POST", path, {"command": words}, api_version=LOCAL_API)
    click.echo(done["output"], nl=False)
    click.echo(done["errors"], nl=False, err=True)
    sys.exit(done["exitCode"])


def _images(data: Path) -> Images:
    if not data.is_dir():
        raise Failure(f"There is no server's folder {data}: start one with `keyfob up`.")
    return Images(data / "containers" / "images")
