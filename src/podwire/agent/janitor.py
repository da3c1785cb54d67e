"""Puts away what the dead left: no runtime in wide use calls GC, so the agent has to look by itself.

The witnesses are the cluster and the kernel, and both must agree (:mod:`podwire.cni.death`): the API may be behind, and a
namespace may be looked for under a path that means nothing here.
"""

from __future__ import annotations

import asyncio
import logging

from podwire.cni.attachments import Attachments
from podwire.cni.request import GcRequest
from podwire.cni.spool import Spool
from podwire.model.errors import PodwireError

_LOG = logging.getLogger(__name__)
_EVERY = 60.0
"""Seconds between two rounds."""


class Janitor:
    """Rounds over this node's attachments, strays and deferred DELs."""

    def __init__(self, attachments: Attachments, spool: Spool) -> None:
        self._attachments = attachments
        self._spool = spool

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
        for network in {key.network for key in self._attachments.snapshot()}:
            report = await self._attachments.gc(GcRequest(network, None))
            for key, reason in report.removed.items():
                _LOG.warning("freed the addresses of %s: %s", key, reason)
