"""The fabric as values: which namespaces, and what to run in each to make it. Pure; :mod:`podwire.lab.fabric` does it.

::

            world 198.51.100.10                     a host outside of the cluster; default route back
              |
            router                                  routes between segments; knows no pod CIDR
              | .1           | .1
            switch1 -----   switch2 -----           bridges, one per segment
              |   |   |      |       |
         control  node1    node2   node4            .10, .11 and up
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from podwire.lab import spec as places
from podwire.lab.spec import LabSpec, NodeRecord
from podwire.model.addresses import IPInterface

CONTROL, ROUTER, WORLD = "control-plane", "router", "world"
"""Names of the fabric's own hosts; no node may be called so."""

BRIDGE = "br0"
CONTROL_PORT = "control"
_TABLE = "podwire_lab"

_NO_DAD = (("net/ipv6/conf/default/accept_dad", "0"),)
"""Addresses here are ours to give: without this a host is mute over IPv6 for its first second."""


class Setup(msgspec.Struct, frozen=True):
    """What is done in one namespace: lines for ``ip -batch``, and sysctls (path below /proc/sys, value).

    The sysctls of all namespaces are set before any link is made, so that links are born with them. Those that are
    *optional* exist only with some kernel modules loaded.
    """

    host: str
    links: tuple[str, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    optional: tuple[tuple[str, str], ...] = ()


class Conditions(msgspec.Struct, frozen=True):
    """How a segment behaves: its switch drops *loss* percent of the frames at random, and UDP datagrams to the
    *blocked_udp* ports; *mtu* is that of its cables, 0 meaning as the lab was made.
    """

    loss: float = 0.0
    blocked_udp: tuple[int, ...] = ()
    mtu: int = 0


def switch_name(segment: int) -> str:
    """The namespace of a segment's switch."""
    return f"switch{segment}"


def reserved_names() -> frozenset[str]:
    """Names that no node may have."""
    return frozenset({CONTROL, ROUTER, WORLD} | {switch_name(number) for number in range(1, places.MAX_SEGMENTS + 1)})


def hosts(spec: LabSpec) -> list[str]:
    """The fabric's own namespaces, without the nodes'."""
    return [*(switch_name(segment) for segment in range(1, spec.subnets + 1)), ROUTER, CONTROL, WORLD]


def fabric(spec: LabSpec, pins: Path) -> list[Setup]:
    """Everything but the nodes, in an order that works: switches first, since they make the cables."""
    return [
        *(_switch(spec, segment, pins) for segment in range(1, spec.subnets + 1)),
        _router(spec, pins),
        _control(spec),
        _world(spec),
    ]


def _cable(port: str, mtu: int, pins: Path, host: str, ifname: str, mac: str = "") -> list[str]:
    """A veth whose far end is born in *host*: moving it there later would cost an RCU grace period."""
    address = f" address {mac}" if mac else ""
    return [
        f"link add {port} mtu {mtu} type veth peer name {ifname} mtu {mtu}{address} netns {pins / host}",
        f"link set {port} master {BRIDGE} up",
    ]


def _switch(spec: LabSpec, segment: int, pins: Path) -> Setup:
    links = ["link set lo up", f"link add {BRIDGE} mtu {spec.mtu} type bridge stp_state 0 mcast_snooping 0"]
    links += [f"link set {BRIDGE} up"]
    links += _cable("router", spec.mtu, pins, ROUTER, f"net{segment}")
    if segment == 1:
        links += _cable(CONTROL_PORT, spec.mtu, pins, CONTROL, "eth0")
    # A switch is not a firewall: frames must not meet the inet hooks. And it has no address, not even fe80::.
    return Setup(
        switch_name(segment),
        tuple(links),
        (("net/ipv6/conf/default/disable_ipv6", "1"),),
        tuple((f"net/bridge/bridge-nf-call-{family}tables", "0") for family in ("ip", "ip6", "arp")),
    )


def _up(ifname: str, addresses: Iterable[IPInterface]) -> list[str]:
    lines = [f"address add {addr} dev {ifname}" + (" nodad" if addr.version == 6 else "") for addr in addresses]
    return [*lines, f"link set {ifname} up"]


def _defaults(gateways: Iterable[IPInterface]) -> list[str]:
    return [f"route add default via {gateway.ip}" for gateway in gateways]


def _router(spec: LabSpec, pins: Path) -> Setup:
    links = ["link set lo up"]
    for segment in range(1, spec.subnets + 1):
        links += _up(f"net{segment}", places.interfaces(spec, segment, places.ROUTER_HOST))
    links.append(f"link add world mtu {spec.mtu} type veth peer name eth0 mtu {spec.mtu} netns {pins / WORLD}")
    links += _up("world", places.world_interfaces(spec, places.ROUTER_HOST))
    forward = tuple((f"net/ipv{version}/conf/all/forwarding", "1") for version in spec.versions)
    # Routing must not depend on what the machine's distribution sets: conf/all and default are inherited.
    loose = (("net/ipv4/conf/all/rp_filter", "0"), ("net/ipv4/conf/default/rp_filter", "0"))
    return Setup(ROUTER, tuple(links), forward + loose + _NO_DAD)


def _control(spec: LabSpec) -> Setup:
    addresses = places.interfaces(spec, 1, places.CONTROL_HOST)
    gateways = places.interfaces(spec, 1, places.ROUTER_HOST)
    return Setup(CONTROL, ("link set lo up", *_up("eth0", addresses), *_defaults(gateways)), _NO_DAD)


def _world(spec: LabSpec) -> Setup:
    links = _up("eth0", places.world_interfaces(spec)) + _defaults(places.world_interfaces(spec, places.ROUTER_HOST))
    return Setup(WORLD, ("link set lo up", *links), _NO_DAD)


def node(spec: LabSpec, record: NodeRecord, pins: Path, mtu: int = 0) -> list[Setup]:
    """Plug a node in: its cable, its addresses, its default route. Its sysctls are those of a fresh namespace.

    *mtu* 0 means that of the spec.
    """
    segment = places.segment_of(spec, record.index)
    cable = _cable(record.port, mtu or spec.mtu, pins, record.name, "eth0", places.node_mac(spec, record))
    gateways = places.interfaces(spec, segment, places.ROUTER_HOST)
    inside = ["link set lo up", *_up("eth0", places.node_interfaces(spec, record)), *_defaults(gateways)]
    return [Setup(switch_name(segment), tuple(cable)), Setup(record.name, tuple(inside))]


def merged(setups: Iterable[Setup]) -> list[Setup]:
    """The same with one Setup per namespace, in the order of first mention: a switch plugs all its nodes in at once."""
    found: dict[str, Setup] = {}
    for setup in setups:
        known = found.get(setup.host, Setup(setup.host))
        found[setup.host] = Setup(
            setup.host,
            known.links + setup.links,
            known.sysctls + setup.sysctls,
            known.optional + setup.optional,
        )
    return list(found.values())


def ruleset(drops: Conditions) -> str:
    """The switch's nftables, loaded as one transaction; without anything to drop, nothing at all."""
    lines = [f"add table bridge {_TABLE}", f"delete table bridge {_TABLE}"]
    rules: list[str] = []
    if drops.blocked_udp:
        ports = ", ".join(str(port) for port in sorted(drops.blocked_udp))
        rules.append(f"udp dport {{ {ports} }} counter drop")
    if drops.loss:
        rules.append(f"numgen random mod 10000 < {round(drops.loss * 100)} counter drop")
    if rules:
        lines.append(f"add table bridge {_TABLE}")
        lines.append(f"add chain bridge {_TABLE} forward {{ type filter hook forward priority 0; policy accept; }}")
        lines += [f"add rule bridge {_TABLE} forward {rule}" for rule in rules]
    return "\n".join(lines) + "\n"


def mtu_changes(spec: LabSpec, segment: int, mtu: int, nodes: Iterable[NodeRecord]) -> list[Setup]:
    """Give every cable of a segment another MTU, at both ends."""
    here = [record for record in nodes if places.segment_of(spec, record.index) == segment]
    ports = ["router", *([CONTROL_PORT] if segment == 1 else []), *(record.port for record in here)]
    ends: Mapping[str, str] = {
        ROUTER: f"net{segment}",
        **({CONTROL: "eth0"} if segment == 1 else {}),
        **{record.name: "eth0" for record in here},
    }
    switch = Setup(switch_name(segment), tuple(f"link set {name} mtu {mtu}" for name in [*ports, BRIDGE]))
    return [switch, *(Setup(host, (f"link set {ifname} mtu {mtu}",)) for host, ifname in ends.items())]
