"""A fake of what the controller needs of the API server, with latency, failures and deaths on demand.

It refuses what a real one refuses (stale resourceVersions, a change of podCIDRs), and it is the judge: an assignment
that overlaps another Node's raises :class:`Broken` on the spot.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_network
from typing import Literal

import msgspec

from podwire.controller.api import ControllerApi, LeaseRecord, NodeRecord
from podwire.model.addresses import IPAddress, IPNetwork, overlapping
from podwire.model.errors import ClusterError, Conflict, NotFound, Unavailable

Trouble = Literal["", "refused", "lost answer", "death"]


class Broken(AssertionError):
    """Two Nodes have overlapping CIDRs."""


class Killed(BaseException):
    """The process that made the call is dead."""


class Server:
    """The state that all clients share."""

    def __init__(self) -> None:
        self.version = 0
        self.nodes: dict[str, NodeRecord] = {}
        self.leases: dict[tuple[str, str], LeaseRecord] = {}
        self.events: list[tuple[str, str, str]] = []
        self.writes = 0
        self.lists = 0
        self.broken: list[str] = []
        self._watchers: set[asyncio.Queue[NodeRecord | None]] = set()

    def next_version(self) -> str:
        self.version += 1
        return str(self.version)

    def add(self, name: str, *cidrs: str, addresses: tuple[IPAddress, ...] = ()) -> None:
        """A Node registers; with *cidrs*, somebody else has assigned them."""
        version = self.next_version()
        self.store(NodeRecord(name, f"uid-{version}", version, tuple(map(ip_network, cidrs)), addresses=addresses))

    def update(self, name: str, **changes: object) -> None:
        """Somebody changes a Node."""
        self.store(msgspec.structs.replace(self.nodes[name], resource_version=self.next_version(), **changes))

    def delete(self, name: str) -> None:
        """A Node goes."""
        del self.nodes[name]
        self.next_version()
        for queue in self._watchers:
            queue.put_nowait(None)

    def store(self, node: NodeRecord) -> NodeRecord:
        self.nodes[node.name] = node
        for queue in self._watchers:
            queue.put_nowait(node)
        return node

    def check(self) -> None:
        """Raise Broken if any two Nodes' CIDRs overlap."""
        owners = [(cidr, node.name) for node in self.nodes.values() for cidr in node.pod_cidrs]
        for at, (one, name) in enumerate(owners):
            for other, rival in owners[:at]:
                if overlapping(one, other) and name != rival:
                    self.broken.append(f"{name} and {rival} have {one} and {other}")
                    raise Broken(self.broken[-1])

    @property
    def assigned(self) -> dict[str, str]:
        return {node.name: ",".join(map(str, node.pod_cidrs)) for node in self.nodes.values()}


class FakeApi:
    """One client of *server*. *rng* gives calls a random latency; *troubles* happen at the numbered writes, from 1."""

    def __init__(
        self, server: Server, rng: random.Random | None = None, troubles: dict[int, Trouble] | None = None
    ) -> None:
        self.server = server
        self.rng = rng
        self.troubles = troubles or {}
        self.writes = 0
        self.dead = False
        self.down = False

    async def list_nodes(self) -> list[NodeRecord]:
        await self._travel()
        listed = list(self.server.nodes.values())
        self.server.lists += 1
        await self._travel()
        return listed

    async def watch_nodes(self) -> AsyncIterator[NodeRecord | None]:
        queue: asyncio.Queue[NodeRecord | None] = asyncio.Queue()
        self.server._watchers.add(queue)
        try:
            yield None
            while True:
                yield await queue.get()
        finally:
            self.server._watchers.discard(queue)

    async def claim(self, node: NodeRecord, cidrs: Sequence[IPNetwork]) -> NodeRecord:
        return await self._patch(node, claim=tuple(cidrs))

    async def assign(self, node: NodeRecord, cidrs: Sequence[IPNetwork]) -> NodeRecord:
        return await self._patch(node, claim=(), pod_cidrs=tuple(cidrs))

    async def warn(self, node: NodeRecord, reason: str, message: str) -> None:
        trouble = await self._before_write()
        self.server.events.append((node.name, reason, message))
        await self._after_write(trouble)

    async def get_lease(self, namespace: str, name: str) -> LeaseRecord:
        await self._travel()
        lease = self.server.leases.get((namespace, name))
        await self._travel()
        if lease is None:
            raise NotFound(f"lease {name}", 404)
        return lease

    async def put_lease(self, namespace: str, name: str, lease: LeaseRecord) -> LeaseRecord:
        trouble = await self._before_write()
        current = self.server.leases.get((namespace, name))
        if (current.resource_version if current else "") != lease.resource_version:
            raise Conflict(f"lease {name} changed", 409)
        written = msgspec.structs.replace(lease, resource_version=self.server.next_version())
        self.server.leases[namespace, name] = written
        await self._after_write(trouble)
        return written

    async def _patch(self, node: NodeRecord, **changes: object) -> NodeRecord:
        trouble = await self._before_write()
        current = self.server.nodes.get(node.name)
        if current is None:
            raise NotFound(f"node {node.name}", 404)
        if (current.uid, current.resource_version) != (node.uid, node.resource_version):
            raise Conflict(f"node {node.name} changed", 409)
        if current.pod_cidrs and "pod_cidrs" in changes:
            raise ClusterError("spec.podCIDRs: Forbidden: node updates may not change podCIDR", 422)
        written = msgspec.structs.replace(current, resource_version=self.server.next_version(), **changes)
        self.server.store(written)
        self.server.writes += 1
        self.server.check()
        await self._after_write(trouble)
        return written

    async def _before_write(self) -> Trouble:
        await self._travel()
        self.writes += 1
        trouble = self.troubles.get(self.writes, "")
        if trouble == "refused":
            raise Unavailable("the server is overloaded", 429)
        return trouble

    async def _after_write(self, trouble: Trouble) -> None:
        if trouble == "death":
            self.dead = True
            raise Killed
        await self._travel()
        if trouble == "lost answer":
            raise Unavailable("timed out", 0)

    async def _travel(self) -> None:
        if self.dead:
            raise Killed
        await asyncio.sleep(self.rng.choice([0, 0.001, 0.01, 0.1, 1]) * self.rng.random() if self.rng else 0)
        if self.dead:
            raise Killed
        if self.down:
            raise Unavailable("no route to host", 0)


def _conforms(server: Server) -> ControllerApi:
    """mypy holds the fake to the protocol."""
    return FakeApi(server)
