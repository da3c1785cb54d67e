"""Run a command in a container through the API server: WebSocket, ``v5.channel.k8s.io`` or ``v4``.

Each frame's first byte is the channel: 0 stdin, 1 stdout, 2 stderr, 3 the end (a metav1.Status), 4 terminal size; in v5 a frame
``255 CHANNEL`` closes a channel (KEP-4006). Logs are here as well, since they come from the same kubelet.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import aiohttp
import msgspec

from podwire.cluster.client import Client, error_of
from podwire.cluster.resources import PODS
from podwire.model.errors import ClusterError, Unavailable

STDIN, STDOUT, STDERR, END, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")


class Exec:
    """A command that runs in a container. ``async with Exec(client, "default", "web", ["cat"], stdin=True) as session``."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        pod: str,
        command: Sequence[str],
        *,
        container: str = "",
        stdin: bool = False,
        tty: bool = False,
    ) -> None:
        self._client = client
        self._path = PODS.path(namespace, pod, "exec")
        self._params: list[tuple[str, str]] = [("command", word) for word in command]
        self._params += [("stdout", "true"), ("stderr", "false" if tty else "true")]
        self._params += [(name, "true") for name, wanted in (("stdin", stdin), ("tty", tty)) if wanted]
        if container:
            self._params.append(("container", container))
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._exit: int | None = None

    async def __aenter__(self) -> Exec:
        options = self._client.options()
        headers = options.pop("headers", {})
        url = self._client.url(self._path)
        try:
            self._socket = await self._client.session.ws_connect(
                url.with_query(self._params),
                protocols=PROTOCOLS,
                headers=headers,
                max_msg_size=0,
                heartbeat=30,
                timeout=aiohttp.ClientWSTimeout(ws_close=5),
                **options,
            )
        except aiohttp.WSServerHandshakeError as error:
            raise error_of(error.status, await self._reason(), f"exec {self._path}") from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"exec {self._path}: {error or type(error).__name__}") from error
        return self

    async def _reason(self) -> bytes:
        """Why a handshake was refused: aiohttp throws the body away, so ask again without an upgrade."""
        options = self._client.options()
        try:
            async with self._client.session.get(
                self._client.url(self._path).with_query(self._params), **options
            ) as response:
                return await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError):
            return b""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            await self._socket.close()

    async def write(self, data: bytes) -> None:
        """Send *data* to the command's stdin."""
        assert self._socket is not None
        try:
            await self._socket.send_bytes(bytes([STDIN]) + data)
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"exec {self._path}: {error}") from error

    async def close_stdin(self) -> None:
        """Tell the command that no more input comes (v5; with v4 there is no way)."""
        assert self._socket is not None
        if self._socket.protocol == PROTOCOLS[0]:
            await self._socket.send_bytes(bytes([CLOSE, STDIN]))

    async def resize(self, columns: int, rows: int) -> None:
        """Tell the size of the terminal."""
        assert self._socket is not None
        await self._socket.send_bytes(bytes([RESIZE]) + msgspec.json.encode({"Width": columns, "Height": rows}))

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """(STDOUT or STDERR, data) as it comes, until the command ends; then :attr:`exit_code` is known."""
        assert self._socket is not None
        async for message in self._socket:
            if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                continue
            channel, data = message.data[0], message.data[1:]
            if channel == END:
                self._exit = _exit_code(data)
                return
            if channel in (STDOUT, STDERR) and data:
                yield channel, data
        if self._exit is None:
            raise Unavailable(f"exec {self._path}: the connection ended before the command did")

    @property
    def exit_code(self) -> int:
        """The command's exit status; known once :meth:`output` has ended."""
        if self._exit is None:
            raise ClusterError(f"exec {self._path}: the command has not ended")
        return self._exit


def _exit_code(data: bytes) -> int:
    try:
        status: Any = msgspec.json.decode(data)
    except msgspec.MsgspecError as error:
        raise ClusterError(f"exec: the end of the command cannot be read: {error}") from error
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or []:
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise ClusterError(f"exec: {status.get('message', 'the command could not be run')}", int(status.get("code") or 0))


async def run(
    client: Client, namespace: str, pod: str, command: Sequence[str], *, container: str = "", stdin: bytes = b""
) -> tuple[int, bytes, bytes]:
    """Run *command* to its end: (exit status, stdout, stderr)."""
    outputs = {STDOUT: bytearray(), STDERR: bytearray()}
    async with Exec(client, namespace, pod, command, container=container, stdin=bool(stdin)) as session:
        if stdin:
            await session.write(stdin)
            await session.close_stdin()
        async for channel, data in session.output():
            outputs[channel] += data
        return session.exit_code, bytes(outputs[STDOUT]), bytes(outputs[STDERR])


async def logs(
    client: Client,
    namespace: str,
    pod: str,
    *,
    container: str = "",
    follow: bool = False,
    params: Mapping[str, str] | None = None,
) -> AsyncIterator[bytes]:
    """A container's output, piece by piece; with *follow* until the container ends. *params* as in the API (tailLines …)."""
    query = {
        **(params or {}),
        **({"container": container} if container else {}),
        **({"follow": "true"} if follow else {}),
    }
    path = PODS.path(namespace, pod, "log")
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=None if follow else 30)
    try:
        async with client.session.get(client.url(path), params=query, timeout=timeout, **client.options()) as response:
            if response.status >= 400:
                raise client.refusal(response, await response.read(), f"logs {namespace}/{pod}")
            async for chunk in response.content.iter_any():
                yield chunk
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise Unavailable(f"logs {namespace}/{pod}: {error or type(error).__name__}") from error
