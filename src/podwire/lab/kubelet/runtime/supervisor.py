"""A pod's supervisor: holds the pod's namespaces, starts its containers, writes their logs, remembers how they ended.

It is the pause process of this runtime, and outlives the kubelet: one started later connects to the socket in the
sandbox's directory, asks for ``state`` and carries on. It decides nothing: when to start, stop or restart is the
kubelet's business. Single-threaded on purpose, since it forks.

Started as ``python -I -S`` (see ``client.launch``) with a SandboxSpec on stdin; the first process ends once the
socket listens, and prints the supervisor's pid.
"""

# pathlib costs the supervisor as much start-up time as all its other imports together.
# ruff: noqa: PTH108
from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from podwire.lab.kubelet.runtime import syscalls as sys_
from podwire.lab.kubelet.runtime.container import become_exec
from podwire.lab.kubelet.runtime.messages import ContainerSpec, ContainerState, SandboxSpec
from podwire.lab.kubelet.runtime.processes import Container, Spawner, reap, refusal
from podwire.lab.sandbox.syscalls import CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWUTS, set_hostname, unshare

SOCKET = "supervisor.sock"
_MAX_REQUEST = 4 * 1024 * 1024


class _Connection:
    """A client's connection: the request as it comes in, the descriptors that came along, and the exec it started."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""
        self.fds: list[int] = []
        self.exec_pid = 0

    def send(self, message: object) -> None:
        with contextlib.suppress(OSError):  # the client went: its connection's end is noticed elsewhere
            self.sock.sendall(json.dumps(message).encode() + b"\n")

    def close_fds(self) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds = []


class Supervisor:
    """The loop. One instance for each process."""

    def __init__(self, listener: socket.socket) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener = listener
        self._spawner = Spawner()
        self._containers: dict[str, Container] = {}
        self._connections: set[_Connection] = set()
        self._watchers: set[_Connection] = set()
        self._quitting = False

    def run(self) -> None:
        """Serve until told to quit."""
        wake, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._quit())  # only a mark: the loop may be in the middle of a fork
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._watch(self._listener, self._accept)
        self._watch(wake, partial(self._woken, wake))
        while not self._quitting:
            for key, _ in self._selector.select():
                key.data()
        self._kill_all()

    def _watch(self, thing: Any, callback: Callable[[], None]) -> None:
        self._selector.register(thing, selectors.EVENT_READ, callback)

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.settimeout(5)  # a client that does not read must not stop the pod's log for ever
        connection = _Connection(sock)
        self._connections.add(connection)
        self._watch(sock, partial(self._read, connection))

    def _read(self, connection: _Connection) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(connection.sock, 65536, 3, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            data, fds = b"", []
        connection.fds += fds
        connection.buffer += data
        if not data or len(connection.buffer) > _MAX_REQUEST:
            self._drop(connection)
        elif connection.buffer.endswith(b"\n"):
            line, connection.buffer = connection.buffer, b""
            try:
                self._answer(connection, json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                connection.send(refusal("read the request", 0, f"{type(error).__name__}: {error}"))
            finally:
                connection.close_fds()

    def _drop(self, connection: _Connection) -> None:
        self._selector.unregister(connection.sock)
        connection.sock.close()
        connection.close_fds()
        self._connections.discard(connection)
        self._watchers.discard(connection)
        if connection.exec_pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(connection.exec_pid, signal.SIGKILL)

    def _answer(self, connection: _Connection, request: dict[str, Any]) -> None:
        match request["op"]:
            case "start":
                connection.send(self._start(request["spec"]))
            case "signal":
                connection.send({"ok": self._signal(request["name"], request["signal"])})
            case "state":
                connection.send(self._state())
            case "watch":
                self._watchers.add(connection)
                connection.send(self._state())
            case "exec":
                connection.send(self._exec(connection, request["name"], request["argv"], request["tty"]))
            case "quit":
                self._quit()
                self._kill_all()
                connection.send({"ok": True})
            case other:
                connection.send(refusal("read the request", 0, f"no such operation: {other}"))

    def _state(self) -> dict[str, dict[str, ContainerState]]:
        return {"containers": {name: container.state for name, container in self._containers.items()}}

    def _start(self, spec: ContainerSpec) -> object:
        old = self._containers.get(spec["name"])
        if old is not None and old.state["exit"] is None:
            return refusal("start", 0, f"container {spec['name']} runs already (pid {old.state['pid']})")
        container = self._spawner.container(spec)
        if not isinstance(container, Container):
            return container
        self._containers[spec["name"]] = container
        for fd in container.pipes:
            self._watch(fd, partial(self._copy_output, container, fd))
        return {"pid": container.state["pid"], "started_at": container.state["started_at"]}

    def _exec(self, connection: _Connection, name: str, argv: list[str], tty: bool) -> object:
        container = self._containers.get(name)
        if container is None or not container.running:
            return refusal("exec", 0, f"container {name} does not run")
        if len(connection.fds) != 3 or connection.exec_pid:
            return refusal("exec", 0, "stdin, stdout and stderr must come with the request, one request a connection")
        pidfd = os.pidfd_open(container.state["pid"])
        try:
            pid = self._spawner.spawn(
                lambda: sys_.setns(pidfd, CLONE_NEWPID),
                connection.fds,
                lambda: become_exec(container.spec, argv, pidfd, tty),
            )
        finally:
            os.close(pidfd)
        if not isinstance(pid, int):
            return pid
        connection.exec_pid = pid
        return {"pid": pid}

    def _signal(self, name: str, number: int) -> bool:
        container = self._containers.get(name)
        if container is None or not container.running:
            return False
        os.kill(container.state["pid"], number)  # not reaped yet, so the pid is still its own
        return True

    def _copy_output(self, container: Container, fd: int) -> None:
        if not container.copy_output(fd):
            self._selector.unregister(fd)
            self._tell_end(container)

    def _woken(self, wake: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(wake, 4096)
        for pid, ended in reap():
            for container in self._containers.values():
                if container.running and container.state["pid"] == pid:
                    container.end(ended)
                    self._tell_end(container)
            for connection in list(self._connections):
                if connection.exec_pid == pid:
                    connection.exec_pid = 0
                    connection.send({"exit": ended})

    def _tell_end(self, container: Container) -> None:
        if container.state["exit"] is not None:
            for connection in list(self._watchers):
                connection.send(self._state())

    def _quit(self) -> None:
        self._quitting = True

    def _kill_all(self) -> None:
        running = [container.state["pid"] for container in self._containers.values() if container.running]
        for pid in running:
            os.kill(pid, signal.SIGKILL)
        for pid in running:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        for container in self._containers.values():
            for fd in list(container.pipes):
                while container.copy_output(fd):
                    pass
        self._containers.clear()


def _join(spec: SandboxSpec) -> None:
    """Enter the pod's network namespace and make its IPC and UTS namespaces."""
    if spec["netns"]:
        fd = os.open(spec["netns"], os.O_RDONLY | os.O_CLOEXEC)
        sys_.setns(fd, sys_.CLONE_NEWNET)
        os.close(fd)
        unshare(CLONE_NEWUTS)
        set_hostname(spec["hostname"])
    unshare(CLONE_NEWIPC)


def main() -> None:
    """Read a SandboxSpec from stdin, become a daemon, serve."""
    spec: SandboxSpec = json.load(sys.stdin)
    _join(spec)
    os.chdir(spec["dir"])  # a relative address: an absolute one may exceed the 107 bytes of sun_path
    with contextlib.suppress(FileNotFoundError):
        os.unlink(SOCKET)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.umask(0o077)
    listener.bind(SOCKET)
    listener.listen(64)
    if pid := os.fork():
        print(json.dumps({"pid": pid}), flush=True)
        os._exit(0)
    os.setsid()
    os.chdir("/")
    null = os.open("/dev/null", os.O_RDWR)
    for target in (0, 1, 2):
        os.dup2(null, target)
    Supervisor(listener).run()
