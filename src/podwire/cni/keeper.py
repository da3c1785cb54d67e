"""The keeper of this node's attachments: the few steps that every change of one is made of, each safe at any death.

Attaching::

    allocate ─▶ told (allocated) ─▶ stored (allocated) ─▶ wired ─▶ stored (ready) ─▶ told (ready)

Detaching is the way back, down to the addresses, which rest until the kernel has deleted the link
(:mod:`~podwire.cni.reaping`) and then cool down. *Told* means ``on_change``: the agent's plan learns of it. What blocks
(store and wirer) runs in a few threads, one hop there and back per step: a hop costs a tenth of the whole wiring.

Everything but the thread functions at the end runs on one event loop. A step that has begun is not to be cancelled.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

import msgspec

from podwire.cni import codes
from podwire.cni.locks import NamedLocks
from podwire.cni.reaping import Reaping
from podwire.cni.request import AddRequest
from podwire.ipam.allocator import Allocator
from podwire.ipam.rebuild import Orphan
from podwire.ipam.store import Store
from podwire.model.addresses import IPInterface, stable_mac
from podwire.model.attachment import Attachment, AttachmentKey
from podwire.model.cluster import AttachmentChanged
from podwire.model.errors import CniError, PodwireError
from podwire.model.kernel import Route
from podwire.model.wiring import PodWiring
from podwire.plan.wiring import pod_wiring
from podwire.reconcile.driver import PodWirer

_LOG = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")


class PodContext(msgspec.Struct, frozen=True):
    """What the agent knows that a new pod needs: the MTU, and whether it can have a network at all.

    *not_ready* is empty, or says in a sentence why no pod can be added now; *limited* then tells that pods which have
    their network may suffer too.
    """

    mtu: int
    not_ready: str = ""
    limited: bool = False


class Keeper:
    """See the module. ``known`` and ``orphans`` are for reading; what changes them is here."""

    def __init__(
        self,
        *,
        allocator: Allocator,
        store: Store,
        wirer: PodWirer,
        context: Callable[[], PodContext],
        on_change: Callable[[AttachmentChanged], None],
        clock: Callable[[], float],
        workers: int,
    ) -> None:
        self.allocator = allocator
        self.store = store
        self.wirer = wirer
        self.context = context
        self.clock = clock
        self.known: dict[AttachmentKey, Attachment] = {}
        self.orphans: dict[str, Orphan] = {}
        self.busy: dict[str, AttachmentKey] = {}
        self.locks = NamedLocks()
        self.reaping = Reaping(allocator, lambda names: self.blocking(self._gone, names), clock)
        self._on_change = on_change
        self._workers = ThreadPoolExecutor(workers, thread_name_prefix="podwire-cni")

    @asynccontextmanager
    async def exclusively(self, key: AttachmentKey) -> AsyncIterator[None]:
        """One step at a time per attachment. By the link's name and not by the key: a sweep knows only links."""
        name = key.host_ifname
        async with self.locks.held(name):
            self.busy[name] = key
            try:
                yield
            finally:
                del self.busy[name]

    async def blocking(self, work: Callable[_P, _T], *args: _P.args, **_: _P.kwargs) -> _T:
        """Run *work* in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, work, *args)

    def allocate(self, request: AddRequest) -> tuple[IPInterface, ...]:
        """New addresses for *request*: AddressError, or CniError 11 when the agent is not ready."""
        context, owner = self.context(), str(request.pod or request.key)
        if context.not_ready:
            raise CniError(codes.TRY_AGAIN_LATER, f"no network for {owner} yet: {context.not_ready}", "try again later")
        chosen = self.allocator.allocate(owner, self.clock(), request.ips)
        return tuple(ipaddress.ip_interface((addr, addr.max_prefixlen)) for addr in chosen)

    async def attach(
        self, request: AddRequest, netns: int, inode: int, addresses: tuple[IPInterface, ...]
    ) -> Attachment:
        """Wire the pod with *addresses*, which are allocated to it. On failure all is undone, whatever it is."""
        key = request.key
        parts = (key.network, key.container_id, key.ifname)
        attachment = Attachment(
            key=key,
            netns=request.netns,
            netns_inode=inode,
            addresses=addresses,
            mac=request.mac or stable_mac("pod", *parts),
            host_mac=stable_mac("host", *parts),
            mtu=self.context().mtu,
            created_at=self.clock(),
            pod=request.pod,
        )
        ready = msgspec.structs.replace(attachment, state="ready")
        self.announce(attachment)
        try:
            await self.blocking(self._attach, attachment, ready, pod_wiring(attachment), netns)
        except BaseException:
            self._forget(key)
            self.reaping.add(key.host_ifname, attachment.ips)
            raise
        self.announce(ready)
        if orphan := self.orphans.pop(key.host_ifname, None):
            self.reaping.add(key.host_ifname, orphan.addresses)
        self.reaping.replaced(key.host_ifname)
        return ready

    async def detach(self, attachment: Attachment) -> None:
        """Take the pod off the network. On failure it is kept as it was, for the runtime to try again."""
        self._forget(attachment.key)
        try:
            await self.undo(attachment)
        except BaseException:
            self.announce(attachment)
            raise
        self.reaping.add(attachment.key.host_ifname, attachment.ips)

    async def undo(self, attachment: Attachment) -> None:
        """Remove what kernel and store have of *attachment*, which is not known."""
        await self.blocking(self._detach, attachment, pod_wiring(attachment), self.clock())

    async def remove_unknown(self, host_ifname: str) -> None:
        """Remove a host end that no attachment belongs to, if it exists; an orphan's addresses are freed with it."""
        orphan = self.orphans.get(host_ifname)
        routes = [Route(ipaddress.ip_network(addr), host_ifname) for addr in orphan.addresses] if orphan else []
        await self.blocking(self._remove, host_ifname, routes)
        if orphan and self.orphans.pop(host_ifname, None):
            self.reaping.add(host_ifname, orphan.addresses)

    def announce(self, attachment: Attachment) -> None:
        """Know *attachment*, and tell."""
        self.known[attachment.key] = attachment
        self._on_change(AttachmentChanged(attachment.key, attachment))

    def _forget(self, key: AttachmentKey) -> None:
        self.known.pop(key, None)
        self._on_change(AttachmentChanged(key, None))

    async def close(self) -> None:
        """Let what runs in the threads end."""
        await self.reaping.close()
        await asyncio.to_thread(self._workers.shutdown)

    # ---- in the threads ----

    def _attach(self, attachment: Attachment, ready: Attachment, wiring: PodWiring, netns: int) -> None:
        try:
            self.store.put(attachment)
            self.wirer.attach(wiring, netns)
            self.store.put(ready)
        except BaseException:
            try:
                self._detach(attachment, wiring, attachment.created_at)
            except PodwireError as error:  # the caller hears of the first failure, and a restart undoes the rest
                _LOG.error("cannot undo the attachment of %s: %s", attachment.owner, error)
            raise

    def _detach(self, attachment: Attachment, wiring: PodWiring, now: float) -> None:
        self.wirer.detach(wiring.host_ifname, wiring.host_routes)
        self.store.remove(attachment.key, dict.fromkeys(attachment.ips, now))

    def _remove(self, host_ifname: str, routes: Iterable[Route]) -> None:
        if not self.wirer.reaped(host_ifname):
            self.wirer.detach(host_ifname, tuple(routes))

    def _gone(self, names: Collection[str]) -> Collection[str]:
        return [name for name in names if self.wirer.reaped(name)]
