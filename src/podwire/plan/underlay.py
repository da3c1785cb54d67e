"""Questions about a node's own network that several planners ask."""

from __future__ import annotations

from collections.abc import Iterable

from podwire.model.cluster import Underlay


def underlay_of(underlays: Iterable[Underlay], version: int) -> Underlay | None:
    """The underlay of an IP version (4 or 6), where the node has one."""
    return next((underlay for underlay in underlays if underlay.address.version == version), None)


def carrier(underlays: Iterable[Underlay]) -> Underlay | None:
    """The underlay that carries a tunnel: IPv4 where there is one, else IPv6.

    A tunnel has one outer family, and both its ends must choose the same; a cluster's nodes mostly have IPv4 all, and
    its header is 20 bytes shorter.
    """
    known = tuple(underlays)
    return underlay_of(known, 4) or underlay_of(known, 6)
