"""The node-CIDR controller: every Node without podCIDRs gets them, as :mod:`podwire.controller.decision` decides."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from podwire.controller.api import ControllerApi, NodeRecord
from podwire.controller.decision import Decision, Step, decide
from podwire.ipam.preflight import Site, preflight
from podwire.model.addresses import IPNetwork, contains
from podwire.model.config import Config
from podwire.model.errors import ClusterError, Conflict, NotFound

ROUNDS = 8
"""Lists of one pass: two are enough undisturbed (claim, assign); contests and conflicts take more."""
AT_ONCE = 16
"""Writes in flight."""
SETTLE = 0.05
"""Seconds that a change waits for more of its kind."""
RESYNC = 300.0
STAND_BACK = 300.0
"""Seconds without a write of ours after somebody else was seen to assign node CIDRs."""
REPEAT_WARNING = 600.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0

log = logging.getLogger(__name__)


class _Written(NamedTuple):
    """*moved*: whether another list would show anything new."""

    done: list[Step]
    moved: bool


class Assigner:
    """Assigns node CIDRs while :meth:`run` runs. Several at once do no harm, only double work."""

    def __init__(self, api: ControllerApi, config: Config) -> None:
        """*config* gives the cluster CIDRs and the node masks."""
        self._api = api
        self._cluster_cidrs = config.pod_networks
        self._masks: dict[int, int] = {cidr.version: config.node_mask(cidr.version) for cidr in self._cluster_cidrs}
        self._dirty = asyncio.Event()
        self._known: dict[str, tuple[str, tuple[IPNetwork, ...], tuple[IPNetwork, ...]]] = {}
        self._warned: dict[tuple[str, str], float] = {}
        self._stand_back_until = 0.0
        self.last: Decision | None = None

    async def run(self) -> None:
        """For ever: a pass at the start, when Nodes change, and every :data:`RESYNC` seconds."""
        watch = asyncio.ensure_future(self._watch())
        pause = FIRST_PAUSE
        try:
            while not watch.done():
                self._dirty.clear()
                try:
                    settled = await self.sync()
                    pause = FIRST_PAUSE if settled else min(pause * 2, LONGEST_PAUSE)
                except ClusterError as error:
                    log.warning("node CIDRs cannot be assigned now: %s", error)
                    settled, pause = False, min(pause * 2, LONGEST_PAUSE)
                await self._until_dirty(watch, RESYNC if settled else pause)
            await watch
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def sync(self) -> bool:
        """One pass; whether every Node has what it can get. Raises ClusterError when the Nodes cannot be listed."""
        for _ in range(ROUNDS):
            nodes = await self._api.list_nodes()
            decision = self.last = decide(nodes, self._cluster_cidrs, self._masks)
            await self._report(nodes, decision)
            if self._stands_back(decision):
                await self._write(self._api.claim, [Step(node, ()) for node in nodes if node.claim])
                return False
            if not decision.assign and not decision.claim:
                return not decision.waiting
            assigned = await self._write(self._api.assign, decision.assign)
            for step in assigned.done:
                log.info("node %s has pod CIDR %s", step.node.name, ", ".join(map(str, step.cidrs)))
            claimed = await self._write(self._api.claim, decision.claim)
            if len(assigned.done) == len(decision.assign) and not decision.claim and not decision.waiting:
                return True
            if not (assigned.moved or claimed.moved):
                return False  # refused for another reason than a change: not to be asked again at once
        return False

    async def _watch(self) -> None:
        """Wake the loop when a Node changed in what matters here: heartbeats do not."""
        async for node in self._api.watch_nodes():
            if node is None:
                self._known.clear()
                self._dirty.set()
                continue
            matters = (node.uid, node.pod_cidrs, node.claim)
            if self._known.get(node.name) != matters:
                self._known[node.name] = matters
                self._dirty.set()

    async def _until_dirty(self, watch: asyncio.Future[None], seconds: float) -> None:
        changed = asyncio.ensure_future(self._dirty.wait())
        try:
            either: set[asyncio.Future[Any]] = {changed, watch}
            await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
        await asyncio.sleep(SETTLE)

    async def _write(
        self, write: Callable[[NodeRecord, tuple[IPNetwork, ...]], Awaitable[NodeRecord]], steps: Iterable[Step]
    ) -> _Written:
        """Carry out *steps*, several at once.

        A Node that changed or went, and an answer that was lost, are settled by the next list.
        """
        done: list[Step] = []
        changed = 0
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(step: Step) -> None:
            nonlocal changed
            async with slots:
                try:
                    await write(step.node, step.cidrs)
                except (Conflict, NotFound) as error:
                    changed += 1
                    log.debug("node %s changed meanwhile: %s", step.node.name, error)
                except ClusterError as error:
                    log.warning("node %s cannot be written: %s", step.node.name, error)
                else:
                    done.append(step)

        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(one(step))
        return _Written(done, bool(done or changed))

    def _stands_back(self, decision: Decision) -> bool:
        now = asyncio.get_running_loop().time()
        if decision.foreign:
            self._stand_back_until = now + STAND_BACK
        return now < self._stand_back_until

    async def _report(self, nodes: list[NodeRecord], decision: Decision) -> None:
        """Say what is wrong, as Events about the Nodes and in the log, each at most every :data:`REPEAT_WARNING`."""
        by_name = {node.name: node for node in nodes}
        for node, message in decision.exhausted:
            await self._warn(node, "CIDRNotAvailable", message)
        for overlap in decision.overlaps:
            await self._warn(by_name[overlap.node], "PodCIDROverlap", str(overlap))
        for node in decision.foreign:
            await self._warn(
                node,
                "ForeignCIDRAllocator",
                f"node {node.name} got {', '.join(map(str, node.pod_cidrs))} from somebody else while podwire was about "
                f"to assign {', '.join(map(str, node.claim))}; let only one allocate: run kube-controller-manager with "
                f"--allocate-node-cidrs=false, or no podwire controller",
            )
        for node in nodes:
            for addr in node.addresses:
                if contains(self._cluster_cidrs, addr):
                    finding = preflight(self._cluster_cidrs, (), Site(hosts={f"node {node.name}": addr}))[0]
                    await self._warn(node, "PodCIDRCollision", str(finding))

    async def _warn(self, node: NodeRecord, reason: str, message: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._warned.get((node.uid, reason), -REPEAT_WARNING) < REPEAT_WARNING:
            return
        self._warned[node.uid, reason] = now
        log.warning("%s: %s", reason, message)
        try:
            await self._api.warn(node, reason, message)
        except ClusterError as error:
            log.warning("the event cannot be recorded: %s", error)
