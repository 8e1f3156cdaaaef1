"""CIDR arithmetic."""

from __future__ import annotations

import ipaddress
from typing import Any

from keyfob.arm.templates.expressions import ExpressionError
from keyfob.arm.templates.functions.table import integer, pure, text

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(function: str, value: Any) -> Network:
    try:
        given = text(function, value)
        if "/" not in given:
            raise ValueError
        return ipaddress.ip_network(given, strict=False)
    except ValueError:
        raise ExpressionError(
            f"The template language function '{function}' expects a CIDR notation. The provided value "
            f"'{str(value)[:100]}' is not valid."
        ) from None


def _parse(value: Any) -> dict[str, Any]:
    network = _network("parseCidr", value)
    first, last = network.network_address, network.broadcast_address
    made: dict[str, Any] = {"network": str(first), "netmask": str(network.netmask)}
    if network.version == 4:
        made["broadcast"] = str(last)
        wide = network.prefixlen < 31
        made |= {"firstUsable": str(first + 1 if wide else first), "lastUsable": str(last - 1 if wide else last)}
    else:
        wide = network.prefixlen < 127
        made |= {"firstUsable": str(first + 1 if wide else first), "lastUsable": str(last)}
    return made | {"cidr": network.prefixlen}


def _subnet(value: Any, bits: Any, index: Any) -> str:
    network, size, at = _network("cidrSubnet", value), integer("cidrSubnet", bits), integer("cidrSubnet", index)
    if not network.prefixlen <= size <= network.max_prefixlen or not 0 <= at < 1 << (size - network.prefixlen):
        raise ExpressionError(
            f"The template language function 'cidrSubnet' expects a subnet '{at}' of size '{size}' within '{network}'."
        )
    start = int(network.network_address) + (at << (network.max_prefixlen - size))
    kind = ipaddress.IPv4Address if network.version == 4 else ipaddress.IPv6Address
    return f"{kind(start)}/{size}"


def _host(value: Any, index: Any) -> str:
    network, at = _network("cidrHost", value), integer("cidrHost", index)
    offset = at + (1 if network.version == 4 and network.prefixlen < 31 else 0)
    if at < 0 or offset >= network.num_addresses:
        raise ExpressionError(f"The template language function 'cidrHost' expects a host '{at}' within '{network}'.")
    return str(network.network_address + offset)


FUNCTIONS = pure({"parseCidr": (1, 1, _parse), "cidrSubnet": (3, 3, _subnet), "cidrHost": (2, 2, _host)})
