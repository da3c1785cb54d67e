"""Probes: HTTP, TCP and exec, sent from the node's own network, as the kubelet sends them.

That an agent on the node reaches every pod of that node is podwire's third guarantee: a pod becomes Ready by it.
Source: Kubernetes, "Configure Liveness, Readiness and Startup Probes".
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from typing import Literal

import aiohttp
import msgspec

from podwire.lab.kubelet.objects import Container, HttpGet, Probe, TcpSocket
from podwire.lab.kubelet.runtime.client import Sandbox, SandboxGone, StartRefused

Kind = Literal["startup", "liveness", "readiness"]
_SHOWN = 300


class Counter(msgspec.Struct):
    """Consecutive results of one probe against its thresholds; *good* is None until one of them is reached. Pure."""

    success_threshold: int
    failure_threshold: int
    good: bool | None = None
    last: bool = False
    run: int = 0

    def feed(self, result: bool) -> bool:
        """Take a result; whether *good* changed by it."""
        self.run = self.run + 1 if result == self.last else 1
        self.last = result
        needed = self.success_threshold if result else self.failure_threshold
        if self.run < needed or self.good == result:
            return False
        self.good = result
        return True


class Failed(Exception):
    """A probe's answer was not good; the message says why."""


def port_number(container: Container, port: int | str) -> int:
    """A probe's port, which may be the name of one of the container's ports."""
    if isinstance(port, int):
        return port
    for known in container.ports:
        if known.name == port:
            return known.container_port
    if port.isdigit():
        return int(port)
    raise Failed(f"the container has no port named {port!r}")


class Prober:
    """Sends the probes of a node's pods."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()

    async def check(self, probe: Probe, container: Container, pod_ip: str, box: Sandbox) -> str:
        """Send *probe* once: "" when the answer is good, else what was wrong with it."""
        try:
            async with asyncio.timeout(max(1, probe.timeout_seconds)):
                if probe.http_get:
                    await self._http(probe.http_get, container, pod_ip)
                elif probe.tcp_socket:
                    await _tcp(probe.tcp_socket, container, pod_ip)
                elif probe.exec:
                    await _exec(box, container.name, list(probe.exec.command))
                else:
                    return "the lab sends httpGet, tcpSocket and exec probes only"
        except Failed as error:
            return str(error)
        except TimeoutError:
            return f"no answer in {max(1, probe.timeout_seconds)} s"
        except (aiohttp.ClientError, OSError, StartRefused, SandboxGone) as error:
            return str(error) or type(error).__name__
        return ""

    async def _http(self, action: HttpGet, container: Container, pod_ip: str) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, ssl=False))
        host = action.host or pod_ip
        shown = f"[{host}]" if ":" in host else host
        url = f"{action.scheme.lower()}://{shown}:{port_number(container, action.port)}/{action.path.lstrip('/')}"
        headers = {"User-Agent": "kube-probe/podwire-lab", **{entry.name: entry.value for entry in action.http_headers}}
        async with self._session.get(url, headers=headers, allow_redirects=False) as response:
            if not 200 <= response.status < 400:
                raise Failed(f"HTTP probe failed with statuscode: {response.status}")


async def _tcp(action: TcpSocket, container: Container, pod_ip: str) -> None:
    _, writer = await asyncio.open_connection(action.host or pod_ip, port_number(container, action.port))
    writer.close()


async def _exec(box: Sandbox, name: str, command: list[str]) -> None:
    read, write = os.pipe2(os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    with os.fdopen(read, "rb", 0) as output:
        try:
            process = await box.exec(name, command, [null, write, write])
        finally:
            os.close(null)
            os.close(write)
        with contextlib.closing(process):
            ended = await process.wait()
        if ended["code"]:
            os.set_blocking(read, False)
            said = (output.read(_SHOWN) or b"").decode(errors="replace").strip()
            raise Failed(said or f"the command exited with status {ended['code']}")


async def watch_container(
    container: Container,
    send: Callable[[Probe], Awaitable[str]],
    report: Callable[[Kind, bool | None, str], None],
) -> None:
    """Send a container's probes for as long as it runs.

    *report* hears of each failure, and when a probe has become good or bad (None: neither threshold reached yet).

    Nothing but the startup probe is sent before that has succeeded.
    """
    if container.startup_probe:
        await _repeat("startup", container.startup_probe, send, report, once=True)
    async with asyncio.TaskGroup() as group:
        if container.liveness_probe:
            group.create_task(_repeat("liveness", container.liveness_probe, send, report))
        if container.readiness_probe:
            group.create_task(_repeat("readiness", container.readiness_probe, send, report))


async def _repeat(
    kind: Kind,
    probe: Probe,
    send: Callable[[Probe], Awaitable[str]],
    report: Callable[[Kind, bool | None, str], None],
    once: bool = False,
) -> None:
    counter = Counter(probe.success_threshold if kind == "readiness" else 1, max(1, probe.failure_threshold))
    await asyncio.sleep(probe.initial_delay_seconds)
    while True:
        problem = await send(probe)
        if counter.feed(not problem) or problem:
            report(kind, counter.good, problem)
        if once and counter.good:
            return
        # A probe that never succeeded is asked more often, so that a lab's pods are Ready as soon as they can serve.
        await asyncio.sleep(max(1, probe.period_seconds) if counter.good is not None else min(1, probe.period_seconds))
