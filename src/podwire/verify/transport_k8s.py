"""Probes as pods of a cluster: DaemonSets in a namespace of their own, reached by exec through the API server.

Nothing but the API is needed, so the same proof works on any cluster, whoever made its network. Each run has its own
namespace ``podwire-verify-XXXXXX``; it is deleted at the end, also of an interrupted run. What a killed run left is
deleted at the next start: once its deadline has passed, or its process is seen to be gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from podwire.cluster import objects
from podwire.cluster.client import Client
from podwire.cluster.exec import STDOUT, Exec
from podwire.cluster.kubeconfig import Access
from podwire.cluster.resources import DAEMON_SETS, NAMESPACES, NODES, PODS
from podwire.model.errors import ClusterError, NotFound, PodwireError, VerifyError
from podwire.verify import k8s_objects
from podwire.verify.channel import Stream
from podwire.verify.transport import Progress
from podwire.verify.values import NodeStatus, Seat, StartFailure, Topology

PROBE = ("python", "-m", "podwire.verify.probe")
"""What is run by exec in a container of the default image."""
_LONGEST_RUN = 1800.0
_POLL = 0.25
_UNREADY_PATIENCE = 3.0
"""Seconds that a node which is not ready gets once all others' probes run."""


class _Condition(msgspec.Struct):
    type: str = ""
    status: str = ""
    message: str = ""


class _NodeStatus(msgspec.Struct):
    conditions: list[_Condition] = []


class _NodeConditions(msgspec.Struct):
    metadata: objects.Meta
    status: _NodeStatus = msgspec.field(default_factory=_NodeStatus)


class KubernetesTransport:
    """A :class:`~podwire.verify.transport.Transport` over a cluster's API.

    *image* holds the probe; *prefix* is the command that starts it there (default: :data:`PROBE`, and the image's own
    command keeps the pod alive); *patience* is how long probes may take to start, seconds.
    """

    def __init__(self, access: Access, *, image: str, prefix: Sequence[str] = (), patience: float = 60.0) -> None:
        self._image, self._prefix, self._patience = image, tuple(prefix), patience
        self._client = Client(access, user_agent="podwire-verify")
        self._execs = Client(access, user_agent="podwire-verify")
        self.namespace = f"podwire-verify-{secrets.token_hex(3)}"
        self._created = False

    async def start(self, progress: Progress) -> tuple[Sequence[Seat], Sequence[StartFailure]]:
        await self._sweep(progress)
        progress(f"starting probes in namespace {self.namespace}")
        self._created = True
        until = time.time() + _LONGEST_RUN
        await self._client.create(NAMESPACES, k8s_objects.namespace(self.namespace, until, _this_process()))
        for role in k8s_objects.DAEMON_SETS:
            body = k8s_objects.daemon_set(role, self._image, self._prefix)
            await self._client.create(DAEMON_SETS, body, self.namespace)
        pods, gaps = await self._wait(progress)
        running = sorted((pod for pod in pods if pod.running), key=lambda pod: (pod.role, pod.node))
        failures = [StartFailure(node, f"{self.namespace}/{role}", why) for node, role, why in gaps]
        return [seat for pod in running for seat in pod.seats()], failures

    async def _sweep(self, progress: Progress) -> None:
        """Delete what killed runs have left."""
        listed = await self._client.list(NAMESPACES, label_selector=f"{k8s_objects.LABEL}=probe", type=_Leftover)
        for item in listed.items:
            if item.metadata.deletion_timestamp is None and _abandoned(item.metadata.annotations, time.time()):
                progress(f"removing {item.metadata.name}, left by a run that was killed")
                with contextlib.suppress(NotFound):
                    await self._client.delete(NAMESPACES, item.metadata.name)

    async def _wait(self, progress: Progress) -> tuple[list[k8s_objects.ProbePod], list[tuple[str, str, str]]]:
        """Until every probe pod runs, or only those of nodes that are not ready are missing, or patience ends."""
        deadline = time.monotonic() + self._patience
        healthy_since: float | None = None
        told = ""
        while True:
            topology = await self._nodes()
            listed = await self._client.list(PODS, self.namespace, type=k8s_objects.ProbePod)
            gaps = k8s_objects.missing(listed.items, topology)
            now = time.monotonic()
            on_ready = [gap for gap in gaps if topology[gap[0]].ready]
            healthy_since = None if on_ready else (healthy_since or now)
            given_up = healthy_since is not None and now - healthy_since >= _UNREADY_PATIENCE
            if not gaps or now >= deadline or given_up:
                return listed.items, gaps
            total = len(topology) * len(k8s_objects.DAEMON_SETS)
            phrase = f"waiting for probes: {total - len(gaps)} of {total} run"
            if phrase != told:
                progress(phrase)
                told = phrase
            await asyncio.sleep(_POLL)

    async def _nodes(self) -> dict[str, NodeStatus]:
        nodes = await self._client.list(NODES, type=objects.NodeObject)
        conditions = await self._client.list(NODES, type=_NodeConditions)
        ready = {each.metadata.name: _readiness(each) for each in conditions.items}
        return {
            node.name: NodeStatus(node, *ready.get(node.name, (False, "it has no status")))
            for node in map(objects.node, nodes.items)
        }

    async def topology(self) -> Topology:
        nodes, pods = await asyncio.gather(self._nodes(), self._client.list(PODS, type=objects.PodObject))
        lasting = [pod for pod in pods.items if pod.metadata.deletion_timestamp is None]
        return Topology(nodes, tuple(map(objects.pod, lasting)))

    async def open(self, seat: Seat) -> Stream:
        namespace, _, pod = seat.pod.partition("/")
        command = self._prefix or PROBE
        session = Exec(self._execs, namespace, pod, command, container=seat.container, stdin=True)
        await session.__aenter__()
        return _ExecStream(session)

    async def close(self) -> None:
        await self._execs.close()
        try:
            if self._created:
                with contextlib.suppress(NotFound):
                    await self._client.delete(NAMESPACES, self.namespace)
                self._created = False
        except ClusterError as error:
            raise VerifyError(
                f"the namespace {self.namespace} could not be removed: {error.message}",
                remedy=f"kubectl delete namespace {self.namespace}, or run verify again later: it removes leftovers",
            ) from error
        finally:
            await self._client.close()


