"""Cutting node CIDRs from the cluster CIDRs: which node gets which, and how many nodes there is still room for.

A cluster CIDR of /16 with a node mask of /24 holds 2^(24-16) = 256 node CIDRs. A node gets one of each family, the
lowest that overlaps nothing known; what a node has it keeps, also if the mask or the cluster CIDR has changed since.
"""

from __future__ import annotations

import bisect
import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from podwire.model.addresses import IPNetwork, overlapping
from podwire.model.errors import InputError, PoolExhausted

SHOWN = 3


class Overlap(msgspec.Struct, frozen=True):
    """Two nodes whose CIDRs share addresses: their pods' addresses are not unique, and one of them gets no traffic."""

    node: str
    cidr: IPNetwork
    other: str
    other_cidr: IPNetwork

    def __str__(self) -> str:
        return (
            f"node {self.node} has pod CIDR {self.cidr}, which overlaps {self.other_cidr} of node {self.other}; "
            f"drain one of them, delete its Node object and let it register anew"
        )


class Capacity(msgspec.Struct, frozen=True):
    """Room for nodes in one cluster CIDR: *total* node CIDRs, of which *used* are taken at least in part."""

    cluster_cidr: IPNetwork
    mask: int
    total: int
    used: int

    @property
    def left(self) -> int:
        """Number of nodes that there is still room for."""
        return self.total - self.used

    def __str__(self) -> str:
        return (
            f"{self.cluster_cidr} with node mask /{self.mask}: {self.used} of 2^({self.mask}-"
            f"{self.cluster_cidr.prefixlen}) = {self.total} node CIDRs used, room for {self.left} more"
        )


class _Range:
    """One cluster CIDR as numbered slots of the node mask's size: how many CIDRs lie in each, and the lowest free."""

    def __init__(self, cluster: IPNetwork, mask: int) -> None:
        if not cluster.prefixlen <= mask <= cluster.max_prefixlen:
            raise InputError(
                f"cluster.nodeMaskSizeIpv{cluster.version}",
                mask,
                f"does not fit the pod CIDR {cluster}",
                remedy=f"use a number between {cluster.prefixlen} and {cluster.max_prefixlen}",
            )
        self.cluster = cluster
        self.mask = mask
        self.total = 1 << (mask - cluster.prefixlen)
        self.taken: Counter[int] = Counter()
        self._shift = cluster.max_prefixlen - mask
        self._next = 0
        self._returned: list[int] = []

    def take(self, cidr: IPNetwork) -> None:
        for slot in self._slots(cidr):
            self.taken[slot] += 1

    def give_back(self, cidr: IPNetwork) -> None:
        for slot in self._slots(cidr):
            self.taken[slot] -= 1
            if not self.taken[slot]:
                del self.taken[slot]
                if slot < self._next:
                    heapq.heappush(self._returned, slot)

    def lowest(self) -> IPNetwork | None:
        """The lowest slot in which nobody has a part."""
        while self._returned and self._returned[0] in self.taken:
            heapq.heappop(self._returned)
        if self._returned:
            return self._network(self._returned[0])
        while self._next < self.total and self._next in self.taken:
            self._next += 1
        return self._network(self._next) if self._next < self.total else None

    def _slots(self, cidr: IPNetwork) -> range:
        if not overlapping(cidr, self.cluster):
            return range(0)
        if cidr.prefixlen <= self.cluster.prefixlen:
            return range(self.total)
        base = int(self.cluster.network_address)
        first = (int(cidr.network_address) - base) >> self._shift
        last = (int(cidr.broadcast_address) - base) >> self._shift
        return range(first, last + 1)

    def _network(self, slot: int) -> IPNetwork:
        return type(self.cluster)((int(self.cluster.network_address) + (slot << self._shift), self.mask))


class _Index:
    """Who has which CIDR, to find what overlaps one: its subnets lie together in order, its supernets are looked up."""

    def __init__(self) -> None:
        self._sorted: list[tuple[int, int, int, str, IPNetwork]] = []
        self._holders: dict[IPNetwork, set[str]] = {}
        self._lengths: Counter[tuple[int, int]] = Counter()

    def add(self, node: str, cidr: IPNetwork) -> None:
        bisect.insort(self._sorted, _sort_key(node, cidr))
        self._holders.setdefault(cidr, set()).add(node)
        self._lengths[cidr.version, cidr.prefixlen] += 1

    def discard(self, node: str, cidr: IPNetwork) -> None:
        del self._sorted[bisect.bisect_left(self._sorted, _sort_key(node, cidr))]
        self._holders[cidr].discard(node)
        if not self._holders[cidr]:
            del self._holders[cidr]
        self._lengths[cidr.version, cidr.prefixlen] -= 1

    def overlapping(self, cidr: IPNetwork) -> set[tuple[str, IPNetwork]]:
        begin = bisect.bisect_left(self._sorted, (cidr.version, int(cidr.network_address)))
        end = bisect.bisect_left(self._sorted, (cidr.version, int(cidr.broadcast_address) + 1))
        found = {(node, other) for _, _, _, node, other in self._sorted[begin:end] if overlapping(other, cidr)}
        for (version, length), count in self._lengths.items():
            if count and version == cidr.version and length < cidr.prefixlen:
                above = cidr.supernet(new_prefix=length)
                found.update((node, above) for node in self._holders.get(above, ()))
        return found


