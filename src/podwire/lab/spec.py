"""What a lab is asked to be, checked; and where everything in it stands in the underlay. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

import msgspec

from podwire.model.addresses import IPAddress, IPInterface, IPNetwork, network, overlapping, stable_mac
from podwire.model.errors import InputError

DEFAULT_NAME = "default"
DEFAULT_UNDERLAY = ("10.89.0.0/16",)
WORLD_NETWORKS = (ipaddress.ip_network("198.51.100.0/24"), ipaddress.ip_network("2001:db8:100::/64"))
"""Where the world lives: documentation ranges (RFC 5737, RFC 3849), one per IP version."""

API_PORT = 6443
"""TCP port of the API server on the fabric; on the machine's loopback it is any that is free."""

MAX_SEGMENTS = 100
MAX_NODES = 1000
SEGMENT_PREFIX = {4: 24, 6: 64}
ROUTER_HOST, CONTROL_HOST, FIRST_NODE_HOST, LAST_NODE_HOST = 1, 10, 11, 250
WORLD_HOST = 10
"""Host numbers within a segment."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?")


class LabSpec(msgspec.Struct, frozen=True):
    """A lab as asked for. *loss* is a percentage of the frames; *mtu* is that of every cable, in bytes."""

    name: str = DEFAULT_NAME
    nodes: int = 3
    backend: Literal["vxlan", "host-gw"] = "vxlan"
    pod_cidrs: tuple[str, ...] = ("10.244.0.0/16",)
    service_cidrs: tuple[str, ...] = ("10.96.0.0/12",)
    underlay: tuple[str, ...] = DEFAULT_UNDERLAY
    subnets: int = 1
    mtu: int = 1500
    loss: float = 0.0

    @property
    def underlay_networks(self) -> tuple[IPNetwork, ...]:
        """The underlay's ranges, one per IP version."""
        return tuple(network(text, "underlay") for text in self.underlay)

    @property
    def versions(self) -> tuple[int, ...]:
        """The IP versions that the underlay speaks."""
        return tuple(net.version for net in self.underlay_networks)


class NodeRecord(msgspec.Struct, frozen=True):
    """A node's identity, which outlives its reboots. *index* (from 1) settles its segment, address and port."""

    name: str
    index: int

    @property
    def port(self) -> str:
        """Name of the switch's end of its cable."""
        return f"port{self.index}"


def check_name(name: str, field: str = "name") -> str:
    """A lab's or a node's name: an RFC 1123 label of at most 30 characters."""
    if not _NAME.fullmatch(name):
        raise InputError(
            field, name, "is not a name", remedy="use at most 30 lower-case letters, digits and '-', such as node4"
        )
    return name


def check(spec: LabSpec) -> LabSpec:
    """Return *spec* if such a lab can exist, else raise InputError naming field, value and remedy."""
    check_name(spec.name)
    if not 1 <= spec.subnets <= MAX_SEGMENTS:
        raise InputError("subnets", spec.subnets, "is out of range", remedy=f"use 1 to {MAX_SEGMENTS}")
    room = min(MAX_NODES, spec.subnets * (LAST_NODE_HOST - FIRST_NODE_HOST + 1))
    if not 0 <= spec.nodes <= room:
        raise InputError("nodes", spec.nodes, "is out of range", remedy=f"{spec.subnets} subnet(s) hold 0 to {room}")
    if not 1280 <= spec.mtu <= 65535:
        raise InputError("mtu", spec.mtu, "is out of range", remedy="use 1280 to 65535 bytes, such as 1500 or 9000")
    check_loss(spec.loss)
    _check_ranges(spec)
    return spec


def check_loss(percent: float) -> float:
    """A loss rate in percent, at a resolution of 0.01."""
    if not 0 <= percent < 100:
        raise InputError("loss", percent, "is out of range", remedy="use a percentage from 0 to 99.99")
    return percent


