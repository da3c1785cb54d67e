"""The assigner against a server that judges every write: racing controllers, deaths, lost answers."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network

import msgspec
import pytest

from podwire.controller import assigner as assigner_module
from podwire.controller.api import NodeRecord
from podwire.controller.assigner import Assigner
from podwire.controller.decision import Decision, decide
from podwire.model.addresses import IPNetwork
from podwire.model.config import ClusterConfig, Config
from podwire.model.errors import Unavailable
from tests.support import virtual_time
from tests.support.controller_api import Broken, FakeApi, Killed, Server, Trouble

FULL = os.environ.get("PODWIRE_TEST_FULL") == "1"


def config(*cidrs: str, mask: int = 24) -> Config:
    return Config(cluster=ClusterConfig(pod_cidrs=cidrs or ("10.244.0.0/20",), node_mask_size_ipv4=mask))


def nodes(server: Server, count: int) -> None:
    for number in range(count):
        server.add(f"node-{number}")


def sync(server: Server, setting: Config | None = None, api: FakeApi | None = None) -> bool:
    return virtual_time.run(Assigner(api or FakeApi(server), setting or config()).sync())


def test_every_node_gets_the_lowest_free() -> None:
    server = Server()
    server.add("old", "10.244.1.0/24")
    nodes(server, 3)
    assert sync(server)
    assert server.assigned == {
        "old": "10.244.1.0/24", "node-0": "10.244.0.0/24", "node-1": "10.244.2.0/24", "node-2": "10.244.3.0/24",
    }  # fmt: skip
    assert all(not node.claim for node in server.nodes.values()), "claims end with the assignment"
    assert (server.lists, server.writes) == (2, 6)


def test_both_families() -> None:
    server = Server()
    nodes(server, 1)
    assert sync(server, config("10.244.0.0/16", "fd00:244::/48"))
    assert server.assigned == {"node-0": "10.244.0.0/24,fd00:244::/64"}


def test_nodes_with_cidrs_are_left_alone() -> None:
    server = Server()
    server.add("a", "172.16.0.0/24")
    server.add("b", "10.244.0.0/26")
    assert sync(server) and server.writes == 0


def test_a_thousand_nodes_take_two_lists() -> None:
    server = Server()
    nodes(server, 1000)
    server.check = lambda: None  # type: ignore[method-assign]  # quadratic, checked once below
    assert sync(server, config("10.0.0.0/8"))
    assert len(set(server.assigned.values())) == 1000 and server.lists == 2


class TestWarnings:
    def test_exhaustion_is_an_event_about_the_node_once(self) -> None:
        server = Server()
        nodes(server, 3)

        async def passes() -> None:
            assigner = Assigner(FakeApi(server), config("10.244.0.0/23"))
            for _ in range(3):
                assert await assigner.sync()
            await asyncio.sleep(assigner_module.REPEAT_WARNING)
            await assigner.sync()
            server.delete("node-0")
            assert await assigner.sync()

        virtual_time.run(passes())
        assert [(name, reason) for name, reason, _ in server.events] == [("node-2", "CIDRNotAvailable")] * 2
        assert "2^(24-23) = 2 node CIDRs, and all are taken (by node-0, node-1)" in server.events[0][2]
        assert server.assigned == {"node-1": "10.244.1.0/24", "node-2": "10.244.0.0/24"}

    def test_overlaps_of_others(self) -> None:
        server = Server()
        server.add("a", "10.244.0.0/24")
        server.add("b", "10.244.0.0/25")
        sync(server)
        ((name, reason, message),) = server.events
        assert (name, reason) == ("b", "PodCIDROverlap") and "overlaps 10.244.0.0/24 of node a" in message

    def test_a_node_address_within_the_pod_cidr(self) -> None:
        server = Server()
        server.add("a", addresses=(ip_address("10.244.3.7"),))
        sync(server)
        assert [(event[1], "holds the address 10.244.3.7 of the node a" in event[2]) for event in server.events] == [
            ("PodCIDRCollision", True)
        ]

    def test_an_event_that_cannot_be_written_stops_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        server = Server()
        nodes(server, 3)
        sync(server, config("10.244.0.0/23"), FakeApi(server, troubles={1: "refused"}))
        assert sorted(server.assigned.values()) == ["", "10.244.0.0/24", "10.244.1.0/24"]
        assert "the event cannot be recorded" in caplog.text


class TestForeignAllocator:
    def test_podwire_stands_back_and_says_so(self) -> None:
        server = Server()
        nodes(server, 3)

        class Overtaken(FakeApi):
            """kube-controller-manager is quicker with node-1."""

            async def claim(self, node: NodeRecord, cidrs: Sequence[IPNetwork]) -> NodeRecord:
                written = await super().claim(node, cidrs)
                if node.name == "node-1" and not server.nodes["node-1"].pod_cidrs:
                    server.update("node-1", pod_cidrs=(ip_network("10.244.9.0/24"),))
                return written

        async def story() -> None:
            assigner = Assigner(Overtaken(server), config())
            assert not await assigner.sync()
            assert server.assigned == {"node-0": "", "node-1": "10.244.9.0/24", "node-2": ""}
            assert not any(node.claim for node in server.nodes.values())
            server.add("late")
            assert not await assigner.sync()
            assert server.assigned["late"] == ""
            await asyncio.sleep(assigner_module.STAND_BACK)
            assert await assigner.sync()

        virtual_time.run(story())
        ((name, reason, message),) = server.events
        assert (name, reason) == ("node-1", "ForeignCIDRAllocator") and "--allocate-node-cidrs=false" in message
        assert all(server.assigned.values())


class TestTrouble:
    @pytest.mark.parametrize("trouble", ["refused", "lost answer"])
    @pytest.mark.parametrize("number", range(1, 7))
    def test_a_failed_write_is_settled_by_the_next_list(self, trouble: Trouble, number: int) -> None:
        server = Server()
        nodes(server, 3)

        async def passes() -> None:
            assigner = Assigner(FakeApi(server, troubles={number: trouble}), config())
            while not await assigner.sync():
                pass

        virtual_time.run(passes())
        assert sorted(server.assigned.values()) == ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24"]

    def test_a_death_after_any_write(self) -> None:
        for number in range(1, 7):
            server = Server()
            nodes(server, 3)
            with pytest.raises(BaseExceptionGroup) as caught:
                sync(server, api=FakeApi(server, troubles={number: "death"}))
            assert caught.group_contains(Killed)
            server.add("node-3")
            assert sync(server), "a fresh controller finishes what the dead one began"
            assert len(set(server.assigned.values())) == 4 and all(server.assigned.values())

    def test_a_server_that_refuses_everything_is_not_hammered(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.CRITICAL)
        server = Server()
        nodes(server, 5)

        async def an_hour() -> None:
            api = FakeApi(server, troubles=dict.fromkeys(range(1, 100_000), "refused"))
            work = asyncio.ensure_future(Assigner(api, config()).run())
            await asyncio.sleep(3600)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

        virtual_time.run(an_hour())
        assert server.lists <= 3600 / assigner_module.LONGEST_PAUSE + 10

    def test_lists_that_fail_are_the_callers_to_retry(self) -> None:
        api = FakeApi(Server())
        api.down = True
        with pytest.raises(Unavailable):
            virtual_time.run(Assigner(api, config()).sync())


class TestLoop:
    def test_it_follows_the_nodes_and_ignores_heartbeats(self) -> None:
        server = Server()
        server.add("a")

        async def story() -> None:
            api = FakeApi(server)
            work = asyncio.ensure_future(Assigner(api, config()).run())
            await asyncio.sleep(1)
            assert server.assigned["a"]
            quiet = server.lists
            for _ in range(100):
                server.update("a")
                await asyncio.sleep(1)
            assert server.lists == quiet, "heartbeats cost no list"
            server.add("b")
            await asyncio.sleep(1)
            assert server.assigned["b"]
            api.down = True
            server.add("c")
            await asyncio.sleep(100)
            assert server.assigned["c"] == ""
            api.down = False
            await asyncio.sleep(31)
            assert server.assigned["c"]
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

        virtual_time.run(story())

    def test_room_that_comes_free_is_used(self) -> None:
        server = Server()
        nodes(server, 3)

        async def story() -> None:
            work = asyncio.ensure_future(Assigner(FakeApi(server), config("10.244.0.0/23")).run())
            await asyncio.sleep(5)
            server.delete("node-0")
            await asyncio.sleep(1)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

        virtual_time.run(story())
        assert all(server.assigned.values())


async def _race(server: Server, seed: int) -> None:
    """Three controllers that all believe to lead, on a cluster that changes, with every kind of trouble."""
    rng = random.Random(seed)

    def troubles() -> dict[int, Trouble]:
        return {rng.randrange(1, 30): rng.choice(["refused", "lost answer"]) for _ in range(4)}

    async def life() -> None:
        while True:
            fate = {**troubles(), rng.randrange(3, 40): "death"} if rng.random() < 0.5 else troubles()
            work = Assigner(FakeApi(server, random.Random(rng.random()), fate), config("10.244.0.0/21")).run()
            try:
                await work
            except Killed:
                pass
            except BaseExceptionGroup as group:
                if group.subgroup(Killed) is None:
                    raise
            await asyncio.sleep(rng.random())

    lives = [asyncio.ensure_future(life()) for _ in range(3)]
    for turn in range(60):
        # Names in random order: a newcomer that sorts first shifts what a controller with an older list has in mind.
        if len(server.nodes) < 8 and rng.random() < 0.6:
            server.add(f"node-{rng.randrange(100)}-{turn}")
        if rng.random() < 0.3 and server.nodes:
            server.delete(rng.choice(sorted(server.nodes)))
        if rng.random() < 0.3 and server.nodes:
            server.update(rng.choice(sorted(server.nodes)))
        await asyncio.sleep(rng.choice([0, 0.02, 0.3, 2]))
        for live in lives:
            if live.done():
                live.result()
    await asyncio.sleep(200)
    for live in lives:
        live.cancel()
    await asyncio.gather(*lives, return_exceptions=True)


def race(seed: int) -> Server:
    server = Server()
    virtual_time.run(_race(server, seed))
    return server


@pytest.mark.parametrize("block", range(10))
def test_racing_controllers_never_assign_an_address_twice(block: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    for seed in range(block * 1000, block * 1000 + (300 if FULL else 8)):
        server = race(seed)
        assert server.broken == [], seed
        assert all(server.assigned.values()), f"seed {seed}: in the end everybody has one, {server.assigned}"


def test_the_race_would_break_a_controller_without_claims(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The judge can convict: assign what should be claimed, and addresses are given twice."""
    caplog.set_level(logging.CRITICAL)

    def hasty(listed: Iterable[NodeRecord], cidrs: Sequence[IPNetwork], masks: Mapping[int, int]) -> Decision:
        decision = decide(listed, cidrs, masks)
        return msgspec.structs.replace(decision, assign=decision.assign + decision.claim, claim=())

    monkeypatch.setattr(assigner_module, "decide", hasty)
    broken = 0
    for seed in range(8):
        server = Server()
        try:
            virtual_time.run(_race(server, seed))
        except (Broken, BaseExceptionGroup):
            pass
        broken += bool(server.broken)
    assert broken > 0
