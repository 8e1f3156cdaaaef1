"""A container group as it is to run: read from what is stored, every part checked."""

from __future__ import annotations

import base64
import binascii
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keyfob.arm.shapes import items, mapping
from keyfob.errors import InvalidInput, Problem
from keyfob.hosts.workloads.supervisor import Restart

NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
KINDS = ("emptyDir", "secret", "azureFile", "gitRepo")

Secrets = Mapping[str, Mapping[str, Any]]
"""What is never shown: `variables`, by `container/name`, and `volumes`, by name: file → base64."""


class CannotRun(Problem):
    """The group is well-formed, and this place cannot run it: what Azure would do with it is not there."""

    code = "ContainerGroupCannotRun"


@dataclass(frozen=True, slots=True)
class Mount:
    volume: str
    path: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Container:
    name: str
    image: str
    command: tuple[str, ...] = ()
    """Takes the place of the image's entry point; empty: the image's own."""

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    mounts: tuple[Mount, ...] = ()


@dataclass(frozen=True, slots=True)
class Volume:
    """`files` is None for a folder that is empty at first."""

    name: str
    files: Mapping[str, bytes] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Group:
    containers: tuple[Container, ...]
    init: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    restart: Restart = Restart.ALWAYS

    @property
    def all(self) -> tuple[Container, ...]:
        return (*self.init, *self.containers)


def read_group(properties: Mapping[str, Any], secrets: Secrets) -> Group:
    """What is to run. Raises CannotRun with a sentence for the group's events."""
    if properties.get("osType") == "Windows":
        raise CannotRun("Windows containers cannot run here: there is no Windows kernel under this server.")
    volumes = tuple(_volume(one, secrets) for one in items(properties.get("volumes")))
    known = {volume.name for volume in volumes}
    group = Group(
        containers=tuple(_container(one, secrets, known) for one in items(properties.get("containers"))),
        init=tuple(_container(one, secrets, known) for one in items(properties.get("initContainers"))),
        volumes=volumes,
        restart=restart_policy(properties.get("restartPolicy")),
    )
    names = [container.name for container in group.all]
    if len(set(names)) < len(names):
        raise CannotRun("Two containers of the group have the same name.")
    return group


def restart_policy(given: Any) -> Restart:
    """The policy that is meant, `Always` when none is given. Raises InvalidInput."""
    for policy in Restart:
        if str(given or Restart.ALWAYS).lower() == policy.lower():
            return policy
    raise InvalidInput(
        f"The restart policy is one of {', '.join(Restart)}.", code="InvalidRestartPolicy", target="restartPolicy"
    )


def check_container(one: Mapping[str, Any]) -> None:
    """What a PUT refuses in a container, init containers too. Raises InvalidInput."""
    name, inner = str(one.get("name")), mapping(one.get("properties"))
    for variable in items(inner.get("environmentVariables")):
        if not VARIABLE.fullmatch(str(variable.get("name"))):
            raise InvalidInput(
                f"An environment variable of container '{name}' has no valid name.", code="InvalidEnvironmentVariable"
            )
        for kind in ("value", "secureValue"):
            if "\0" in str(variable.get(kind) or ""):
                raise InvalidInput("The value of an environment variable holds a null character.")
    for mount in items(inner.get("volumeMounts")):
        path = str(mount.get("mountPath"))
        if not path.startswith("/") or ":" in path or "\0" in path or posixpath.normpath(path) == "/":
            raise InvalidInput(
                f"The mount path of volume '{str(mount.get('name'))[:63]}' in container '{name}' is an absolute path "
                "without a colon.",
                code="InvalidVolumeMountPath",
            )


def secret_files(given: Any, volume: str) -> dict[str, bytes]:
    """The files of a secret volume. Raises InvalidInput for what is not base64, or no name of a file."""
    found = {}
    for name, value in mapping(given).items():
        try:
            content = base64.b64decode(str(value), validate=True)
        except (binascii.Error, ValueError):
            content = None
        if content is None or name in {"", ".", ".."} or "/" in name or "\0" in name:
            raise InvalidInput(
                f"The secret volume '{volume[:63]}' takes names of files and their content in base64.",
                code="InvalidSecretVolume",
                target="volumes",
            )
        found[name] = content
    return found


def _container(one: Mapping[str, Any], secrets: Secrets, volumes: set[str]) -> Container:
    name, inner = str(one.get("name")), mapping(one.get("properties"))
    if not NAME.fullmatch(name):
        raise CannotRun(f"'{name[:63]}' is no name of a container: lower-case letters, digits and dashes.")
    variables = {}
    for variable in items(inner.get("environmentVariables")):
        key = str(variable.get("name"))
        if not VARIABLE.fullmatch(key):
            raise CannotRun(f"The container '{name}' has a variable without a valid name.")
        secret = secrets.get("variables", {}).get(f"{name}/{key}")
        variables[key] = str(variable.get("value") or "") if secret is None else str(secret)
    mounts = tuple(
        Mount(str(mount.get("name")), posixpath.normpath(str(mount.get("mountPath"))), mount.get("readOnly") is True)
        for mount in items(inner.get("volumeMounts"))
    )
    for mount in mounts:
        if mount.volume not in volumes:
            raise CannotRun(f"The container '{name}' mounts the volume '{mount.volume[:63]}', which the group lacks.")
    command = inner.get("command")
    return Container(
        name=name,
        image=str(inner.get("image") or ""),
        command=tuple(str(word) for word in command) if isinstance(command, list) else (),
        environment=variables,
        mounts=mounts,
    )


def _volume(one: Mapping[str, Any], secrets: Secrets) -> Volume:
    name = str(one.get("name"))
    if one.get("azureFile") is not None:
        raise CannotRun(f"The volume '{name[:63]}' is an Azure file share, and there is none to mount here.")
    if one.get("gitRepo") is not None:
        raise CannotRun(
            f"The volume '{name[:63]}' is a Git repository, and nothing is cloned here: no network leads out."
        )
    files = secrets.get("volumes", {}).get(name)
    return Volume(name, secret_files(files, name) if files is not None else None)
