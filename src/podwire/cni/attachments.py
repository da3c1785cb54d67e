"""The attachments of this node, and their only writer: the verbs, on top of the steps of :mod:`~podwire.cni.keeper`.

All methods are for one event loop. A verb that has begun is carried to its end: do not cancel it.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from podwire.cni import codes, death, recovery, sandbox
from podwire.cni.keeper import Keeper, PodContext
from podwire.cni.recovery import Recovery
from podwire.cni.request import AddRequest, CheckRequest, DelRequest, GcRequest, StatusRequest
from podwire.cni.result import absent_from, describe
from podwire.ipam.allocator import Allocator
from podwire.ipam.rebuild import Orphan
from podwire.ipam.store import Store
from podwire.ipam.usage import PoolUsage
from podwire.model.addresses import IPNetwork
from podwire.model.attachment import Attachment, AttachmentKey, PodRef
from podwire.model.cluster import AttachmentChanged
from podwire.model.errors import CniError, KernelError, NoSuchNamespace, PodwireError
from podwire.plan.wiring import pod_wiring
from podwire.reconcile.driver import HostLink, PodWirer

__all__ = ["Attachments", "GcReport", "PodContext", "Recovery"]

_LOG = logging.getLogger(__name__)


class GcReport(msgspec.Struct, frozen=True):
    """What GC removed, each with the reason, and what it kept although the runtime no longer lists it."""

    removed: Mapping[AttachmentKey, str]
    kept: tuple[AttachmentKey, ...] = ()


class Attachments:
    """Call :meth:`recover` before any verb."""

    def __init__(
        self,
        *,
        allocator: Allocator,
        store: Store,
        wirer: PodWirer,
        context: Callable[[], PodContext],
        on_change: Callable[[AttachmentChanged], None] = lambda change: None,
        running_pods: Callable[[], Collection[PodRef] | None] = lambda: None,
        clock: Callable[[], float] = time.time,
        identify: Callable[[int], int] = sandbox.identify,
        workers: int = 4,
    ) -> None:
        """*clock* gives seconds since the epoch. *running_pods*: see :func:`podwire.cni.death.proof`.

        *identify* tells a namespace's inode number from its descriptor.
        """
        self._keeper = Keeper(
            allocator=allocator,
            store=store,
            wirer=wirer,
            context=context,
            on_change=on_change,
            clock=clock,
            workers=workers,
        )
        self._running_pods = running_pods
        self._identify = identify
        self._own_namespace = sandbox.own()
        self._complete = False

    # ---- what others look at ----

    def snapshot(self) -> dict[AttachmentKey, Attachment]:
        """All attachments as of now, those in the making (state ``allocated``) included."""
        return dict(self._keeper.known)

    @property
    def orphans(self) -> tuple[Orphan, ...]:
        """Host ends in use whose attachment the store has lost."""
        return tuple(self._keeper.orphans.values())

    @property
    def busy(self) -> frozenset[AttachmentKey]:
        """Those that a verb is working on at this instant: the reconciler leaves them alone."""
        return frozenset(self._keeper.busy.values())

    def usage(self) -> list[PoolUsage]:
        """The numbers of each pool."""
        return self._keeper.allocator.usage(self._keeper.clock())

    def set_pools(self, pools: Sequence[IPNetwork]) -> None:
        """Take addresses from *pools* (the node's pod CIDRs) from now on; pods keep those that they have."""
        self._keeper.allocator.set_pools(pools)

    # ---- verbs ----

    async def add(self, request: AddRequest, netns: int | None) -> Attachment:
        """Attach, or find that it is attached already. *netns* is an open descriptor; None if the path leads nowhere.

        An ADD repeated for the same namespace changes nothing while all stands, and repairs it, with the same
        addresses, where it does not. Raises PodwireError, after which nothing of this ADD is left.
        """
        keeper = self._keeper
        async with keeper.exclusively(request.key):
            standing = keeper.known.get(request.key)
            inode = self._namespace(request.netns, netns, standing)
            assert netns is not None
            addresses = None
            if standing is not None:
                fits = set(request.ips) <= set(standing.ips) and request.mac in ("", standing.mac)
                if standing.netns_inode == inode and fits:
                    differences = await keeper.blocking(keeper.wirer.inspect, pod_wiring(standing), netns)
                    if not differences:
                        return standing
                    _LOG.warning("%s is wired anew: %s", standing.owner, "; ".join(differences))
                    addresses = standing.addresses
                else:  # the sandbox was made anew under its id, or is to look different
                    await keeper.detach(standing)
            if addresses is None:
                addresses = keeper.allocate(request)
            try:
                return await keeper.attach(request, netns, inode, addresses)
            except KernelError as error:
                raise _explained(error, request) from error

    async def delete(self, request: DelRequest) -> Attachment | None:
        """Detach; what is not there is a success. Returns what was removed."""
        keeper = self._keeper
        async with keeper.exclusively(request.key):
            standing = keeper.known.get(request.key)
            if standing is None:
                await keeper.remove_unknown(request.key.host_ifname)
            elif request.asked_at is not None and standing.created_at > request.asked_at:
                return None
            else:
                await keeper.detach(standing)
            return standing

    async def check(self, request: CheckRequest, netns: int | None) -> None:
        """Compare what stands with what was built, and with the result that the runtime remembers."""
        keeper = self._keeper
        async with keeper.exclusively(request.key):
            standing = keeper.known.get(request.key)
            if standing is None:
                raise CniError(
                    codes.UNKNOWN_CONTAINER, f"{request.key} is not attached", "the runtime has to make the pod anew"
                )
            wiring = pod_wiring(standing)
            problems = absent_from(request.previous, describe(standing, wiring))
            problems += [f"{addr} is not reserved" for addr in standing.ips if keeper.allocator.owner(addr) is None]
            if self._namespace(request.netns, netns, standing) != standing.netns_inode:
                problems.append(f"CNI_NETNS {request.netns} is not the namespace that was attached")
            else:
                problems += await keeper.blocking(keeper.wirer.inspect, wiring, netns)
            if problems:
                raise CniError(
                    codes.WIRING_DIFFERS,
                    f"the network of {standing.owner} is not as it was built: {problems[0]}",
                    "; ".join([*problems, "to repair it, delete the pod"]),
                )

    async def gc(self, request: GcRequest) -> GcReport:
        """Remove attachments of this network that two witnesses say are dead (:mod:`podwire.cni.death`).

        Raises CniError, once all is tried, when something dead could not be removed.
        """
        keeper = self._keeper
        suspects = [key for key in keeper.known if key.network == request.network and key not in (request.valid or ())]
        links = {link.name for link in await keeper.blocking(keeper.wirer.host_links)} if suspects else set()
        removed: dict[AttachmentKey, str] = {}
        kept: list[AttachmentKey] = []
        failures: list[str] = []
        for key in suspects:
            async with keeper.exclusively(key):
                standing = keeper.known.get(key)
                if standing is None:
                    continue
                reason = death.proof(
                    standing,
                    unlisted=request.valid is not None,
                    has_link=key.host_ifname in links,
                    running=self._running_pods(),
                )
                if not reason:
                    if request.valid is not None:
                        kept.append(key)
                    continue
                try:
                    await keeper.detach(standing)
                    removed[key] = reason
                except PodwireError as error:
                    failures.append(f"{standing.owner}: {error}")
        if failures:
            raise CniError(
                codes.GC_INCOMPLETE,
                f"{len(failures)} dead attachments could not be removed: {failures[0]}",
                "; ".join(failures),
            )
        return GcReport(removed, tuple(kept))

    def status(self, request: StatusRequest) -> None:
        """Raise CniError 50 or 51 when no pod can be added now; addresses that are still cooling count as there."""
        context = self._keeper.context()
        if context.not_ready:
            raise CniError(
                codes.LIMITED_CONNECTIVITY if context.limited else codes.NOT_AVAILABLE,
                f"network {request.network} is not ready: {context.not_ready}",
            )
        usages = self.usage()
        for version in {usage.pool.version for usage in usages}:
            family = [usage for usage in usages if usage.pool.version == version]
            if not any(usage.free or usage.cooling or usage.quarantined for usage in family):
                raise CniError(
                    codes.NOT_AVAILABLE,
                    f"network {request.network} is full: {'; '.join(map(str, family))}",
                    "delete pods on this node, or give nodes larger pod CIDRs",
                )

    # ---- beside the verbs ----

    async def recover(self) -> Recovery:
        """Take up what the store has. See :mod:`podwire.cni.recovery`."""
        found = await recovery.recover(self._keeper)
        self._complete = found.complete
        return found

    async def adopt(self, attachments: Collection[Attachment] = (), orphans: Collection[Orphan] = ()) -> None:
        """Settle what the unknown host ends of :meth:`recover` are; what is in neither is a stray from now on."""
        await recovery.adopt(self._keeper, attachments, orphans)
        self._complete = True

    async def sweep(self, *, remove: bool = True) -> list[HostLink]:
        """Find strays and take them away, but for what :meth:`adopt` has yet to settle."""
        return await recovery.strays(self._keeper, remove=remove and self._complete)

    async def close(self) -> None:
        """Let what runs end. What stands in the kernel stays; store and wirer are the caller's to close."""
        await self._keeper.close()

    def _namespace(self, path: str, fd: int | None, standing: Attachment | None) -> int:
        """The inode number of the namespace; CniError 3 when it is none and we hold nothing of the pod, else 4."""
        code = codes.UNKNOWN_CONTAINER if standing is None else codes.INVALID_ENVIRONMENT
        remedy = "the pod's sandbox is gone, or was never there: the runtime has to make a new one"
        if fd is None:
            raise CniError(code, f"CNI_NETNS: {path!r} cannot be opened", remedy)
        try:
            inode = self._identify(fd)
        except NoSuchNamespace:
            raise CniError(code, f"CNI_NETNS: {path!r} is no network namespace", remedy) from None
        if inode == self._own_namespace:
            raise CniError(
                codes.INVALID_ENVIRONMENT,
                f"CNI_NETNS: {path!r} is the node's own network namespace",
                "pods with hostNetwork need no CNI; for others the runtime has to make a namespace",
            )
        return inode


def _explained(error: KernelError, request: AddRequest) -> CniError:
    """The kernel's refusal with the name of the pod; an interface that is there already is the runtime's mistake."""
    owner, ifname = request.pod or request.key, request.key.ifname
    if error.errno == errno.EEXIST and ifname in error.operation.split():
        return CniError(
            codes.INVALID_ENVIRONMENT,
            f"CNI_IFNAME: {ifname!r} exists already in the namespace of {owner}",
            error.remedy or "use another name",
        )
    mapped = codes.as_cni_error(error)
    return CniError(mapped.code, f"{owner}: {mapped.message}", mapped.details)
