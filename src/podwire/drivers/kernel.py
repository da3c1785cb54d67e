"""The kernel objects of one node: observed and changed kind by kind, each kind by a module of its own.

A link whose parameters cannot be changed in place is replaced, and the kernel takes away all that stood on it. So
what stood there is noted before and put again afterwards, unless the delta has other plans for it: a changed VNI
costs one delta, not a black hole until the next resync.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from itertools import groupby
from operator import attrgetter

from podwire.drivers import sysctls
from podwire.drivers.addresses import Addresses
from podwire.drivers.elements import Kind
from podwire.drivers.links import PlannedLinks
from podwire.drivers.neighbours import ForwardingEntries, Neighbours
from podwire.drivers.netlink.socket import SocketPool
from podwire.drivers.nftables import Nftables
from podwire.drivers.routes import Routes
from podwire.drivers.sysctls import Sysctls
from podwire.model.errors import InputError
from podwire.model.intent import Cause, Delta, Failure, NodeState, Wanted
from podwire.model.kernel import (
    KINDS,
    Address,
    Fdb,
    Key,
    Link,
    Neighbour,
    NftElement,
    NftTable,
    Route,
    Sysctl,
    Value,
)
from podwire.reconcile.order import drops_in_order, puts_in_order

_NFT = (NftTable.kind, NftElement.kind)
_ON_LINKS = (Address.kind, Neighbour.kind, Fdb.kind, Route.kind)


class Kernel:
    """The :class:`~podwire.reconcile.driver.KernelDriver` of the namespace of the thread that makes it.

    Its methods may be called from any thread; one call runs at a time.
    """

    def __init__(self) -> None:
        self._pool = SocketPool()
        self._links = PlannedLinks(self._pool, ipv6=sysctls.ipv6_enabled())
        self._nft = Nftables(self._pool.netns)
        self._kinds: dict[str, Kind] = {
            Sysctl.kind: Sysctls(self._pool.netns),
            Link.kind: self._links,
            Address.kind: Addresses(self._pool),
            Neighbour.kind: Neighbours(self._pool),
            Fdb.kind: ForwardingEntries(self._pool),
            Route.kind: Routes(self._pool),
        }
        self._lock = threading.Lock()

    def observe(self, kinds: Collection[str] | None = None) -> NodeState:
        """See :meth:`KernelDriver.observe`. InputError for an unknown kind."""
        known = [kind.kind for kind in KINDS]
        for kind in kinds or ():
            if kind not in known:
                raise InputError("kinds", kind, "is no kind of kernel object", remedy=f"known are {', '.join(known)}")
        asked = known if kinds is None else kinds
        with self._lock:
            found = [value for kind, module in self._kinds.items() if kind in asked for value in module.observe()]
            if any(kind in asked for kind in _NFT):
                found += [value for value in self._nft.observe() if value.kind in asked]
        return {value.key: value for value in found}

    def apply(self, delta: Delta) -> list[Failure]:
        """See :meth:`KernelDriver.apply`. The nft part, drops and puts, is one transaction, at the end."""
        failures: list[Failure] = []
        drops = [value for value in drops_in_order(delta.drop) if value.kind not in _NFT]
        puts = [wanted for wanted in delta.put if wanted.value.kind not in _NFT]
        with self._lock:
            for kind, values in groupby(drops, key=attrgetter("kind")):
                failures += self._kinds[kind].drop(list(values))
            replaced = self._links.to_replace([wanted for wanted in puts if wanted.value.kind == Link.kind])
            puts += self._standing_on(replaced, delta)
            for kind, elements in groupby(puts_in_order(puts), key=attrgetter("value.kind")):
                failures += self._kinds[kind].put(list(elements))
            failures += self._nft.apply(
                [value for value in delta.drop if value.kind in _NFT],
                [element for element in delta.put if element.value.kind in _NFT],
            )
        return failures

    def _standing_on(self, names: Collection[str], delta: Delta) -> list[Wanted]:
        """What stands on the links of these names and is not in *delta*: replacing the links will take it away."""
        if not names:
            return []
        planned: set[Key] = {element.key for element in delta.put} | {value.key for value in delta.drop}
        found = [value for kind in _ON_LINKS for value in self._kinds[kind].observe()]
        return [
            Wanted(value, Cause("Link", dev, detail="replaced"))
            for value in found
            if value.key not in planned and (dev := _device(value)) and dev in names
        ]

    def close(self) -> None:
        """Release sockets and the nftables library. What stands in the kernel stays."""
        with self._lock:
            self._nft.close()
            self._pool.close()


def _device(value: Value) -> str | None:
    return value.dev if isinstance(value, Address | Neighbour | Fdb | Route) else None