def _check_ranges(spec: LabSpec) -> None:
    underlay = spec.underlay_networks
    if not underlay or len(set(spec.versions)) != len(underlay):
        raise InputError("underlay", spec.underlay, "needs one range per IP version", remedy="such as 10.89.0.0/16")
    for net in underlay:
        if SEGMENT_PREFIX[net.version] - net.prefixlen < 7:
            longest = SEGMENT_PREFIX[net.version] - 7
            raise InputError("underlay", str(net), "is too small", remedy=f"use a /{longest} or larger")
    named = [(f"underlay {net}", net) for net in underlay]
    named += [(f"the world's {net}", net) for net in WORLD_NETWORKS]
    for field, texts in (("pod-cidr", spec.pod_cidrs), ("service-cidr", spec.service_cidrs)):
        for text in texts:
            net = network(text, field)
            for name, other in named:
                if overlapping(net, other):
                    raise InputError(field, text, f"overlaps {name}", remedy="choose ranges that share no address")
            named.append((f"{field} {net}", net))


def segment_of(spec: LabSpec, index: int) -> int:
    """The segment (from 1) that node number *index* (from 1) is plugged into: round robin."""
    return (index - 1) % spec.subnets + 1


def host_number(spec: LabSpec, index: int) -> int:
    """The node's host number within its segment."""
    return FIRST_NODE_HOST + (index - 1) // spec.subnets


def segment_networks(spec: LabSpec, segment: int) -> tuple[IPNetwork, ...]:
    """The subnets of a segment (from 1), one per IP version of the underlay."""
    found: list[IPNetwork] = []
    for net in spec.underlay_networks:
        prefix = SEGMENT_PREFIX[net.version]
        base = int(net.network_address) + (segment << (net.max_prefixlen - prefix))
        found.append(ipaddress.ip_network((base, prefix)))
    return tuple(found)


def interfaces(spec: LabSpec, segment: int, host: int) -> tuple[IPInterface, ...]:
    """Host number *host* of a segment, as addresses with their prefix length."""
    return tuple(ipaddress.ip_interface(f"{net[host]}/{net.prefixlen}") for net in segment_networks(spec, segment))


def node_interfaces(spec: LabSpec, node: NodeRecord) -> tuple[IPInterface, ...]:
    """The node's underlay addresses."""
    return interfaces(spec, segment_of(spec, node.index), host_number(spec, node.index))


def node_addresses(spec: LabSpec, node: NodeRecord) -> tuple[IPAddress, ...]:
    """The node's underlay addresses without prefix lengths: its InternalIPs."""
    return tuple(iface.ip for iface in node_interfaces(spec, node))


def node_mac(spec: LabSpec, node: NodeRecord) -> str:
    """The MAC of the node's eth0; the same after a reboot."""
    return stable_mac("lab", spec.name, node.name)


def control_addresses(spec: LabSpec) -> tuple[IPAddress, ...]:
    """Where the nodes find the API server."""
    return tuple(iface.ip for iface in interfaces(spec, 1, CONTROL_HOST))


def world_interfaces(spec: LabSpec, host: int = WORLD_HOST) -> tuple[IPInterface, ...]:
    """Addresses on the world's network: the router is host 1, the world is host 10."""
    chosen = (net for net in WORLD_NETWORKS if net.version in spec.versions)
    return tuple(ipaddress.ip_interface(f"{net[host]}/{net.prefixlen}") for net in chosen)


def free_index(spec: LabSpec, taken: set[int], segment: int | None = None) -> int:
    """The lowest node number that is free, in *segment* if one is given; InputError when there is none."""
    if segment is not None and not 1 <= segment <= spec.subnets:
        raise InputError("subnet", segment, "does not exist", remedy=f"this lab has subnets 1 to {spec.subnets}")
    limit = min(MAX_NODES, spec.subnets * (LAST_NODE_HOST - FIRST_NODE_HOST + 1))
    for index in range(1, limit + 1):
        if index not in taken and segment in (None, segment_of(spec, index)):
            return index
    raise InputError("node", None, f"the lab is full with {len(taken)} nodes", remedy="remove one, or use more subnets")
