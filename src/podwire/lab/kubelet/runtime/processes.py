"""A supervisor's processes: forked into a pid namespace of a container, reaped, and their output copied to the log."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

from podwire.lab.kubelet.runtime import syscalls as sys_
from podwire.lab.kubelet.runtime.container import StageError, become_container
from podwire.lab.kubelet.runtime.logfile import LogFile
from podwire.lab.kubelet.runtime.messages import ContainerSpec, ContainerState, Exit, Refusal
from podwire.lab.sandbox.syscalls import CLONE_NEWPID, unshare


class Container:
    """A container that runs or ran. *state* has its end only when *over*: the last line of the log is on disk."""

    def __init__(self, spec: ContainerSpec, pid: int, log: LogFile, pipes: dict[int, str]) -> None:
        """*pipes* maps the descriptors that the container's output comes through to the names of the streams."""
        self.spec = spec
        self.state = ContainerState(attempt=spec["attempt"], pid=pid, started_at=time.time_ns(), exit=None)
        self.pipes = pipes
        self._log = log
        self._exit: Exit | None = None

    @property
    def running(self) -> bool:
        """Whether its first process is alive."""
        return self._exit is None

    def copy_output(self, fd: int) -> bool:
        """Copy what can be read from one of the pipes; False when the pipe is at its end, and closed now."""
        stream, now = self.pipes[fd], time.time_ns()
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return True
        if data:
            self._log.feed(stream, data, now)
            return True
        self._log.end(stream, now)
        os.close(fd)
        del self.pipes[fd]
        if not self.pipes:
            self._log.close()
            self.state["exit"] = self._exit
        return False

    def end(self, ended: Exit) -> None:
        """Its first process has ended."""
        self._exit = ended
        if not self.pipes:
            self.state["exit"] = ended


class Spawner:
    """Forks processes into pid namespaces other than its own. Not for a process with threads."""

    def __init__(self) -> None:
        self._home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def container(self, spec: ContainerSpec) -> Container | Refusal:
        """Start a container in a pid namespace of its own."""
        try:
            log = LogFile(spec["log"])
        except OSError as error:
            return refusal("open the log", error.errno or 0, str(error))
        out, out_write = os.pipe2(os.O_CLOEXEC)
        err, err_write = os.pipe2(os.O_CLOEXEC)
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        try:
            pid = self.spawn(
                lambda: unshare(CLONE_NEWPID), [null, out_write, err_write], lambda: become_container(spec)
            )
        finally:
            for fd in (null, out_write, err_write):
                os.close(fd)
        if isinstance(pid, int):
            for fd in (out, err):
                os.set_blocking(fd, False)
            return Container(spec, pid, log, {out: "stdout", err: "stderr"})
        for fd in (out, err):
            os.close(fd)
        log.close()
        return pid

    def spawn(self, into: Callable[[], None], stdio: list[int], become: Callable[[], NoReturn]) -> int | Refusal:
        """Fork a process born in the pid namespace that *into* chooses; its pid, or why it did not get to its exec."""
        read, write = os.pipe2(os.O_CLOEXEC)
        try:
            into()
            try:
                pid = os.fork()
                if pid == 0:
                    _child(stdio, write, become)
            finally:
                sys_.setns(self._home, CLONE_NEWPID)
        except OSError as error:
            os.close(read)
            return refusal("make the pid namespace", error.errno or 0, str(error))
        finally:
            os.close(write)
        with os.fdopen(read, "rb") as pipe:
            report = pipe.read()
        if not report:
            return pid
        os.waitpid(pid, 0)
        problem: Refusal = json.loads(report)
        return problem


def reap() -> Iterator[tuple[int, Exit]]:
    """The children that have ended since."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            code = 128 + number if number else os.WEXITSTATUS(status)
            yield pid, Exit(code=code, signal=number, finished_at=time.time_ns())


def refusal(stage: str, number: int, message: str) -> Refusal:
    """A Refusal, from positional arguments."""
    return Refusal(stage=stage, errno=number, message=message)


def _child(stdio: list[int], report: int, become: Callable[[], NoReturn]) -> NoReturn:
    """In the forked child: connect the standard streams, become the command, or report why not."""
    try:
        _die_with_supervisor(report)
        for target, fd in enumerate([os.dup(fd) for fd in stdio]):  # duplicated first: one may be 0, 1 or 2 itself
            os.dup2(fd, target, inheritable=True)
        become()
    except StageError as error:
        problem = refusal(error.stage, error.error.errno or 0, str(error.error))
    except BaseException as error:
        problem = refusal("start", 0, f"{type(error).__name__}: {error}")
    os.write(report, json.dumps(problem).encode())
    os._exit(127)


def _die_with_supervisor(report: int) -> None:
    sys_.die_with_parent(signal.SIGKILL)
    poll = select.poll()
    poll.register(report, 0)
    if poll.poll(0):  # nobody holds the reading end any more: the supervisor died before the line above
        os._exit(127)
