"""Who claims which pod CIDR and which node address, so that two nodes that claim the same are found, and named.

Two CIDRs either nest or share nothing, so whom a CIDR clashes with is found by one look for each prefix length in use that is
shorter, and by bisection among the longer ones: the cost of one node's change stays flat in the number of nodes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

from podwire.model.addresses import IPAddress, IPNetwork
from podwire.model.cluster import Node


class Claims:
    """The claims of a set of nodes."""

    def __init__(self) -> None:
        self._addresses: dict[IPAddress, set[str]] = {}
        self._cidrs: dict[tuple[int, int], dict[IPNetwork, set[str]]] = {}
        """By (version, prefix length), then by CIDR."""
        self._sorted: dict[tuple[int, int], list[IPNetwork]] = {}
        """The CIDRs of each (version, prefix length), in order of address."""

    def add(self, node: Node) -> None:
        """Enter a node's claims."""
        for addr in node.addresses:
            self._addresses.setdefault(addr, set()).add(node.name)
        for cidr in node.pod_cidrs:
            of_length = self._cidrs.setdefault((cidr.version, cidr.prefixlen), {})
            if cidr not in of_length:
                of_length[cidr] = set()
                insort(self._sorted.setdefault((cidr.version, cidr.prefixlen), []), cidr)
            of_length[cidr].add(node.name)

    def remove(self, node: Node) -> None:
        """Strike a node's claims; *node* is as it was added."""
        for addr in set(node.addresses):
            self._addresses[addr].discard(node.name)
            if not self._addresses[addr]:
                del self._addresses[addr]
        for cidr in set(node.pod_cidrs):
            self._remove_cidr(cidr, node.name)

    def _remove_cidr(self, cidr: IPNetwork, name: str) -> None:
        length = (cidr.version, cidr.prefixlen)
        of_length = self._cidrs[length]
        of_length[cidr].discard(name)
        if not of_length[cidr]:
            del of_length[cidr]
            del self._sorted[length][bisect_left(self._sorted[length], cidr)]
        if not of_length:
            del self._cidrs[length], self._sorted[length]

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
            else:
                ordered = self._sorted[version, length]
                first = bisect_left(ordered, cidr.network_address, key=_start)
                for narrower in ordered[first : bisect_right(ordered, cidr.broadcast_address, key=_start)]:
                    yield narrower, of_length[narrower]


def _start(cidr: IPNetwork) -> IPAddress:
    return cidr.network_address
