"""What a node's pools hold, in numbers and in the words of an error message."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from podwire.ipam.pool import Pool
from podwire.model.addresses import IPNetwork

TOP_HOLDERS = 3


class PoolUsage(msgspec.Struct, frozen=True):
    """One pool. ``used + quarantined + cooling + free + reserved == size``.

    *holders* are the namespaces with the most addresses as (namespace, count), most first; *next_free* is how many
    seconds from now the first cooling address may be given again (0 when none is cooling).
    """

    pool: IPNetwork
    size: int
    used: int
    quarantined: int
    cooling: int
    free: int
    reserved: int
    holders: tuple[tuple[str, int], ...] = ()
    next_free: float = 0.0

    @property
    def capacity(self) -> int:
        """Number of pods that the pool can serve at once."""
        return self.size - self.reserved

    def __str__(self) -> str:
        parts = [f"{self.used} used"]
        if self.quarantined:
            parts.append(f"{self.quarantined} quarantined until their links are gone")
        if self.cooling:
            parts.append(f"{self.cooling} cooling, the next is free in {math.ceil(self.next_free)} s")
        if self.free:
            parts.append(f"{self.free} free")
        parts.append(f"{self.reserved} reserved")
        text = f"{self.pool} ({self.size} addresses: {', '.join(parts)}"
        if self.holders:
            text += "; most are held by " + ", ".join(f"{name} ({count})" for name, count in self.holders)
        return text + ")"


def usage_of(pool: Pool, now: float, cooldown: float, top: int = TOP_HOLDERS) -> PoolUsage:
    """The numbers of *pool* at *now*."""
    cooling = pool.cooling(now - cooldown)
    used, quarantined = len(pool.held), len(pool.quarantined)
    next_free = 0.0
    if cooling:
        whens = (when for when, _ in pool.freed.values() if when > now - cooldown)
        next_free = next(whens) + cooldown - now
    return PoolUsage(
        pool=pool.network,
        size=pool.size,
        used=used,
        quarantined=quarantined,
        cooling=cooling,
        free=pool.size - pool.reserved - used - quarantined - cooling,
        reserved=pool.reserved,
        holders=_top(pool.held.values(), top),
        next_free=next_free,
    )


def summary(usages: Sequence[PoolUsage]) -> str:
    """All *usages* in one sentence's worth of text."""
    return "; ".join(map(str, usages))


def _top(owners: Iterable[str], top: int) -> tuple[tuple[str, int], ...]:
    """Owners are ``namespace/pod``; one without a pod counts under the first part of its attachment's key."""
    counts = Counter(owner.partition("/")[0] for owner in owners)
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:top])
