"""How Resource Manager writes the names of outputs: their first letters in lower case.

`VMSS` → `vmss`, `IPAddress` → `ipAddress`, `TRANS_Test_Parameter` → `tranS_Test_Parameter` (Azure/bicep issue 9360,
Azure/azure-dev issue 512, hashicorp/terraform-provider-azurerm issue 5706; azure-cli reads `outputs['vmss']` of its own
template, whose output is `VMSS`). Templates find them in any case.
"""

from __future__ import annotations


def camel_case(name: str) -> str:
    """The run of capitals that it begins with in lower case, but for the last one when something else follows it."""
    run = next((index for index, letter in enumerate(name) if not letter.isupper()), len(name))
    if 1 < run < len(name):
        run -= 1
    return name[:run].lower() + name[run:]
