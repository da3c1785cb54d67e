"""Puts away what the dead left: no runtime in wide use calls GC, so the agent has to look by itself.

An attachment is dead when two independent witnesses say so: the cluster has no such pod on this node, and the kernel has
neither its host end nor its namespace. One of them alone is never enough: the API may be behind, and a namespace may be
looked for under a path that means nothing here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

from podwire.cni import sandbox
from podwire.cni.attachments import Attachments
from podwire.cni.request import GcRequest
from podwire.cni.spool import Spool
from podwire.model.attachment import AttachmentKey, PodRef
from podwire.model.errors import PodwireError
from podwire.reconcile.driver import PodWirer

_LOG = logging.getLogger(__name__)
_EVERY = 60.0
"""Seconds between two rounds."""


class Janitor:
    """Rounds over this node's attachments, strays and deferred DELs."""

    def __init__(
        self, attachments: Attachments, wirer: PodWirer, spool: Spool, running: Callable[[], Collection[PodRef] | None]
    ) -> None:
        self._attachments = attachments
        self._wirer = wirer
        self._spool = spool
        self._running = running

    async def run(self) -> None:
        """A round now and then, for ever; a failed one is logged and the next one comes."""
        while True:
            try:
                await self.round()
            except PodwireError as error:
                _LOG.warning("putting away what the dead left: %s", error)
            await asyncio.sleep(_EVERY)

    async def round(self) -> None:
        """One round."""
        await self._spool.drain()
        for link in await self._attachments.sweep():
            _LOG.warning("removed %s: a host end that belongs to no pod", link.name)
        dead = await self._dead()
        for network in {key.network for key in dead}:
            known = self._attachments.snapshot()
            report = await self._attachments.gc(GcRequest(network, frozenset(known) - dead))
            for key, reason in report.removed.items():
                _LOG.warning("freed the addresses of %s: %s", key, reason)

    async def _dead(self) -> frozenset[AttachmentKey]:
        """Attachments that both witnesses call dead."""
        running = self._running()
        if running is None:
            return frozenset()
        links = {link.name for link in await asyncio.to_thread(self._wirer.host_links)}
        wanted = {(pod.namespace, pod.name) for pod in running}
        return frozenset(
            key
            for key, standing in self._attachments.snapshot().items()
            if standing.state == "ready"
            and standing.pod is not None
            and (standing.pod.namespace, standing.pod.name) not in wanted
            and key.host_ifname not in links
            and not sandbox.stands(standing)
        )
