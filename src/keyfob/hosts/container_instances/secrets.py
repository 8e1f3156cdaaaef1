"""Secure values of a group: apart from its properties, sealed, and opened only where its containers start."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from keyfob.arm.shapes import items, mapping
from keyfob.directory.seal import Seal
from keyfob.hosts.container_instances.model import Secrets, secret_files
from keyfob.resource_id import ResourceId

NONE: Secrets = {"variables": {}, "volumes": {}}


def collect(given: Mapping[str, Any], before: Secrets) -> Secrets:
    """The secure values of a body. One that a client read without its value and sends back keeps the value it had.
    Raises InvalidInput."""
    variables: dict[str, Any] = {}
    for container in (*items(given.get("containers")), *items(given.get("initContainers"))):
        for variable in items(mapping(container.get("properties")).get("environmentVariables")):
            key = f"{container.get('name')}/{variable.get('name')}"
            if variable.get("secureValue") is not None:
                variables[key] = str(variable["secureValue"])
            elif variable.get("value") is None and key in before["variables"]:
                variables[key] = before["variables"][key]
    volumes: dict[str, Any] = {}
    for volume in items(given.get("volumes")):
        name, kinds = (
            str(volume.get("name")),
            {"emptyDir", "azureFile", "gitRepo"} & {kind for kind, value in volume.items() if value is not None},
        )
        files = secret_files(volume.get("secret"), name)
        if files:
            volumes[name] = {file: base64.b64encode(content).decode() for file, content in files.items()}
        elif not kinds:
            volumes[name] = before["volumes"].get(name, {})
    return {"variables": variables, "volumes": volumes}


class SecretsSeal:
    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    def close(self, secrets: Secrets, group: ResourceId) -> str:
        plain = json.dumps(secrets, sort_keys=True).encode()
        return base64.b64encode(self._seal.close(plain, about=group.key)).decode()

    def open(self, sealed: Any, group: ResourceId) -> Secrets:
        """Raises `WrongMasterKey`."""
        if not sealed:
            return NONE
        found: Secrets = json.loads(self._seal.open(base64.b64decode(str(sealed)), about=group.key))
        return found
