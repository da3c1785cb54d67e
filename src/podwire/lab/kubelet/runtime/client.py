"""The kubelet's side of the conversation with a pod's supervisor (asyncio).

Every call opens a connection of its own, so that a kubelet that starts over needs nothing but the directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import podwire
from podwire.lab.kubelet.runtime.messages import ContainerSpec, ContainerState, Exit, SandboxSpec
from podwire.lab.kubelet.runtime.supervisor import SOCKET
from podwire.model.errors import LabError

SOURCE = str(Path(podwire.__file__).parent.parent)
"""Where ``import podwire`` finds this very code."""

_ENTRY = "import sys; sys.path.insert(0, sys.argv[1]); from podwire.lab.kubelet.runtime.supervisor import main; main()"
_TIMEOUT = 30.0


class SandboxGone(LabError):
    """The supervisor of a pod does not answer: it was killed, and its containers with it."""


class StartRefused(LabError):
    """A process could not be started: *stage* says at which step, *errno* why (0 when the kernel was not asked)."""

    def __init__(self, stage: str, errno: int, message: str) -> None:
        super().__init__(f"{stage}: {message}")
        self.stage = stage
        self.errno = errno
        self.reason = message


async def launch(spec: SandboxSpec) -> Sandbox:
    """Start the supervisor of a pod; returns once it can be spoken to."""
    Path(spec["dir"]).mkdir(mode=0o700, parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", _ENTRY, SOURCE, spec["pod"],
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_TIMEOUT):
            out, err = await process.communicate(json.dumps(spec).encode())
    except TimeoutError:
        process.kill()
        raise SandboxGone(f"the supervisor of {spec['pod']} did not start in {_TIMEOUT:.0f} s") from None
    if process.returncode != 0 or not out:
        last = err.decode(errors="replace").strip().rpartition("\n")[2]
        raise SandboxGone(f"the supervisor of {spec['pod']} did not start: {last}")
    return Sandbox(spec["dir"], json.loads(out)["pid"])


class Sandbox:
    """A pod's supervisor, found by its directory. *pid* is 0 when it was not this process that launched it."""

    def __init__(self, directory: str, pid: int = 0) -> None:
        self.directory = directory
        self.pid = pid

    async def start(self, spec: ContainerSpec) -> int:
        """Start a container; its pid as the node sees it. StartRefused tells why it could not be."""
        answer = await self._ask({"op": "start", "spec": spec})
        return int(answer["pid"])

    async def signal(self, name: str, number: int) -> bool:
        """Signal the first process of a container; whether it ran."""
        return bool((await self._ask({"op": "signal", "name": name, "signal": number}))["ok"])

    async def state(self) -> dict[str, ContainerState]:
        """Every container that was ever started here, in its latest attempt."""
        return _states(await self._ask({"op": "state"}))

    async def quit(self) -> None:
        """Kill all containers and end the supervisor; one that is gone already is fine."""
        with contextlib.suppress(SandboxGone):
            await self._ask({"op": "quit"})

    async def watch(self) -> AsyncIterator[dict[str, ContainerState]]:
        """The state now and after each end of a container; SandboxGone when the supervisor has died."""
        reader, writer = await self._open({"op": "watch"})
        try:
            while True:
                yield _states(await self._line(reader, timeout=None))
        finally:
            writer.close()

    async def exec(self, name: str, argv: Sequence[str], stdio: Sequence[int], *, tty: bool = False) -> Exec:
        """Run *argv* in a running container on three descriptors, which stay the caller's to close."""
        reader, writer = await self._open({"op": "exec", "name": name, "argv": list(argv), "tty": tty}, stdio)
        try:
            _raise_refusal(await self._line(reader))
        except BaseException:
            writer.close()
            raise
        return Exec(self, reader, writer)

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        reader, writer = await self._open(request)
        try:
            return _raise_refusal(await self._line(reader))
        finally:
            writer.close()

    async def _open(
        self, request: dict[str, Any], fds: Sequence[int] = ()
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        data = json.dumps(request).encode() + b"\n"
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            directory = os.open(self.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                sock.connect(f"/proc/self/fd/{directory}/{SOCKET}")
            finally:
                os.close(directory)
            sent = socket.send_fds(sock, [data], fds) if fds else 0
            sock.setblocking(False)
            reader, writer = await asyncio.open_unix_connection(sock=sock, limit=4 * 1024 * 1024)
        except OSError as error:
            sock.close()
            raise SandboxGone(f"the supervisor in {self.directory} does not answer: {error.strerror}") from error
        writer.write(data[sent:])
        return reader, writer

    async def _line(self, reader: asyncio.StreamReader, timeout: float | None = _TIMEOUT) -> dict[str, Any]:
        try:
            async with asyncio.timeout(timeout):
                line = await reader.readline()
        except TimeoutError:
            raise SandboxGone(f"the supervisor in {self.directory} did not answer in {timeout:.0f} s") from None
        except OSError as error:
            raise SandboxGone(f"the supervisor in {self.directory} does not answer: {error.strerror}") from error
        if not line.endswith(b"\n"):
            raise SandboxGone(f"the supervisor in {self.directory} has died")
        answer: dict[str, Any] = json.loads(line)
        return answer


class Exec:
    """A process that runs in a container besides its command; closing it kills the process."""

    def __init__(self, sandbox: Sandbox, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sandbox = sandbox
        self._reader = reader
        self._writer = writer

    async def wait(self) -> Exit:
        """How it ended."""
        answer = await self._sandbox._line(self._reader, timeout=None)
        ended: Exit = answer["exit"]
        return ended

    def close(self) -> None:
        """Kill it if it still runs."""
        self._writer.close()


def _raise_refusal(answer: dict[str, Any]) -> dict[str, Any]:
    if "stage" in answer:
        raise StartRefused(answer["stage"], answer["errno"], answer["message"])
    return answer


def _states(answer: dict[str, Any]) -> dict[str, ContainerState]:
    states: dict[str, ContainerState] = answer["containers"]
    return states
