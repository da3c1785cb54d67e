"""What a look into a network namespace brings home, as values; and the questions that can be asked of it. Pure.

Addresses, networks and MACs are text here: an observation travels as JSON, between versions, and is read by people.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

import msgspec

from podwire.model.addresses import IPAddress

MAIN_TABLE = 254
LOCAL_TABLE = 255

PROTOCOLS = {
    2: "kernel", 3: "boot", 4: "static", 9: "ra", 11: "zebra", 12: "bird", 16: "dhcp",
    112: "podwire", 186: "bgp", 187: "isis", 188: "ospf",
}  # fmt: skip
"""Names of routing protocol numbers (rtm_protocol), as iproute2 has them, and our own."""


def protocol_name(number: int) -> str:
    """Who wrote a route: the name of its protocol, or ``proto 80``."""
    return PROTOCOLS.get(number, f"proto {number}")


class Counters(msgspec.Struct, frozen=True, omit_defaults=True):
    """A device's counters since it was made."""

    rx_packets: int = 0
    tx_packets: int = 0
    rx_bytes: int = 0
    tx_bytes: int = 0
    rx_errors: int = 0
    tx_errors: int = 0
    rx_dropped: int = 0
    tx_dropped: int = 0


class SeenVxlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """Parameters of a vxlan device."""

    vni: int
    port: int
    local: str = ""
    underlay: str = ""
    learning: bool = False


class SeenLink(msgspec.Struct, frozen=True, omit_defaults=True):
    """A device. *peer* is the number of a veth's other end (in *peer_namespace*'s view), 0 for none."""

    index: int
    name: str
    kind: str
    mac: str
    mtu: int
    up: bool
    peer: int = 0
    master: str = ""
    vxlan: SeenVxlan | None = None
    counters: Counters = Counters()


class SeenAddress(msgspec.Struct, frozen=True, omit_defaults=True):
    """An address with its prefix length, such as ``10.244.1.5/32``."""

    dev: str
    address: str
    usable: bool = True

    @property
    def ip(self) -> str:
        return self.address.partition("/")[0]


class SeenRoute(msgspec.Struct, frozen=True, omit_defaults=True):
    """A route; *hops* are further next hops of a multipath route, as ``via dev``. *mtu* 0: that of the device."""

    dst: str
    dev: str = ""
    via: str = ""
    src: str = ""
    type: str = "unicast"
    protocol: int = 0
    scope: int = 0
    metric: int = 0
    table: int = MAIN_TABLE
    mtu: int = 0
    onlink: bool = False
    hops: tuple[str, ...] = ()

    @property
    def default(self) -> bool:
        return self.dst in ("0.0.0.0/0", "::/0")


class SeenNeighbour(msgspec.Struct, frozen=True, omit_defaults=True):
    """A neighbour entry; *state* as ``ip neigh`` names it."""

    dev: str
    address: str
    mac: str
    state: str
    protocol: int = 0


class SeenFdb(msgspec.Struct, frozen=True, omit_defaults=True):
    """A vxlan forwarding entry: frames for *mac* go to underlay address *dst*."""

    dev: str
    mac: str
    dst: str


class SeenRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """An nftables rule: its text, what it names (addresses, networks, devices, ``@set``), its counter if it has one."""

    table: str
    chain: str
    handle: int
    text: str
    names: tuple[str, ...] = ()
    packets: int | None = None
    bytes: int | None = None


class SeenSet(msgspec.Struct, frozen=True, omit_defaults=True):
    """A named nftables set or map with its elements (or its keys) as text."""

    table: str
    name: str
    elements: tuple[str, ...] = ()


class SeenNamespace(msgspec.Struct, frozen=True, omit_defaults=True):
    """One network namespace."""

    netns: int
    links: tuple[SeenLink, ...] = ()
    addresses: tuple[SeenAddress, ...] = ()
    routes: tuple[SeenRoute, ...] = ()
    neighbours: tuple[SeenNeighbour, ...] = ()
    fdb: tuple[SeenFdb, ...] = ()
    sysctls: dict[str, str] = {}

    def link(self, name: str) -> SeenLink | None:
        """The device called *name*."""
        return next((link for link in self.links if link.name == name), None)

    def ips(self) -> list[str]:
        """All addresses but those of the loopback device and link-local ones, without prefix lengths."""
        return [a.ip for a in self.addresses if a.dev != "lo" and not ip_address(a.ip).is_link_local]

    def full_mtu(self, destination: str) -> int:
        """The largest packet that may be sent to *destination* from here, by device and route; 0 without a route."""
        route = best_route(self.routes, ip_address(destination))
        link = self.link(route.dev) if route else None
        if route is None or link is None:
            return 0
        return min(route.mtu, link.mtu) if route.mtu else link.mtu


class SeenAttachment(msgspec.Struct, frozen=True, omit_defaults=True):
    """A pod's attachment on the node: what was handed out, and what its namespace looks like from inside.

    *inside* is missing, and *problem* says why, where the namespace could not be entered.
    """

    pod: str
    network: str
    container_id: str
    ifname: str
    host_ifname: str
    netns: str
    addresses: tuple[str, ...]
    mtu: int
    inside: SeenNamespace | None = None
    problem: str = ""


class SeenNode(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node: its own network, its pods' attachments, the rules of nftables (*nft_problem* if they cannot be read)."""

    node: str
    network: SeenNamespace
    attachments: tuple[SeenAttachment, ...] = ()
    rules: tuple[SeenRule, ...] = ()
    sets: tuple[SeenSet, ...] = ()
    nft_problem: str = ""


class Lookup(msgspec.Struct, frozen=True, omit_defaults=True):
    """The kernel's own answer to "which route leads there": *error* is an errno's name where none does.

    *matched* is the route's destination, such as ``10.244.2.0/24``; for an error, that of the best main-table entry,
    or empty.
    """

    to: str
    matched: str = ""
    type: str = ""
    dev: str = ""
    via: str = ""
    src: str = ""
    error: str = ""

    @property
    def default(self) -> bool:
        return self.matched in ("0.0.0.0/0", "::/0")


class SeenConnection(msgspec.Struct, frozen=True, omit_defaults=True):
    """A connection tracking entry: both directions as (protocol, source, port, destination, port)."""

    original: tuple[str, str, int, str, int]
    reply: tuple[str, str, int, str, int]

    @property
    def translated(self) -> bool:
        """Whether the answer's tuple is anything but the request's turned round: NAT."""
        proto, src, sport, dst, dport = self.original
        return self.reply != (proto, dst, dport, src, sport)


def best_route(routes: Iterable[SeenRoute], destination: IPAddress) -> SeenRoute | None:
    """Longest prefix, then lowest metric, of the main table. Policy routing is not followed: ask for a Lookup."""
    best: tuple[tuple[int, int], SeenRoute] | None = None
    for route in routes:
        if route.table != MAIN_TABLE:
            continue
        network = ip_network(route.dst)
        if network.version != destination.version or destination not in network:
            continue
        rank = (network.prefixlen, -route.metric)
        if best is None or rank > best[0]:
            best = (rank, route)
    return best[1] if best else None
