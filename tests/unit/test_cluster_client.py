"""The client: the common suite against the double, and what it makes of servers and networks that misbehave."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest

from podwire.cluster import client as module
from podwire.cluster.client import Client, error_of
from podwire.cluster.kubeconfig import Access
from podwire.cluster.objects import NodeObject
from podwire.cluster.resources import CONFIG_MAPS, LEASES, NODES, PODS
from podwire.model.errors import ClusterError, Conflict, Gone, NotFound, Unavailable
from tests.support.api_double import ApiDouble, serving
from tests.support.client_suite import ClientSuite, config_map, name

__all__ = ["name"]


@pytest.fixture
async def api() -> AsyncIterator[ApiDouble]:
    async with serving() as double:
        yield double


@pytest.fixture
async def client(api: ApiDouble) -> AsyncIterator[Client]:
    async with Client(api.access) as made:
        yield made


class TestAgainstTheDouble(ClientSuite):
    """The suite that every API server must pass."""


def node(number: int) -> dict[str, object]:
    return {"metadata": {"name": f"node{number:04}"}, "spec": {"podCIDRs": [f"10.0.{number % 256}.0/24"]}}


class TestLists:
    async def test_every_page_is_fetched(self, api: ApiDouble, client: Client) -> None:
        for number in range(1201):
            await api.put("nodes", node(number))
        listed = await client.list(NODES, type=NodeObject)
        assert len(listed.items) == 1201 and len({found.metadata.name for found in listed.items}) == 1201
        assert [query for _, query in api.requests] == [
            "/api/v1/nodes?limit=500",
            *(f"/api/v1/nodes?limit=500&continue={begin}@{listed.resource_version}" for begin in (500, 1000)),
        ]

    async def test_others_get_their_turn_between_pages(self, api: ApiDouble, client: Client) -> None:
        for number in range(20):
            await api.put("nodes", node(number))
        api.faults.page = 1
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        busy = asyncio.create_task(other())
        await client.list(NODES)
        busy.cancel()
        assert turns >= 20

    async def test_a_list_that_changed_too_much_meanwhile(self, api: ApiDouble, client: Client) -> None:
        for number in range(4):
            await api.put("nodes", node(number))
        api.faults.page = 2
        api.faults.oldest = 10**6
        with pytest.raises(Gone, match="continue parameter"):
            await client.list(NODES)

    async def test_an_answer_that_is_no_list(self, api: ApiDouble, client: Client) -> None:
        await api.put("nodes", {"metadata": {"name": "a"}, "spec": {"podCIDRs": 7}})
        with pytest.raises(ClusterError, match=r"no list of Node.*podCIDRs"):
            await client.list(NODES, type=NodeObject)


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, ClusterError),
            (403, ClusterError),
            (404, NotFound),
            (409, Conflict),
            (410, Gone),
            (422, ClusterError),
            (429, Unavailable),
            (500, Unavailable),
            (503, Unavailable),
        ],
    )
    async def test_each_status_is_its_error(
        self, api: ApiDouble, client: Client, status: int, kind: type[ClusterError]
    ) -> None:
        api.faults.answers.append((status, ""))
        with pytest.raises(ClusterError, match=f"GET /api/v1/nodes/n: told to answer {status}") as refused:
            await client.get(NODES, "n")
        assert type(refused.value) is kind and refused.value.status == status

    @pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0)])
    async def test_retry_after(self, api: ApiDouble, client: Client, header: str, seconds: float) -> None:
        api.faults.answers.append((429, header))
        with pytest.raises(Unavailable) as refused:
            await client.get(NODES, "n")
        assert refused.value.retry_after == seconds

    def test_a_proxys_page_is_shown_shortened(self) -> None:
        error = error_of(502, b"<html>" + b"x" * 5000, "GET /x")
        assert "<html>" in str(error) and len(str(error)) < 300

    async def test_nobody_there(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound, not listening: refused
            where = f"http://127.0.0.1:{taken.getsockname()[1]}"
            async with Client(Access(where)) as client:
                with pytest.raises(Unavailable, match=f"no answer from {where}"):
                    await client.get(NODES, "n")

    async def test_an_answer_that_is_no_json(self, unused_tcp_port: int) -> None:
        async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\xff{}{{")
            writer.close()

        server = await asyncio.start_server(garbage, "127.0.0.1", unused_tcp_port)
        async with server, Client(Access(f"http://127.0.0.1:{unused_tcp_port}")) as client:
            with pytest.raises(ClusterError, match="cannot be read"):
                await client.get(NODES, "n")

    async def test_a_write_that_is_done_and_never_answered(
        self, api: ApiDouble, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The caller learns that it cannot know, and the API has the truth."""
        monkeypatch.setattr(module, "_TIMEOUT", aiohttp.ClientTimeout(total=0.3))
        api.faults.silent_after_writes = 1
        async with Client(api.access) as client:
            with pytest.raises(Unavailable, match="no answer"):
                await client.create(CONFIG_MAPS, config_map("once"), "default")
            with pytest.raises(Conflict):
                await client.create(CONFIG_MAPS, config_map("once"), "default")


