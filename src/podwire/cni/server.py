"""The agent's CNI socket: one request and one response per connection, for root alone.

Frames are :mod:`~podwire.cni.protocol`'s. A descriptor that comes with a request is closed here, whatever becomes of
the request. Whoever sends garbage gets an error in CNI's JSON; whoever sends nothing is cut off.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

from podwire.cni import codes, result
from podwire.cni.protocol import REQUEST_HEADER, RawRequest, decode_request, encode_response, request_sizes
from podwire.cni.verbs import Answer
from podwire.model.errors import CniError, InputError, PodwireError

_LOG = logging.getLogger(__name__)
_BACKLOG = 1024
_ACCEPTS_PER_TURN = 64
_CHUNK = 64 * 1024
_MAX_DESCRIPTORS = 4
"""Room for this many in one receive, so that one too many is seen and closed rather than silently cut off."""
_UCRED = struct.Struct("3i")

Serve = Callable[[RawRequest, int | None], Awaitable[Answer]]


class Server:
    """Listens on *path* and hands each request, with the pod's namespace, to *serve*."""

    def __init__(self, path: str, serve: Serve, *, max_connections: int = 512, patience: float = 10.0) -> None:
        """*patience*: seconds in which a request must have come in whole, and in which an answer must be taken."""
        self._path = path
        self._serve = serve
        self._max_connections = max_connections
        self._patience = patience
        self._uids = frozenset({0, os.geteuid()})
        self._listener: socket.socket | None = None
        self._accepting = False
        self._open: set[_Connection] = set()
        self._running: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. A socket that a dead agent left is replaced; PodwireError if something else is in the way."""
        path = Path(self._path)
        if path.is_symlink() or (path.exists() and not stat.S_ISSOCK(path.stat().st_mode)):
            raise PodwireError(f"{path} is in the way and no socket", remedy="remove it")
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            # Nobody can connect before listen(), so the mode is right before it counts.
            listener.bind(self._path)
            path.chmod(0o600)
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            raise PodwireError(f"cannot listen on {path}: {error.strerror}") from error
        self._listener = listener
        self._resume()

    async def stop(self, grace: float = 30.0) -> None:
        """Stop listening, let what has begun end within *grace* seconds, and cut off who has not asked yet."""
        if self._listener is not None:
            self._pause()
            self._listener.close()
            self._listener = None
            Path(self._path).unlink(missing_ok=True)
        for connection in list(self._open):
            if not connection.complete:
                connection.close()
        if self._running:
            await asyncio.wait(self._running, timeout=grace)

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return len(self._open)

    def _pause(self) -> None:
        if self._accepting and self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._accepting = False

    def _resume(self) -> None:
        if not self._accepting and self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)
            self._accepting = True

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            if self._listener is None:
                return
            if len(self._open) >= self._max_connections:
                self._pause()  # the rest wait in the backlog until one of these closes
                return
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # EMFILE and the like: whatever frees something also resumes us
                _LOG.error("cannot accept a CNI request: %s", error)
                self._pause()
                asyncio.get_running_loop().call_later(0.2, self._resume)
                return
            sock.setblocking(False)
            if self._allowed(sock):
                connection = _Connection(sock, self, self._patience)
                self._open.add(connection)
                connection.receive()
            else:
                sock.close()

    def _allowed(self, sock: socket.socket) -> bool:
        _, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        if uid not in self._uids:
            _LOG.warning("a process of user %d was turned away from the CNI socket", uid)
        return uid in self._uids

    def closed(self, connection: _Connection) -> None:
        """*connection* is closed: there is room for another."""
        self._open.discard(connection)
        self._resume()

    def begin(self, connection: _Connection, request: RawRequest | InputError) -> None:
        """Answer *request*, or say what is wrong with it, in a task of its own, which nobody cancels."""
        task = asyncio.get_running_loop().create_task(self._answer(connection, request))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _answer(self, connection: _Connection, request: RawRequest | InputError) -> None:
        try:
            if isinstance(request, InputError):
                await connection.send(_refused(codes.DECODING_FAILURE, request.message, request.remedy))
                return
            if request.env.get("CNI_COMMAND") == "ADD" and connection.deserted():
                return  # the runtime has killed the binary; its DEL may have been here already
            try:
                answer = await self._serve(request, connection.descriptor)
            except Exception:
                _LOG.exception("a CNI request could not be served")
                answer = _refused(codes.INTERNAL, "internal error in podwire's agent")
            await connection.send(answer)
        finally:
            connection.close()


class _Connection:
    """One client: collects a request and its descriptor, then carries the answer back."""

    def __init__(self, sock: socket.socket, server: Server, patience: float) -> None:
        self.complete = False
        self._sock = sock
        self._server = server
        self._patience = patience
        self._buffer = bytearray()
        self._sizes: tuple[int, int] | None = None
        self._descriptors: list[int] = []
        self._reading = False
        self._closed = False
        self._timer = asyncio.get_running_loop().call_later(patience, self.close)

    @property
    def descriptor(self) -> int | None:
        """The descriptor that came with the request."""
        return self._descriptors[0] if self._descriptors else None

    def receive(self) -> None:
        """Take in what is there; once the request is whole, pass it on."""
        try:
            while not self.complete:
                if not self._take():
                    return
        except (BlockingIOError, InterruptedError):
            if not self._reading:
                self._reading = True
                asyncio.get_running_loop().add_reader(self._sock, self.receive)
            return
        except OSError:
            self.close()
            return
        except InputError as error:
            self._stop_reading()
            self.complete = True
            self._server.begin(self, error)
            return
        self._stop_reading()
        env, stdin = self._sizes or (0, 0)
        start = REQUEST_HEADER.size
        content = bytes(self._buffer)
        self._buffer.clear()
        raw = decode_request(content[start : start + env], content[start + env : start + env + stdin])
        self._server.begin(self, raw)

    def _take(self) -> bool:
        """One receive; False at the end of the stream. Sets ``complete``."""
        flags = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
        data, descriptors, returned, _ = socket.recv_fds(self._sock, _CHUNK, _MAX_DESCRIPTORS, flags)
        self._descriptors += descriptors
        if returned & socket.MSG_CTRUNC or len(self._descriptors) > 1:
            raise InputError("request", None, "came with more than one descriptor", remedy="send the namespace's alone")
        if not data:
            self.close()
            return False
        self._buffer += data
        if self._sizes is None and len(self._buffer) >= REQUEST_HEADER.size:
            self._sizes = request_sizes(bytes(self._buffer[: REQUEST_HEADER.size]))
        if self._sizes is not None:
            surplus = len(self._buffer) - REQUEST_HEADER.size - sum(self._sizes)
            if surplus > 0:
                raise InputError("request", f"{surplus} bytes", "follow its end", remedy="send one request alone")
            self.complete = surplus == 0
        return True

    def deserted(self) -> bool:
        """Whether the client is gone: it never shuts down one direction alone."""
        try:
            return self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    async def send(self, answer: Answer) -> None:
        """Send *answer*, to whoever still wants it."""
        frame = encode_response(answer.status, answer.body)
        try:
            sent = self._sock.send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            return
        if sent < len(frame):
            try:
                async with asyncio.timeout(self._patience):
                    await asyncio.get_running_loop().sock_sendall(self._sock, frame[sent:])
            except (OSError, TimeoutError):
                return

    def _stop_reading(self) -> None:
        self._timer.cancel()
        if self._reading:
            self._reading = False
            asyncio.get_running_loop().remove_reader(self._sock)

    def close(self) -> None:
        """Close the connection and what came with it. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._stop_reading()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()
        self._sock.close()
        self._server.closed(self)


def _refused(code: int, message: str, details: str = "") -> Answer:
    return Answer(code, result.encode_error(CniError(code, message, details), result.NEWEST))
