"""This node's place in the cluster: the list of nodes, this node's own addresses and pod CIDRs, its underlay.

Feeds the dataplane with changes and the allocator with pools. As long as the API server has never answered, what was
remembered of the own Node serves new pods (:mod:`~podwire.agent.memory`); the kernel is not written to before the first
complete list.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from podwire.agent import memory
from podwire.agent.dataplane import Dataplane
from podwire.cluster import objects
from podwire.cluster.client import Client
from podwire.cluster.objects import NodeObject
from podwire.cluster.resources import NODES
from podwire.cluster.watch import Reflector, Replaced
from podwire.drivers.underlay import find_underlays
from podwire.model.addresses import IPNetwork, network
from podwire.model.cluster import Change, Node, NodeChanged, Underlay, UnderlayChanged
from podwire.model.config import Config
from podwire.model.errors import PodwireError
from podwire.plan.mtu import pod_mtu

_LOG = logging.getLogger(__name__)
_PATIENCE = 10.0
"""Seconds that the API server gets to answer before the memory of the own Node is used."""


class Membership:
    """See the module."""

    def __init__(
        self,
        client: Client,
        name: str,
        config: Config,
        dataplane: Dataplane,
        run_dir: Path,
        set_pools: Callable[[Sequence[IPNetwork]], None],
    ) -> None:
        self._name = name
        self._config = config
        self._dataplane = dataplane
        self._run_dir = run_dir
        self._set_pools = set_pools
        self._cidrs = tuple(network(text, "node.addressCidrs") for text in config.node.address_cidrs)
        self._reflector: Reflector[NodeObject] = Reflector(
            client, NODES, type=NodeObject, on_error=self._lost, on_contact=self._met
        )
        self._nodes: dict[str, Node] = {}
        self._changed = asyncio.Event()
        self._looking = asyncio.Lock()
        self._trouble = ""
        self._api = "the API server has not answered yet"
        self._background: set[asyncio.Task[None]] = set()
        self.on_restart: Callable[[], None] = lambda: None
        self.complete = asyncio.Event()
        self.from_memory = False
        self.me: Node | None = None
        self.underlays: tuple[Underlay, ...] = ()
        self.mtu = 0

    @property
    def api_trouble(self) -> str:
        """What keeps the API server from answering, or ""."""
        return self._api

    @property
    def nodes(self) -> dict[str, Node]:
        """All nodes of the cluster, by name."""
        return self._nodes

    @property
    def not_ready(self) -> str:
        """Why new pods cannot get an address and a path; "" when they can."""
        if self.me is None:
            return (
                self._api
                or f"node {self._name} is not in the cluster's list of nodes: is the kubelet registered, is node.name right?"
            )
        if not self.me.pod_cidrs:
            return (
                f"node {self._name} has no pod CIDR yet: is podwire's controller (or kube-controller-manager) running?"
            )
        if self._trouble:
            return self._trouble
        if not self.from_memory and not self._dataplane.in_sync.is_set():
            return "the kernel is being brought in line with the plan"
        return ""

    async def run(self) -> None:
        """Follow the list of nodes for ever."""
        remembering = asyncio.create_task(self._remember_late())
        try:
            async for event in self._reflector:
                if isinstance(event, Replaced):
                    await self._replace([objects.node(decoded, self._cidrs) for decoded in event.objects])
                else:
                    node = objects.node(event.object, self._cidrs)
                    await self._take({node.name: None if event.deleted else node})
        finally:
            remembering.cancel()

    async def changed(self) -> None:
        """Wait until something of the own node changed."""
        self._changed.clear()
        try:
            async with asyncio.timeout(5):
                await self._changed.wait()
        except TimeoutError:
            pass

    def look_again(self) -> None:
        """The node's own network moved: find the underlay anew."""
        task = asyncio.create_task(self._look())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _replace(self, nodes: list[Node]) -> None:
        fresh: dict[str, Node | None] = {node.name: node for node in nodes}
        gone: dict[str, Node | None] = {name: None for name in self._nodes if name not in fresh}
        await self._take({**gone, **fresh})
        if self.complete.is_set():
            self.on_restart()
        self.complete.set()

    async def _take(self, changes: dict[str, Node | None]) -> None:
        told: list[Change] = []
        for name, node in changes.items():
            if self._nodes.get(name) != node:
                told.append(NodeChanged(name, node))
            if node is None:
                self._nodes.pop(name, None)
            else:
                self._nodes[name] = node
        if self._name in changes and (changes[self._name] != self.me or self.from_memory):
            self._be(changes[self._name])
            await self._look()
        if told:
            self._dataplane.submit(told)
        self._changed.set()

    def _be(self, me: Node | None) -> None:
        """The own Node changed. When it goes, pods keep what they have, but none is added."""
        self.from_memory = False
        self.me = me
        if me is not None:
            if me.pod_cidrs:
                self._set_pools(me.pod_cidrs)
            memory.remember(self._run_dir, me)

    async def _look(self) -> None:
        """Find the underlay of the own addresses, and the MTU that follows from it."""
        async with self._looking:
            addresses = self.me.addresses if self.me else ()
            try:
                found = await asyncio.to_thread(find_underlays, addresses)
                self.mtu = pod_mtu(self._config, found)
                self._trouble = ""
            except PodwireError as error:
                found = ()
                self._trouble = str(error)
                _LOG.warning("%s", error)
            if found != self.underlays:
                self.underlays = found
                for underlay in found:
                    _LOG.info("underlay: %s on %s, MTU %d", underlay.address, underlay.device, underlay.mtu)
                self._dataplane.submit([UnderlayChanged(found)])
            self._changed.set()

    async def _remember_late(self) -> None:
        """After a while without an answer, serve new pods from memory."""
        await asyncio.sleep(_PATIENCE)
        if self.complete.is_set() or self.me is not None:
            return
        me = memory.recall(self._run_dir, self._name)
        if me is not None:
            _LOG.warning("the API server does not answer; new pods are served from what was known of this node")
            self._be(me)
            self.from_memory = True
            await self._look()

    def _lost(self, error: Exception) -> None:
        self._api = f"the API server does not answer: {error}"

    def _met(self) -> None:
        self._api = ""
