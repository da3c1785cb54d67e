"""Address types and the few pure functions on them that several rooms share.

Addresses are the standard library's ``ipaddress`` values everywhere inside podwire; text is parsed once, at the edge,
by :func:`network`, :func:`address` and :func:`interface`, whose errors name the field.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import TypeAlias

from podwire.model.errors import InputError

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPInterface: TypeAlias = IPv4Interface | IPv6Interface
IPNetwork: TypeAlias = IPv4Network | IPv6Network

V4_GATEWAY = IPv4Address("169.254.1.1")
"""The pod's link-local default gateway (routed wiring); the same in every pod, never seen outside it."""

V6_GATEWAY = IPv6Address("fe80::1")
"""The same for IPv6."""


def network(text: str, field: str) -> IPNetwork:
    """Parse a CIDR such as ``10.244.0.0/16``; host bits set is an error that names the network meant."""
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        try:
            meant = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise InputError(field, text, f"is not a CIDR ({error})", remedy="write it like 10.244.0.0/16") from None
        raise InputError(field, text, "has host bits set", remedy=f"did you mean {meant}?") from None


def address(text: str, field: str) -> IPAddress:
    """Parse an address such as ``10.244.1.5`` (no prefix length)."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise InputError(field, text, "is not an IP address", remedy="write it like 10.244.1.5") from None


def interface(text: str, field: str) -> IPInterface:
    """Parse an address with an optional prefix length, such as ``10.244.1.5/24``."""
    try:
        return ipaddress.ip_interface(text)
    except ValueError:
        raise InputError(
            field, text, "is not an IP address with prefix", remedy="write it like 10.244.1.5/24"
        ) from None


def host_network(addr: IPAddress) -> IPNetwork:
    """The /32 or /128 that holds just *addr*."""
    return ipaddress.ip_network((addr, addr.max_prefixlen))


def overlapping(one: IPNetwork, other: IPNetwork) -> bool:
    """Whether two networks of any family share an address (networks of different families never do)."""
    return one.version == other.version and one.overlaps(other)


def contains(networks: Iterable[IPNetwork], addr: IPAddress) -> bool:
    """Whether *addr* lies in any of *networks*."""
    return any(net.version == addr.version and addr in net for net in networks)


def stable_mac(*parts: str) -> str:
    """A locally administered unicast MAC address that depends on *parts* alone (46 bits of SHA-256)."""
    digest = bytearray(hashlib.sha256("\0".join(parts).encode()).digest()[:6])
    digest[0] = (digest[0] & 0xFC) | 0x02
    return ":".join(f"{byte:02x}" for byte in digest)
