"""The reflector ends up with what the server has, whatever breaks in between, and never hammers a server that refuses."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from podwire.cluster import watch
from podwire.cluster.client import Client, Object
from podwire.cluster.objects import NodeObject
from podwire.cluster.resources import NODES
from podwire.cluster.watch import Changed, Reflector, Replaced
from podwire.model.errors import Gone, Unavailable
from tests.support.api_double import ApiDouble, serving
from tests.support.eventually import WAIT, eventually


@pytest.fixture
async def api() -> AsyncIterator[ApiDouble]:
    async with serving() as double:
        yield double


@pytest.fixture
async def client(api: ApiDouble) -> AsyncIterator[Client]:
    async with Client(api.access) as made:
        yield made


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the reflector would have made, made short."""
    taken: list[float] = []
    real = asyncio.sleep

    async def short(seconds: float) -> None:
        taken.append(seconds)
        await real(0.001 if seconds else 0)

    class Quick:
        """asyncio with a short sleep."""

        sleep = staticmethod(short)

    monkeypatch.setattr(watch, "asyncio", Quick)
    return taken


class Follower:
    """A consumer as an agent is one: replaces on Replaced, updates on Changed."""

    def __init__(self, client: Client, **options: Any) -> None:
        self.errors: list[Exception] = []
        self.contacts = 0
        self.known: dict[str, Object] = {}
        self.replacements = 0
        self._news = asyncio.Condition()
        self._reflector: Reflector[Object] = Reflector(
            client, NODES, on_error=self.errors.append, on_contact=self._contact, **options
        )

    def _contact(self) -> None:
        self.contacts += 1

    async def run(self) -> None:
        async for event in self._reflector:
            async with self._news:
                if isinstance(event, Replaced):
                    self.replacements += 1
                    self.known = {found["metadata"]["name"]: found for found in event.objects}
                elif event.deleted:
                    self.known.pop(event.object["metadata"]["name"])
                else:
                    self.known[event.object["metadata"]["name"]] = event.object
                self._news.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT), self._news:
            await self._news.wait_for(condition)

    async def knows(self, *names: str) -> None:
        await self.until(lambda: set(self.known) == set(names))


