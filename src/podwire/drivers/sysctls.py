"""Files below /proc/sys, of the calling thread's network namespace as far as ``net/`` is concerned.

The kernel resolves ``/proc/sys/net`` by the namespace of the task that opens the file, so a thread that has entered a
pod's namespace reads and writes the pod's settings whatever is mounted. Settings are set where needed and never
reset: others may rely on them by now.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from podwire.drivers import netns
from podwire.model.errors import KernelError
from podwire.model.intent import Failure, Wanted
from podwire.model.kernel import Sysctl, Value

_ROOT = "/proc/sys"


def read(path: str) -> str | None:
    """The value of ``net/ipv4/ip_forward`` and the like, stripped; None when there is no such setting."""
    try:
        fd = os.open(_file(path), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, 4096).decode("utf-8", "replace").strip()
        finally:
            os.close(fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KernelError(f"read sysctl {path}", error.errno or 0) from error


def write(path: str, value: str) -> None:
    """Set it. A /proc/sys that is mounted read-only is no error where the value is right already."""
    try:
        fd = os.open(_file(path), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())  # by itself: pathlib and buffered files cost as much as the system calls
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES) and read(path) == value:
            return
        raise KernelError(
            f"set sysctl {path} to {value}", error.errno or 0, remedy="the agent needs /proc/sys writable"
        ) from error


def interface_path(family: int, ifname: str, name: str) -> str:
    """Path of a per-interface setting; *family* 4 or 6."""
    return f"net/ipv{family}/conf/{ifname}/{name}"


def ipv6_enabled() -> bool:
    """Whether this kernel speaks IPv6 at all (``ipv6.disable=1`` removes it)."""
    return Path(_ROOT, "net/ipv6").is_dir()


def _file(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise KernelError(f"open sysctl {path}", 0, "is not a path below /proc/sys")
    return f"{_ROOT}/{path}"


class Sysctls:
    """The settings of the namespace of descriptor *home*. Observed are those that were once put."""

    def __init__(self, home: int) -> None:
        self._home = home
        self._asked: dict[str, None] = {}

    def observe(self) -> Iterable[Value]:
        """The settings once put, as they are now."""
        if not self._asked:
            return []
        with netns.entered(self._home):
            found = [(path, read(path)) for path in self._asked]
        return [Sysctl(path, value) for path, value in found if value is not None]

    def put(self, wanted: Sequence[Wanted]) -> list[Failure]:
        """Set each; return those that could not be set."""
        failures = []
        with netns.entered(self._home):
            for element in wanted:
                value = element.value
                assert isinstance(value, Sysctl)
                self._asked[value.path] = None
                try:
                    if read(value.path) != value.value:  # writing can have effects: forwarding flushes caches
                        write(value.path, value.value)
                except KernelError as error:
                    failures.append(Failure(value, element.cause, error.errno, str(error)))
        return failures

    def drop(self, values: Sequence[Value]) -> list[Failure]:
        """Forget that they were asked for; their values stay."""
        for value in values:
            assert isinstance(value, Sysctl)
            self._asked.pop(value.path, None)
        return []
