"""Who claims which pod CIDR and which node address, so that two nodes that claim the same are found, and named.

A claim is looked up without a walk over all nodes as long as node CIDRs have few different lengths, as they do: the cost of
one node's change stays flat in the number of nodes.
"""

from __future__ import annotations

from collections.abc import Iterator

from podwire.model.addresses import IPAddress, IPNetwork
from podwire.model.cluster import Node


class Claims:
    """The claims of a set of nodes."""

    def __init__(self) -> None:
        self._addresses: dict[IPAddress, set[str]] = {}
        self._cidrs: dict[tuple[int, int], dict[IPNetwork, set[str]]] = {}
        """By (version, prefix length), then by CIDR."""

    def add(self, node: Node) -> None:
        """Enter a node's claims."""
        for addr in node.addresses:
            self._addresses.setdefault(addr, set()).add(node.name)
        for cidr in node.pod_cidrs:
            self._cidrs.setdefault((cidr.version, cidr.prefixlen), {}).setdefault(cidr, set()).add(node.name)

    def remove(self, node: Node) -> None:
        """Strike a node's claims; *node* is as it was added."""
        for addr in node.addresses:
            self._addresses[addr].discard(node.name)
            if not self._addresses[addr]:
                del self._addresses[addr]
        for cidr in node.pod_cidrs:
            of_length = self._cidrs[cidr.version, cidr.prefixlen]
            of_length[cidr].discard(node.name)
            if not of_length[cidr]:
                del of_length[cidr]
            if not of_length:
                del self._cidrs[cidr.version, cidr.prefixlen]

    def clashes(self, node: Node) -> Iterator[tuple[str, str, str]]:
        """(what *node* claims, what clashes with it, the other node's name), sorted, for every clash."""
        found: set[tuple[str, str, str]] = set()
        for addr in node.addresses:
            found |= {(str(addr), str(addr), other) for other in self._addresses.get(addr, ()) if other != node.name}
        for cidr in node.pod_cidrs:
            for theirs, names in self._overlapping(cidr):
                found |= {(str(cidr), str(theirs), other) for other in names if other != node.name}
        yield from sorted(found)

    def _overlapping(self, cidr: IPNetwork) -> Iterator[tuple[IPNetwork, set[str]]]:
        for (version, length), of_length in self._cidrs.items():
            if version != cidr.version:
                continue
            if length <= cidr.prefixlen:
                wider = cidr.supernet(new_prefix=length)
                if wider in of_length:
                    yield wider, of_length[wider]
            else:  # several of a longer length may lie inside; lengths are few, and mostly one
                for narrower, names in of_length.items():
                    if narrower.subnet_of(cidr):  # type: ignore[arg-type]
                        yield narrower, names
