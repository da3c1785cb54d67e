"""Probes in plain network namespaces of this machine, as subprocesses: no Kubernetes, the same proof.

The namespaces stand already, wired by whoever made them; a description of them takes the API's place. Serves the tests
of the proof itself, and anybody who wires namespaces by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence

import msgspec

from podwire.verify.channel import Stream
from podwire.verify.transport import Progress
from podwire.verify.values import Seat, StartFailure, Topology

_COMMAND = (sys.executable, "-m", "podwire.verify.probe")


class Stage(msgspec.Struct, frozen=True):
    """Where things are: the network namespace (a descriptor) of each node and of each pod, and the cluster's view.

    *pods* maps ``namespace/name`` to (node, descriptor, names of containers). A container is just one more process.
    """

    topology: Topology
    nodes: Mapping[str, int]
    pods: Mapping[str, tuple[str, int, tuple[str, ...]]]


class _Process:
    """A probe's standard streams."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._said = bytearray()
        self._listener = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(4096):
            self._said += data

    async def read(self) -> bytes:
        assert self._process.stdout is not None
        return await self._process.stdout.read(65536)

    async def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        await self._process.stdin.drain()

    async def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(2):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._listener

    def complaint(self) -> str:
        return self._said.decode("utf-8", "replace").strip()[-300:]


class NamespaceTransport:
    """A :class:`~podwire.verify.transport.Transport` over a :class:`Stage`."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._open: list[_Process] = []

    async def start(self, progress: Progress) -> tuple[Sequence[Seat], Sequence[StartFailure]]:
        progress("using the namespaces that stand")
        seats = [
            Seat(node, pod, container)
            for pod, (node, _, containers) in self._stage.pods.items()
            for container in containers
        ]
        return seats + [Seat(node, f"host/{node}", "probe", host=True) for node in self._stage.nodes], ()

    async def topology(self) -> Topology:
        return self._stage.topology

    async def open(self, seat: Seat) -> Stream:
        descriptor = self._stage.nodes[seat.node] if seat.host else self._stage.pods[seat.pod][1]
        process = await asyncio.create_subprocess_exec(
            "nsenter",
            f"--net=/proc/{os.getpid()}/fd/{descriptor}",
            *_COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1024 * 1024,
        )
        stream = _Process(process)
        self._open.append(stream)
        return stream

    async def close(self) -> None:
        open_, self._open = self._open, []
        await asyncio.gather(*(stream.close() for stream in open_))
