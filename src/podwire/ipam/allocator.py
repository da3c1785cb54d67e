"""The allocator of a node: hands out addresses from its pools, one per IP family, all or nothing.

Order: an address that was never given before (the lowest, in the pools' order), else the one that was freed longest
ago, once its cool-down is over. So an address changes hands as late as possible, and whoever still remembers the pod
that had it (a DNS cache, a connection, a conntrack entry) reaches nobody rather than a stranger.

For the same reason a *requested* address that is still cooling is refused, with the seconds left, except to the owner
that had it last: a pod with a pinned address that is made anew under its name gets its address back at once, because
there the address still means the same pod.

*now* is seconds since the epoch, as the store keeps them; a clock that is set back makes what is cooling cool anew.
One writer: calls must not overlap. Each costs the same for a /24 and for an IPv6 /64 (:mod:`podwire.ipam.pool`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from podwire.ipam.pool import Pool
from podwire.ipam.usage import PoolUsage, summary, usage_of
from podwire.model.addresses import IPAddress, IPNetwork, overlapping
from podwire.model.errors import AddressInUse, InputError, NotInPool, PoolExhausted


class Allocator:
    """Addresses of one node. Nothing is remembered here over a restart: see :meth:`hold`, :meth:`restore_cooling`."""

    def __init__(
        self, pools: Sequence[IPNetwork], *, reserved: Sequence[IPNetwork] = (), cooldown: float = 30.0
    ) -> None:
        """*reserved* are never given, beside each pool's own reserved ones; *cooldown* is in seconds."""
        if not math.isfinite(cooldown) or cooldown < 0:
            raise InputError("ipam.cooldownSeconds", cooldown, "is no length of time", remedy="use 0 or more seconds")
        self.cooldown = cooldown
        self._reserved = tuple(reserved)
        self._pools: list[Pool] = []
        # In use or resting where no pod gets an address now: other pools, other reserves may come back.
        self._outside: dict[IPAddress, tuple[str, bool]] = {}
        self._outside_freed: dict[IPAddress, tuple[float, str]] = {}
        self.set_pools(pools)

    @property
    def pools(self) -> tuple[IPNetwork, ...]:
        """The pools, in order."""
        return tuple(pool.network for pool in self._pools)

    def set_pools(self, pools: Sequence[IPNetwork], reserved: Sequence[IPNetwork] | None = None) -> None:
        """Take addresses from *pools* from now on; *reserved* None keeps what was reserved.

        What is in use outside the new pools stays with its owner until it is released, and cooling goes on. Raises
        InputError, and changes nothing, when two pools overlap.
        """
        for at, one in enumerate(pools):
            for other in pools[:at]:
                if overlapping(one, other):
                    raise InputError(
                        "podCIDRs", str(one), f"overlaps {other}", remedy="give a node pod CIDRs that share no address"
                    )
        in_use = list(self._in_use())
        resting = sorted(self._resting(), key=lambda entry: entry[1])
        self._reserved = self._reserved if reserved is None else tuple(reserved)
        self._pools = [Pool(network, self._reserved) for network in pools]
        self._outside, self._outside_freed = {}, {}
        for addr, owner, quarantined in in_use:
            self._enter(addr, owner, quarantined)
        for addr, when, owner in resting:
            self._rest(addr, when, owner)

    def allocate(self, owner: str, now: float, requested: Sequence[IPAddress] = ()) -> tuple[IPAddress, ...]:
        """One address for *owner* of each family that has a pool, in the pools' order; all of them or none.

        *requested* names at most one address per family; the other family's is chosen. Raises PoolExhausted,
        AddressInUse (also for an address that is cooling or quarantined), NotInPool (also for a reserved one), and
        InputError for two requested addresses of one family.
        """
        self._turn_back(now)
        wanted = {addr.version: addr for addr in requested}
        if len(wanted) != len(requested):
            raise InputError(
                "ips",
                [str(addr) for addr in requested],
                "asks for two addresses of one family",
                remedy="ask for at most one IPv4 and one IPv6 address",
            )
        families = dict.fromkeys(pool.network.version for pool in self._pools)
        for version in wanted.keys() - families.keys():
            raise self._not_in_pool(wanted[version], owner)
        if not families:
            raise PoolExhausted(
                f"no address for {owner}: this node has no pod CIDR",
                remedy="see that its Node object has spec.podCIDRs, which `podwire controller` assigns",
            )
        chosen = [
            self._check(wanted[version], owner, now) if version in wanted else self._choose(version, owner, now)
            for version in families
        ]
        for pool, addr in chosen:
            pool.hold(int(addr), owner)
            pool.forget(now - self.cooldown)
        return tuple(addr for _, addr in chosen)

    def hold(self, addresses: Iterable[IPAddress], owner: str) -> None:
        """Note that *owner* has *addresses*, as the store or the kernel says: no pool, reserve or cool-down forbids it.

        All or nothing; raises AddressInUse when someone else has one of them.
        """
        addresses = tuple(addresses)
        for addr in addresses:
            holder = self.owner(addr)
            if holder is not None and holder != owner:
                raise AddressInUse(
                    f"{addr} cannot be held for {owner}: {holder} has it",
                    remedy="two pods with one address: see `podwire ip`, then delete one of them",
                )
        for addr in addresses:
            self._enter(addr, owner, quarantined=False)

    def release(self, addresses: Iterable[IPAddress], now: float) -> None:
        """Let *addresses* cool from *now*. Idempotent: what is not in use is left alone, and goes on cooling."""
        self._turn_back(now)
        for addr in addresses:
            pool = self._pool(addr)
            owner = pool.release(int(addr)) if pool else self._outside.pop(addr, (None,))[0]
            if owner is not None:
                self._rest(addr, now, owner)
            if pool:
                pool.forget(now - self.cooldown)

    def quarantine(self, addresses: Iterable[IPAddress]) -> None:
        """Keep *addresses* from everyone until :meth:`release`: their attachment is gone, its link may still answer."""
        for addr in addresses:
            if pool := self._pool(addr):
                pool.quarantine(int(addr))
            else:
                self._outside_freed.pop(addr, None)
                self._outside[addr] = (self._outside.get(addr, ("", True))[0], True)

    def restore_cooling(self, freed: Mapping[IPAddress, float]) -> None:
        """Go on cooling what a former life freed, from the store; the owners that had it are no longer known."""
        resting = [*self._resting(), *((addr, when, "") for addr, when in freed.items())]
        for addr, when, owner in sorted(resting, key=lambda entry: entry[1]):
            self._rest(addr, when, owner)

    def owner(self, addr: IPAddress) -> str | None:
        """Who has *addr*; None for nobody, which includes an address that is quarantined or cooling."""
        if pool := self._pool(addr):
            return pool.held.get(int(addr))
        owner, quarantined = self._outside.get(addr, (None, False))
        return None if quarantined else owner

    def held_by(self, owner: str) -> tuple[IPAddress, ...]:
        """All that *owner* has, in order of address; looks through everything held."""
        found = [addr for addr, holder, quarantined in self._in_use() if holder == owner and not quarantined]
        return tuple(sorted(found, key=lambda addr: (addr.version, int(addr))))

    def usage(self, now: float) -> list[PoolUsage]:
        """The numbers of each pool, in order."""
        self._turn_back(now)
        return [usage_of(pool, now, self.cooldown) for pool in self._pools]

    def outside(self) -> dict[IPAddress, str]:
        """What is held or quarantined outside the pools, since the node's pod CIDRs changed, and its owner."""
        return {addr: owner for addr, (owner, _) in self._outside.items()}

    def _choose(self, version: int, owner: str, now: float) -> tuple[Pool, IPAddress]:
        pools = [pool for pool in self._pools if pool.network.version == version]
        for pool in pools:
            number = pool.never_used()
            if number is not None:
                return pool, pool.network[number - pool.first]
        rested = [(when, at, number) for at, pool in enumerate(pools) for when, number in _oldest(pool)]
        if rested:
            when, at, number = min(rested)
            if now - when >= self.cooldown:
                return pools[at], pools[at].network[number - pools[at].first]
        raise self._exhausted(version, owner, now)

    def _check(self, addr: IPAddress, owner: str, now: float) -> tuple[Pool, IPAddress]:
        """The pool of a requested address that may be given."""
        pool, number = self._pool(addr), int(addr)
        if pool is None:
            raise self._not_in_pool(addr, owner)
        if number in pool.held:
            raise AddressInUse(
                f"the requested address {addr} of {owner} belongs to {pool.held[number]}",
                remedy="request another, or none",
            )
        if number in pool.quarantined:
            raise AddressInUse(
                f"the requested address {addr} of {owner} is still being taken down for "
                f"{pool.quarantined[number] or 'its last owner'}",
                remedy="it is retried by the runtime; request another address if this lasts",
            )
        if pool.is_reserved(number):
            raise NotInPool(
                f"the requested address {addr} of {owner} is reserved in {pool.network}",
                remedy="request another; see ipam.reserved in the configuration",
            )
        when, former = pool.freed.get(number, (-math.inf, ""))
        if former != owner and now - when < self.cooldown:
            raise AddressInUse(
                f"the requested address {addr} of {owner} was freed by {former or 'another pod'} and cools down for "
                f"{math.ceil(when + self.cooldown - now)} s more",
                remedy="it is retried by the runtime; lower ipam.cooldownSeconds if that is too long",
            )
        return pool, addr

    def _exhausted(self, version: int, owner: str, now: float) -> PoolExhausted:
        usages = [usage for usage in self.usage(now) if usage.pool.version == version]
        remedy = f"delete pods here, or give nodes larger CIDRs (cluster.nodeMaskSizeIpv{version})"
        if any(usage.cooling for usage in usages):
            remedy = f"wait for an address to cool down (ipam.cooldownSeconds is {self.cooldown:g}), {remedy}"
        return PoolExhausted(f"no IPv{version} address for {owner}: the pool is full: {summary(usages)}", remedy=remedy)

    def _not_in_pool(self, addr: IPAddress, owner: str) -> NotInPool:
        pools = ", ".join(map(str, self.pools)) or "none"
        return NotInPool(
            f"the requested address {addr} of {owner} is in none of this node's pod CIDRs ({pools})",
            remedy="request an address of the node that the pod runs on, or none",
        )

    def _pool(self, addr: IPAddress) -> Pool | None:
        return next((pool for pool in self._pools if pool.covers(addr)), None)

    def _enter(self, addr: IPAddress, owner: str, quarantined: bool) -> None:
        if pool := self._pool(addr):
            pool.hold(int(addr), owner)
            if quarantined:
                pool.quarantine(int(addr))
        else:
            self._outside_freed.pop(addr, None)
            self._outside[addr] = (owner, quarantined)

    def _rest(self, addr: IPAddress, when: float, owner: str) -> None:
        pool = self._pool(addr)
        if addr in self._outside or (pool and pool.in_use(int(addr))):
            return
        if pool and not pool.is_reserved(int(addr)):
            pool.rest(int(addr), when, owner)
        else:
            self._outside_freed[addr] = (when, owner)

    def _in_use(self) -> Iterator[tuple[IPAddress, str, bool]]:
        for pool in self._pools:
            for number, owner, quarantined in pool.entries():
                yield pool.network[number - pool.first], owner, quarantined
        for addr, (owner, quarantined) in self._outside.items():
            yield addr, owner, quarantined

    def _resting(self) -> Iterator[tuple[IPAddress, float, str]]:
        for pool in self._pools:
            for number, (when, owner) in pool.freed.items():
                yield pool.network[number - pool.first], when, owner
        for addr, (when, owner) in self._outside_freed.items():
            yield addr, when, owner

    def _turn_back(self, now: float) -> None:
        for pool in self._pools:
            pool.turn_back(now)


def _oldest(pool: Pool) -> list[tuple[float, int]]:
    found = pool.least_recently_freed()
    return [] if found is None else [found]
