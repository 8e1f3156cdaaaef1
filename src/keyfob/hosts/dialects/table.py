"""Every dialect, by name. A new one is a file and a row."""

from __future__ import annotations

from collections.abc import Mapping

from keyfob.hosts.dialects.app_service import APP_SERVICE_2019
from keyfob.hosts.dialects.app_service_2017 import APP_SERVICE_2017
from keyfob.hosts.dialects.arc import ARC
from keyfob.hosts.dialects.azure_ml import AZURE_ML
from keyfob.hosts.dialects.cloud_shell import CLOUD_SHELL
from keyfob.hosts.dialects.dialect import Dialect
from keyfob.hosts.dialects.imds import IMDS
from keyfob.hosts.dialects.service_fabric import SERVICE_FABRIC
from keyfob.hosts.dialects.vm_extension import VM_EXTENSION
from keyfob.hosts.dialects.workload_identity import WORKLOAD_IDENTITY

DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        IMDS,
        VM_EXTENSION,
        APP_SERVICE_2019,
        APP_SERVICE_2017,
        AZURE_ML,
        SERVICE_FABRIC,
        ARC,
        CLOUD_SHELL,
        WORKLOAD_IDENTITY,
    )
}
