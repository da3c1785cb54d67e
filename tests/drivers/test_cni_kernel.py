"""The CNI room on the real kernel: the binary, the server, the journal and veth pairs, in throw-away namespaces."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from podwire.cni import build, codes
from podwire.cni.attachments import Attachments, PodContext
from podwire.cni.server import Server
from podwire.cni.verbs import Verbs
from podwire.drivers import netns
from podwire.drivers.store import JournalStore
from podwire.drivers.wirer import VethWirer
from podwire.ipam.allocator import Allocator
from tests.support.cni import environment, netconf
from tests.support.netns import namespace, needs_root, run_in

pytestmark = needs_root
POOL = ip_network("10.244.1.0/24")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("cni")
    run = folder / "run"
    build.build(folder / "podwire", [f'PODWIRE_RUN_DIR="{run}"'])
    run.mkdir(mode=0o700)
    return folder / "podwire", run


class Node:
    """A node namespace with a server whose wirer works in it."""

    def __init__(self, binary: Path, node: int, store: Path) -> None:
        self.binary = binary
        self.netns = node
        run_in(node, "ip", "address", "replace", "192.0.2.1/32", "dev", "lo")  # so that the node has a source address
        self.store = JournalStore(str(store))
        self.wirer = netns.in_namespace(node, VethWirer)
        self.allocator = Allocator([POOL], cooldown=0.0)
        self.attachments = Attachments(
            allocator=self.allocator, store=self.store, wirer=self.wirer, context=lambda: PodContext(mtu=1400)
        )

    async def call(self, command: str, pod: int, container: str = "c1", **extra: Any) -> tuple[int, Any]:
        env = environment(command, container, CNI_NETNS=f"/proc/{os.getpid()}/fd/{pod}")
        stdin = netconf("1.1.0", **extra)
        result = await asyncio.to_thread(
            subprocess.run, [self.binary], env=env, input=stdin, capture_output=True, timeout=30, check=False
        )
        return result.returncode, json.loads(result.stdout) if result.stdout else None

    def links(self) -> list[str]:
        return [link.name for link in self.wirer.host_links() if not link.reaping]

    async def quiet(self) -> None:
        """Wait until the kernel has deleted what is to be deleted."""
        for _ in range(1000):
            if not any(usage.quarantined for usage in self.attachments.usage()):
                return
            await asyncio.sleep(0.01)
        raise AssertionError("links are not reaped")


@asynccontextmanager
async def serving(built: tuple[Path, Path], node: int, store: Path) -> AsyncIterator[Node]:
    it = Node(built[0], node, store)
    server = Server(str(built[1] / "agent.sock"), Verbs(it.attachments).serve)
    try:
        await it.attachments.recover()
        await server.start()
        yield it
    finally:
        await server.stop()
        await it.attachments.close()
        it.wirer.close()
        it.store.close()


async def test_a_pods_life(built: tuple[Path, Path], tmp_path: Path) -> None:
    with namespace() as node_fd, namespace() as pod:
        async with serving(built, node_fd, tmp_path) as node:
            status, result = await node.call("ADD", pod)
            assert status == 0, result
            assert "10.244.1.2/32" in run_in(pod, "ip", "-4", "address", "show", "eth0").stdout
            assert run_in(node_fd, "ping", "-c1", "-W2", "10.244.1.2").returncode == 0
            assert await node.call("ADD", pod) == (0, result)
            assert await node.call("CHECK", pod, prevResult=result) == (0, None)

            run_in(node_fd, "ip", "route", "del", "10.244.1.2")
            status, error = await node.call("CHECK", pod, prevResult=result)
            assert (status, error["code"]) == (1, codes.WIRING_DIFFERS) and "10.244.1.2" in error["details"]
            assert await node.call("ADD", pod) == (0, result)
            assert await node.call("CHECK", pod, prevResult=result) == (0, None)
            assert run_in(node_fd, "ping", "-c1", "-W2", "10.244.1.2").returncode == 0

            assert await node.call("DEL", pod) == (0, None)
            assert node.links() == []
            await node.quiet()
            assert "eth0" not in run_in(pod, "ip", "-o", "link").stdout
            assert run_in(node_fd, "ip", "route", "show", "proto", "112").stdout == ""
            assert await node.call("DEL", pod) == (0, None)


async def test_the_interface_is_taken(built: tuple[Path, Path], tmp_path: Path) -> None:
    with namespace() as node_fd, namespace() as pod:
        async with serving(built, node_fd, tmp_path) as node:
            run_in(pod, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other")
            status, error = await node.call("ADD", pod)
            assert (status, error["code"]) == (1, codes.INVALID_ENVIRONMENT)
            assert "CNI_IFNAME: 'eth0'" in error["msg"]
            await node.quiet()
            assert node.links() == [] and node.allocator.usage(0.0)[0].used == 0


async def test_what_is_no_namespace(built: tuple[Path, Path], tmp_path: Path) -> None:
    leftover = tmp_path / "unmounted"
    leftover.touch()
    uts = os.open("/proc/self/ns/uts", os.O_RDONLY)
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    plain = os.open(leftover, os.O_RDONLY)
    try:
        with namespace() as node_fd:
            async with serving(built, node_fd, tmp_path) as node:
                for fd, code in ((uts, 3), (plain, 3), (own, 4)):
                    status, error = await node.call("ADD", fd)
                    assert (status, error["code"]) == (1, code) and "CNI_NETNS" in error["msg"]
                assert node.attachments.snapshot() == {}
    finally:
        for fd in (uts, own, plain):
            os.close(fd)


async def test_gc_finds_the_pods_whose_namespace_is_gone(built: tuple[Path, Path], tmp_path: Path) -> None:
    with namespace() as node_fd, namespace() as alive:
        async with serving(built, node_fd, tmp_path) as node:
            with namespace() as dying:
                assert (await node.call("ADD", dying, "dying"))[0] == 0
            assert (await node.call("ADD", alive, "alive"))[0] == 0
            for _ in range(500):  # the kernel takes the namespace down, and the pair with it, in its own time
                if len(node.links()) == 1:
                    break
                await asyncio.sleep(0.01)
            assert await node.call("GC", alive, valid=[]) == (0, None)
            assert [key.container_id for key in node.attachments.snapshot()] == ["alive"]
            assert run_in(node_fd, "ping", "-c1", "-W2", "10.244.1.3").returncode == 0


async def test_an_agent_that_comes_back_knows_its_pods(built: tuple[Path, Path], tmp_path: Path) -> None:
    with ExitStack() as stack:
        node_fd = stack.enter_context(namespace())
        pods = [stack.enter_context(namespace()) for _ in range(3)]
        async with serving(built, node_fd, tmp_path) as node:
            results = [(await node.call("ADD", pod, f"c{number}"))[1] for number, pod in enumerate(pods)]
        assert run_in(node_fd, "ping", "-c1", "-W2", "10.244.1.2").returncode == 0
        async with serving(built, node_fd, tmp_path) as node:
            for number, pod in enumerate(pods):
                assert await node.call("ADD", pod, f"c{number}") == (0, results[number])
                assert await node.call("CHECK", pod, f"c{number}", prevResult=results[number]) == (0, None)
            assert await node.attachments.sweep() == []


async def test_sixteen_pods_at_once(built: tuple[Path, Path], tmp_path: Path) -> None:
    with ExitStack() as stack:
        node_fd = stack.enter_context(namespace())
        pods = [stack.enter_context(namespace(loopback=False)) for _ in range(16)]
        async with serving(built, node_fd, tmp_path) as node:
            for _ in range(3):
                added = await asyncio.gather(*(node.call("ADD", pod, f"c{pod}") for pod in pods))
                assert [status for status, _ in added] == [0] * 16
                assert len({result["ips"][0]["address"] for _, result in added}) == 16
                assert len(node.links()) == 16
                deleted = await asyncio.gather(*(node.call("DEL", pod, f"c{pod}") for pod in pods))
                assert deleted == [(0, None)] * 16
            await node.quiet()
            assert node.links() == [] and node.attachments.snapshot() == {}
