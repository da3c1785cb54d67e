"""Network namespaces: open, make, and enter one for the length of a ``with`` block.

A thread has a network namespace of its own, so entering one affects the calling thread alone. Never await inside
:func:`entered`: the event loop's thread would do other work in the wrong namespace.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from podwire.model.errors import KernelError, NoSuchNamespace

CLONE_NEWNET = 0x40000000
_SELF = "/proc/thread-self/ns/net"
_libc = ctypes.CDLL(None, use_errno=True)
_T = TypeVar("_T")


def open_namespace(path: str) -> int:
    """Open the namespace at *path* (``/proc/PID/ns/net``, ``/run/netns/NAME``); the caller closes the descriptor."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NoSuchNamespace(f"open network namespace {path}", error.errno or 0) from error


def current() -> int:
    """A descriptor of the calling thread's namespace; the caller closes it."""
    return open_namespace(_SELF)


def inode(fd: int) -> int:
    """The number that identifies the namespace while it lives, as ``readlink /proc/PID/ns/net`` shows it."""
    return os.fstat(fd).st_ino


def enter(fd: int) -> None:
    """Move the calling thread into the namespace of *fd*, for good. Prefer :func:`entered`."""
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        kind = NoSuchNamespace if number in (errno.EINVAL, errno.EBADF) else KernelError
        raise kind(
            "enter network namespace",
            number,
            "the descriptor is not a network namespace" if number == errno.EINVAL else "",
        )


@contextmanager
def entered(fd: int) -> Iterator[None]:
    """Run the block in the namespace of *fd*. Processes started inside are born there."""
    home = current()
    try:
        if os.path.sameopenfile(home, fd):  # nothing to enter, and nothing to come back from
            yield
            return
        enter(fd)
        try:
            yield
        finally:
            try:
                enter(home)
            except KernelError:  # a thread lost in a pod's namespace would do the node's work there: rather die
                os.abort()
    finally:
        os.close(home)


def in_namespace(fd: int, work: Callable[[], _T]) -> _T:
    """Run *work* in the namespace of *fd*, on the calling thread."""
    with entered(fd):
        return work()


def create() -> int:
    """Make a network namespace with no name: it lives as long as its descriptor, a process in it, or a mount of it."""
    result: list[int] = []
    problem: list[int] = []

    def make() -> None:
        if _libc.unshare(CLONE_NEWNET) != 0:
            problem.append(ctypes.get_errno())
        else:
            result.append(current())

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if problem:
        raise KernelError("create a network namespace", problem[0], remedy="run as root (CAP_SYS_ADMIN)")
    return result[0]