@contextlib.asynccontextmanager
async def following(client: Client, **options: Any) -> AsyncIterator[Follower]:
    follower = Follower(client, **options)
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def node(name: str, **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": labels}}


async def watching(api: ApiDouble, watches: int) -> None:
    """Wait until the server has seen so many watches begin."""
    await eventually(lambda: api.watches >= watches)


class TestFollowing:
    async def test_first_the_whole_then_changes(self, api: ApiDouble, client: Client) -> None:
        await api.put("nodes", node("a"))
        async with following(client) as follower:
            await follower.knows("a")
            await api.put("nodes", node("b"))
            await follower.knows("a", "b")
            await api.remove("nodes", "a")
            await follower.knows("b")
        assert follower.replacements == 1 and not follower.errors and follower.contacts >= 3

    async def test_an_empty_cluster_is_told_as_empty(self, client: Client) -> None:
        async with following(client) as follower:
            await follower.until(lambda: follower.replacements == 1)
            assert follower.known == {}

    async def test_selectors_reach_list_and_watch(self, api: ApiDouble, client: Client) -> None:
        async with following(client, label_selector="of=me", field_selector="spec.x=y"):
            await watching(api, 1)
        for _, query in api.requests:
            assert "labelSelector=of%3Dme" in query and "fieldSelector=spec.x%3Dy" in query

    async def test_types_are_decoded(self, api: ApiDouble, client: Client) -> None:
        await api.put("nodes", {"metadata": {"name": "a"}, "spec": {"podCIDRs": ["10.0.0.0/24"]}})
        reflector: Reflector[NodeObject] = Reflector(client, NODES, type=NodeObject)
        events = reflector.__aiter__()
        async with contextlib.aclosing(events):  # type: ignore[type-var]
            first = await anext(events)
            assert isinstance(first, Replaced) and first.objects[0].spec.pod_cidrs == ["10.0.0.0/24"]
            await api.put("nodes", {"metadata": {"name": "a"}, "spec": {"podCIDRs": ["10.0.1.0/24"]}})
            second = await anext(events)
            assert isinstance(second, Changed) and second.object.spec.pod_cidrs == ["10.0.1.0/24"]

    async def test_an_event_larger_than_a_buffer(self, api: ApiDouble, client: Client) -> None:
        async with following(client) as follower:
            await follower.until(lambda: follower.replacements == 1)
            await api.put("nodes", {**node("big"), "data": "x" * 2_000_000})
            await follower.knows("big")
        assert len(follower.known["big"]["data"]) == 2_000_000

    async def test_leaving_closes_the_watch(self, api: ApiDouble, client: Client) -> None:
        async with following(client):
            await watching(api, 1)
            assert len(api._open) == 1
        await eventually(lambda: not api._open)


class TestInterruptions:
    async def test_a_watch_that_ends_is_resumed_without_a_list(
        self, api: ApiDouble, client: Client, pauses: list[float]
    ) -> None:
        async with following(client) as follower:
            await watching(api, 1)
            await api.put("nodes", node("a"))
            await follower.knows("a")
            await api.end_watches()
            await api.put("nodes", node("b"))
            await follower.knows("a", "b")
        assert follower.replacements == 1 and not follower.errors

    async def test_a_cut_connection_is_resumed_without_a_list(
        self, api: ApiDouble, client: Client, pauses: list[float]
    ) -> None:
        async with following(client) as follower:
            await watching(api, 1)
            await api.put("nodes", node("a"))
            await follower.knows("a")
            api.cut_watches()
            await api.put("nodes", node("b"))
            await follower.knows("a", "b")
        assert follower.replacements == 1
        assert [type(error) for error in follower.errors] == [Unavailable]

    async def test_bookmarks_spare_a_list_after_compaction(
        self, api: ApiDouble, client: Client, pauses: list[float]
    ) -> None:
        async with following(client) as follower:
            await watching(api, 1)
            before = follower.contacts
            await api.bookmark("nodes")
            await eventually(lambda: follower.contacts > before)
            api.compact()
            await api.end_watches()
            await watching(api, 2)
            await api.put("nodes", node("a"))
            await follower.knows("a")
        assert follower.replacements == 1

    @pytest.mark.parametrize("in_stream", [False, True])
    async def test_a_lost_history_is_listed_anew(
        self, api: ApiDouble, client: Client, pauses: list[float], in_stream: bool
    ) -> None:
        api.faults.gone_in_stream = in_stream
        await api.put("nodes", node("a"))
        await api.put("nodes", node("b"))
        async with following(client) as follower:
            await follower.knows("a", "b")
            await watching(api, 1)
            api.cut_watches()
            await api.remove("nodes", "a")  # its DELETED event is never seen
            await api.put("nodes", node("c"))
            api.compact()
            await follower.knows("b", "c")
        assert follower.replacements == 2
        assert any(isinstance(error, Gone) for error in follower.errors)

    async def test_outages_and_refusals_are_sat_out(self, api: ApiDouble, client: Client, pauses: list[float]) -> None:
        api.faults.answers.extend([(503, ""), (500, ""), (401, ""), (403, "")])
        async with following(client) as follower:
            await follower.until(lambda: follower.replacements == 1)
            await api.put("nodes", node("a"))
            await follower.knows("a")
        assert len(follower.errors) == 4
        assert all(
            0.75 <= pause / expected <= 1.25 for pause, expected in zip(pauses, (0.2, 0.4, 0.8, 1.6), strict=True)
        )

    async def test_retry_after_is_honoured(self, api: ApiDouble, client: Client, pauses: list[float]) -> None:
        api.faults.answers.append((429, "17"))
        async with following(client) as follower:
            await follower.until(lambda: follower.replacements == 1)
        assert pauses[0] == 17.0

    async def test_an_object_that_cannot_be_decoded_does_not_end_it(
        self, api: ApiDouble, client: Client, pauses: list[float]
    ) -> None:
        async with following(client, type=dict[str, dict[str, Any]]) as follower:
            await watching(api, 1)
            await api.put("nodes", {**node("bad"), "kind": "a string where none is expected"})
            await eventually(lambda: len(follower.errors) >= 3)
            await api.remove("nodes", "bad")
            await api.put("nodes", node("good"))
            await follower.knows("good")
        assert follower.replacements >= 2


class TestPatience:
    """A server that answers, but never well, is asked less and less often."""

    async def grown(self, api: ApiDouble, client: Client, pauses: list[float], requests: int) -> None:
        async with following(client):
            await eventually(lambda: len(api.requests) >= requests)
        assert pauses and max(pauses) >= 10, f"{requests} requests with pauses of {pauses}"

    @pytest.mark.parametrize("in_stream", [False, True])
    async def test_every_version_is_too_old(
        self, api: ApiDouble, client: Client, pauses: list[float], in_stream: bool
    ) -> None:
        api.faults.oldest = 10**6
        api.faults.gone_in_stream = in_stream
        await self.grown(api, client, pauses, 24)

    async def test_every_watch_ends_at_once(self, api: ApiDouble, client: Client, pauses: list[float]) -> None:
        api.faults.end_watches_at_once = True
        await self.grown(api, client, pauses, 12)

    async def test_a_good_event_forgives(self, api: ApiDouble, client: Client, pauses: list[float]) -> None:
        api.faults.answers.extend([(503, "")] * 6)
        async with following(client) as follower:
            await follower.until(lambda: follower.replacements == 1)
            await api.put("nodes", node("a"))
            await follower.knows("a")
            longest = max(pauses)
            pauses.clear()
            api.cut_watches()
            await api.put("nodes", node("b"))
            await follower.knows("a", "b")
        assert pauses[0] < longest


@pytest.mark.parametrize("seed", range(4))
async def test_anything_in_any_order_ends_well(api: ApiDouble, client: Client, pauses: list[float], seed: int) -> None:
    """Random writes between random faults; at rest the follower knows exactly what the server has."""
    chance = random.Random(seed)
    async with following(client) as follower:
        for _ in range(60):
            match chance.randrange(8):
                case 0:
                    api.cut_watches()
                case 1:
                    api.compact()
                case 2:
                    api.faults.answers.append((chance.choice((429, 500, 503)), chance.choice(("", "1"))))
                case 3:
                    await api.bookmark("nodes")
                case 4 if api.names("nodes"):
                    await api.remove("nodes", chance.choice(sorted(api.names("nodes"))))
                case _:
                    await api.put("nodes", node(f"n{chance.randrange(12)}", number=str(chance.random())))
            if chance.random() < 0.5:
                await asyncio.sleep(0.002)
        await api.put("nodes", node("last"))
        await follower.until(lambda: follower.known == {name: api.get("nodes", name) for name in api.names("nodes")})