def _sort_key(node: str, cidr: IPNetwork) -> tuple[int, int, int, str, IPNetwork]:
    return (cidr.version, int(cidr.network_address), cidr.prefixlen, node, cidr)


class NodeCidrs:
    """Who has which node CIDR. Enter every node's with :meth:`occupy` before the first :meth:`allocate`."""

    def __init__(self, cluster_cidrs: Sequence[IPNetwork], masks: Mapping[int, int]) -> None:
        """*masks* maps an IP version to the prefix length of node CIDRs. Raises InputError for what does not fit."""
        for at, one in enumerate(cluster_cidrs):
            for other in cluster_cidrs[:at]:
                if overlapping(one, other):
                    raise InputError(
                        "cluster.podCidrs", str(one), f"overlaps {other}", remedy="give ranges that share no address"
                    )
        self._ranges = [_Range(cluster, masks[cluster.version]) for cluster in cluster_cidrs]
        self._nodes: dict[str, tuple[IPNetwork, ...]] = {}
        self._index = _Index()

    def of(self, node: str) -> tuple[IPNetwork, ...]:
        """What *node* has."""
        return self._nodes.get(node, ())

    def occupy(self, node: str, cidrs: Iterable[IPNetwork]) -> tuple[Overlap, ...]:
        """Note that *node* has *cidrs*, in place of what it had; the cluster's word is taken even where it is wrong.

        Returns with whom they overlap. Nothing overlapping is ever allocated beside them.
        """
        self.release(node)
        self._nodes[node] = tuple(dict.fromkeys(cidrs))
        overlaps = tuple(overlap for cidr in self._nodes[node] for overlap in self.overlaps(node, cidr))
        for cidr in self._nodes[node]:
            self._index.add(node, cidr)
            for entry in self._ranges:
                entry.take(cidr)
        return overlaps

    def overlaps(self, node: str, cidr: IPNetwork) -> list[Overlap]:
        """The other nodes whose CIDRs share addresses with *cidr*, by name."""
        near = sorted(self._index.overlapping(cidr), key=lambda item: (item[0], str(item[1])))
        return [Overlap(node, cidr, name, other) for name, other in near if name != node]

    def release(self, node: str) -> None:
        """Forget *node*: its CIDRs are free again. Idempotent."""
        for cidr in self._nodes.pop(node, ()):
            self._index.discard(node, cidr)
            for entry in self._ranges:
                entry.give_back(cidr)

    def allocate(self, node: str) -> tuple[IPNetwork, ...]:
        """The CIDRs of *node*: those it has, else the lowest free one of each cluster CIDR; all of them or none.

        Raises PoolExhausted, which names the sizes, who has the room and what to do.
        """
        if existing := self._nodes.get(node):
            return existing
        chosen: list[IPNetwork] = []
        for entry in self._ranges:
            cidr = entry.lowest()
            if cidr is None:
                raise self._exhausted(entry, node)
            chosen.append(cidr)
        self.occupy(node, chosen)
        return tuple(chosen)

    def capacity(self) -> list[Capacity]:
        """The room of each cluster CIDR; the least ``left`` is how many nodes may still join."""
        return [Capacity(entry.cluster, entry.mask, entry.total, len(entry.taken)) for entry in self._ranges]

    def _exhausted(self, entry: _Range, node: str) -> PoolExhausted:
        holders = sorted({name for name, _ in self._index.overlapping(entry.cluster)})
        return PoolExhausted(
            f"no pod CIDR for node {node}: {entry.cluster} with node mask /{entry.mask} holds "
            f"2^({entry.mask}-{entry.cluster.prefixlen}) = {entry.total} node CIDRs, and all are taken (by "
            f"{', '.join(holders[:SHOWN])}{' and others' if len(holders) > SHOWN else ''})",
            remedy=f"delete Node objects that are no more, or set a larger cluster.podCidrs or a longer "
            f"cluster.nodeMaskSizeIpv{entry.cluster.version} (it holds for new nodes only)",
        )
