"""One pool's books: which of its addresses are held, quarantined, resting, or were never used.

Everything is sparse: the cost of an operation depends on how many addresses are in use, never on the size of the pool,
so that an IPv6 /64 costs no more than a /24. Addresses are integers here; :class:`~podwire.ipam.allocator.Allocator`
speaks in addresses.
"""

from __future__ import annotations

import bisect
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from podwire.model.addresses import IPAddress, IPNetwork

REMEMBERED = 65536
"""Rested addresses remembered per pool. More than that only a pool larger than a /16 can have: it forgets the oldest
and meets them again when its cursor comes round."""


class Pool:
    """The books of one pod CIDR. ``freed`` maps a resting address to (when, seconds; former owner), oldest first."""

    def __init__(self, network: IPNetwork, reserved: Sequence[IPNetwork] = ()) -> None:
        """*reserved* may hold networks of any family and place; what lies outside *network* does not matter here."""
        self.network = network
        self.first = int(network.network_address)
        self.last = int(network.broadcast_address)
        self.held: dict[int, str] = {}
        self.quarantined: dict[int, str] = {}
        # Not a dict: taking the first of a dict over and over walks all that was taken before.
        self.freed: OrderedDict[int, tuple[float, str]] = OrderedDict()
        self._starts, self._ends = _merge(_blocked(network, reserved))
        self._blocked_in_use: set[int] = set()
        self._cursor = self.first
        self._forgotten = False

    @property
    def size(self) -> int:
        """Number of addresses of the CIDR, reserved ones included."""
        return self.last - self.first + 1

    @property
    def reserved(self) -> int:
        """Number of addresses that no pod may get and no pod has (one held from before it was reserved is in use)."""
        return sum(end - start + 1 for start, end in zip(self._starts, self._ends, strict=True)) - len(
            self._blocked_in_use
        )

    @property
    def usable(self) -> int:
        """Number of addresses that pods can have at once."""
        return self.size - self.reserved

    def covers(self, addr: IPAddress) -> bool:
        """Whether *addr* belongs to the CIDR."""
        return addr.version == self.network.version and self.first <= int(addr) <= self.last

    def is_reserved(self, number: int) -> bool:
        """Whether a pod may never get this address."""
        return self._end_of_block(number) is not None

    def never_used(self) -> int | None:
        """The lowest address that was never given out (as far as is remembered), or None."""
        found = self._advance()
        if found is None and self._forgotten:
            self._cursor, self._forgotten = self.first, False
            found = self._advance()
        return found

    def least_recently_freed(self) -> tuple[float, int] | None:
        """(when it was freed, the address) of the one that has rested longest, or None."""
        for number, (when, _) in self.freed.items():
            return when, number
        return None

    def hold(self, number: int, owner: str) -> None:
        """Enter *owner* as the holder, whatever the address was before."""
        self.quarantined.pop(number, None)
        self.freed.pop(number, None)
        self.held[number] = owner
        self._note_blocked(number)

    def quarantine(self, number: int) -> None:
        """Keep the address from everyone until :meth:`release`."""
        owner = self.held.pop(number, "") or self.quarantined.get(number, "")
        self.freed.pop(number, None)
        self.quarantined[number] = owner
        self._note_blocked(number)

    def release(self, number: int) -> str | None:
        """Take the address from its owner, who is returned; None if it was not in use."""
        owner = self.held.pop(number, None)
        if owner is None:
            owner = self.quarantined.pop(number, None)
        self._blocked_in_use.discard(number)
        return owner

    def in_use(self, number: int) -> bool:
        """Whether the address is held or quarantined."""
        return number in self.held or number in self.quarantined

    def rest(self, number: int, when: float, owner: str) -> None:
        """Note that the address, neither in use nor reserved, was freed at *when*, the latest of all."""
        self.freed.pop(number, None)
        self.freed[number] = (when, owner)

    def turn_back(self, now: float) -> None:
        """Let nothing have been freed in the future: after the clock was set back, resting starts anew from *now*."""
        latest = next(reversed(self.freed.values()), None)
        if latest is not None and latest[0] > now:
            self.freed = OrderedDict((number, (min(when, now), owner)) for number, (when, owner) in self.freed.items())

    def forget(self, before: float) -> None:
        """Drop rested addresses beyond :data:`REMEMBERED`, of those freed before *before*."""
        while len(self.freed) > REMEMBERED:
            number, (when, _) = next(iter(self.freed.items()))
            if when > before:
                return
            del self.freed[number]
            self._forgotten = True

    def cooling(self, since: float) -> int:
        """Number of addresses freed after *since*."""
        count = 0
        for when, _ in reversed(self.freed.values()):
            if when <= since:
                break
            count += 1
        return count

    def entries(self) -> Iterator[tuple[int, str, bool]]:
        """All (address, owner, quarantined) in use."""
        yield from ((number, owner, False) for number, owner in self.held.items())
        yield from ((number, owner, True) for number, owner in self.quarantined.items())

    def _advance(self) -> int | None:
        while self._cursor <= self.last:
            end = self._end_of_block(self._cursor)
            if end is not None:
                self._cursor = end + 1
            elif self._cursor in self.held or self._cursor in self.quarantined or self._cursor in self.freed:
                self._cursor += 1
            else:
                return self._cursor
        return None

    def _end_of_block(self, number: int) -> int | None:
        """The end of the reserved range that *number* lies in."""
        at = bisect.bisect_right(self._starts, number) - 1
        return self._ends[at] if at >= 0 and number <= self._ends[at] else None

    def _note_blocked(self, number: int) -> None:
        if self.is_reserved(number):
            self._blocked_in_use.add(number)


def _blocked(network: IPNetwork, reserved: Sequence[IPNetwork]) -> Iterator[tuple[int, int]]:
    first, last = int(network.network_address), int(network.broadcast_address)
    yield first, min(first + 1, last)
    if network.version == 4:
        yield last, last
    for other in reserved:
        if other.version == network.version and other.overlaps(network):
            yield max(first, int(other.network_address)), min(last, int(other.broadcast_address))


def _merge(ranges: Iterable[tuple[int, int]]) -> tuple[list[int], list[int]]:
    starts: list[int] = []
    ends: list[int] = []
    for start, end in sorted(ranges):
        if ends and start <= ends[-1] + 1:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)
    return starts, ends