class _Leftover(msgspec.Struct):
    metadata: objects.Meta


class _ExecStream:
    """An exec session as a stream."""

    def __init__(self, session: Exec) -> None:
        self._session = session
        self._output: AsyncIterator[tuple[int, bytes]] = session.output()
        self._said = bytearray()
        self._closed = False

    async def read(self) -> bytes:
        try:
            async for channel, data in self._output:
                if channel == STDOUT:
                    return data
                self._said += data[:4096]
        except PodwireError as error:
            self._said += str(error).encode()
        return b""

    async def write(self, data: bytes) -> None:
        await self._session.write(data)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            with contextlib.suppress(PodwireError, OSError, RuntimeError):
                await self._session.close_stdin()
            await self._session.__aexit__(None, None, None)

    def complaint(self) -> str:
        return self._said.decode("utf-8", "replace").strip()[-300:]


def _readiness(node: _NodeConditions) -> tuple[bool, str]:
    condition = next((each for each in node.status.conditions if each.type == "Ready"), None)
    if condition is None:
        return False, "it has not reported whether it is ready"
    return condition.status == "True", condition.message


def _this_process() -> str:
    """Host, boot, process and its start time: enough to tell later, on this host, whether it still runs."""
    return "/".join((socket.gethostname(), _boot(), str(os.getpid()), _start_time(os.getpid())))


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _start_time(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _abandoned(annotations: dict[str, str], now: float) -> bool:
    """Whether the run that made a namespace is over: past its deadline, or known to be dead."""
    until = annotations.get(k8s_objects.DEADLINE, "")
    if not until.isdigit() or now > int(until):
        return True
    host, boot, pid, started = (*annotations.get(k8s_objects.STARTED_BY, "").split("/"), "", "", "", "")[:4]
    here = host == socket.gethostname() and boot and boot == _boot()
    return bool(here and pid.isdigit() and _start_time(int(pid)) != started)