class TestRequests:
    async def test_paths(self, api: ApiDouble, client: Client) -> None:
        assert PODS.path("default", "web", "status") == "/api/v1/namespaces/default/pods/web/status"
        assert PODS.path() == "/api/v1/pods"
        assert NODES.path("ignored", "n") == "/api/v1/nodes/n"
        assert LEASES.path("kube-system") == "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
        await api.put("nodes", {"metadata": {"name": "n"}})
        await client.patch(NODES, "n", {"status": {}}, subresource="status")
        assert api.requests[-1] == ("PATCH", "/api/v1/nodes/n/status")
        assert api.headers[-1]["Content-Type"] == "application/merge-patch+json"

    async def test_selectors_are_encoded(self, api: ApiDouble, client: Client) -> None:
        await client.list(PODS, field_selector="spec.nodeName=node1,status.phase!=Failed")
        assert api.requests[-1][1].endswith("fieldSelector=spec.nodeName%3Dnode1,status.phase!%3DFailed")

    async def test_a_type_decodes_its_fields_alone(self, api: ApiDouble, client: Client) -> None:
        await api.put("nodes", {**node(1), "status": {"images": [1, 2]}, "kind": "Node"})
        found = await client.get(NODES, "node0001", type=NodeObject)
        assert found.spec.pod_cidrs == ["10.0.1.0/24"]

    async def test_many_long_requests_do_not_hold_up_the_next(self, api: ApiDouble, client: Client) -> None:
        """aiohttp's default is 100 connections; a watch or an exec session keeps one."""
        api.faults.silent_after_writes = 150
        waiting = [
            asyncio.create_task(client.create(CONFIG_MAPS, config_map(f"c{number}"), "default"))
            for number in range(150)
        ]
        async with asyncio.timeout(20):
            while len((await client.list(CONFIG_MAPS, "default")).items) < 150:
                assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def test_a_silent_peer_is_noticed(self, client: Client) -> None:
        await client.list(NODES)
        connector = client.session.connector
        assert isinstance(connector, aiohttp.TCPConnector)
        (pooled,) = connector._conns.values()
        made = pooled[0][0].transport.get_extra_info("socket")  # type: ignore[union-attr]
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, interval, count = (
            made.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle + interval * count <= 30

    async def test_closing_twice_and_using_again(self, api: ApiDouble) -> None:
        client = Client(api.access)
        await client.list(NODES)
        await client.close()
        await client.close()
        await client.list(NODES)
        await client.close()


async def test_events_are_encoded_once_and_survive(api: ApiDouble, client: Client) -> None:
    body = config_map("unicode", text='ü " \\ \n')
    made = await client.create(CONFIG_MAPS, body, "default")
    assert made["data"] == body["data"]
    assert (
        msgspec.json.decode(await client.raw("GET", "/api/v1/namespaces/default/configmaps/unicode"))["data"]
        == body["data"]
    )
