"""Small clusters as values, by hand and by hypothesis: nodes that agree, and nodes that do not."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import msgspec
from hypothesis import strategies as st

from podwire.model.attachment import Attachment, AttachmentKey, PodRef
from podwire.model.cluster import (
    AttachmentChanged,
    Change,
    Node,
    NodeChanged,
    Snapshot,
    Underlay,
    UnderlayChanged,
)
from podwire.model.config import Config

ME = "node1"


def config(backend: str = "vxlan", **changes: Any) -> Config:
    """A Config with *backend* and top-level fields changed."""
    base = msgspec.convert(
        {"apiVersion": "podwire.io/v1alpha1", "kind": "Config", "backend": {"type": backend}}, Config
    )
    return msgspec.structs.replace(base, **changes)


def node(number: int, *, cidrs: tuple[str, ...] | None = None, addresses: tuple[str, ...] | None = None) -> Node:
    """node<number> with address 10.89.0.(10 + number) and pod CIDR 10.244.<number>.0/24, or as told."""
    return Node(
        f"node{number}",
        tuple(map(ip_address, (f"10.89.0.{10 + number}",) if addresses is None else addresses)),
        tuple(map(ip_network, (f"10.244.{number}.0/24",) if cidrs is None else cidrs)),
        uid=f"uid{number}",
    )


def underlay(mtu: int = 1500) -> Underlay:
    """eth0 of node1 on 10.89.0.0/24."""
    return Underlay("eth0", ip_address("10.89.0.11"), mtu, (ip_network("10.89.0.0/24"),))


def underlay6(mtu: int = 1500) -> Underlay:
    """The same device's IPv6 side on fd89::/64."""
    return Underlay("eth0", ip_address("fd89::11"), mtu, (ip_network("fd89::/64"),))


def attachment(container: str, *addresses: str, state: str = "ready") -> Attachment:
    """An attachment of pod default/<container>."""
    made = Attachment(
        key=AttachmentKey("podwire", container, "eth0"),
        netns=f"/run/netns/{container}",
        netns_inode=1,
        addresses=tuple(map(ip_interface, addresses)),
        mac="02:00:00:00:00:01",
        host_mac="02:00:00:00:00:02",
        mtu=1450,
        created_at=0.0,
        pod=PodRef("default", container),
    )
    return msgspec.structs.replace(made, state=state)


def snapshot(
    *nodes: Node, underlays: tuple[Underlay, ...] | None = None, attachments: tuple[Attachment, ...] = ()
) -> Snapshot:
    """A Snapshot of these, seen from node1's underlay unless told otherwise."""
    return Snapshot(
        {known.name: known for known in nodes},
        (underlay(),) if underlays is None else underlays,
        {known.key: known for known in attachments},
    )


_CIDRS = (
    *(f"10.244.{number}.0/24" for number in range(1, 6)),
    "10.244.1.128/25",
    "10.244.2.0/23",
    "10.0.0.0/8",
    "172.30.0.0/24",
    "172.30.0.128/25",
    "10.244.1.7/32",
    "fd00:1::/64",
    "fd00:2::/64",
)
_ADDRESSES = ("10.89.0.11", "10.89.0.12", "10.89.0.13", "10.90.0.12", "fd89::12", "fd90::13")
_NAMES = tuple(f"node{number}" for number in range(1, 6))


def nodes() -> st.SearchStrategy[Node]:
    """Nodes out of so few names, addresses and CIDRs that many lack something and many clash."""
    return st.builds(
        Node,
        name=st.sampled_from(_NAMES),
        addresses=st.lists(st.sampled_from(_ADDRESSES).map(ip_address), max_size=2).map(tuple),
        pod_cidrs=st.lists(st.sampled_from(_CIDRS).map(ip_network), max_size=2).map(tuple),
    )


def underlays() -> st.SearchStrategy[tuple[Underlay, ...]]:
    """None, one or both families, in several widths."""
    return st.sampled_from(
        [(), (underlay(),), (underlay(9000),), (underlay6(),), (underlay(), underlay6()), (underlay(600),)]
    )


def attachments() -> st.SearchStrategy[Attachment]:
    """Attachments of which some share an address, as a damaged store would have it."""
    return st.builds(
        attachment,
        st.sampled_from("abc"),
        st.sampled_from(("10.244.1.7/32", "10.244.1.8/32", "10.9.9.9/32", "fd00:1::7/128")),
        state=st.sampled_from(("allocated", "ready")),
    )


def changes() -> st.SearchStrategy[Change]:
    """Any change: appear, alter, vanish, of any object; of the node itself too."""
    gone_nodes = st.sampled_from(_NAMES).map(lambda name: NodeChanged(name, None))
    gone_attachments = st.sampled_from("abc").map(
        lambda container: AttachmentChanged(AttachmentKey("podwire", container, "eth0"), None)
    )
    return st.one_of(
        nodes().map(lambda known: NodeChanged(known.name, known)),
        gone_nodes,
        attachments().map(lambda known: AttachmentChanged(known.key, known)),
        gone_attachments,
        underlays().map(UnderlayChanged),
    )


def configs() -> st.SearchStrategy[Config]:
    """Both backends, with and without masquerade."""
    off = msgspec.convert({"enabled": False}, type(config().masquerade))
    narrow = msgspec.convert({"nonMasqueradeCidrs": ["172.30.0.0/16", "192.0.2.0/24"]}, type(config().masquerade))
    dual = msgspec.convert({"podCidrs": ["10.244.0.0/16", "fd00::/48"], "nodeMaskSizeIpv6": 64}, type(config().cluster))
    return st.sampled_from(
        [
            config("vxlan"),
            config("host-gw"),
            config("vxlan", masquerade=off),
            config("host-gw", masquerade=narrow),
            config("vxlan", cluster=dual, mtu=9000),
            config("host-gw", cluster=dual),
        ]
    )


def after(taken: list[Change]) -> Snapshot:
    """The Snapshot that a sequence of changes ends in, by the plainest means."""
    known: dict[str, Node] = {}
    made: dict[AttachmentKey, Attachment] = {}
    lays: tuple[Underlay, ...] = ()
    for change in taken:
        if isinstance(change, UnderlayChanged):
            lays = change.underlays
        elif isinstance(change, NodeChanged):
            known.pop(change.name, None)
            if change.node is not None:
                known[change.name] = change.node
        else:
            made.pop(change.key, None)
            if change.attachment is not None:
                made[change.key] = change.attachment
    return Snapshot(known, lays, made)
