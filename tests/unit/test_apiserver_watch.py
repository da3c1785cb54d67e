"""Watches: resuming, selecting, bookmarks, and what happens when the log has forgotten; and the hub and store below."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from podwire.lab.apiserver.rest import watches
from podwire.lab.apiserver.storage import hub as hub_module
from podwire.lab.apiserver.storage.facts import Facts
from podwire.lab.apiserver.storage.hub import Hub
from podwire.lab.apiserver.storage.store import LogEvent, Store
from podwire.model.errors import StoreTooNew
from tests.support.apiserver import PODS, Running, pod, running, until

WAIT = 10.0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as made:
        yield made


async def take(events: AsyncIterator[dict[str, Any]], count: int) -> list[tuple[str, str]]:
    """(type, name) of the next *count* events."""
    found = []
    async with asyncio.timeout(WAIT):
        for _ in range(count):
            event = await anext(events)
            found.append((event["type"], event["object"]["metadata"].get("name", "")))
    return found


async def test_a_watch_from_a_version_tells_everything_since(server: Running) -> None:
    api = server.admin
    await api.post(PODS, pod("a"))
    since = (await api.get(PODS)).body["metadata"]["resourceVersion"]
    await api.post(PODS, pod("b"))
    await api.patch(f"{PODS}/b", {"metadata": {"labels": {"x": "1"}}})
    await api.delete(f"{PODS}/a")
    async with api.watch(PODS, resourceVersion=since) as events:
        assert await take(events, 3) == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "a")]
        await api.post(PODS, pod("c"))
        assert await take(events, 1) == [("ADDED", "c")]


async def test_a_watch_without_a_version_begins_with_what_is_there(server: Running) -> None:
    api = server.admin
    await api.post(PODS, pod("a"))
    async with api.watch(PODS) as events:
        assert await take(events, 1) == [("ADDED", "a")]
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with api.watch(PODS, **query) as events:
        assert await take(events, 1) == [("ADDED", "a")]
        async with asyncio.timeout(WAIT):
            end = await anext(events)
        assert end["type"] == "BOOKMARK"
        assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert (await api.get(PODS, watch="true", sendInitialEvents="true")).status == 400


async def test_entering_and_leaving_a_selection_is_added_and_deleted(server: Running) -> None:
    api = server.admin
    async with api.watch(PODS, labelSelector="x=1", resourceVersion=server.server.store.version) as events:
        await api.post(PODS, pod("a"))
        await api.patch(f"{PODS}/a", {"metadata": {"labels": {"x": "1"}}})
        await api.patch(f"{PODS}/a", {"metadata": {"annotations": {"n": "1"}}})
        await api.patch(f"{PODS}/a", {"metadata": {"labels": {"x": "2"}}})
        await api.delete(f"{PODS}/a")
        await api.post(PODS, pod("b", labels={"x": "1"}))
        await api.delete(f"{PODS}/b")
        assert await take(events, 5) == [
            ("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "b"), ("DELETED", "b"),
        ]  # fmt: skip


async def test_a_field_selector_follows_the_binding(server: Running) -> None:
    api = server.admin
    async with api.watch("/api/v1/pods", fieldSelector="spec.nodeName=n1") as events:
        await api.post(PODS, pod("a"))
        await api.post(PODS, pod("b"))
        await api.post(f"{PODS}/b/binding", {"target": {"name": "n1"}})
        assert await take(events, 1) == [("ADDED", "b")]


async def test_bookmarks_keep_an_idle_watch_young(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "BOOKMARK_SECONDS", 0.05)
    api = server.admin
    start = server.server.store.version
    async with api.watch(PODS, allowWatchBookmarks="true", resourceVersion=start) as events:
        await api.post("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "m"}})
        async with asyncio.timeout(WAIT):
            bookmark = await anext(events)
    assert bookmark["type"] == "BOOKMARK" and bookmark["object"]["kind"] == "Pod"
    assert int(bookmark["object"]["metadata"]["resourceVersion"]) == start + 1


async def test_a_forgotten_version_is_gone(tmp_path: Path) -> None:
    async with running(tmp_path, log_limit=10) as server:
        api = server.admin
        old = (await api.get(PODS)).body["metadata"]["resourceVersion"]
        for number in range(25):
            await api.post(PODS, pod(f"p{number}"))
        async with api.watch(PODS, resourceVersion=old) as events:
            async with asyncio.timeout(WAIT):
                event = await anext(events)
        assert event["type"] == "ERROR"
        assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
        page = (await api.get(PODS, limit=5)).body
        for number in range(25):
            await api.patch(f"{PODS}/p{number}", {"metadata": {"labels": {"x": "1"}}})
        stale = await api.get(PODS, limit=5, **{"continue": page["metadata"]["continue"]})
        assert (stale.status, stale.body["reason"]) == (410, "Expired")
        async with api.watch(PODS, resourceVersion=server.server.store.version + 1000) as events:
            assert (await anext(events))["object"]["code"] == 410


async def test_watches_end_when_their_time_or_the_server_ends(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        async with server.admin.watch(PODS, timeoutSeconds=1) as events:
            assert [event async for event in events] == []
        async with server.admin.watch(PODS, timeoutSeconds=3600) as events:
            await until(lambda: watched(server, 1))
            server.server.hub.close()
            async with asyncio.timeout(WAIT):
                assert [event async for event in events] == []


async def watched(server: Running, count: int) -> bool:
    return server.server.hub.watchers == count


async def test_a_client_that_leaves_frees_its_watch(server: Running) -> None:
    async with server.admin.watch(PODS) as _:
        await until(lambda: watched(server, 1))
    await until(lambda: watched(server, 0))


async def test_every_watcher_sees_every_change_in_order(server: Running) -> None:
    api, since = server.admin, server.server.store.version

    async def follow() -> list[str]:
        async with api.watch(PODS, resourceVersion=since) as events:
            return [name for _, name in await take(events, 60)]

    followers = [asyncio.create_task(follow()) for _ in range(5)]
    await asyncio.gather(*(api.post(PODS, pod(f"p{number}")) for number in range(60)))
    seen = await asyncio.gather(*followers)
    stored = sorted((await api.get(PODS)).body["items"], key=lambda item: int(item["metadata"]["resourceVersion"]))
    assert seen == [[item["metadata"]["name"] for item in stored]] * 5


async def test_versions_go_on_after_a_restart_and_watches_resume(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        await first.admin.post(PODS, pod("a"))
        since = (await first.admin.get(PODS)).body["metadata"]["resourceVersion"]
        await first.admin.post(PODS, pod("b"))
    async with running(tmp_path) as second:
        async with second.admin.watch(PODS, resourceVersion=since) as events:
            assert await take(events, 1) == [("ADDED", "b")]
        made = await second.admin.post(PODS, pod("c"))
        assert int(made.body["metadata"]["resourceVersion"]) == int(since) + 2


async def test_work_left_over_is_taken_up_after_a_restart(tmp_path: Path) -> None:
    """What a killed server leaves: a namespace half emptied, a dependent whose owner is gone."""
    async with running(tmp_path) as first:
        await first.admin.post("/api/v1/namespaces", {"metadata": {"name": "team"}})
        await first.admin.post("/api/v1/namespaces/team/configmaps", {"metadata": {"name": "m"}})
        await first.admin.post(PODS, pod("owned"))
    with sqlite3.connect(tmp_path / "state.db") as state:
        state.execute("INSERT INTO owners VALUES ('gone', '/pods', 'default', 'owned')")
        reference = '[{"apiVersion":"v1","kind":"ConfigMap","name":"x","uid":"gone"}]'
        state.execute(
            "UPDATE objects SET body = CAST(json_set(CAST(body AS TEXT), '$.metadata.ownerReferences', json(?)) AS BLOB)"
            " WHERE name = 'owned'",
            (reference,),
        )
        state.execute(
            "UPDATE objects SET body = CAST(json_set(CAST(body AS TEXT), '$.metadata.deletionTimestamp',"
            " '2026-01-01T00:00:00Z', '$.status.phase', 'Terminating') AS BLOB),"
            " facts = CAST(replace(CAST(facts AS TEXT), 'Active', 'Terminating') AS BLOB) WHERE name = 'team'"
        )
    state.close()
    async with running(tmp_path) as second:

        async def gone() -> bool:
            paths = (f"{PODS}/owned", "/api/v1/namespaces/team")
            return all([(await second.admin.get(path)).status == 404 for path in paths])

        await until(gone)


async def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    state = sqlite3.connect(tmp_path / "state.db")
    state.execute("PRAGMA user_version = 99")
    state.close()
    with pytest.raises(StoreTooNew, match="99"):
        Store(tmp_path / "state.db", lambda _: None)


def event(version: int) -> LogEvent:
    facts = Facts({}, {})
    return LogEvent(version, "/pods", "default", f"p{version}", "u", "ADDED", facts, None, b"{}")


async def test_a_watcher_that_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "QUEUE_LIMIT", 3)
    hub = Hub()
    slow, quick = hub.subscribe("/pods"), hub.subscribe("/pods")
    for version in range(1, 6):
        hub.publish([event(version)])
        assert [item.version for item in await quick.take(1)] == [version]
    assert slow.overrun and not quick.overrun and await slow.take(1) == []
    hub.leave("/pods", slow)
    hub.leave("/pods", quick)
    assert hub.watchers == 0


async def test_a_take_that_times_out_still_returns_what_came() -> None:
    hub = Hub()
    subscription = hub.subscribe("/pods")
    waiting = asyncio.create_task(subscription.take(0.0))
    hub.publish([event(1)])
    first = await waiting
    second = await subscription.take(0.0)
    assert [item.version for item in (*first, *second)] == [1]
