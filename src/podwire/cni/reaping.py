"""Addresses whose attachment is gone but whose link the kernel is still deleting.

Deleting a link takes the kernel some 20 ms, which DEL does not wait for. Until the link is gone its address stays in
**quarantine**: a packet on its way out of the old pod must not meet a new pod that has its address.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence

import msgspec

from podwire.ipam.allocator import Allocator
from podwire.model.addresses import IPAddress
from podwire.model.errors import PodwireError

_LOG = logging.getLogger(__name__)
_FIRST_LOOK = 0.03
_MOST = 2.0


class _Waiting(msgspec.Struct, eq=False):
    name: str
    addresses: Sequence[IPAddress]


class Reaping:
    """Watches links go, and lets their addresses cool from then on."""

    def __init__(
        self,
        allocator: Allocator,
        gone: Callable[[Collection[str]], Awaitable[Collection[str]]],
        clock: Callable[[], float],
    ) -> None:
        """*gone* tells which of the named links no longer exist; *clock* gives seconds since the epoch."""
        self._allocator = allocator
        self._gone = gone
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def names(self) -> frozenset[str]:
        """The links that are being deleted."""
        return frozenset(entry.name for entry in self._waiting)

    def add(self, name: str, addresses: Sequence[IPAddress]) -> None:
        """Quarantine *addresses* until the link *name* is gone."""
        self._allocator.quarantine(addresses)
        self._waiting.append(_Waiting(name, addresses))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch(), name="cni-reaping")

    def replaced(self, name: str) -> None:
        """A new link has taken the name *name*, so the old one is gone."""
        self._finish([entry for entry in self._waiting if entry.name == name])

    async def _watch(self) -> None:
        pause = _FIRST_LOOK
        while self._waiting:
            await asyncio.sleep(pause)
            # Only what was waiting before the look: a link of the same name may be made and deleted during it.
            before = list(self._waiting)
            try:
                gone = await self._gone({entry.name for entry in before})
            except PodwireError as error:
                _LOG.warning("cannot tell which links are gone: %s", error)
                gone = ()
            finished = [entry for entry in before if entry.name in gone]
            self._finish(finished)
            pause = _FIRST_LOOK if finished else min(2 * pause, _MOST)

    def _finish(self, entries: Collection[_Waiting]) -> None:
        for entry in entries:
            if entry in self._waiting:
                self._waiting.remove(entry)
                self._allocator.release(entry.addresses, self._clock())

    async def close(self) -> None:
        """Stop watching. Quarantine is of this process's memory alone: the store has the addresses as cooling."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
