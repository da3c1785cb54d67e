"""The proof through a Kubernetes API: namespaces, DaemonSets, exec over WebSocket, and nothing left behind.

The API is a double, but the network is real: its "pods" are hand-wired namespaces, and an exec starts a real probe in
one. So the whole of ``podwire verify`` runs here, from its command line down to the packets.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import WSMsgType, web

from podwire.cluster.kubeconfig import load
from podwire.verify import k8s_objects, transport_k8s
from podwire.verify.proof import Proof
from podwire.verify.run import Options, verify
from podwire.verify.transport_k8s import KubernetesTransport
from tests.support.hand_wired import HandWired, cidr, hand_wired, node_ip
from tests.support.netns import needs_root

pytestmark = [needs_root, pytest.mark.root]

Object = dict[str, Any]


class ApiDouble:
    """Namespaces, DaemonSets that become pods at once, and exec; *stuck* nodes never start a pod."""

    def __init__(self, wired: HandWired, stuck: dict[str, str] | None = None) -> None:
        self.wired = wired
        self.stuck = stuck or {}
        self.namespaces: dict[str, Object] = {}
        self.pods: dict[tuple[str, str], Object] = {}
        self.deleted: list[str] = []
        self.probes: list[asyncio.subprocess.Process] = []
        self.prefixes: list[list[str]] = []

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/api/v1/nodes", self.list_nodes)
        app.router.add_get("/api/v1/namespaces", self.list_namespaces)
        app.router.add_post("/api/v1/namespaces", self.create_namespace)
        app.router.add_delete("/api/v1/namespaces/{name}", self.delete_namespace)
        app.router.add_post("/apis/apps/v1/namespaces/{ns}/daemonsets", self.create_daemon_set)
        app.router.add_get("/api/v1/pods", self.list_pods)
        app.router.add_get("/api/v1/namespaces/{ns}/pods", self.list_pods)
        app.router.add_get("/api/v1/namespaces/{ns}/pods/{pod}/exec", self.exec)
        return app

    async def list_nodes(self, _: web.Request) -> web.Response:
        def node(number: int, name: str) -> Object:
            ready = "False" if name in self.stuck else "True"
            return {
                "metadata": {"name": name},
                "spec": {"podCIDRs": [cidr(number)]},
                "status": {
                    "addresses": [{"type": "InternalIP", "address": node_ip(number)}],
                    "conditions": [{"type": "Ready", "status": ready, "message": self.stuck.get(name, "")}],
                },
            }

        return listed(node(number, name) for number, name in enumerate(self.wired.nodes, 1))

    async def list_namespaces(self, request: web.Request) -> web.Response:
        assert request.query["labelSelector"] == "podwire.io/verify=probe"
        return listed(self.namespaces.values())

    async def create_namespace(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.namespaces[body["metadata"]["name"]] = body
        return web.json_response(body, status=201)

    async def delete_namespace(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.namespaces:
            return web.json_response({"kind": "Status", "message": "not found", "code": 404}, status=404)
        self.deleted.append(name)
        del self.namespaces[name]
        self.pods = {key: pod for key, pod in self.pods.items() if key[0] != name}
        return web.json_response({})

    async def create_daemon_set(self, request: web.Request) -> web.Response:
        body, namespace = await request.json(), request.match_info["ns"]
        template = body["spec"]["template"]
        for number, node in enumerate(self.wired.nodes, 1):
            name = f"{body['metadata']['name']}-{number}"
            self.pods[namespace, name] = self._pod(namespace, name, node, number, template)
        return web.json_response(body, status=201)

    def _pod(self, namespace: str, name: str, node: str, number: int, template: Object) -> Object:
        spec, role = template["spec"], template["metadata"]["labels"]["role"]
        self.prefixes.append(spec["containers"][0].get("command", []))
        last = {"first": 5, "second": 6}.get(role)
        ip = f"10.244.{number}.{last}" if last else node_ip(number)
        waiting = {"waiting": {"reason": "ContainerCreating", "message": self.stuck.get(node, "")}}
        state = waiting if node in self.stuck else {"running": {}}
        status: Object = {
            "phase": "Pending" if node in self.stuck else "Running",
            "containerStatuses": [{"name": each["name"], "state": state} for each in spec["containers"]],
        }
        if node not in self.stuck:
            status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
        return {
            "metadata": {"name": name, "namespace": namespace, "labels": template["metadata"]["labels"]},
            "spec": {"nodeName": node, "hostNetwork": spec.get("hostNetwork", False)},
            "status": status,
        }

    async def list_pods(self, request: web.Request) -> web.Response:
        namespace = request.match_info.get("ns")
        return listed(pod for key, pod in self.pods.items() if namespace in (None, key[0]))

    async def exec(self, request: web.Request) -> web.WebSocketResponse:
        pod = self.pods[request.match_info["ns"], request.match_info["pod"]]
        role, node = pod["metadata"]["labels"]["role"], pod["spec"]["nodeName"]
        number = list(self.wired.nodes).index(node) + 1
        last = {"first": 5, "second": 6}.get(role)
        descriptor = self.wired.pods[f"default/p{number}-{last}"][1] if last else self.wired.nodes[node]
        command = request.query.getall("command")
        command[0] = sys.executable if command[0] == "python" else command[0]
        socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io",))
        await socket.prepare(request)
        process = await asyncio.create_subprocess_exec(
            "nsenter", f"--net=/proc/{os.getpid()}/fd/{descriptor}", *command,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.probes.append(process)
        feeding = asyncio.create_task(_feed(socket, process))
        assert process.stdout is not None
        try:
            while data := await process.stdout.read(65536):
                await socket.send_bytes(b"\x01" + data)
            await socket.send_bytes(b"\x03" + json.dumps({"status": "Success"}).encode())
            await socket.close()
        except ConnectionError:  # the caller has hung up: nothing more to tell
            pass
        finally:
            feeding.cancel()
            if process.stdin is not None:
                process.stdin.close()
            await process.wait()
        return socket


async def _feed(socket: web.WebSocketResponse, process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    async for message in socket:
        if message.type is WSMsgType.BINARY and message.data[:1] == b"\x00":
            process.stdin.write(message.data[1:])
        elif message.type is WSMsgType.BINARY and message.data[:2] == b"\xff\x00":
            break
    process.stdin.close()


def listed(items: Any) -> web.Response:
    return web.json_response({"metadata": {"resourceVersion": "1"}, "items": list(items)})


@asynccontextmanager
async def serving(api: ApiDouble, directory: Path) -> AsyncIterator[str]:
    """Serve *api* on loopback; yields the path of a kubeconfig."""
    runner = web.AppRunner(api.application(), handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c"}}],
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            }
        )
    )
    try:
        yield str(kubeconfig)
    finally:
        await runner.cleanup()
        for process in api.probes:  # a handler that was cancelled twice has not waited for its own
            if process.returncode is None:
                process.kill()
            await process.wait()


@pytest.fixture(scope="module")
def wired() -> Iterator[HandWired]:
    with hand_wired() as cluster:
        yield cluster


async def prove(api: ApiDouble, directory: Path, **options: Any) -> Proof:
    async with serving(api, directory) as kubeconfig:
        transport = KubernetesTransport(load(kubeconfig), image="podwire/probe", **options)
        return await verify(transport, Options(timeout=1.5), lambda _: None)


async def test_a_cluster_is_proven_through_its_api_and_nothing_is_left(wired: HandWired, tmp_path: Path) -> None:
    api = ApiDouble(wired)
    proof = await prove(api, tmp_path)
    assert proof.exit_status == 0, (proof.verdicts, proof.findings)
    assert len({(f.flow.source_node, f.flow.target_node) for f in proof.judged if f.flow.kind == "pod"}) == 9
    assert {check.name for check in proof.checks} >= {"localhost", "port conflict", "unique address"}
    assert len(api.probes) == 12, "one exec for each container"
    assert not api.namespaces and len(api.deleted) == 1
    assert all(process.returncode is not None for process in api.probes)


async def test_a_node_that_starts_no_pods_is_named_and_the_rest_is_tried(wired: HandWired, tmp_path: Path) -> None:
    api = ApiDouble(wired, {"node3": "container runtime network not ready: no CNI configuration"})
    proof = await prove(api, tmp_path)
    assert proof.exit_status == 2
    (finding,) = proof.findings
    assert (finding.code, finding.where) == ("agent-down", "node3")
    assert "no CNI configuration" in finding.sentence
    assert all(each.ok for each in proof.judged) and {each.flow.source_node for each in proof.judged} == {
        "node1",
        "node2",
    }
    assert not api.namespaces


async def test_what_a_killed_run_left_is_swept_and_what_a_living_one_uses_is_not(
    wired: HandWired, tmp_path: Path
) -> None:
    api = ApiDouble(wired)
    later = time.time() + 600
    dead = await asyncio.create_subprocess_exec("true")
    await dead.wait()
    alive = transport_k8s._this_process()
    gone = "/".join((*alive.split("/")[:2], str(dead.pid), "1"))
    elsewhere = "other-host/boot/1/1"
    for name, until, by in (
        ("podwire-verify-expired", time.time() - 1, elsewhere),
        ("podwire-verify-killed", later, gone),
        ("podwire-verify-alive", later, alive),
        ("podwire-verify-elsewhere", later, elsewhere),
    ):
        api.namespaces[name] = k8s_objects.namespace(name, until, by)
    await prove(api, tmp_path)
    assert set(api.namespaces) == {"podwire-verify-alive", "podwire-verify-elsewhere"}
    assert {"podwire-verify-expired", "podwire-verify-killed"} < set(api.deleted)


async def test_an_interrupted_command_cleans_up_before_it_ends(wired: HandWired, tmp_path: Path) -> None:
    api = ApiDouble(wired, dict.fromkeys(wired.nodes, "never"))
    async with serving(api, tmp_path) as kubeconfig:
        process = await _command(kubeconfig, "--patience", "600")
        assert process.stderr is not None
        async for line in process.stderr:
            if b"waiting for probes" in line:
                break
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == 130
    assert not api.namespaces and len(api.deleted) == 1


async def test_the_command_prints_a_report_and_its_status_tells(wired: HandWired, tmp_path: Path) -> None:
    api = ApiDouble(wired)
    async with serving(api, tmp_path) as kubeconfig:
        process = await _command(kubeconfig, "--evidence", str(tmp_path / "evidence"), "--command-prefix", PREFIX)
        out, progress = await process.communicate()
        assert process.returncode == 0, (out, progress)
        process = await _command(kubeconfig, "-o", "junit", "-q", "--patience", "1", "--image", "x")
        junit, silence = await process.communicate()
    assert process.returncode == 0 and silence == b"" and junit.startswith(b"<?xml")
    report = out.decode()
    assert report.count("✓ proven  ") == 3 and "✓✓✓" in report
    assert b"trying" in progress and b"cleaning up" in progress
    assert len(list((tmp_path / "evidence").glob("*.pcap"))) == 6
    assert [*PREFIX.split(), "--hold"] in api.prefixes


async def test_an_api_that_is_not_there_is_an_error_with_a_status_of_its_own(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "current-context: c\ncontexts: [{name: c, context: {cluster: c}}]\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
    )
    process = await _command(str(kubeconfig))
    out, complaint = await process.communicate()
    assert process.returncode == 2 and out == b""
    assert b"no answer from http://127.0.0.1:1" in complaint


PREFIX = f"{sys.executable} -m podwire.verify.probe"


async def _command(kubeconfig: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "podwire", "verify", "--kubeconfig", kubeconfig, *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
