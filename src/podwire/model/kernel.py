"""Kernel objects as values: what a plan wants, and what a driver sees.

One type per kind of kernel object, the same for both directions, so that one generic delta compares them. A value's
``key`` says *which* object it is (two values with one key are one object in two states); the rest says *how* it is.

Ownership, i.e. how a restarted agent knows its own (ARCHITECTURE.md, "What is ours"):

=============  ==================================================================
link           name begins with ``pw``
route          routing protocol number :data:`ROUTE_PROTOCOL`
neighbour      neighbour protocol number :data:`ROUTE_PROTOCOL`
FDB entry      on one of our vxlan links
address        on one of our links
nft            table ``podwire`` (family inet)
sysctl         never owned: set where needed, never reset (others may rely on it)
=============  ==================================================================
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

import msgspec

from podwire.model.addresses import IPAddress, IPInterface, IPNetwork

ROUTE_PROTOCOL = 112
"""rtm_protocol and NDA_PROTOCOL of everything we write (``ip route show proto 112``); 112 is 'p'."""

LINK_PREFIX = "pw"
"""Every link that we make on a node begins with this."""

VXLAN_LINK = "pwvxlan"
"""Name of the vxlan backend's device."""

REAPER_GROUP = 28791
"""Link group (IFLA_GROUP) of host-end links that wait for the reaper to delete them in one go."""

NFT_TABLE = "podwire"

Key: TypeAlias = tuple[object, ...]
"""Identity of a kernel object; the first element is the kind."""


class _Value(msgspec.Struct, frozen=True):
    """Base of the kernel values: hashable, comparable, with a kind and a key."""

    kind: ClassVar[str]

    @property
    def key(self) -> Key:
        raise NotImplementedError


class Sysctl(_Value, frozen=True):
    """One file below /proc/sys, *path* such as ``net/ipv4/ip_forward``."""

    kind: ClassVar[str] = "sysctl"
    path: str
    value: str

    @property
    def key(self) -> Key:
        return (self.kind, self.path)


class Vxlan(msgspec.Struct, frozen=True):
    """Parameters of a vxlan device (RFC 7348); *underlay* is the device that carries it."""

    vni: int
    port: int
    local: IPAddress
    underlay: str | None = None


class Link(_Value, frozen=True):
    """A device on the node. Pods' veth ends are not Links of a plan: the CNI path makes and removes them."""

    kind: ClassVar[str] = "link"
    name: str
    type: Literal["vxlan", "veth", "bridge"]
    mtu: int
    mac: str
    vxlan: Vxlan | None = None

    @property
    def key(self) -> Key:
        return (self.kind, self.name)


class Address(_Value, frozen=True):
    """An IP address on one of our devices."""

    kind: ClassVar[str] = "address"
    dev: str
    address: IPInterface

    @property
    def key(self) -> Key:
        return (self.kind, self.dev, self.address)


class Neighbour(_Value, frozen=True):
    """A permanent neighbour entry (NUD_PERMANENT): *address* on *dev* has *mac*."""

    kind: ClassVar[str] = "neighbour"
    dev: str
    address: IPAddress
    mac: str

    @property
    def key(self) -> Key:
        return (self.kind, self.dev, self.address)


class Fdb(_Value, frozen=True):
    """A static vxlan forwarding entry: frames for *mac* on *dev* go to the VTEP at underlay address *dst*."""

    kind: ClassVar[str] = "fdb"
    dev: str
    mac: str
    dst: IPAddress

    @property
    def key(self) -> Key:
        return (self.kind, self.dev, self.mac)


class Route(_Value, frozen=True):
    """A route; *via* with *onlink* needs no route to the gateway. *type* other than unicast has no device.

    *scope* is derived: ``link`` without *via*, else ``global``. *mtu* 0 means that of the device.
    """

    kind: ClassVar[str] = "route"
    dst: IPNetwork
    dev: str | None = None
    via: IPAddress | None = None
    src: IPAddress | None = None
    onlink: bool = False
    type: Literal["unicast", "blackhole", "unreachable"] = "unicast"
    metric: int = 0
    table: int = 254

    @property
    def key(self) -> Key:
        return (self.kind, self.table, self.dst, self.metric)


class NftTable(_Value, frozen=True):
    """The static skeleton of our nft table: *body* is nft syntax, what stands between the table's braces.

    Named sets are declared in the body without elements; elements are :class:`NftElement` values.
    """

    kind: ClassVar[str] = "nft-table"
    family: Literal["inet", "bridge", "netdev"]
    name: str
    body: str

    @property
    def key(self) -> Key:
        return (self.kind, self.family, self.name)


class NftElement(_Value, frozen=True):
    """One element of a named set of our table, in nft's own syntax (``10.244.0.0/16``)."""

    kind: ClassVar[str] = "nft-element"
    family: Literal["inet", "bridge", "netdev"]
    table: str
    set: str
    element: str

    @property
    def key(self) -> Key:
        return (self.kind, self.family, self.table, self.set, self.element)


Value: TypeAlias = Sysctl | Link | Address | Neighbour | Fdb | Route | NftTable | NftElement
KINDS: tuple[type[_Value], ...] = (Link, Sysctl, Address, Neighbour, Fdb, Route, NftTable, NftElement)
"""In the order of creation; the order of removal is the reverse (``reconcile.order``)."""
