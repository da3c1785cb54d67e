"""Processes told apart for certain, ended for certain.

A pid is reused sooner or later, so a process is a pid **and** its start time, of one boot of the machine; signals go
through a pidfd that was opened before the start time was compared, which leaves no window. Processes whose record was
lost (everything was killed half-way) are found by the marker in their environment.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from podwire.lab.sandbox.plan import MARKER


class ProcessId(msgspec.Struct, frozen=True):
    """A process, unmistakably: *start* is in clock ticks since boot (proc_pid_stat(5), field 22)."""

    pid: int
    start: int
    boot: str


def boot_id() -> str:
    """The machine's current boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> ProcessId | None:
    """The process that has *pid* now; None when there is none, or only a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the command's name may hold blanks and brackets
    if fields[0] in ("Z", "X"):
        return None
    return ProcessId(pid, int(fields[19]), boot_id())


def alive(process: ProcessId) -> bool:
    """Whether that very process still runs."""
    return identify(process.pid) == process


@contextmanager
def _opened(process: ProcessId) -> Iterator[int | None]:
    """A pidfd of *process*, or None when it is gone."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield fd if alive(process) else None
    finally:
        os.close(fd)


def send(process: ProcessId, number: signal.Signals) -> bool:
    """Send a signal; whether there was a process to get it."""
    with _opened(process) as fd:
        if fd is None:
            return False
        try:
            signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            return False
        return True


def wait_gone(gone: Iterable[ProcessId], timeout: float) -> list[ProcessId]:
    """Wait until all have ended or *timeout* seconds have passed; those that remain."""
    remaining = list(gone)
    deadline = time.monotonic() + timeout
    while remaining:
        with _opened(remaining[0]) as fd:
            if fd is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return [one for one in remaining if alive(one)]
                waiter = select.poll()
                waiter.register(fd, select.POLLIN)
                waiter.poll(left * 1000)
        if not alive(remaining[0]):
            remaining.pop(0)
    return []


def stop(these: Iterable[ProcessId], grace: float) -> list[ProcessId]:
    """SIGTERM to all, SIGKILL after *grace* seconds to those that remain; which of them outlived even that.

    With a *grace* of 0 SIGKILL is all they get.
    """
    stubborn = list(these)
    if grace:
        for process in stubborn:
            send(process, signal.SIGTERM)
        stubborn = wait_gone(stubborn, grace)
    for process in stubborn:
        send(process, signal.SIGKILL)
    return wait_gone(stubborn, 5.0)


def members(marker: str) -> list[ProcessId]:
    """Every process on the machine that carries *marker*, except the caller and its ancestors."""
    wanted = f"{MARKER}={marker}".encode()
    spared = set(_lineage())
    found: list[ProcessId] = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) in spared:
            continue
        try:
            environ = Path(entry.path, "environ").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        if wanted in environ.split(b"\0") and (process := identify(int(entry.name))) is not None:
            found.append(process)
    return found


def _lineage() -> Iterator[int]:
    pid = os.getpid()
    while pid:
        yield pid
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return


def inner_pid(pid: int) -> int:
    """The pid that a process has in its own, innermost pid namespace; 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    except OSError:
        pass
    return 0


def children(pid: int) -> list[int]:
    """The pids of a process's children, as this pid namespace sees them."""
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
