"""The election: one leader, taken over when it is gone, given up when it ends; and the whole process on top."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Awaitable, Callable

import pytest

from podwire.controller import main
from podwire.controller.election import Elector, Timing
from podwire.model.config import Config
from tests.support import virtual_time
from tests.support.controller_api import FakeApi, Server

EPOCH = 1_764_000_000.0
KEY = ("kube-system", "podwire-controller")


class Candidate:
    """An elector that notes when it led."""

    def __init__(self, server: Server, name: str, *, clock_error: float = 0.0, seed: int = 0) -> None:
        self.api = FakeApi(server, random.Random(seed) if seed else None)
        self.name = name
        self.reigns: list[list[float]] = []
        self.elector = Elector(
            self.api,
            name,
            lambda: EPOCH + clock_error + asyncio.get_running_loop().time(),
            rng=random.Random(name),
        )
        self.task = asyncio.ensure_future(self.elector.run(self.lead))

    async def lead(self) -> None:
        loop = asyncio.get_running_loop()
        self.reigns.append([loop.time()])
        try:
            await asyncio.Event().wait()
        finally:
            self.reigns[-1].append(loop.time())

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def die(self) -> None:
        """Without a chance to release the lease."""
        self.api.down = True
        await self.stop()


def story(tell: Callable[[Server], Awaitable[None]]) -> Server:
    server = Server()

    async def main() -> None:
        async with asyncio.timeout(100_000):
            await tell(server)

    virtual_time.run(main())
    return server


def test_the_first_leads_and_the_lease_says_so() -> None:
    async def tell(server: Server) -> None:
        one, two = Candidate(server, "one"), Candidate(server, "two")
        await asyncio.sleep(60)
        assert (len(one.reigns), len(two.reigns)) == (1, 0)
        assert one.elector.leading and two.elector.leader == "one"
        lease = server.leases[KEY]
        assert (lease.holder, lease.duration, lease.transitions) == ("one", 15, 0)
        assert lease.acquired == EPOCH and EPOCH + 55 < lease.renewed <= EPOCH + 60
        await one.stop()
        await two.stop()

    story(tell)


def test_a_lease_that_is_given_up_is_taken_at_once() -> None:
    async def tell(server: Server) -> None:
        one, two = Candidate(server, "one"), Candidate(server, "two")
        await asyncio.sleep(60)
        await one.stop()
        assert server.leases[KEY].holder == ""
        ended = asyncio.get_running_loop().time()
        await asyncio.sleep(10)
        assert two.reigns[0][0] - ended <= 2 * (1 + 1.2)
        assert server.leases[KEY].transitions == 1
        await two.stop()

    story(tell)


@pytest.mark.parametrize("clock_error", [-86400.0, 0.0, 86400.0])
def test_a_dead_leader_is_succeeded_after_the_duration_whatever_the_clocks_say(clock_error: float) -> None:
    async def tell(server: Server) -> None:
        one, two = Candidate(server, "one"), Candidate(server, "two", clock_error=clock_error)
        await asyncio.sleep(61)
        died = asyncio.get_running_loop().time()
        await one.die()
        await asyncio.sleep(40)
        assert 10 <= two.reigns[0][0] - died <= 15 + 2 * 2.2
        await two.stop()

    story(tell)


def test_a_leader_that_is_cut_off_steps_down_before_anybody_takes_over() -> None:
    async def tell(server: Server) -> None:
        one, two = Candidate(server, "one"), Candidate(server, "two")
        await asyncio.sleep(60)
        one.api.down = True
        await asyncio.sleep(60)
        assert one.reigns[0][1] < two.reigns[0][0]
        one.api.down = False
        await asyncio.sleep(60)
        assert one.elector.leader == "two" and not one.elector.leading
        await one.stop()
        await two.stop()

    story(tell)


def test_an_outage_shorter_than_the_deadline_is_survived() -> None:
    async def tell(server: Server) -> None:
        one, two = Candidate(server, "one"), Candidate(server, "two")
        await asyncio.sleep(60)
        one.api.down = two.api.down = True
        await asyncio.sleep(5)
        one.api.down = two.api.down = False
        await asyncio.sleep(60)
        assert one.elector.leading and len(one.reigns) == 1 and not two.reigns
        await one.stop()
        await two.stop()

    story(tell)


def test_a_lease_taken_by_force_is_respected() -> None:
    async def tell(server: Server) -> None:
        one = Candidate(server, "one")
        await asyncio.sleep(60)
        thief = FakeApi(server)
        lease = await thief.get_lease(*KEY)
        taken = asyncio.get_running_loop().time()
        await thief.put_lease(*KEY, type(lease)("thief", 15, EPOCH, EPOCH, 9, lease.resource_version))
        await asyncio.sleep(10)
        assert one.reigns[0][1] - taken <= 2, "at the next look, not at the deadline"
        await asyncio.sleep(30)
        assert one.elector.leading and server.leases[KEY].transitions == 10
        await one.stop()

    story(tell)


@pytest.mark.parametrize("seed", range(20))
def test_never_two_leaders_at_once(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Five candidates with slow answers, outages and deaths; every process keeps time, so no reigns overlap."""
    caplog.set_level(logging.CRITICAL)

    async def tell(server: Server) -> None:
        rng = random.Random(seed)
        candidates = [Candidate(server, f"c{number}", seed=seed * 10 + number + 1) for number in range(5)]
        everyone = list(candidates)
        for turn in range(30):
            leaders = [number for number, candidate in enumerate(candidates) if candidate.elector.leading]
            at = rng.choice(leaders or range(5)) if rng.random() < 0.7 else rng.randrange(5)
            match rng.randrange(4):
                case 0:
                    candidates[at].api.down = not candidates[at].api.down
                case 1:
                    await candidates[at].die()
                    candidates[at] = Candidate(server, f"c{at}-{turn}", seed=seed + turn + 1)
                    everyone.append(candidates[at])
                case 2:
                    await candidates[at].stop()
                    candidates[at] = Candidate(server, f"c{at}-{turn}", seed=seed + turn + 1)
                    everyone.append(candidates[at])
            await asyncio.sleep(rng.choice([1, 10, 40]))
        for candidate in candidates:
            await candidate.stop()
        reigns = sorted(tuple(reign) for candidate in everyone for reign in candidate.reigns)
        assert len(reigns) > 5
        for before, after in itertools.pairwise(reigns):
            assert before[1] <= after[0]

    story(tell)


