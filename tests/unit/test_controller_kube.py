"""The controller's API over real HTTP: what is sent, what comes back, and the whole process on top."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from podwire.cluster.client import Client
from podwire.cluster.resources import EVENTS, LEASES, NODES
from podwire.controller import main
from podwire.controller.api import CLAIM_ANNOTATION, ControllerApi, LeaseRecord, NodeRecord
from podwire.controller.election import Timing
from podwire.controller.kube import KubeApi
from podwire.model.config import Config
from podwire.model.errors import Conflict, NotFound
from tests.support.api_double import ApiDouble, serving

NOW = 1_764_000_000.25
V4, V6 = ip_network("10.244.3.0/24"), ip_network("fd00:244:0:3::/64")


def body(name: str, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "uid": f"uid-{name}", "annotations": {"other": "stays"}},
        "spec": {"taints": [{"key": "stays"}]},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.168.0.3"}]},
        **more,
    }


@pytest.fixture
async def double() -> AsyncIterator[ApiDouble]:
    async with serving() as double:
        yield double


@pytest.fixture
async def api(double: ApiDouble) -> AsyncIterator[KubeApi]:
    async with Client(double.access) as client:
        yield KubeApi(client, lambda: NOW)


async def raw(double: ApiDouble, name: str) -> dict[str, Any]:
    async with Client(double.access) as client:
        return await client.get(NODES, name)


async def test_it_is_the_protocol(api: KubeApi) -> None:
    _conforms: ControllerApi = api


async def test_nodes_are_listed_page_by_page(double: ApiDouble, api: KubeApi) -> None:
    double.faults.page = 2
    for number in range(5):
        await double.put("nodes", body(f"n{number}"))
    nodes = await api.list_nodes()
    assert [node.name for node in nodes] == ["n0", "n1", "n2", "n3", "n4"]
    assert (nodes[0].uid, nodes[0].addresses, nodes[0].deleting) == ("uid-n0", (ip_address("192.168.0.3"),), False)


async def test_claim_then_assign(double: ApiDouble, api: KubeApi) -> None:
    await double.put("nodes", body("n"))
    (node,) = await api.list_nodes()
    claimed = await api.claim(node, [V4, V6])
    assert claimed.claim == (V4, V6) and claimed.pod_cidrs == ()
    assert (await raw(double, "n"))["metadata"]["annotations"] == {
        "other": "stays", CLAIM_ANNOTATION: "10.244.3.0/24,fd00:244:0:3::/64",
    }  # fmt: skip
    assigned = await api.assign(claimed, [V4, V6])
    assert assigned.claim == () and assigned.pod_cidrs == (V4, V6)
    written = await raw(double, "n")
    assert written["metadata"]["annotations"] == {"other": "stays"}
    assert written["spec"] == {
        "taints": [{"key": "stays"}],
        "podCIDR": "10.244.3.0/24",
        "podCIDRs": ["10.244.3.0/24", "fd00:244:0:3::/64"],
    }


async def test_a_claim_is_taken_back(double: ApiDouble, api: KubeApi) -> None:
    await double.put("nodes", body("n"))
    (node,) = await api.list_nodes()
    assert (await api.claim(await api.claim(node, [V4]), [])).claim == ()


async def test_writes_hold_to_the_version_that_was_read(double: ApiDouble, api: KubeApi) -> None:
    await double.put("nodes", body("n"))
    (node,) = await api.list_nodes()
    await double.put("nodes", body("n", status={}))
    for write in (api.claim, api.assign):
        with pytest.raises(Conflict):
            await write(node, [V4])
    await double.remove("nodes", "n")
    with pytest.raises(NotFound):
        await api.assign(node, [V4])


async def test_a_claim_that_cannot_be_read_is_none(double: ApiDouble, api: KubeApi) -> None:
    meta = {"name": "n", "uid": "u", "annotations": {CLAIM_ANNOTATION: "10.244.0.0/24,here"}}
    await double.put("nodes", body("n", metadata={**meta, "deletionTimestamp": "2026-01-01T00:00:00Z"}))
    (node,) = await api.list_nodes()
    assert node.claim == () and node.deleting


async def test_watching(double: ApiDouble, api: KubeApi) -> None:
    await double.put("nodes", body("n"))
    changes = api.watch_nodes()
    assert await anext(changes) is None, "the beginning: anything may have changed"
    await double.put("nodes", body("n", spec={"podCIDR": "10.244.3.0/24", "podCIDRs": ["10.244.3.0/24"]}))
    changed = await anext(changes)
    assert changed is not None and changed.pod_cidrs == (V4,)
    await double.remove("nodes", "n")
    assert await anext(changes) is None


async def test_warnings_are_events_about_the_node(double: ApiDouble, api: KubeApi) -> None:
    node = NodeRecord("n", "uid-n", "1")
    await api.warn(node, "CIDRNotAvailable", "no room " * 500)
    await api.warn(node, "CIDRNotAvailable", "again")
    async with Client(double.access) as client:
        first, second = (await client.list(EVENTS, "default")).items
    assert first["involvedObject"] == {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "n"}
    assert (first["type"], first["reason"], first["count"]) == ("Warning", "CIDRNotAvailable", 1)
    assert len(first["message"]) <= 1024 and first["lastTimestamp"] == "2025-11-24T16:00:00Z"
    assert first["metadata"]["name"] != second["metadata"]["name"]


async def test_leases(double: ApiDouble, api: KubeApi) -> None:
    with pytest.raises(NotFound):
        await api.get_lease("kube-system", "it")
    made = await api.put_lease("kube-system", "it", LeaseRecord("me", 15, NOW, NOW + 1))
    assert made == await api.get_lease("kube-system", "it")
    assert (made.holder, made.duration, made.acquired, made.renewed) == ("me", 15, NOW, NOW + 1)
    async with Client(double.access) as client:
        spec = (await client.get(LEASES, "it", "kube-system"))["spec"]
    assert spec["renewTime"] == "2025-11-24T16:00:01.250000Z", "metav1.MicroTime, as client-go writes it"
    with pytest.raises(Conflict):
        await api.put_lease("kube-system", "it", LeaseRecord("you", 15, NOW, NOW))
    await api.put_lease("kube-system", "it", made)
    later = await api.put_lease("kube-system", "it", LeaseRecord("me", 15, NOW, NOW + 2, 0, made.resource_version))
    with pytest.raises(Conflict):
        await api.put_lease("kube-system", "it", made)
    assert later.renewed == NOW + 2


async def test_a_lease_that_was_never_held(double: ApiDouble, api: KubeApi) -> None:
    await double.put("leases", {"metadata": {"name": "it", "namespace": "kube-system"}, "spec": {}})
    assert (await api.get_lease("kube-system", "it")).holder == ""


async def test_the_whole_process_on_a_server_that_misbehaves(double: ApiDouble) -> None:
    """Overload, a watch cut off, history forgotten: Nodes old and new get their CIDRs."""
    await double.put("nodes", body("a"))
    stop = asyncio.Event()

    async def assigned(*names: str) -> list[str]:
        async with asyncio.timeout(30):
            while True:
                if not double.faults.answers:  # those are for the process, not for this onlooker
                    cidrs = [(await raw(double, name))["spec"].get("podCIDR", "") for name in names]
                    if all(cidrs):
                        return cidrs
                await asyncio.sleep(0.02)

    async with Client(double.access) as client:
        double.faults.answers.extend([(429, "0"), (500, "")])
        process = asyncio.ensure_future(
            main.run(Config(), KubeApi(client, time.time), name="me", stop=stop, timing=Timing(3, 2.0, 0.1))
        )
        assert await assigned("a") == ["10.244.0.0/24"]
        double.cut_watches()
        await double.put("nodes", body("b"))
        assert await assigned("b") == ["10.244.1.0/24"]
        double.compact()
        double.cut_watches()
        await double.put("nodes", body("c"))
        assert await assigned("a", "b", "c") == ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24"]
        stop.set()
        await process
        lease = await client.get(LEASES, "podwire-controller", "kube-system")
    assert lease["spec"]["holderIdentity"] == ""
