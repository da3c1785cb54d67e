"""The cluster as a plan sees it: nodes and pods, stripped to what a network needs, and the changes between two states.

These are neutral values; ``cluster/`` decodes Kubernetes objects into them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from podwire.model.addresses import IPAddress, IPNetwork
from podwire.model.attachment import Attachment, AttachmentKey


class Node(msgspec.Struct, frozen=True):
    """A node: *addresses* are its InternalIPs in the order of its status, *pod_cidrs* those of spec.podCIDRs."""

    name: str
    addresses: tuple[IPAddress, ...] = ()
    pod_cidrs: tuple[IPNetwork, ...] = ()
    uid: str = ""

    def address(self, version: int) -> IPAddress | None:
        """The first address of an IP version (4 or 6)."""
        return next((addr for addr in self.addresses if addr.version == version), None)


class Pod(msgspec.Struct, frozen=True):
    """A pod: *ips* from status.podIPs; *live* is false once its phase is Succeeded or Failed."""

    namespace: str
    name: str
    uid: str = ""
    node: str = ""
    ips: tuple[IPAddress, ...] = ()
    host_network: bool = False
    live: bool = True


class Underlay(msgspec.Struct, frozen=True):
    """What the agent found out about the node's own network: the device that holds the node address.

    *connected* are the subnets reachable on *device* without a router (its connected routes).
    """

    device: str
    address: IPAddress
    mtu: int
    connected: tuple[IPNetwork, ...] = ()


class Snapshot(msgspec.Struct, frozen=True):
    """All that a plan for one node is made from. Complete by construction: there is no half-filled Snapshot."""

    nodes: Mapping[str, Node]
    underlays: tuple[Underlay, ...] = ()
    attachments: Mapping[AttachmentKey, Attachment] = msgspec.field(default_factory=dict)
    version: str = ""


class NodeChanged(msgspec.Struct, frozen=True):
    """A node appeared or changed (*node*), or went (*node* is None)."""

    name: str
    node: Node | None


class AttachmentChanged(msgspec.Struct, frozen=True):
    """An attachment of this node appeared or changed, or went (*attachment* is None)."""

    key: AttachmentKey
    attachment: Attachment | None


class UnderlayChanged(msgspec.Struct, frozen=True):
    """This node's own network changed: everything that depends on it is planned anew."""

    underlays: tuple[Underlay, ...]


Change: TypeAlias = NodeChanged | AttachmentChanged | UnderlayChanged