def test_what_the_work_raises_ends_the_candidacy_and_frees_the_lease() -> None:
    async def tell(server: Server) -> None:
        async def fail() -> None:
            await asyncio.sleep(5)
            raise ValueError("a bug")

        with pytest.raises(ValueError, match="a bug"):
            await Elector(FakeApi(server), "one", lambda: EPOCH).run(fail)
        assert server.leases[KEY].holder == ""

    story(tell)


def test_the_timing_can_be_shorter() -> None:
    async def tell(server: Server) -> None:
        elector = Elector(FakeApi(server), "one", lambda: EPOCH, timing=Timing(3, 2.0, 0.5))
        work = asyncio.ensure_future(elector.run(asyncio.Event().wait))  # type: ignore[arg-type]
        await asyncio.sleep(1)
        assert server.leases[KEY].duration == 3
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    story(tell)


class TestProcess:
    def test_the_leader_works_and_its_successor_goes_on(self) -> None:
        async def tell(server: Server) -> None:
            stops = [asyncio.Event(), asyncio.Event()]
            processes = [
                asyncio.ensure_future(
                    main.run(Config(), FakeApi(server), name=f"p{number}", stop=stop, now=lambda: EPOCH)
                )
                for number, stop in enumerate(stops)
            ]
            server.add("a")
            await asyncio.sleep(1)
            assert server.assigned == {"a": "10.244.0.0/24"}
            stops[0].set()
            await processes[0]
            server.add("b")
            await asyncio.sleep(10)
            assert server.assigned["b"] == "10.244.1.0/24" and server.leases[KEY].holder == "p1"
            stops[1].set()
            await processes[1]
            assert server.leases[KEY].holder == ""

        story(tell)

    def test_identities_differ(self) -> None:
        assert main.identity() != main.identity()
