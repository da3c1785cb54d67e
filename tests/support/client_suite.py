"""What podwire's client expects of any Kubernetes API server: one suite for the double, the lab's server and a real one.

A test module subclasses :class:`ClientSuite` and has a fixture ``client`` that yields a Client with an administrator's
rights. Every test makes what it needs under a name of its own, in namespace ``default``, and removes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

import pytest

from podwire.cluster.client import Client, Object
from podwire.cluster.manifests import Applier
from podwire.cluster.resources import CONFIG_MAPS, NODES
from podwire.cluster.watch import Changed, Reflector, Replaced
from podwire.model.errors import Conflict, InputError, NotFound

WAIT = 20.0
"""Seconds until a wait is given up; no test passes or fails by how long something took."""


def config_map(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"of": name}}, "data": data}


@pytest.fixture
def name() -> str:
    """A name of this test's own."""
    return f"suite-{uuid.uuid4().hex[:10]}"


@contextlib.asynccontextmanager
async def following(client: Client, label: str) -> AsyncIterator[AsyncIterator[Replaced[Object] | Changed[Object]]]:
    """The events of a reflector of ConfigMaps, closed at the end of the block."""
    reflector: Reflector[Object] = Reflector(client, CONFIG_MAPS, "default", label_selector=f"of={label}")
    events = reflector.__aiter__()
    try:
        yield events
    finally:
        await events.aclose()  # type: ignore[attr-defined]


async def upcoming(events: AsyncIterator[Replaced[Object] | Changed[Object]]) -> Replaced[Object] | Changed[Object]:
    """The next event, or the test fails."""
    async with asyncio.timeout(WAIT):
        return await anext(events)


class ClientSuite:
    """The verbs, their errors, and following changes."""

    async def test_create_get_replace_delete(self, client: Client, name: str) -> None:
        made = await client.create(CONFIG_MAPS, config_map(name, a="1"), "default")
        assert made["metadata"]["resourceVersion"]
        found = await client.get(CONFIG_MAPS, name, "default")
        assert found["data"] == {"a": "1"}
        found["data"] = {"b": "2"}
        after = await client.replace(CONFIG_MAPS, found, "default")
        assert after["data"] == {"b": "2"}
        assert after["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
        await client.delete(CONFIG_MAPS, name, "default")
        with pytest.raises(NotFound, match=name):
            await client.get(CONFIG_MAPS, name, "default")

    async def test_what_is_not_there(self, client: Client, name: str) -> None:
        with pytest.raises(NotFound):
            await client.get(NODES, name)
        with pytest.raises(NotFound):
            await client.patch(CONFIG_MAPS, name, {"data": {"a": "1"}}, "default")
        with pytest.raises(NotFound):
            await client.delete(CONFIG_MAPS, name, "default")

    async def test_what_is_there_already(self, client: Client, name: str) -> None:
        await client.create(CONFIG_MAPS, config_map(name), "default")
        with pytest.raises(Conflict) as refused:
            await client.create(CONFIG_MAPS, config_map(name), "default")
        assert refused.value.status == 409 and refused.value.reason == "AlreadyExists"
        await client.delete(CONFIG_MAPS, name, "default")

    async def test_a_replace_of_an_old_version_is_refused(self, client: Client, name: str) -> None:
        old = await client.create(CONFIG_MAPS, config_map(name, a="1"), "default")
        await client.patch(CONFIG_MAPS, name, {"data": {"a": "2"}}, "default")
        with pytest.raises(Conflict) as refused:
            await client.replace(CONFIG_MAPS, old, "default")
        assert refused.value.reason == "Conflict"
        await client.delete(CONFIG_MAPS, name, "default")

    async def test_a_merge_patch_leaves_what_it_does_not_name(self, client: Client, name: str) -> None:
        before = await client.create(CONFIG_MAPS, config_map(name, a="1", b="2"), "default")
        after = await client.patch(CONFIG_MAPS, name, {"data": {"a": None, "c": "3"}}, "default")
        assert after["data"] == {"b": "2", "c": "3"}
        stale = {"metadata": {"resourceVersion": before["metadata"]["resourceVersion"]}, "data": {"d": "4"}}
        with pytest.raises(Conflict):
            await client.patch(CONFIG_MAPS, name, stale, "default")
        await client.delete(CONFIG_MAPS, name, "default")

    async def test_a_namesake_is_spared_by_its_uid(self, client: Client, name: str) -> None:
        await client.create(CONFIG_MAPS, config_map(name), "default")
        with pytest.raises(Conflict):
            await client.delete(CONFIG_MAPS, name, "default", uid="00000000-0000-0000-0000-000000000000")
        await client.delete(CONFIG_MAPS, name, "default")

    async def test_lists_select_by_label(self, client: Client, name: str) -> None:
        await client.create(CONFIG_MAPS, config_map(name), "default")
        await client.create(CONFIG_MAPS, config_map(f"{name}-other"), "default")
        listed = await client.list(CONFIG_MAPS, "default", label_selector=f"of={name}")
        assert [found["metadata"]["name"] for found in listed.items] == [name]
        assert listed.resource_version
        empty = await client.list(CONFIG_MAPS, "default", label_selector="of=nobody")
        assert empty.items == []
        for known in (name, f"{name}-other"):
            await client.delete(CONFIG_MAPS, known, "default")

    async def test_a_reflector_tells_what_is_there_and_every_change_after(self, client: Client, name: str) -> None:
        await client.create(CONFIG_MAPS, config_map(name, a="1"), "default")
        async with following(client, name) as events:
            first = await upcoming(events)
            assert isinstance(first, Replaced)
            assert [found["data"] for found in first.objects] == [{"a": "1"}]
            await client.patch(CONFIG_MAPS, name, {"data": {"a": "2"}}, "default")
            second = await upcoming(events)
            assert isinstance(second, Changed) and not second.deleted and second.object["data"] == {"a": "2"}
            await client.delete(CONFIG_MAPS, name, "default")
            third = await upcoming(events)
            assert isinstance(third, Changed) and third.deleted and third.object["metadata"]["name"] == name

    async def test_apply_creates_configures_and_leaves_unchanged(self, client: Client, name: str) -> None:
        said: list[tuple[str, str]] = []

        def told(what: str, how: str) -> None:
            said.append((what, how))

        applier = Applier(client)
        await applier.apply([config_map(name, a="1")], told=told)
        await applier.apply([config_map(name, a="1")], told=told)
        await applier.apply([config_map(name, a="2")], told=told)
        assert (await client.get(CONFIG_MAPS, name, "default"))["data"] == {"a": "2"}
        await applier.delete([config_map(name)], told=told)
        await applier.delete([config_map(name)], told=told)
        shown = f"configmap/{name}"
        expected = ["created", "unchanged", "configured", "deleted", "not found"]
        assert said == [(shown, how) for how in expected]

    async def test_apply_names_a_kind_that_nobody_serves(self, client: Client) -> None:
        applier = Applier(client)
        with pytest.raises(InputError, match="Gizmo"):
            await applier.apply([{"apiVersion": "v1", "kind": "Gizmo", "metadata": {"name": "x"}}])
        with pytest.raises(InputError, match=r"nobody\.example/v1"):
            await applier.apply([{"apiVersion": "nobody.example/v1", "kind": "Gizmo", "metadata": {"name": "x"}}])
