"""The allocator against a model too simple to be wrong: it looks at every address of tiny pools, every time."""

from __future__ import annotations

import os
from ipaddress import ip_network

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from podwire.ipam.allocator import Allocator
from podwire.model.addresses import IPAddress, IPNetwork
from podwire.model.errors import AddressError

FULL = os.environ.get("PODWIRE_TEST_FULL") == "1"
COOLDOWN = 10
POOLS: list[tuple[IPNetwork, ...]] = [
    (ip_network("10.1.0.0/29"), ip_network("fd00::/125")),
    (ip_network("10.1.0.0/29"),),
    (ip_network("10.1.0.0/30"), ip_network("10.1.0.8/30"), ip_network("fd00::/126")),
    (ip_network("fd00::8/125"), ip_network("10.1.0.0/28")),
]
RESERVED = (ip_network("10.1.0.4/32"), ip_network("fd00::5/128"))
ADDRESSES: list[IPAddress] = [*ip_network("10.1.0.0/28"), *ip_network("fd00::/124")]
OWNERS = ["ns/a", "ns/b", "ns/c"]


class Model:
    """Who has what, and since when the rest rests; ``freed`` is in the order of freeing."""

    def __init__(self) -> None:
        self.pools = POOLS[0]
        self.held: dict[IPAddress, str] = {}
        self.gone: dict[IPAddress, str] = {}
        self.freed: dict[IPAddress, tuple[int, str]] = {}

    def usable(self, addr: IPAddress) -> bool:
        for pool in self.pools:
            if pool.version == addr.version and addr in pool:
                skipped = {pool[0], pool[1]} | ({pool[-1]} if pool.version == 4 else set())
                return addr not in skipped and not any(addr in net for net in RESERVED if net.version == addr.version)
        return False

    def available(self, addr: IPAddress, owner: str, now: int) -> bool:
        if not self.usable(addr) or addr in self.held or addr in self.gone:
            return False
        when, former = self.freed.get(addr, (-(10**9), ""))
        return now - when >= COOLDOWN or former == owner

    def choose(self, version: int, now: int) -> IPAddress | None:
        candidates = [
            addr
            for pool in self.pools
            for addr in pool
            if addr.version == version and self.available(addr, "nobody", now)
        ]
        fresh = [addr for addr in candidates if addr not in self.freed]
        if fresh:
            return fresh[0]
        order = list(self.freed)
        return min(candidates, key=order.index, default=None)

    def expect(self, owner: str, now: int, requested: list[IPAddress]) -> list[IPAddress] | None:
        """What should be allocated, or None for a refusal."""
        families = list(dict.fromkeys(pool.version for pool in self.pools))
        wanted = {addr.version: addr for addr in requested}
        if not families or wanted.keys() - set(families):
            return None
        found: list[IPAddress] = []
        for version in families:
            addr = wanted.get(version) or self.choose(version, now)
            if addr is None or not self.available(addr, owner, now):
                return None
            found.append(addr)
        return found


class AllocatorMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000
        self.model = Model()
        self.real = Allocator(POOLS[0], reserved=RESERVED, cooldown=COOLDOWN)

    @rule(owner=st.sampled_from(OWNERS), requested=st.lists(st.sampled_from(ADDRESSES), max_size=2))
    def allocate(self, owner: str, requested: list[IPAddress]) -> None:
        requested = list({addr.version: addr for addr in requested}.values())
        expected = self.model.expect(owner, self.now, requested)
        before = dict(self.model.held)
        if expected is None:
            with pytest.raises(AddressError):
                self.real.allocate(owner, self.now, requested)
            assert before == self.model.held
            return
        got = self.real.allocate(owner, self.now, requested)
        assert list(got) == expected
        for addr in got:
            assert addr not in self.model.held
            self.model.held[addr] = owner
            self.model.freed.pop(addr, None)

    @rule(count=st.integers(1, 12))
    def allocate_many(self, count: int) -> None:
        for _ in range(count):
            self.allocate("ns/many", [])

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        taken = [*self.model.held, *self.model.gone]
        addresses = data.draw(st.lists(st.sampled_from(taken or ADDRESSES), max_size=3, unique=True))
        for addr in addresses:  # each at a time of its own: the order of what is freed at once is nobody's promise
            self.now += 1
            self.real.release([addr], self.now)
            owner = self.model.held.pop(addr, None) or self.model.gone.pop(addr, None)
            if owner is not None:
                self.model.freed[addr] = (self.now, owner)

    @rule(data=st.data())
    def quarantine(self, data: st.DataObject) -> None:
        taken = list(self.model.held)
        if taken:
            addr = data.draw(st.sampled_from(taken))
            self.real.quarantine([addr])
            self.model.gone[addr] = self.model.held.pop(addr)

    @rule(seconds=st.sampled_from([1, 4, COOLDOWN - 1, COOLDOWN, 3 * COOLDOWN]))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(pools=st.sampled_from([*POOLS, ()]))
    def set_pools(self, pools: tuple[IPNetwork, ...]) -> None:
        self.real.set_pools(pools)
        self.model.pools = pools

    @rule()
    def restart(self) -> None:
        """What the store keeps makes a new allocator equal to the old, but for who last had a cooling address."""
        real = Allocator(self.model.pools, reserved=RESERVED, cooldown=COOLDOWN)
        real.restore_cooling({addr: float(when) for addr, (when, _) in self.model.freed.items()})
        for addr, owner in self.model.held.items():
            real.hold([addr], owner)
        for addr, owner in self.model.gone.items():
            real.hold([addr], owner)
            real.quarantine([addr])
        self.real = real
        self.model.freed = {addr: (when, "") for addr, (when, _) in self.model.freed.items()}

    @invariant()
    def agree(self) -> None:
        assert {addr: owner for addr in ADDRESSES if (owner := self.real.owner(addr))} == self.model.held
        for usage in self.real.usage(self.now):
            inside = [addr for addr in ADDRESSES if addr.version == usage.pool.version and addr in usage.pool]
            assert usage.used == sum(addr in self.model.held for addr in inside)
            assert usage.quarantined == sum(addr in self.model.gone for addr in inside)
            resting = [addr for addr in inside if addr in self.model.freed and self.model.usable(addr)]
            assert usage.cooling == sum(self.now - self.model.freed[addr][0] < COOLDOWN for addr in resting)
            assert usage.used + usage.quarantined + usage.cooling + usage.free + usage.reserved == usage.size


AllocatorMachine.TestCase.settings = settings(
    max_examples=1000 if FULL else 60, stateful_step_count=60 if FULL else 40, deadline=None, derandomize=not FULL
)
TestAllocator = AllocatorMachine.TestCase
