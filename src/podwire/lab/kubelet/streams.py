"""exec over WebSocket: the channel protocols of Kubernetes, ``v5.channel.k8s.io`` and ``v4.channel.k8s.io``.

Each binary frame begins with its channel: 0 stdin, 1 stdout, 2 stderr, 3 how it ended (a metav1.Status), 4 the
terminal's size; in v5 a frame of 255 and a channel closes that channel. Source: KEP-4006 and
k8s.io/apimachinery/pkg/util/remotecommand.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import struct
import termios
from collections.abc import Sequence

import msgspec
from aiohttp import WSMsgType, web

from podwire.lab.kubelet.runtime.client import Exec, Sandbox, StartRefused

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, STDERR, STATUS, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_CHUNK = 32 * 1024


class _Size(msgspec.Struct, rename="pascal"):
    width: int
    height: int


def exit_status(code: int) -> bytes:
    """The metav1.Status that tells how a command ended."""
    if code == 0:
        return b'{"metadata":{},"status":"Success"}'
    status = {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
    return msgspec.json.encode(status)


def start_failure(message: str) -> bytes:
    """The metav1.Status of a command that could not be started."""
    status = {"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500}
    return msgspec.json.encode(status)


class _Stdio:
    """The three descriptors for the process, and our ends of them. *terminal* is the pty's master, or -1."""

    def __init__(self, *, stdin: bool, tty: bool, pid: int) -> None:
        self.outputs: list[tuple[int, int]] = []
        self.input = self.terminal = -1
        if tty:
            self.terminal, inner = _open_terminal(pid)
            self.input = self.terminal
            self.inner = [inner, inner, inner]
            self.outputs.append((STDOUT, self.terminal))
            return
        if stdin:
            read, self.input = os.pipe2(os.O_CLOEXEC)
        else:
            read = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self.inner = [read]
        for channel in (STDOUT, STDERR):
            out, write = os.pipe2(os.O_CLOEXEC)
            self.outputs.append((channel, out))
            self.inner.append(write)

    def close_inner(self) -> None:
        for fd in set(self.inner):
            os.close(fd)
        self.inner = []

    def close_input(self) -> None:
        if self.input >= 0 and self.input != self.terminal:
            os.close(self.input)
        elif self.terminal >= 0:  # a terminal has no end of input but the character that means it
            with contextlib.suppress(OSError):
                os.write(self.terminal, b"\x04")
        self.input = -1

    def resize(self, size: _Size) -> None:
        if self.terminal >= 0:
            packed = struct.pack("HHHH", size.height & 0xFFFF, size.width & 0xFFFF, 0, 0)
            fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, packed)

    def close(self) -> None:
        self.close_inner()
        if self.input >= 0 and self.input != self.terminal:
            os.close(self.input)
        for _, fd in self.outputs:
            os.close(fd)


def _open_terminal(pid: int) -> tuple[int, int]:
    """A pseudo-terminal of the container's own /dev/pts, so that its programs find it by name."""
    try:
        master = os.open(f"/proc/{pid}/root/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return pty.openpty()
    try:
        fcntl.ioctl(master, 0x40045431, struct.pack("i", 0))  # TIOCSPTLCK: unlock
        return master, fcntl.ioctl(master, 0x5441, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)  # TIOCGPTPEER
    except BaseException:
        os.close(master)
        raise


async def serve_exec(
    socket: web.WebSocketResponse, box: Sandbox, name: str, pid: int, argv: Sequence[str], *, stdin: bool, tty: bool
) -> None:
    """Run *argv* in container *name* (first process *pid*) and carry its streams over *socket*, to the end."""
    stdio = _Stdio(stdin=stdin, tty=tty, pid=pid)
    try:
        try:
            process = await box.exec(name, argv, stdio.inner, tty=tty)
        except StartRefused as error:
            message = f'cannot exec "{argv[0]}" in container {name}: {error.reason}'
            await socket.send_bytes(bytes([STATUS]) + start_failure(message))
            return
        stdio.close_inner()
        with contextlib.closing(process):
            await _carry(socket, stdio, process)
    finally:
        stdio.close()


async def _carry(socket: web.WebSocketResponse, stdio: _Stdio, process: Exec) -> None:
    incoming = asyncio.create_task(_receive(socket, stdio))
    outgoing = [asyncio.create_task(_send(socket, channel, fd)) for channel, fd in stdio.outputs]
    ended = asyncio.create_task(process.wait())
    try:
        done, _ = await asyncio.wait({incoming, ended}, return_when=asyncio.FIRST_COMPLETED)
        if ended not in done:
            return  # the client went: closing kills the process
        with contextlib.suppress(TimeoutError):  # a descendant may hold the pipes open: what it says is lost
            async with asyncio.timeout(2):
                await asyncio.gather(*outgoing)
        await socket.send_bytes(bytes([STATUS]) + exit_status(ended.result()["code"]))
    finally:
        tasks = [incoming, *outgoing, ended]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _send(socket: web.WebSocketResponse, channel: int, fd: int) -> None:
    """Copy what the process prints, until its end of the pipe is closed."""
    os.set_blocking(fd, False)
    while True:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            await _ready(fd, writing=False)
            continue
        except OSError:  # EIO: nobody holds the terminal any more
            return
        if not data:
            return
        await socket.send_bytes(bytes([channel]) + data)


async def _receive(socket: web.WebSocketResponse, stdio: _Stdio) -> None:
    """Copy what the client types, until it goes."""
    async for message in socket:
        if message.type is not WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == STDIN and stdio.input >= 0:
            if not await _write(stdio.input, data):
                stdio.close_input()
        elif channel == RESIZE:
            with contextlib.suppress(msgspec.DecodeError, OSError):
                stdio.resize(msgspec.json.decode(data, type=_Size))
        elif channel == CLOSE and data == bytes([STDIN]) and stdio.input >= 0:
            stdio.close_input()


async def _write(fd: int, data: bytes) -> bool:
    os.set_blocking(fd, False)
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            await _ready(fd, writing=True)
        except OSError:  # the process closed its stdin
            return False
    return True


async def _ready(fd: int, *, writing: bool) -> None:
    """Wait until *fd* can be read or written. It is duplicated: a terminal is waited for in both directions at once."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    copy = os.dup(fd)

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    (loop.add_writer if writing else loop.add_reader)(copy, wake)
    try:
        await future
    finally:
        (loop.remove_writer if writing else loop.remove_reader)(copy)
        os.close(copy)
