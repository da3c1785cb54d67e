"""Results of ADD, in every cniVersion that we speak (CNI specification 1.1.0, section 5, and its predecessors).

One set of structs holds any version's result; :func:`encode` writes the one that was asked for:

===========  =====================================================================================
0.3.1 0.4.0  each of ``ips`` has a ``version``, "4" or "6"
1.0.0        it has not
1.1.0        interfaces may have ``mtu``, ``socketPath``, ``pciID``; routes ``mtu``, ``advmss``, ``priority``,
             ``table``, ``scope``
===========  =====================================================================================

A result of the plugins before us in a chain (``prevResult``) is passed on with ours added, as the specification
demands; what it says is not ours to judge, so its addresses stay text.
"""

from __future__ import annotations

from typing import Any

import msgspec

from podwire.cni import codes
from podwire.model.attachment import Attachment
from podwire.model.errors import CniError
from podwire.model.wiring import PodWiring

VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")
NEWEST = VERSIONS[-1]
_WITH_IP_VERSION = frozenset({"0.3.1", "0.4.0"})
_SCOPE_LINK = 253

_json = msgspec.json.Encoder()


class Interface(
    msgspec.Struct, frozen=True, omit_defaults=True, rename={"socket_path": "socketPath", "pci_id": "pciID"}
):
    """An interface; *sandbox* is the pod's namespace as CNI_NETNS gave it, or empty for the node's own interfaces."""

    name: str
    mac: str | None = None
    mtu: int | None = None
    sandbox: str | None = None
    socket_path: str | None = None
    pci_id: str | None = None


class IpConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """An address with its prefix length; *interface* is an index into the result's interfaces."""

    address: str
    gateway: str | None = None
    interface: int | None = None
    version: str | None = None


class Route(msgspec.Struct, frozen=True, omit_defaults=True):
    """A route in the pod."""

    dst: str
    gw: str | None = None
    mtu: int | None = None
    advmss: int | None = None
    priority: int | None = None
    table: int | None = None
    scope: int | None = None


class Result(msgspec.Struct, frozen=True):
    """What ADD answers, without the version. *dns* is passed on as it came: we have no DNS settings of our own."""

    interfaces: tuple[Interface, ...] = ()
    ips: tuple[IpConfig, ...] = ()
    routes: tuple[Route, ...] = ()
    dns: dict[str, Any] = msgspec.field(default_factory=dict)


class _Loose(msgspec.Struct):
    """A result as other plugins write it: Go's encoder writes null for an empty list."""

    interfaces: tuple[Interface, ...] | None = None
    ips: tuple[IpConfig, ...] | None = None
    routes: tuple[Route, ...] | None = None
    dns: dict[str, Any] | None = None


def parse(raw: bytes | msgspec.Raw) -> Result:
    """Read a ``prevResult`` of any version; CniError 7 that names the field when it is none."""
    try:
        loose = msgspec.json.decode(raw, type=_Loose)
    except msgspec.DecodeError as error:
        raise CniError(
            codes.INVALID_CONFIG, f"prevResult: {error}", "the runtime must pass the result on as it came"
        ) from None
    return Result(loose.interfaces or (), loose.ips or (), loose.routes or (), loose.dns or {})


def describe(attachment: Attachment, wiring: PodWiring) -> Result:
    """The result of one attachment: the node's end, the pod's end, its addresses and routes."""
    interfaces = (
        Interface(wiring.host_ifname, wiring.host_mac, wiring.mtu),
        Interface(wiring.ifname, wiring.mac, wiring.mtu, attachment.netns),
    )
    gateways = {
        route.via.version: str(route.via) for route in wiring.pod_routes if route.via and route.dst.prefixlen == 0
    }
    ips = tuple(IpConfig(str(address), gateways.get(address.version), interface=1) for address in wiring.addresses)
    routes = tuple(
        Route(str(route.dst), str(route.via) if route.via else None, scope=None if route.via else _SCOPE_LINK)
        for route in wiring.pod_routes
    )
    return Result(interfaces, ips, routes)


def merge(previous: Result, ours: Result) -> Result:
    """*previous* with *ours* added at its end: the indexes that *previous* uses stay right, ours are moved."""
    offset = len(previous.interfaces)
    moved = tuple(
        msgspec.structs.replace(ip, interface=None if ip.interface is None else ip.interface + offset)
        for ip in ours.ips
    )
    return Result(
        previous.interfaces + ours.interfaces, previous.ips + moved, previous.routes + ours.routes, previous.dns
    )


def absent_from(previous: Result, ours: Result) -> list[str]:
    """What *ours* has and *previous* (of the whole chain) lacks, a sentence each.

    Routes are not compared: a plugin after us may have changed them. A MAC that another plugin changed cuts the pod
    off, since the node knows its neighbour for good.
    """
    problems = []
    listed = {(item.name, item.sandbox or ""): item for item in previous.interfaces}
    for item in ours.interfaces:
        found = listed.get((item.name, item.sandbox or ""))
        if found is None:
            problems.append(f"prevResult does not list interface {item.name}")
        elif found.mac and found.mac.lower() != item.mac:
            problems.append(f"{item.name} was made with MAC {item.mac}, prevResult says {found.mac}")
    texts = {ip.address for ip in previous.ips}
    problems += [f"prevResult does not list address {ip.address}" for ip in ours.ips if ip.address not in texts]
    return problems


def encode(result: Result, version: str) -> bytes:
    """*result* as JSON in *version*, which is one of :data:`VERSIONS`."""
    interfaces, routes = result.interfaces, result.routes
    if version != NEWEST:
        interfaces = tuple(Interface(item.name, item.mac, sandbox=item.sandbox) for item in interfaces)
        routes = tuple(Route(item.dst, item.gw) for item in routes)
    with_version = version in _WITH_IP_VERSION
    ips = tuple(
        IpConfig(ip.address, ip.gateway, ip.interface, _ip_version(ip.address) if with_version else None)
        for ip in result.ips
    )
    document: dict[str, Any] = {"cniVersion": version, "interfaces": interfaces, "ips": ips, "routes": routes}
    if result.dns or with_version:  # "dns" was not optional before 1.0.0
        document["dns"] = result.dns
    return _json.encode(document)


def encode_error(error: CniError, version: str) -> bytes:
    """*error* as JSON; *version* is that of the configuration, where it could be read."""
    document: dict[str, Any] = {"cniVersion": version, "code": error.code, "msg": _clean(error.message)}
    if error.details:
        document["details"] = _clean(error.details)
    return _json.encode(document)


def _ip_version(address: str) -> str:
    return "6" if ":" in address else "4"


def _clean(text: str) -> str:
    """*text* without lone surrogates, which undecodable bytes of the environment become and JSON cannot hold."""
    return text.encode("utf-8", "backslashreplace").decode()
